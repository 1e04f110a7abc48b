"""From raw input to standardised rows: schema, vectors, rows and tables."""

import json
import math
import re
from decimal import Decimal
from pathlib import Path

import hypothesis.extra.numpy as arrays
import narwhals as nw
import numpy as np
import polars as pl
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import omokage as om
from omokage.batch import Batch
from omokage.data import rows as rows_module
from omokage.data.columns import ColumnSchema, Moments, check_names, column_kinds
from omokage.data.containers import to_matrix
from omokage.data.kinds import vectors as table_module
from omokage.data.kinds.vectors import Table
from omokage.data.rows import MemoryRows, SpooledRows, canonical_order
from omokage.errors import DataError, FileFormatError

pd = pytest.importorskip("pandas")
quick = settings(max_examples=40, deadline=None, derandomize=True)


def refused(error, *parts):
    """Expect an error whose message holds all of the parts."""
    return pytest.raises(error, match="".join(f"(?=(?s:.*){re.escape(part)})" for part in parts))


def learned(X, names=None, standardize="scale"):
    return ColumnSchema.learn(Moments.empty(X.shape[1]).updated(X), names, standardize)


def unequal(rows=50, seed=0):
    """Return rows of columns as unequal as they come: tiny, huge, far off, binary, in [0, 1], skewed."""
    random = np.random.default_rng(seed)
    return np.column_stack(
        [
            random.normal(0, 1e-30, rows),
            random.normal(0, 1e30, rows),
            random.normal(1e9, 0.01, rows),
            random.integers(0, 2, rows),
            random.uniform(0, 1, rows),
            random.lognormal(0, 3, rows),
        ]
    )


# ---------------------------------------------------------------------------------------------- moments

matrices = arrays.arrays(
    np.float64, st.tuples(st.integers(2, 30), st.integers(1, 4)), elements=st.floats(-1e6, 1e6, allow_subnormal=False)
)


@quick
@given(matrices, st.lists(st.integers(0, 30), max_size=5))
def test_moments_of_blocks_are_those_of_the_whole(X, cuts):
    moments = Moments.empty(X.shape[1])
    for block in np.split(X, sorted(cut for cut in cuts if cut <= len(X))):  # some of them empty
        moments = moments.updated(block)
    size = np.abs(X).max() + 1e-300
    np.testing.assert_allclose(moments.mean, X.mean(0), rtol=1e-12, atol=1e-12 * size)
    np.testing.assert_allclose(moments.standard_deviation, X.std(0), rtol=1e-7, atol=1e-7 * size)
    assert moments.rows == moments.weight == len(X)
    assert (moments.low == X.min(0)).all()
    assert (moments.high == X.max(0)).all()
    assert (moments.binary == np.isin(X, (0, 1)).all(0)).all()


@quick
@given(matrices, st.data())
def test_a_whole_weight_is_the_same_as_repeated_rows(X, data):
    weight = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(X), max_size=len(X))), float)
    if not weight.any():
        weight[0] = 1
    weighted = Moments.empty(X.shape[1])
    for part in (slice(0, 3), slice(3, None)):  # the first block may have no weight at all
        weighted = weighted.updated(X[part], weight[part])
    repeated = Moments.empty(X.shape[1]).updated(np.repeat(X, weight.astype(int), axis=0))
    size = np.abs(X).max() + 1e-300
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-12, atol=1e-12 * size)
    np.testing.assert_allclose(weighted.standard_deviation, repeated.standard_deviation, atol=1e-7 * size)
    for name in ("low", "high", "binary", "weight"):  # rows of weight 0 are in none of them
        assert np.array_equal(getattr(weighted, name), getattr(repeated, name)), name


# ----------------------------------------------------------------------------------------------- schema


@pytest.mark.parametrize("standardize", ["scale", "center", False])
def test_decode_undoes_encode(standardize):
    X = unequal()[:, [0, 3, 4, 5]]
    schema = learned(X, None, standardize)
    back = schema.decode(schema.encode(X))
    np.testing.assert_allclose(back, X, atol=1e-6 * np.abs(X - schema.location).max())
    assert schema.encode(X).dtype == np.float32


def test_scaled_columns_have_mean_0_and_deviation_1_whatever_their_size():
    X = unequal(2000)
    x = learned(X).encode(X).astype(np.float64)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)  # float64 resolves 1e9 to 1e-5 of the third's deviation
    np.testing.assert_allclose(x.std(0), 1, atol=1e-6)


def test_centred_columns_keep_their_unit_and_others_are_as_they_are():
    X = unequal()[:, 3:]
    centred, plain = learned(X, None, "center"), learned(X, None, False)
    np.testing.assert_allclose(centred.encode(X).mean(0), 0, atol=1e-5)
    resolution = 1e-7 * np.abs(X - X.mean(0)).max(0)
    assert (np.abs(np.diff(centred.encode(X), axis=0) - np.diff(X, axis=0)) <= 2 * resolution).all()
    assert (plain.encode(X) == X.astype(np.float32)).all()
    assert centred.log_jacobian == plain.log_jacobian == 0


def test_a_huge_offset_costs_no_precision():
    random = np.random.default_rng(0)
    small = random.normal(0, 0.01, 1000).round(6)
    X = 1e9 + small[:, None]
    here = X[:, 0] - 1e9  # exact: what float64 kept of the variation
    schema = learned(X)
    assert not schema.constant.any()
    x = schema.encode(X)[:, 0].astype(np.float64)
    # float64's step at 1e9 is 1e-5 of the deviation. It can move all rows together, and none against another.
    np.testing.assert_allclose(x, (here - here.mean()) / here.std(), atol=1e-5)
    np.testing.assert_allclose(x - x[0], (here - here[0]) / here.std(), atol=1e-6)
    np.testing.assert_allclose(schema.decode(schema.encode(X)), X, atol=2e-7, rtol=0)


def test_the_schema_does_not_depend_on_the_order_of_the_rows_or_on_blocks():
    X = unequal(3000)
    expected = learned(X).to_json()
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(X)
        moments = Moments.empty(X.shape[1])
        for block in np.split(shuffled, [1, 700, 701]):
            moments = moments.updated(block)
        assert ColumnSchema.learn(moments, None, "scale").to_json() == expected


@pytest.mark.parametrize("value", [0.0, -3.0, 0.1, 1e9 + 17, 123456789.123, 1e-300, 1e38])
def test_a_constant_column_is_centred_to_0_and_not_scaled(value):
    X = np.column_stack([np.full(999, value), np.arange(999)])
    schema = learned(X)
    assert schema.constant.tolist() == [True, False]
    assert schema.scale[0] == 1
    assert (schema.encode(X)[:, 0] == 0).all()
    assert (schema.decode(schema.encode(X))[:, 0] == value).all()


def test_rounding_noise_is_no_variation():
    X = np.column_stack([0.1 + 1e-17 * np.arange(50), 1e6 * (1 + np.finfo(float).eps * (np.arange(50) % 2)), range(50)])
    assert learned(X).constant.tolist() == [True, True, False]


def test_only_constant_columns_are_refused():
    with refused(DataError, "every column is constant", "at least one column with two different values", "4 rows × 2"):
        learned(np.ones((4, 2)))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1, 0], "binary"),
        ([0.0, 0.0, 1.0], "binary"),
        ([1, 1, 1], "binary"),
        ([0, 0.5, 1], "unit"),
        ([0.2, 0.3, 0.4], "unit"),
        ([0, 1, 2], "real"),
        ([-1e-9, 0.5, 1], "real"),
        ([0, 1, 1 + 1e-9], "real"),
    ],
)
def test_kinds(values, kind):
    X = np.array(values, float)[:, None]
    assert column_kinds(Moments.empty(1).updated(X)) == (kind,)
    whole = np.column_stack([X[:, 0], [5, 6, 7]])
    assert learned(whole).kinds == (kind, "real")


def test_log_jacobian_is_the_log_of_the_determinant_of_encode():
    X = unequal(200)[:, 2:]
    schema = learned(X)
    x = schema.encode(X).astype(np.float64)
    steps = X - X[0]
    # encode is x = A (raw - b), so least squares over all differences gives A.
    A, *_ = np.linalg.lstsq(steps / X.std(0), x - x[0], rcond=None)
    A = A.T / X.std(0)
    assert schema.log_jacobian == pytest.approx(np.linalg.slogdet(A)[1], abs=1e-4)


@pytest.mark.parametrize("names", [None, ("温度", "b c", "0", '"', "é", "f")])
def test_a_schema_survives_json_exactly(names):
    schema = learned(unequal(), names)
    text = json.dumps(schema.to_json(), ensure_ascii=False)
    back = ColumnSchema.from_json(json.loads(text))
    assert (back.names, back.kinds) == (schema.names, schema.kinds)
    for name in ("location", "scale", "constant", "low", "high"):
        old, new = getattr(schema, name), getattr(back, name)
        assert (old.dtype, old.tobytes()) == (new.dtype, new.tobytes()), name


def without(name):
    return lambda value: value.pop(name)


def changed(name, content):
    return lambda value: value.__setitem__(name, content)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (changed("kind", "images"), "'images' is not 'vectors'"),
        (changed("kinds", ["real", "huge"]), "do not fit together"),
        (changed("kinds", "ab"), "do not fit together"),
        (changed("kinds", [["real"], ["real"]]), "do not fit together"),
        (changed("kinds", ["real"]), "do not fit together"),
        (changed("names", ["a"]), "do not fit together"),
        (changed("names", "ab"), "do not fit together"),
        (changed("names", ["a", "a"]), "do not fit together"),
        (changed("scale", [1.0, 0.0]), "do not fit together"),
        (changed("scale", [1.0, -1.0]), "do not fit together"),
        (changed("scale", [1.0, math.inf]), "do not fit together"),
        (changed("scale", [[1.0, 1.0]]), "do not fit together"),
        (changed("scale", 1.0), "do not fit together"),
        (changed("location", [1.0, math.nan]), "do not fit together"),
        (changed("location", [1.0, 2.0, 3.0]), "do not fit together"),
        (changed("location", ["a", "b"]), "not a schema of vectors"),
        (changed("location", [10**400, 0]), "not a schema of vectors"),
        (changed("location", {"a": 1}), "not a schema of vectors"),
        (changed("low", [[1, 2], [3]]), "not a schema of vectors"),
        *((without(name), f"no entry '{name}'") for name in ("kind", "names", "kinds", "scale", "constant", "high")),
    ],
)
def test_a_damaged_schema_is_refused(damage, text):
    value = learned(unequal()[:, 3:5], ("a", "b")).to_json()
    ColumnSchema.from_json(value)
    damage(value)
    with refused(FileFormatError, "schema.json", text):
        ColumnSchema.from_json(value)


def test_a_schema_of_no_columns_is_refused():
    value = learned(unequal()).to_json()
    with refused(FileFormatError, "schema.json"):
        ColumnSchema.from_json({name: [] if isinstance(content, list) else content for name, content in value.items()})


def test_columns_other_than_at_fit_are_named():
    check_names(("a", "b"), ["b", "a"])
    with refused(DataError, "not those seen at fit", "missing 'b'", "unexpected 'c'"):
        check_names(("a", "b"), ["c", "a"])
    with refused(DataError, "missing 'n0', 'n1', 'n2', 'n3', 'n4' and 15 more"):
        check_names(tuple(f"n{i}" for i in range(20)), [])


def with_column(**columns):
    X = np.random.default_rng(0).normal(size=(40, 2)).round(1)
    return pl.DataFrame({"a": X[:, 0], **columns, "b": X[:, 1]})


@pytest.mark.parametrize(
    ("columns", "called"),
    [
        ({"row": np.arange(40)}, "column 'row' holds"),
        ({"row": np.arange(40.0) * 2 + 7}, "column 'row' holds"),
        ({"Unnamed: 0": np.random.default_rng(1).permutation(40)}, "column 'Unnamed: 0' holds"),
        ({"__index_level_0__": np.arange(40)[::-1], "": np.arange(40)}, "columns '__index_level_0__', '' hold "),
        ({"falling": np.arange(40)[::-1]}, None),
        ({"half": np.arange(40) / 2}, None),
        ({"stays": np.arange(40) // 2}, None),
        ({"index": np.arange(40) % 20}, None),
    ],
)
def test_columns_that_number_the_rows_are_named(columns, called, recwarn):
    Table(with_column(**columns))
    assert [str(warning.message) for warning in recwarn] == [] or called
    assert not called or called in str(recwarn.pop(UserWarning).message)


def test_a_detector_says_which_column_would_make_all_new_rows_strange():
    with pytest.warns(UserWarning, match="column '1' holds whole numbers that count the rows, as an index does"):
        om.AnomalyDetector({"epochs": 1}, ensemble=2, verbose=0).fit(with_column(row=np.arange(40)).to_numpy())
    Table(with_column(row=np.arange(40))[:19])


def test_messages_call_a_column_by_name_or_number():
    X = unequal()[:, 3:5]
    assert learned(X, ("温度", "b")).column(0) == "'温度'"
    assert learned(X).column(1) == "1"


# ---------------------------------------------------------------------------------------------- vectors

TABLE = {"a": [1, 2], "b": [0.5, -2.0]}
MATRIX = [[1.0, 0.5], [2.0, -2.0]]


@pytest.mark.parametrize(
    ("X", "names"),
    [
        (pd.DataFrame(TABLE), ("a", "b")),
        (pd.DataFrame(TABLE, index=[7, 3]), ("a", "b")),
        (pl.DataFrame(TABLE), ("a", "b")),
        (nw.from_native(pl.DataFrame(TABLE)), ("a", "b")),
        (nw.from_native(pd.DataFrame(TABLE)), ("a", "b")),
        (pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "b": pd.array([0.5, -2], dtype="Float64")}), ("a", "b")),
        (pd.DataFrame({0: [1, 2], 1: [0.5, -2]}), ("0", "1")),
        (pl.DataFrame({"a": [1, 2], "b": [Decimal("0.5"), Decimal("-2")]}), ("a", "b")),
        (MATRIX, None),
        (tuple(map(tuple, MATRIX)), None),
        (np.array(MATRIX), None),
        (np.array(MATRIX, order="F"), None),
        (np.array(MATRIX, np.float32), None),
        (np.array(MATRIX, np.float16), None),
        (np.array(MATRIX, object), None),
        (np.array(MATRIX, ">f8"), None),
        (np.ma.masked_array(MATRIX, mask=False), None),
    ],
)
def test_what_is_accepted_gives_the_same_matrix(X, names):
    matrix, found = to_matrix(X)
    assert matrix.tolist() == MATRIX
    assert matrix.dtype in (np.float32, np.float64)
    assert found == names


def test_pyarrow_tables_are_accepted():
    pa = pytest.importorskip("pyarrow")
    assert to_matrix(pa.table(TABLE))[0].tolist() == MATRIX
    assert to_matrix(pd.DataFrame(TABLE).convert_dtypes(dtype_backend="pyarrow"))[0].tolist() == MATRIX
    with refused(DataError, "names must differ", "'a'"):
        to_matrix(pa.table([[1], [2]], names=["a", "a"]))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16])
def test_kinds_of_numbers_are_accepted(dtype):
    X = np.array([[0, 1], [1, 0]], dtype)
    for given_ in (X, pd.DataFrame(X, columns=["a", "b"]), pl.DataFrame(X.astype(float)).cast(pl.Boolean)):
        assert to_matrix(given_)[0].tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    "X",
    [
        pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "温度": pd.array([3, None], dtype="Int64")}),
        pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "温度": pd.array([True, None], dtype="boolean")}),
        pd.DataFrame({"a": pd.array([1, 2], dtype="Float64"), "温度": pd.array([0.5, None], dtype="Float64")}),
        pd.DataFrame({"a": [1, 2], "温度": [3, np.nan]}),
        pl.DataFrame({"a": [1, 2], "温度": [3, None]}),
        pl.DataFrame({"a": [1, 2], "温度": [3.0, float("nan")]}),
    ],
)
def test_missing_values_of_every_kind_of_table_are_named(X):
    with refused(DataError, "X contains NaN", "at row 1, column '温度'. ", "Drop these rows, fill them, or have"):
        to_matrix(X)


@pytest.mark.parametrize(
    ("entry", "called"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "-infinity"), (1e39, "1e+39")]
)
def test_entries_that_cannot_be_used_are_named_and_counted(entry, called):
    X = np.zeros((5, 3))
    X[3, 2] = entry
    with refused(DataError, f"X contains {called} (", "at row 3, column 2. "):
        to_matrix(X)
    X[4] = [np.nan, 0, -np.inf]
    with refused(DataError, f"X contains {called} (", "at row 3, column 2, and 2 more entries like it"):
        to_matrix(X)
    with refused(DataError, "at row 1003, column 2"):
        to_matrix(X, first_row=1000)


def test_masked_entries_are_missing_ones():
    with refused(DataError, "X contains NaN", "at row 0, column 1. "):
        to_matrix(np.ma.masked_array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]]))


@pytest.mark.parametrize("largest", [np.finfo(np.float32).max, -np.finfo(np.float32).max])
def test_the_largest_float32_is_accepted(largest):
    assert to_matrix(np.full((3, 2), largest, np.float64))[0][0, 0] == largest
    assert to_matrix(np.full((3, 2), largest, np.float32))[0][0, 0] == largest


@pytest.mark.parametrize(
    ("X", "parts"),
    [
        (pd.DataFrame({"a": [1, 2], "品番": ["1", "Ａ２"]}), ["'品番' (row 1: 'Ａ２')", "--id"]),
        (pl.DataFrame({"a": [1, 2], "品番": ["1", "Ａ２"]}), ["'品番' (row 1: 'Ａ２')", "encode them as numbers"]),
        (pd.DataFrame({"a": [1, 2], "b": pd.Categorical(["u", "v"])}), ["'b' (row 0: 'u')"]),
        (pd.DataFrame({"a": [1, 2], "b": pd.to_datetime(["2020-01-01"] * 2)}), ["'b' (row 0: ", "2020"]),
        (pd.DataFrame({"a": [1, 2], "b": [{}, []]}), ["'b' (row 0: {})"]),
        (pd.DataFrame({"a": [1, 2], "b": [1.5, "2.5"]}), ["'b' (row 1: '2.5')"]),
        (pd.DataFrame({"a": [1, 2, 3], "b": pd.Categorical([1.5, "2.5", "x"])}), ["'b' (row 1: '2.5')"]),
        (pd.DataFrame({"a": [1, 2, 3], "b": ["2.5", np.nan, "x"]}), ["'b' (row 2: 'x')"]),
        (pl.DataFrame({"a": [1, 2], "b": [None, None]}), ["'b' (no values)"]),
        (pd.DataFrame({f"n{i}": ["x"] for i in range(8)}), ["'n0' (row 0: 'x')", "'n4'", " and 3 more"]),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ["names must differ", "'a'"]),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), ["names must differ", "'1'"]),
        (pd.DataFrame(), ["0 sample(s)"]),
        (pd.DataFrame(index=[1, 2]), ["0 feature(s)"]),
        (pl.DataFrame({"a": []}, schema={"a": pl.Float64}), ["0 sample(s)"]),
        (pl.LazyFrame({"a": [1]}), [".collect()"]),
        (np.zeros(3), ["Expected 2D array, got 1D", "reshape(-1, 1)"]),
        (pd.Series([1, 2]), ["2-dimensional"]),
        (pl.Series([1, 2]), ["Expected 2D array, got 1D"]),
        (np.zeros((2, 2, 2)), ["dim 3"]),
        (5, ["Expected 2D array, got scalar"]),
        (None, ["Expected 2D array, got scalar"]),
        ([], ["Expected 2D array, got 1D"]),
        (np.zeros((0, 3)), ["0 sample(s)"]),
        (np.zeros((3, 0)), ["0 feature(s)"]),
        ([[1, 2], [3]], ["inhomogeneous"]),
        ([[1, 2], [3, "x"]], ["'x'", "row 1, column 1"]),
        (np.array([[1, 2], [3, None], [{}, 2]], object), ["dict", "row 2, column 0: {}"]),
        (np.array([["1", "2"], ["3", "x"]]), ["row 1, column 1: 'x'"]),
        (np.eye(2) * 1j, ["Complex data not supported"]),
        (scipy.sparse.csr_array(np.eye(3)), ["Sparse data", ".toarray()"]),
        ({"a": [1, 2]}, ["got a dict. Give it as a frame"]),
        ("parts", ["could not convert", "'parts'"]),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(X, parts):
    with refused(DataError, "X: ", *parts) as caught:
        to_matrix(X)
    assert "\n" not in str(caught.value)


def test_too_few_rows_are_refused():
    with refused(DataError, "1 sample(s)", "minimum of 2 is required by VAE"):
        to_matrix([[1, 2]], minimum_rows=2, estimator="VAE")


def test_strings_in_later_batches_are_named_by_their_row_in_the_file():
    with refused(DataError, "'b' (row 11: 'x')"):
        to_matrix(pl.DataFrame({"a": [1, 2], "b": ["1", "x"]}), first_row=10)


# ------------------------------------------------------------------------------------------------- rows


def numbered(count, features=2):
    """Return rows that can be told apart: the first column counts them."""
    return np.column_stack([np.arange(count), *(np.arange(count) % 7 for _ in range(features - 1))]).astype(np.float32)


def spool(X, size=500):
    return SpooledRows(X[start : start + size] for start in range(0, len(X), size))


def epoch(source, seed=0, size=64):
    """Return the numbers of the rows of an epoch, having checked the sizes of its blocks."""
    blocks = list(source.epoch(np.random.default_rng(seed), size))
    assert all(len(block.x) == size for block in blocks[:-1])
    assert 0 < len(blocks[-1].x) <= size
    assert all(block.x.dtype == np.float32 for block in blocks)
    return np.concatenate([block.x[:, 0] for block in blocks]).astype(int)


def in_memory(x, weight=None):
    return MemoryRows(Batch(x), weight)


@pytest.fixture
def small_pools(monkeypatch):
    monkeypatch.setattr(rows_module, "_POOL", 4096)


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 1000, 1023, 1024, 1025, 2048, 5000])
@pytest.mark.parametrize("make", [in_memory, spool])
def test_an_epoch_has_every_row_once(make, count, small_pools):
    source = make(numbered(count))
    assert (source.count, source.entries) == (count, 2)
    assert sorted(epoch(source)) == list(range(count))
    assert sorted(epoch(source, size=7)) == list(range(count))


@pytest.mark.parametrize("count", [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 65 * 1024, 70_000])
def test_an_epoch_of_a_large_spool_has_every_row_once(count, small_pools):
    source = spool(numbered(count, 1), 10_000)
    assert source.count == count
    assert np.array_equal(np.sort(epoch(source, size=1000)), np.arange(count))


@pytest.mark.parametrize("make", [in_memory, spool])
def test_the_order_depends_on_the_generator_only(make, small_pools):
    first, second = make(numbered(3000)), make(numbered(3000))
    order = epoch(first, 1)
    assert np.array_equal(order, epoch(first, 1))  # and not on epochs before
    assert np.array_equal(order, epoch(second, 1))
    assert not np.array_equal(order, epoch(first, 2))
    assert not np.array_equal(order, np.arange(3000))


def test_a_spool_gives_back_what_was_written_whatever_the_blocks():
    X = np.random.default_rng(0).normal(size=(1500, 3))
    for size in (1, 400, 1500, 9999):
        source = spool(X, size)
        assert np.array_equal(source.read(0, 1500), X)
        assert np.array_equal(source.read(700, 703), X[700:703])


def test_a_spool_mixes_rows_of_distant_places(monkeypatch):
    monkeypatch.setattr(rows_module, "_POOL", 8 * 1024)
    count = 200 * 1024
    order = epoch(spool(numbered(count, 1), 50_000), size=256)
    assert (np.abs(np.diff(order)) == 1).mean() < 0.01
    # A block of 256 rows from 8 pieces of 1,024: one of them is missed with probability 1e-15.
    pieces = [len(set(block // 1024)) for block in np.split(order, range(256, count, 256))]
    assert min(pieces) >= 5
    # The pieces come from all over: the first pool does not lie in one part of the file.
    assert np.ptp(order[: 8 * 1024]) > count / 3


@pytest.mark.parametrize("count", [2, 3, 64, 100, 1000, 1024, 2047, 70_000])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_hold_out_takes_rows_out_of_the_epochs(count, share, small_pools):
    source = spool(numbered(count), 5000)
    wanted = int(share * count)
    held_out = source.hold_out(np.random.default_rng(3), wanted).x[:, 0].astype(int)
    rest = epoch(source)
    assert sorted([*held_out, *rest]) == list(range(count))
    assert source.count == len(rest) > 0
    assert 1 <= len(held_out) <= max(1, wanted)
    assert len(held_out) >= min(wanted, 0.7 * share * count)  # in whole pieces


def test_rows_of_a_spool_are_encoded_when_they_are_read():
    source = spool(numbered(300))
    source.encode = lambda raw: (raw * 2).astype(np.float32)
    assert sorted(epoch(source)) == list(range(0, 600, 2))
    assert (source.hold_out(np.random.default_rng(0), 10).x[:, 0] % 2 == 0).all()


@quick
@given(st.lists(st.integers(0, 5), min_size=2, max_size=40).filter(any))
def test_a_row_of_whole_weight_comes_so_often(weight):
    source = in_memory(numbered(len(weight)), np.array(weight, float))
    assert np.array_equal(np.sort(epoch(source)), np.repeat(np.arange(len(weight)), weight))
    assert source.weight is None


@quick
@given(st.lists(st.floats(0, 40).map(lambda w: round(w, 3)), min_size=2, max_size=40).filter(any), st.integers(-30, 30))
def test_the_weights_of_an_epoch_are_shares_like_those_of_the_rows(weight, exponent):
    weight = np.array(weight) * 10.0**exponent
    source = in_memory(numbered(len(weight)), weight)
    sums = np.zeros(len(weight))
    for block in source.epoch(np.random.default_rng(0), 8):
        assert block.weight is None or (block.weight > 0).all()
        np.add.at(sums, block.x[:, 0].astype(int), 1 if block.weight is None else block.weight)
    np.testing.assert_allclose(sums / sums.sum(), weight / weight.sum(), rtol=1e-5)
    assert source.count <= MemoryRows.MOST * len(weight)


@quick
@given(arrays.arrays(np.float32, (12, 3), elements=st.sampled_from([0.0, -0.0, 1.0, -1.5, 3e38])), st.randoms())
def test_the_canonical_order_forgets_how_rows_were_given(x, random):
    shuffled = list(range(len(x)))
    random.shuffle(shuffled)
    y = x[shuffled]
    assert np.array_equal(x[canonical_order(Batch(x))], y[canonical_order(Batch(y))])
    assert sorted(canonical_order(Batch(x))) == list(range(len(x)))


def test_the_canonical_order_takes_both_zeros_for_one():
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    x[::3, 1] = 0
    y = x.copy()
    y[::6, 1] = -0.0
    assert np.array_equal(canonical_order(Batch(x)), canonical_order(Batch(y)))
    assert np.array_equal(canonical_order(Batch(x)), canonical_order(Batch(np.asfortranarray(x))))


# ------------------------------------------------------------------------------------------------ table


@pytest.fixture
def streamed(monkeypatch):
    """Every file is too large for memory, and is read in blocks of 100 rows."""
    monkeypatch.setattr(table_module, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(table_module, "_BLOCK", 100)


def csv(folder, X, names=("a", "温度")):
    path = folder / "rows.csv"
    pl.DataFrame(X, schema=list(names)).write_csv(path)
    return path


def test_a_streamed_file_has_the_moments_and_rows_of_one_in_memory(tmp_path, monkeypatch):
    X = np.random.default_rng(0).normal(5, 3, (1234, 2))
    path = csv(tmp_path, X)
    whole = Table(path)
    monkeypatch.setattr(table_module, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(table_module, "_BLOCK", 100)
    parts = Table(str(path))
    assert parts.names == whole.names == ("a", "温度")
    schema = ColumnSchema.learn(whole.moments, whole.names, "scale")
    assert ColumnSchema.learn(parts.moments, parts.names, "scale").to_json() == schema.to_json()
    rows = []
    for table in (whole, parts):
        source, validation = table.rows(schema, 0, 0)
        assert validation is None
        blocks = [block.x for block in source.epoch(np.random.default_rng(0), 100)]
        rows.append(np.concatenate(blocks)[np.lexsort(np.concatenate(blocks).T)])
    assert np.array_equal(*rows)


def everything(source, seed=0):
    """Return all rows of one epoch of a source, (n, D)."""
    return np.concatenate([block.x for block in source.epoch(np.random.default_rng(seed), 100)])


@pytest.mark.parametrize("large", [False, True])
def test_rows_that_are_held_out_are_not_trained_on(tmp_path, monkeypatch, large):
    if large:
        monkeypatch.setattr(table_module, "IN_MEMORY_BYTES", 0)
    X = numbered(1000).astype(float)
    table = Table(csv(tmp_path, X))
    schema = ColumnSchema.learn(table.moments, table.names, "scale")
    source, validation = table.rows(schema, 0.1, seed=4)
    together = schema.decode(np.concatenate([everything(source), everything(validation)]))[:, 0].round().astype(int)
    assert sorted(together) == list(range(1000))
    assert 70 <= validation.count <= 100
    again = Table(csv(tmp_path, X)).rows(schema, 0.1, seed=4)[1]
    assert np.array_equal(everything(validation), everything(again))


def test_held_out_rows_do_not_depend_on_the_order_of_the_rows():
    X = np.random.default_rng(0).normal(size=(100, 3))
    tables = [Table(X), Table(X[::-1])]
    schema = ColumnSchema.learn(tables[0].moments, None, "scale")
    first, second = (table.rows(schema, 0.2, 0) for table in tables)
    assert np.array_equal(everything(first[1]), everything(second[1]))
    blocks = [next(source.epoch(np.random.default_rng(0), 80)).x for source, _ in (first, second)]
    assert np.array_equal(*blocks)


def test_whole_weights_are_the_same_as_repeated_rows_in_a_table():
    X = np.random.default_rng(0).normal(size=(20, 2))
    weight = np.arange(20) % 4
    weighted, repeated = Table(X, weight), Table(np.repeat(X, weight, axis=0))
    schema = ColumnSchema.learn(weighted.moments, None, "scale")
    np.testing.assert_allclose(schema.location, ColumnSchema.learn(repeated.moments, None, "scale").location, rtol=1e-6)
    blocks = [next(table.rows(schema, 0, 0)[0].epoch(np.random.default_rng(5), 99)).x for table in (weighted, repeated)]
    assert np.array_equal(*blocks)


def test_rows_of_weight_0_are_as_if_they_were_not_there():
    X = np.random.default_rng(0).normal(size=(50, 2))
    weight = np.where(np.arange(50) < 6, 0.5, 0.0)
    weighted, fewer = Table(X, weight), Table(X[:6], np.full(6, 0.5))
    schema = ColumnSchema.learn(weighted.moments, None, "scale")
    assert schema.to_json() == ColumnSchema.learn(fewer.moments, None, "scale").to_json()
    (source, validation), (other, expected) = (table.rows(schema, 0.5, 0) for table in (weighted, fewer))
    assert np.array_equal(everything(validation), everything(expected))
    blocks = [next(rows.epoch(np.random.default_rng(0), 99)) for rows in (source, other)]
    assert np.array_equal(blocks[0].x, blocks[1].x)
    assert blocks[0].weight is None and blocks[1].weight is None  # all alike


@pytest.mark.parametrize(
    ("weight", "parts"),
    [
        ([1, 2], ["one number for each of 3 rows", "shape (2,)"]),
        ([[1], [2], [3]], ["shape (3, 1)"]),
        ([1, -2, 3], ["at least 0", "-2.0 in row 1"]),
        ([1, 2, np.nan], ["finite", "nan in row 2"]),
        ([1, 2, np.inf], ["finite", "inf in row 2"]),
        (["a", "b", "c"], ["one number for each of 3 rows", "'a'"]),
        ([None, {}, 1], ["one number for each of 3 rows"]),
        ([0, 0, 1], ["at least two rows"]),
        (0, ["at least two rows"]),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weight, parts):
    with refused(DataError, "sample_weight: ", *parts):
        Table(np.eye(3), weight)


def test_entries_of_a_streamed_file_are_named_by_their_row_in_it(tmp_path, streamed):
    X = np.random.default_rng(0).normal(size=(250, 2)).round(3)
    X[234, 1] = np.nan
    with refused(DataError, "NaN", "at row 234, column '温度'"):
        Table(csv(tmp_path, X))


def test_a_streamed_file_takes_no_weights_and_needs_two_rows(tmp_path, streamed):
    with refused(DataError, "sample_weight: expected None", "streamed"):
        Table(csv(tmp_path, np.eye(2)), [1, 1])
    with refused(DataError, "rows.csv: expected at least 2 rows, got 1"):
        Table(csv(tmp_path, np.eye(2)[:1]))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with refused(FileFormatError, "nothing.csv: there is no such file"):
        Table(tmp_path / "nothing.csv")


def test_a_full_disk_is_named(monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(rows_module.tempfile, "TemporaryFile", lambda prefix: full)
        with refused(FileFormatError, "cannot be kept there while training (No space left on device)", "TMPDIR"):
            spool(numbered(100))


@pytest.mark.parametrize("standardize", ["scale", "center", False])
@pytest.mark.parametrize(("factor", "said"), [(1e-39, "so small"), (1e-170, "so small"), (1e31, "so widely")])
def test_units_that_float32_cannot_hold_are_refused_before_training(factor, said, standardize):
    X = np.random.default_rng(0).normal(size=(50, 3)) * [1, factor, 1]
    if (said, standardize) == ("so widely", "scale"):
        schema = ColumnSchema.learn(Moments.empty(3).updated(X), None, standardize)
        np.testing.assert_allclose(schema.decode(schema.encode(X)), X, rtol=1e-4, atol=1e-5 * np.abs(X).max(0).min())
        return
    with pytest.raises(DataError, match=rf"X: column 1 (is|spreads) {said} that float32 cannot hold it"):
        ColumnSchema.learn(Moments.empty(3).updated(X), None, standardize)


def test_what_was_learned_of_units_at_the_edge_is_read_back():
    for factor in (1e-37, 1e-20, 1e20, 1e37):
        X = np.random.default_rng(0).normal(size=(50, 3)) * [1, factor, 1]
        schema = ColumnSchema.learn(Moments.empty(3).updated(X), None, "scale")
        assert ColumnSchema.from_json(schema.to_json()).to_json() == schema.to_json()
