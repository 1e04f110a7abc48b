"""The order of time: what ascends as moments do is accepted in every container, and nothing else is."""

import datetime as dt
import itertools
import re
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage.data import Sequences
from omokage.data.kinds import open_data
from omokage.data.series import read_series, rows_of_series
from omokage.errors import DataError

pd = pytest.importorskip("pandas")

BERLIN = ZoneInfo("Europe/Berlin")
# Over the hour that clocks in Berlin show twice.
HOURS = [dt.datetime(2024, 10, 26, 23, tzinfo=dt.UTC) + dt.timedelta(minutes=30) * step for step in range(8)]
SMALL = {"latent_dim": 2, "hidden": (6,), "epochs": 1, "verbose": 0}
WINDOW = Sequences(window=4)


def refused(*parts):
    return pytest.raises(DataError, match="".join(f"(?=(?s:.*){re.escape(part)})" for part in parts))


def orders(frame, take):
    """Expect that a frame is read in its order, and in no other one."""
    steps = len(frame)
    reading = Sequences(time="t", window=4)
    assert rows_of_series(frame, reading)[0].tolist() == list(range(steps))
    for places in ([1, 0, *range(2, steps)], [0, 0, *range(1, steps - 1)], range(steps)[::-1]):
        with refused("X: row 1 (t = ", ") repeats" if places[0] == places[1] else ") comes before"):
            rows_of_series(take(frame, list(places)), reading)


NANOSECONDS = np.datetime64("2024-01-01T00:00:00", "ns") + np.arange(0, 800, 100)
COLUMNS = {
    "Datetime(ns)": pl.Series(NANOSECONDS),
    "Datetime(ns) with a zone": pl.Series(NANOSECONDS).dt.replace_time_zone("Asia/Tokyo"),
    "Duration": pl.Series(np.arange(8) * 100).cast(pl.Duration("ns")),
    "Time": pl.Series(np.arange(8) * 100).cast(pl.Time),
    "Date": pl.Series([dt.date(2024, 1, 1 + day) for day in range(8)]),
    "autumn": pl.Series(HOURS).dt.convert_time_zone("Europe/Berlin"),
    "text of nine digits": pl.Series([f"2024-01-01T00:00:00.0000{digit}5678" for digit in range(8)]),
    "text of a category": pl.Series([f"{hour}:00" for hour in range(4, 12)]).cast(pl.Categorical),
    "large numbers": pl.Series(2**53 + np.arange(8)),
    "Decimal": pl.Series([Decimal(step) / 10 for step in range(8)]),
    "objects": pl.Series([one.astimezone(BERLIN) for one in HOURS], dtype=pl.Object),
}


@pytest.mark.parametrize("times", COLUMNS.values(), ids=COLUMNS)
def test_times_of_polars_are_moments(times):
    orders(pl.DataFrame({"t": times, "x": np.arange(8.0)}), lambda frame, places: frame[places])


IN_PANDAS = {
    "ns": pd.Series(NANOSECONDS),
    "durations": pd.Series(NANOSECONDS - NANOSECONDS[0]),
    "autumn": pd.Series(HOURS).dt.tz_convert("Europe/Berlin"),
    "autumn as objects": pd.Series([one.astimezone(BERLIN) for one in HOURS], dtype=object),
    "periods": pd.Series(pd.period_range("2024-01", periods=8, freq="M")),
    "dates": pd.Series([dt.date(2024, 1, 1 + day) for day in range(8)]),
    "clocks": pd.Series([dt.time(hour) for hour in range(8)]),
    "numbers of two types": pd.Series([-1, 0.5, True, np.int64(2), np.float32(2.5), 3, 4, 5], dtype=object),
}


@pytest.mark.parametrize("times", IN_PANDAS.values(), ids=IN_PANDAS)
def test_times_of_pandas_are_moments(times):
    orders(pd.DataFrame({"t": times, "x": np.arange(8.0)}), lambda frame, places: frame.iloc[places])


@pytest.mark.parametrize("unit", ["D", "h", "s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", "mM")
def test_times_of_structured_arrays_are_moments(unit, kind):
    array = np.rec.fromarrays([np.arange(8).astype(f"{kind}8[{unit}]"), np.arange(8.0)], names=["t", "x"])
    reading = Sequences(time="t", window=4)
    assert read_series(array, reading, "X").names == ("x",)
    with refused("X: row 1 (t = ", "comes before the time of row 0"):
        read_series(array[::-1], reading, "X")
    assert open_data(array, "auto").kind.name == "table"


def test_times_of_parquet_are_moments(tmp_path):
    frame = pl.DataFrame({"t": COLUMNS["autumn"], "x": np.arange(8.0)})
    nanoseconds = frame.with_columns(t=pl.Series(NANOSECONDS))
    for number, table in enumerate((frame, nanoseconds)):
        table.write_parquet(tmp_path / f"{number}.parquet")
        om.VAE(**SMALL, data=Sequences(time="t", window=4)).fit(tmp_path / f"{number}.parquet")
        table.reverse().write_parquet(tmp_path / f"{number}.parquet")
        with refused("comes before the time of row 0"):
            om.VAE(**SMALL, data=Sequences(time="t", window=4)).fit(tmp_path / f"{number}.parquet")


def test_messages_show_times_with_all_their_digits():
    def message(times):
        with pytest.raises(DataError) as found:
            rows_of_series(pl.DataFrame({"t": times, "x": np.arange(8.0)}), Sequences(time="t", window=4))
        return str(found.value)

    assert "(t = 2024-01-01 00:00:00.000000600) comes before the time of row 0 (2024-01-01 00:00:00.000000700)" in (
        message(COLUMNS["Datetime(ns)"].reverse())
    )
    assert "02:30:00.000000+02:00" in message(COLUMNS["autumn"].gather([0, 1, 2, 4, 3, 5, 6, 7]))
    assert "00:00:00.000000600" in message(COLUMNS["Time"].reverse())


def test_series_are_told_apart_by_moments():
    for keys in (COLUMNS["Datetime(ns)"], COLUMNS["autumn"]):
        frame = pl.DataFrame({"id": keys, "x": np.arange(8.0)})
        assert [rows.tolist() for rows in rows_of_series(frame, Sequences(series="id"))] == [[row] for row in range(8)]


DATES = [dt.date(2024, 1, 1 + day) for day in range(8)]
INDEXES = {
    "periods": pd.period_range("2024-01", periods=8, freq="M"),
    "dates": pd.Index(DATES, dtype=object),
    "clocks": pd.Index([dt.time(hour) for hour in range(8)], dtype=object),
    "autumn": pd.DatetimeIndex(HOURS).tz_convert("Europe/Berlin"),
    "autumn as objects": pd.Index([one.astimezone(BERLIN) for one in HOURS], dtype=object),
    "below another": pd.MultiIndex.from_arrays([["m"] * 8, pd.DatetimeIndex(HOURS)], names=["machine", "t"]),
    "above another": pd.MultiIndex.from_product([DATES[:2], range(4)], names=["day", "hour"]),
    "two": pd.MultiIndex.from_product([DATES[:2], [dt.time(hour) for hour in range(4)]], names=["day", "hour"]),
    "periods above another": pd.MultiIndex.from_product([pd.period_range("2024", periods=4, freq="Y"), ["a", "b"]]),
}


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_an_index_that_tells_time_ascends(index, listed):
    frame = pd.DataFrame({"a": np.arange(8.0), "b": np.ones(8)}, index=index)
    for given in (frame, frame["a"]):
        for places in (range(8), [1, 0, *range(2, 8)], [0, 0, *range(1, 7)], range(8)[::-1]):
            X = given.iloc[list(places)]
            if places == range(8):
                assert read_series([X] if listed else X, WINDOW, "X").alone is not listed
                continue
            with refused(
                "X: series 0: row 1 (" if listed else "X: row 1 (", "does not come after row 0", "sort_index("
            ):
                read_series([X] if listed else X, WINDOW, "X")


def test_an_index_of_several_machines_is_no_single_series():
    index = pd.MultiIndex.from_product([["m", "n"], DATES[:4]], names=["machine", "day"])
    frame = pd.DataFrame({"a": np.arange(8.0)}, index=index)
    with refused("row 4 (('n', ", "sort_index(level='day')", "reset_index()", "Sequences(series="):
        read_series(frame, WINDOW, "X")
    read = read_series(frame.reset_index(), Sequences(series="machine", time="day"), "X")
    assert [len(one) for one in read.values] == [4, 4]


def test_an_index_without_a_time_in_a_row_is_refused():
    for index in (pd.DatetimeIndex([*HOURS[:7], None]), pd.Index([*DATES[:7], None], dtype=object)):
        with refused("row 7 (N", "does not come after row 6"):
            read_series(pd.DataFrame({"a": np.arange(8.0)}, index=index), WINDOW, "X")


def test_an_index_that_tells_no_time_may_be_in_any_order():
    for index in (range(8)[::-1], list("hgfedcba"), pd.MultiIndex.from_product([[2, 1], list("dcba")])):
        assert read_series(pd.DataFrame({"a": np.arange(8.0)}, index=index), WINDOW, "X").alone


ONE_OF_EACH = {
    "1 (a number)": 1,
    "'2' (str)": "2",
    "(date)": DATES[0],
    "(a time without a zone)": dt.datetime(2024, 1, 1),
    "(a time with a zone)": HOURS[0],
    "(timedelta)": dt.timedelta(1),
    "(Decimal)": Decimal(1),
}


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(ONE_OF_EACH, 2)))
def test_times_of_two_types_are_refused(one, other):
    frame = pd.DataFrame({"t": pd.Series([ONE_OF_EACH[one], ONE_OF_EACH[other]], dtype=object), "x": [1.0, 2.0]})
    for reading in (Sequences(time="t", window=4), Sequences("NTC", "id", "t")):
        with refused("X: 't' holds ", f"{one} in row 0", f"{other} in row 1", "Give all times as one type"):
            rows_of_series(frame.assign(id=[1, 2]), reading)


@pytest.mark.parametrize("odd", [1j, {"a": 1}])
def test_times_without_an_order_are_refused(odd):
    frame = pd.DataFrame({"t": pd.Series([odd, odd], dtype=object), "x": [1.0, 2.0]})
    with refused("X: 't' holds ", f"({type(odd).__name__}) in row 0, which has no order"):
        rows_of_series(frame, Sequences(time="t", window=4))
