"""One door for what is in memory: what a thing is follows from its shape and its names, never from its class."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest

import omokage as om
from omokage.data import Sequences
from omokage.data.arrays import array_of
from omokage.data.containers import checked_weight, to_matrix
from omokage.data.context import ContextSchema
from omokage.data.context_columns import Covariate
from omokage.data.frames import frame_of
from omokage.data.kinds import kind_of
from omokage.data.series import read_series
from omokage.errors import DataError, DataTypeError

X = np.random.default_rng(0).normal(size=(60, 3))
SMALL = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "verbose": 0}


class Streams:
    """What offers an Arrow stream and nothing else, as relations of databases do."""

    def __init__(self, frame: pl.DataFrame):
        self.frame = frame

    def __arrow_c_stream__(self, requested_schema=None):
        return self.frame.__arrow_c_stream__(requested_schema)


class Batches(Streams):
    """What PyArrow's tables and batches of records are: `columns` are the cells, and the names stand elsewhere."""

    @property
    def columns(self):
        return self.frame.get_columns()

    @property
    def column_names(self):
        return self.frame.columns

    @property
    def schema(self):
        return self.frame.schema


FRAMES = {
    "pandas": lambda columns: pd.DataFrame(columns),
    "polars": lambda columns: pl.DataFrame(columns),
    "arrow stream": lambda columns: Streams(pl.DataFrame(columns)),
    "batch of records": lambda columns: Batches(pl.DataFrame(columns)),
    "structured array": lambda columns: np.rec.fromarrays(list(columns.values()), names=list(columns)),
}


@pytest.mark.parametrize("container", FRAMES)
def test_a_frame_is_columns_with_names_in_every_container(container):
    columns = {"b": X[:, 0], "a": np.arange(60), "c": X[:, 2] > 0}
    matrix, names = to_matrix(FRAMES[container](columns))
    assert names == ("b", "a", "c")
    np.testing.assert_array_equal(matrix, np.column_stack(list(columns.values())))


@pytest.mark.parametrize("container", [np.asarray, np.ndarray.tolist, lambda X: X.astype(object), tuple, list])
def test_rows_without_names_are_an_array_in_every_container(container):
    matrix, names = to_matrix(container(X))
    assert names is None
    np.testing.assert_array_equal(matrix, X)


@pytest.fixture(scope="module")
def numbered():
    return om.VAE(**SMALL).fit(pd.DataFrame(X))


def test_columns_are_found_by_names_that_are_numbers(numbered, tmp_path):
    frame = pd.DataFrame(X)
    expected = numbered.score_samples(frame)
    for vae in (numbered, om.load(numbered.save(tmp_path / "m"))):
        np.testing.assert_array_equal(vae.score_samples(frame[[2, 0, 1]]), expected)
        with pytest.raises(DataError, match=r"not those seen at fit: missing '0', '1', '2'; unexpected '4', '5', '6'"):
            vae.score_samples(frame.set_axis([4, 5, 6], axis=1))
        np.testing.assert_array_equal(vae.score_samples(X), expected)
        assert not hasattr(vae, "feature_names_in_")
        assert vae.n_features_in_ == 3
    # Of a file names are text, and the same.
    np.testing.assert_array_equal(numbered.score_samples(pl.DataFrame(X[:, ::-1], schema=["2", "1", "0"])), expected)


def test_labels_that_are_numbers_find_the_columns_of_the_fit(numbered):
    frame = pd.DataFrame(X)
    rows, turned = ([row[order] for _, row in frame.iterrows()] for order in ([0, 1, 2], [2, 0, 1]))
    expected = numbered.score_samples(frame)
    for model in (numbered, om.VAE(**SMALL).fit(rows), om.VAE(**SMALL).fit(tuple(rows))):
        assert not hasattr(model, "feature_names_in_")
        for given in (rows, turned, frame[[2, 0, 1]], X):
            np.testing.assert_array_equal(model.score_samples(given), expected)
        np.testing.assert_array_equal(model.score_samples(turned[4:5]), expected[4:5])
        with pytest.raises(DataError, match=r"missing '0', '1', '2'; unexpected '4', '5', '6'"):
            model.score_samples([row.set_axis([4, 5, 6]) for row in rows])
    # Rows whose labels differ are windows of a longer series, and have no names.
    long = pd.Series(X.ravel())
    windows = [long[start : start + 3] for start in range(0, 180, 3)]
    np.testing.assert_array_equal(numbered.score_samples(windows), expected)
    np.testing.assert_array_equal(om.VAE(**SMALL).fit(windows).score_samples(windows[7:9]), expected[7:9])


@pytest.mark.parametrize("names", [["a", "b", "c"], [0, 1, 2], [2020.5, 3, 7]])
def test_rows_that_are_series_are_read_by_their_labels(names):
    frame = pd.DataFrame(X, columns=names)
    rows = [row if place % 2 else row[names[::-1]] for place, (_, row) in enumerate(frame[names[::-1]].iterrows())]
    rows[0] = rows[0][names]
    matrix, found = to_matrix(rows)
    np.testing.assert_array_equal(matrix, X)
    assert found == tuple(map(str, frame.columns))


def test_names_of_rows_that_are_series_are_checked():
    rows = [row for _, row in pd.DataFrame(X, columns=["a", "b", "c"]).iterrows()]
    for odd, got in ((rows[1].rename({"b": "d"}), "'a', 'd', 'c'"), (rows[1][["a", "b"]], "'a', 'b'"), (X[1], "none")):
        with pytest.raises(DataError, match=f"expected the names 'a', 'b', 'c' in every row.*got {got} in row 1"):
            to_matrix([rows[0], odd, *rows[2:]])
    vae = om.VAE(**SMALL).fit(rows)
    assert vae.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(vae.score_samples(rows), vae.score_samples(pd.DataFrame(X, columns=list("abc"))))
    with pytest.raises(ValueError, match="same order"):
        vae.score_samples([row[["c", "b", "a"]] for row in rows])
    with pytest.raises(ValueError, match="feature names"):
        vae.score_samples([row.rename({"b": "d"}) for row in rows])
    # Windows of a longer series are numbered on, or named by their times.
    long = pd.Series(X.ravel())
    np.testing.assert_array_equal(to_matrix([long[start : start + 3] for start in range(0, 180, 3)])[0], X)


def test_names_that_are_text_come_in_the_order_of_the_fit(tmp_path):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    vae = om.VAE(**SMALL).fit(frame)
    assert vae.feature_names_in_.tolist() == ["a", "b", "c"]
    back = om.load(vae.save(tmp_path / "m"))
    for estimator in (vae, back):
        for other in (frame[["b", "a", "c"]], pl.DataFrame(X, schema=["b", "a", "c"])):
            with pytest.raises(ValueError, match="same order"):
                estimator.score_samples(other)


@pytest.mark.parametrize("container", FRAMES)
def test_names_are_checked_in_every_container(container):
    def made(names):
        return FRAMES[container]({name: X[:, "abc".index(name) if name in "abc" else 0] for name in names})

    model = om.AutoEncoder(**SMALL).fit(made("abc"))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    codes = model.transform(made("abc"))
    np.testing.assert_array_equal(codes, model.transform(pl.DataFrame(X, schema=["a", "b", "c"])))
    with pytest.raises(ValueError, match="same order"):
        model.transform(made("cab"))
    with pytest.raises(ValueError, match="unseen at fit time"):
        model.transform(made("xyz"))


def test_what_is_masked_is_missing_for_every_kind():
    masked = np.ma.masked_greater(X, 1)
    with pytest.raises(DataError, match="X contains NaN"):
        to_matrix(masked)
    with pytest.raises(DataError, match="X contains NaN"):
        to_matrix(list(masked))
    pictures = np.ma.masked_greater(np.random.default_rng(0).normal(size=(5, 4, 4)), 1)
    with pytest.raises(DataError, match="X contains nan in image"):
        om.VAE(data="images", **SMALL).fit(pictures)
    series = read_series(np.ma.masked_greater(X.reshape(20, 3, 3), 1), Sequences(), "X").values
    np.testing.assert_array_equal(np.isnan(series), X.reshape(20, 3, 3) > 1)
    with pytest.raises(DataError, match="expected finite numbers of at least 0, got nan in row"):
        checked_weight(np.ma.masked_less(np.arange(60.0), 3), 60)
    with pytest.raises(DataError, match="got None in row 3"):
        ContextSchema.learn(np.ma.masked_equal(np.arange(60), 3), 60)
    whole = np.ma.masked_equal(np.arange(6).reshape(2, 3), 4)  # integers have no NaN of their own
    assert np.isnan(array_of(whole)).sum() == 1


@pytest.mark.parametrize("depth", range(4))
def test_what_is_masked_is_missing_however_deep_lists_hold_it(depth):
    masked = np.ma.masked_greater(np.random.default_rng(0).normal(size=(5, 4, 3, 2)), 1)

    def listed(array, axes):
        return [listed(part, axes - 1) for part in array] if axes else array

    filled = masked.filled(np.nan)
    np.testing.assert_array_equal(array_of(listed(masked, depth)), filled)
    series = listed(masked[..., 0], min(depth, 3))  # to the masked entries, which are NumPy's constant
    np.testing.assert_array_equal(np.stack(list(read_series(series, Sequences(), "X").values)), filled[..., 0])
    with pytest.raises(DataError, match="X contains nan in image"):
        om.VAE(data="images", **SMALL).fit(listed(masked, depth))
    with pytest.raises(DataError, match="X contains NaN"):
        to_matrix(listed(masked[..., 0, 0], min(depth, 2)))


def test_a_list_that_holds_itself_is_refused():
    endless: list = []
    endless.append(endless)
    for ask in (to_matrix, array_of, lambda X: read_series(X, Sequences(), "X")):
        with pytest.raises(DataError):
            ask(endless)


@pytest.mark.parametrize(
    "times", [np.datetime64("2024-01-01", "ms") + np.arange(60), np.arange(60).astype("timedelta64[ms]")]
)
def test_times_are_no_numbers(times):
    columns = np.stack([times] * 2, 1)
    with pytest.raises(DataTypeError, match=r"expected numbers, got (datetime|timedelta)64.*Times are no numbers"):
        to_matrix(columns)
    for frame in (pd.DataFrame({"at": times, "x": X[:, 0]}), pl.DataFrame({"at": times, "x": X[:, 0]})):
        with pytest.raises(DataError, match="expected numbers in every column; not so in 'at'"):
            to_matrix(frame)
    with pytest.raises(DataError, match="expected numbers"):
        read_series(columns[:, :, None], Sequences(), "X")
    with pytest.raises(DataError, match=r"sample_weight: expected one number for each of 60 rows \(expected numbers"):
        checked_weight(times, 60)
    with pytest.raises(DataError, match="context: expected strings, whole numbers, booleans or numbers"):
        ContextSchema.learn(times, 60)
    with pytest.raises(DataError, match="expected numbers"):
        om.VAE(data="images", **SMALL).fit(columns.reshape(15, 2, 4))


@pytest.mark.parametrize("odd", [np.ones(60, complex), np.array(["1"] * 60), np.full(60, b"1"), np.full(60, None)])
def test_weights_that_are_no_numbers_are_refused(odd):
    with pytest.raises(DataError, match=r"^sample_weight: expected "):
        checked_weight(odd, 60)


def test_one_weight_for_all_rows_changes_nothing():
    for weight in (3, 0.5, np.float32(7), np.array(2)):
        np.testing.assert_array_equal(checked_weight(weight, 4), np.ones(4))
    with pytest.raises(DataError, match="two rows whose weight is not zero"):
        checked_weight(0, 4)
    for one_by_one in (pd.Series([1, 2.5]), pl.Series([1.0, 2.5]), [1, 2.5], (1, 2.5)):
        np.testing.assert_array_equal(checked_weight(one_by_one, 2), [1, 2.5])
    np.testing.assert_array_equal(
        om.VAE(**SMALL).fit(X, sample_weight=3).score_samples(X), om.VAE(**SMALL).fit(X).score_samples(X)
    )


LONG = np.random.default_rng(1).normal(size=(40, 2))


@pytest.mark.parametrize(
    "container",
    [
        np.asarray,
        np.ndarray.tolist,
        lambda X: X.astype(object),
        lambda X: [tuple(row) for row in X],
        lambda X: np.ma.array(X),
        lambda X: pd.DataFrame(X, columns=["a", "b"]),
        lambda X: pl.DataFrame(X, schema=["a", "b"]),
        lambda X: Streams(pl.DataFrame(X, schema=["a", "b"])),
        lambda X: __import__("jax").numpy.asarray(X),
    ],
)
def test_one_long_series_is_one_in_every_container(container):
    read = read_series(container(LONG), Sequences(window=8), "X")
    assert (len(read.values), read.alone) == (1, True)
    np.testing.assert_allclose(read.values[0], LONG, rtol=1e-6)


@pytest.mark.parametrize("container", [np.asarray, np.ndarray.tolist, pd.Series, pl.Series, lambda x: x.astype(object)])
def test_one_sensor_is_one_in_every_container(container):
    read = read_series(container(LONG[:, 0]), Sequences(window=8), "X")
    assert read.alone
    np.testing.assert_allclose(read.values[0], LONG[:, :1])


def test_a_list_of_arrays_is_several_series_and_nested_lists_are_the_array_that_they_make():
    sensors = [pl.Series(LONG[:, 0]), pl.Series(LONG[:, 1])]
    assert [one.shape for one in read_series(sensors, Sequences(), "X").values] == [(40, 1), (40, 1)]
    for several in ([LONG, LONG[:20]], (LONG, LONG[:20]), [LONG.tolist(), LONG[:20].tolist()]):
        assert [len(one) for one in read_series(several, Sequences(window=8), "X").values] == [40, 20]
    assert [one.shape for one in read_series([LONG[:, 0], LONG[:30, 0]], Sequences(), "X").values] == [(40, 1), (30, 1)]
    cube = np.stack([LONG, LONG])
    for given in (cube, cube.tolist(), cube.astype(object), list(cube)):
        assert kind_of(given, "auto").name == "sequences"
        np.testing.assert_allclose(np.asarray(read_series(given, Sequences(), "X").values), cube)
    assert kind_of(cube[None].tolist(), "auto").name == "images"
    assert kind_of(LONG.tolist(), "auto").name == "vectors"


@pytest.mark.parametrize("make", [pd.DataFrame, lambda X, index: pd.Series(X[:, 0], index)])
def test_the_order_of_time_is_checked_where_the_index_knows_it(make):
    for times in (
        pd.date_range("2024-01-01", periods=40, freq="h"),
        pd.timedelta_range("1s", periods=40, freq="s"),
        pd.date_range("2024-01-01", periods=40, freq="h", tz="Asia/Tokyo"),
    ):
        sound = make(LONG, index=times)
        assert read_series(sound, Sequences(window=8), "X").alone
        shuffled = sound.sample(frac=1, random_state=0)
        with pytest.raises(DataError, match=r"X: row 1 \(.*\) does not come after row 0 \(.*sort_index"):
            read_series(shuffled, Sequences(window=8), "X")
        twice = make(LONG, index=times.repeat(2)[:40])
        with pytest.raises(DataError, match="one for each time"):
            read_series(twice, Sequences(window=8), "X")
    # Of several series each has an order of its own.
    frame = pd.DataFrame({"id": ["a"] * 20 + ["b"] * 20, "x": LONG[:, 0]}, index=times[:20].append(times[:20]))
    assert len(read_series(frame, Sequences(series="id"), "X").values) == 2
    with pytest.raises(DataError, match="does not come after"):
        read_series(frame.assign(id=["a", "b"] * 20).iloc[::-1], Sequences(series="id"), "X")


def test_columns_of_numbers_are_numbers_whatever_their_type():
    """An object column of floats, a category of numbers, and nullable types are the numbers that they hold."""
    numbers = [1.5, 2.0, 3.25, 1.5]
    for column in (
        pd.Series(numbers, dtype=object),
        pd.Series(numbers, dtype="category"),
        pd.Series(numbers, dtype="Float64"),
        pd.Series([np.float32(n) for n in numbers]),
        pd.Series(list(map(Decimal, numbers))),
        pd.Series(list(map(Fraction, numbers))),
    ):
        matrix, _ = to_matrix(pd.DataFrame({"a": column, "b": range(4)}))
        np.testing.assert_array_equal(matrix[:, 0], numbers)
    whole = pd.DataFrame({"a": pd.Series([1, 2, 3], dtype="Int64"), "b": pd.Series([True, False, True], dtype=object)})
    np.testing.assert_array_equal(to_matrix(whole)[0], [[1, 1], [2, 0], [3, 1]])
    with pytest.raises(DataError, match=r"X contains NaN .* at row 1, column 'a'"):
        to_matrix(whole.assign(a=pd.Series([1, None, 3], dtype="Int64")))
    for text in (pd.Series(["1", "2"], dtype="category"), pd.Series(["1", 2], dtype=object), pd.Series(["1", "2"])):
        with pytest.raises(DataError, match="expected numbers in every column; not so in 'a'"):
            to_matrix(pd.DataFrame({"a": text, "b": [1, 2]}))


def test_a_column_of_text_is_named_whatever_the_type_of_the_names():
    for names in ([0, 1], ["x", 1], [("a", "b"), ("a", "c")], [2020.5, 3]):
        frame = pd.DataFrame(dict(zip(range(2), ([1.5, 2.5], ["a", "b"]), strict=True)))
        frame.columns = names if not isinstance(names[0], tuple) else pd.MultiIndex.from_tuples(names)
        with pytest.raises(DataError, match=r"expected numbers in every column; not so in .* \(row 0: 'a'\)"):
            to_matrix(frame)


def test_decimals_are_numbers_in_every_container():
    numbers = [1.5, 2.0, 3.25]
    for rows in (list(map(Decimal, numbers)), [*map(Decimal, numbers[:2]), None]):
        expected = [np.nan if entry is None else float(entry) for entry in rows]
        for made in (np.array(rows, object), pd.Series(rows), pl.Series(rows), rows):
            np.testing.assert_array_equal(array_of(made), expected)
    context = om.VAE(latent_dim=1, hidden=(4,), epochs=1, verbose=0)
    context.fit(np.eye(3), context=pd.DataFrame({"a": list(map(Decimal, numbers))}))
    assert isinstance(context.context_schema_.columns[0], Covariate)


@pytest.mark.parametrize("cell", ["3_000", "\uff13", "x"])
def test_the_first_cell_that_is_no_number_is_shown(cell):
    """As files are read: to Python's `float`, underscores and digits of any script make numbers too."""
    for container in (pd.DataFrame, pl.DataFrame):
        with pytest.raises(DataError, match=rf"not so in 'a' \(row 2: '{cell}'\)"):
            to_matrix(container({"a": ["1", " -2.5e3", cell, "y"]}))


def test_whole_numbers_beyond_2_to_the_53_are_rounded_in_every_container():
    large = [2**53 + 1, 2**60 + 1, 5]
    for container in FRAMES.values():
        matrix, _ = to_matrix(container({"a": np.array(large), "b": np.arange(3)}))
        np.testing.assert_array_equal(matrix[:, 0], np.array(large, np.float64))
    np.testing.assert_array_equal(to_matrix(np.array([large, large]))[0][0], np.array(large, np.float64))


class Dataset:
    """Stands for a container that has to be asked for its frame first."""


class AnnData:
    """Another."""


@pytest.mark.parametrize(
    ("odd", "remedy"),
    [
        (pl.LazyFrame({"a": [1]}), r"got a LazyFrame. Call .collect\(\) on it first"),
        ({"a": [1, 2], "b": [3, 4]}, r"got a dict. Give it as a frame, pandas.DataFrame\(X\)"),
        ((row for row in X), "got a generator. Give it as a list or an array"),
        (Dataset(), r"got a Dataset. Give it as a frame, X.to_dataframe\(\)"),
        ([{"a": 1, "b": 3}, {"a": 2, "b": 4}], r"got a list of dict. Give it as a frame, pandas.DataFrame\(X\)"),
        (zip([1, 2], [3, 4], strict=True), r"got a zip. Give it as a list, list\(X\)"),
        (map(list, X), r"got a map. Give it as a list, list\(X\)"),
        ({"a": [1, 2]}.values(), r"got a dict_values. Give it as a list, list\(X\)"),
        ({1, 2}, "got a set. Give it as a list, in the order of the rows"),
        (AnnData(), r"got a AnnData. Give its matrix, X.X, or the frame"),
    ],
)
def test_what_is_not_read_is_told_the_call_to_make(odd, remedy):
    for ask in (to_matrix, frame_of, lambda odd: read_series(odd, Sequences(window=8), "X")):
        with pytest.raises(DataError, match=remedy):
            ask(odd)


@pytest.mark.parametrize("odd", [None, 3, "text", object(), {1, 2}, datetime.date(2024, 1, 1)])
def test_what_holds_no_rows_is_refused_in_one_line(odd):
    for ask in (lambda: to_matrix(odd), lambda: read_series(odd, Sequences(window=8), "X")):
        with pytest.raises(DataError) as refused:
            ask()
        assert "\n" not in str(refused.value)
        assert str(refused.value).startswith("X")


def test_rows_to_validate_on_and_features_are_found_by_names(tmp_path):
    frame, early = pd.DataFrame(X * [1, 100, 10_000], columns=list("abc")), {**SMALL, "early_stopping": True}
    turned = frame[["c", "a", "b"]]
    turned.to_csv(tmp_path / "turned.csv", index=False)
    vae = om.VAE(**early).fit(frame, X_valid=frame)
    for valid in (turned, tmp_path / "turned.csv"):
        found = om.VAE(**early).fit(frame, X_valid=valid)
        assert found.history_[-1]["validation_loss"] == pytest.approx(vae.history_[-1]["validation_loss"], rel=1e-6)
    with pytest.raises(DataError, match="X_valid: its columns are not those seen at fit: missing 'a'; unexpected 'x'"):
        om.VAE(**early).fit(frame, X_valid=frame.rename(columns={"a": "x"}))
    Z = pd.DataFrame(vae.transform(frame), columns=vae.get_feature_names_out())
    np.testing.assert_array_equal(vae.inverse_transform(Z.iloc[:, ::-1]), vae.inverse_transform(Z))


@pytest.mark.parametrize("entry", [np.timedelta64(3, "s"), np.datetime64("2026-01-02")])
@pytest.mark.parametrize(
    "make",
    [
        lambda entry: np.array([[entry, None]] * 4, object),
        lambda entry: [[entry, entry]] * 4,
        lambda entry: [[1.0, entry]] * 4,
        lambda entry: [pd.Series([entry, entry])] * 4,
    ],
)
def test_times_are_no_numbers_in_whatever_holds_them(entry, make):
    with pytest.raises(
        DataTypeError, match=r"Z: expected numbers, got (timedelta|datetime)64\[.\]\. Times are no numbers"
    ):
        to_matrix(make(entry), name="Z")


@pytest.mark.parametrize("entry", [np.timedelta64(3, "s"), np.datetime64("2026-01-02"), np.complex128(1 + 2j), 1j])
def test_weights_and_pictures_of_times_or_complex_numbers_are_refused(entry):
    with pytest.raises(DataTypeError, match="sample_weight: expected one number for each of 4 rows"):
        checked_weight(np.full(4, entry, object), 4)
    with pytest.raises(DataTypeError, match="X: expected numbers of a regular shape"):
        array_of(np.full((4, 2, 2), entry, object))


def test_names_that_are_partly_text_are_refused_by_a_call_to_make():
    with pytest.raises(DataTypeError, match=r"X: expected names .* got names that are 'int', 'str'. .*astype\(str\)"):
        om.VAE(**SMALL).fit(pd.DataFrame(X, columns=["a", 1, 2]))
