"""Times in text: every way of writing gives the same moments, and what may be two things is refused."""

import datetime as dt
import itertools

import numpy as np
import polars as pl
import pytest

from omokage.errors import DataError
from omokage.files.times import times

MOMENTS = [dt.datetime(2024, 1, 31, 23, 5) + dt.timedelta(hours=7) * step for step in range(40)]


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            f"{date}{between}%H:%M"
            for date in ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y")
            for between in (" ", "T")
        ),
        "%Y/%m/%d %H:%M:%S",
        "%d.%m.%Y, %H:%M:%S",
        "%d-%m-%Y %I:%M %p",
        "%m/%d/%Y %I:%M:%S %p",
        "%d-%b-%Y %H:%M",
        "%d %b %Y %H:%M:%S",
        "%d %B %Y %H:%M",
        "%Y年%m月%d日 %H時%M分",
        "%Y%m%dT%H%M%S",
        "%a, %d %b %Y %H:%M:%S",
    ],
)
def test_every_way_of_writing_gives_the_moments(pattern):
    text = pl.Series([moment.strftime(pattern) for moment in MOMENTS])
    assert times(text).to_list() == MOMENTS
    spaced = pl.Series([f"  {cell}  " for cell in text])
    assert times(spaced).to_list() == MOMENTS


def test_zones_are_one_time():
    zones = itertools.cycle(["+09:00", "-0330", "+00", "Z", " UTC"])
    hours = itertools.cycle([9, -3.5, 0, 0, 0])
    local = [
        f"{m + dt.timedelta(hours=h):%Y-%m-%dT%H:%M:%S}{z}" for m, h, z in zip(MOMENTS, hours, zones, strict=False)
    ]
    assert times(pl.Series(local)).dt.replace_time_zone(None).to_list() == MOMENTS
    with pytest.raises(DataError, match="'2024-02-01 00:00' has no time zone"):
        times(pl.Series("t", ["2024-01-31 23:00Z", "2024-02-01 00:00"]))
    with pytest.raises(DataError, match="zone such as CET"):
        times(pl.Series("t", ["2024-01-31 23:00 CET"]))


def test_one_cell_tells_the_order_of_day_and_month():
    with pytest.raises(DataError, match=r"'t': '01/02/2024' can be read as 2024-01-02 or as 2024-02-01.*ISO 8601"):
        times(pl.Series("t", ["01/02/2024", "02/02/2024"]))
    assert times(pl.Series(["01/02/2024", "13/02/2024"]))[0] == dt.datetime(2024, 2, 1)
    assert times(pl.Series(["01/02/2024", "01/13/2024"]))[0] == dt.datetime(2024, 1, 2)
    assert len(times(pl.Series(["01/01/2024", "02/02/2024"]))) == 2  # both ways agree
    with pytest.raises(DataError, match="2024-01-31 or as 2031-01-24"):
        times(pl.Series("t", ["31.01.24"]))
    assert times(pl.Series(["31/12/99"]))[0].year == 1999


def test_midnight_and_noon():
    given = ["01/31/2024 12:00 AM", "1/31/2024 11:59 am", "1/31/2024 12:00 p.m.", "1/31/2024 1:00pm"]
    assert [moment.hour for moment in times(pl.Series(given))] == [0, 11, 12, 13]


def test_digits_of_seconds_are_kept():
    given = ["2024-01-31T23:00:00.123456789", "2024-01-31T23:00:00.123456790"]
    assert times(pl.Series(given)).dt.nanosecond().to_list() == [123456789, 123456790]
    assert times(pl.Series(["23:00:00,5", "23:00:01,25"])).diff().dt.total_milliseconds().to_list() == [None, 750]


@pytest.mark.parametrize("given", [[1, 2, 10], [0.5, 1.5], [True, False]])
def test_numbers_stay_numbers(given):
    if isinstance(given[0], bool):
        with pytest.raises(DataError, match="expected times, got Boolean"):
            times(pl.Series(given))
        return
    assert times(pl.Series(given)).to_list() == given
    assert times(pl.Series(list(map(str, given)))).to_list() == given
    assert times(pl.Series([str(2**53 + 1), str(2**53 + 2)])).diff()[1] == 1


def test_times_that_are_known_stay():
    stamps = pl.Series(np.array(["2024-01-31T23:00", "2024-02-01"], "M8[us]"))
    assert times(stamps).equals(stamps)
    tokyo = stamps.dt.replace_time_zone("Asia/Tokyo")
    assert times(tokyo).dtype == pl.Datetime("us", "UTC")
    assert times(pl.Series(["2024-01-31", None, "2024-02-01"])).null_count() == 1
    assert times(pl.Series(["31.01.2024", "01.02.2024"], dtype=pl.Categorical)).is_sorted()


@pytest.mark.parametrize(
    "given", [["2024-13-01"], ["2024-02-30"], ["soon"], ["2024-01-31", "soon"], ["25:00"], ["0024-01-01"]]
)
def test_what_is_no_time_names_the_cell_and_the_way_out(given):
    with pytest.raises(DataError, match=rf"'t': '{given[-1]}'.*ISO 8601"):
        times(pl.Series("t", given))
