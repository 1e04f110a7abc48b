"""What a column of a table holds, decided by its values."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from omokage.data.column_types import Category, LeftOut, Number, NumberRule, Time, decide, from_json
from omokage.data.frames import series_of
from omokage.data.kinds import Columns
from omokage.data.splines import Spline
from omokage.errors import DataError, FileFormatError, ParameterError

UTC, DAY = datetime.UTC, datetime.date(2024, 2, 28)


NUMBER = Number().to_json()


@pytest.mark.parametrize(
    ("cells", "kind", "about"),
    [
        ([1.5, 2.25, None, 3.0], Number, {"decimals": 2, "integer": False}),
        ([1, 2, 30], Number, {"decimals": 0, "integer": True}),
        ([0.1, 0.25, 1 / 3], Number, {"decimals": None}),
        ([1, 1, 2, 2], Category, {"levels": (1, 2), "counts": (2, 2)}),
        ([7.5, 7.5, None], Category, {"levels": (7.5,)}),
        ([True, False, None], Category, {"levels": (False, True)}),
        (["a", " b", "a ", None], Category, {"levels": ("a", "b"), "counts": (2, 1)}),
        (["1,5", "2,25", "3,0"], Number, {"notation": (",", "")}),
        (["1.234,5", "2.000.000,25", "3"], Number, {"notation": (",", ".")}),
        (["2024-01-31", "2024-02-29", "2023-01-01"], Time, {"dates": True, "text": True}),
        (["31.01.2024 23:00", "01.02.2024 00:00", "02.02.2024 12:30"], Time, {"dates": False}),
        ([DAY, DAY + datetime.timedelta(2)], Time, {"dates": True, "text": False}),
        ([None, None], LeftOut, {"why": "no value in any row"}),
        ([f"part-{number}" for number in range(40)], LeftOut, {}),
        ([f"the pump number {number} was loud" for number in range(40)], LeftOut, {}),
        (["+", "-", "+"], Category, {"levels": ("+", "-")}),
        (["007", "008", "010", "007"], Category, {"levels": ("007", "008", "010")}),
        ([f"{number}" for number in range(10**17, 10**17 + 30)], LeftOut, {}),
        (list(range(5)) * 10, Number, {"spikes": (0, 1, 2, 3, 4), "low": 0, "high": 4}),
    ],
)
def test_what_values_say(cells, kind, about):
    found = decide(pl.Series("c", cells))
    assert isinstance(found, kind)
    assert {name: getattr(found, name) for name in about} == about
    if not isinstance(found, LeftOut):
        assert from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "cells",
    [
        [1.5, None, -2.25],
        [3, None, 12, 7],
        [True, None, False],
        ["x", "y", None, "x"],
        [5, 5, None, 6],
        [DAY, None, datetime.date(1969, 7, 20)],
        [datetime.datetime(2024, 1, 1, 2, 3, 4), datetime.datetime(1999, 1, 1), None],
        [
            datetime.datetime(2024, 1, 1, 2, tzinfo=datetime.UTC),
            None,
            datetime.datetime(2020, 6, 1, tzinfo=datetime.UTC),
        ],
    ],
)
def test_written_back_as_they_came(cells):
    column = pl.Series("c", cells)
    kind = decide(column)
    assert kind.write(kind.read(column)).to_list() == column.to_list()


def test_rare_levels_share_one_and_a_new_level_has_the_number_after_the_last():
    column = pl.Series(["a"] * 9 + ["b"] * 5 + ["c", "d", "e"])
    kind = Category.of(column, 3)
    assert (kind.levels, kind.counts, kind.rare) == (("a", "b", "other"), (9, 5, 3), ("c", "d", "e"))
    new = pl.Series(["b", "d", "z", None])
    np.testing.assert_array_equal(kind.read(new)[:, 0], [1, 2, 3, np.nan])
    assert kind.unseen(new) == ["z"]


def test_levels_are_found_whatever_type_they_come_in():
    numbers, truth = decide(pl.Series([1, 2, 1])), decide(pl.Series([True, False, True]))
    for cells in ([2, 1], [2.0, 1.0], ["2", " 1"]):
        np.testing.assert_array_equal(numbers.read(pl.Series(cells))[:, 0], [1, 0])
    for cells in ([True, False], ["true", "FALSE"], [1, 0], ["1", "0"]):
        np.testing.assert_array_equal(truth.read(pl.Series(cells))[:, 0], [1, 0])
    np.testing.assert_array_equal(numbers.read(pl.Series(["two", None]))[:, 0], [2, np.nan])
    np.testing.assert_array_equal(truth.read(pl.Series(["perhaps"]))[:, 0], [2])


def test_an_enumeration_keeps_its_order():
    column = pl.Series(["high", "low"], dtype=pl.Enum(["low", "middle", "high"]))
    assert decide(column).levels == ("low", "high")


def test_what_stands_for_a_missing_value():
    kind = Columns()
    frame = pl.DataFrame({"a": ["?", " NA", "x1", ""], "b": ["-", "12", "13", "--"], "c": ["+", "-", "+", "-"]})
    assert [column.null_count() for column in kind.read(frame)] == [3, 2, 0]
    assert [column.null_count() for column in Columns(missing=["x1"]).read(frame)] == [1, 2, 0]


def test_frames_of_all_classes_are_read_alike():
    data = {"n": [1.5, None, 3.0], "t": ["a", None, "b"], "b": [True, None, False], "i": [1, 2, 3]}
    expected = [pl.Series(name, cells) for name, cells in data.items()]
    frame = pd.DataFrame(data)
    for given in (pl.DataFrame(data), frame, frame.astype({"t": "category", "b": "boolean", "n": "Float64"})):
        assert [column.to_list() for column in series_of(given)] == [column.to_list() for column in expected]


@pytest.mark.parametrize(
    ("cells", "asked", "words"),
    [
        ([[1], [2]], None, "holds List.*'ignore'"),
        ([b"a", b"b"], None, "holds Binary"),
        (["a", "b"], "number", "expected numbers, as types says; got 'a'"),
        (["01/02/2024", "02/03/2024", "03/04/2024"], None, "can be read as 2024-01-02 or as 2024-02-01"),
        (["2024-01-31", "31.12.2023", "x"], "time", "is not a time"),
    ],
)
def test_what_cannot_be_used_is_named(cells, asked, words):
    with pytest.raises(DataError, match=words):
        decide(pl.Series("c", cells), asked)


def test_cells_that_do_not_fit_the_fit_are_named():
    with pytest.raises(DataError, match="X: row 1, column 'c': expected a number, as at fit; got 'x'"):
        decide(pl.Series([1.5, 2.5, 3.5])).read(pl.Series("c", ["1", "x"]))
    with pytest.raises(DataError, match="inf at row 1, column 'c'"):
        Number().read(pl.Series("c", [1.0, np.inf]))
    with pytest.raises(DataError, match="no time zone"):
        decide(pl.Series([datetime.datetime(2024, 1, 1), datetime.datetime(2025, 1, 1)])).read(
            pl.Series("c", ["2024-01-01T00:00:00Z"])
        )


def test_mixed_objects_are_text_or_refused_by_name():
    mixed = pd.DataFrame({"a": ["x", 1, "y"]})
    assert series_of(mixed)[0].to_list() == ["x", "1", "y"]
    with pytest.raises(DataError, match="column 'a' holds text and"):
        series_of(pd.DataFrame({"a": ["x", [1], "y"]}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"types": {"a": "colour"}}, "column 'a': expected one of 'number'"),
        ({"types": ["a"]}, "expected a dictionary"),
        ({"types": 3}, "expected a dictionary"),
        ({"levels": 1}, "at least 2"),
        ({"levels": 2.5}, "whole number"),
        ({"missing": [1]}, "list of texts"),
    ],
)
def test_settings_are_checked(settings, words):
    with pytest.raises(ParameterError, match=words):
        Columns(**settings)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"type": "colour"},
        NUMBER | {"decimals": 99},
        NUMBER | {"integer": 2},
        NUMBER | {"spikes": [2, 1]},
        NUMBER | {"spline": {"knots": [1, 2, 3, 3], "scores": [1, 2, 3, 4]}},
        NUMBER | {"spline": {"knots": [1, 2, 3, 4], "scores": [1, 2, np.nan, 4]}},
        {"type": "category", "levels": [], "counts": [], "rare": []},
        {"type": "category", "levels": ["a", "a"], "counts": [1, 1], "rare": []},
        {"type": "category", "levels": ["a", 1], "counts": [1, 1], "rare": []},
        {"type": "category", "levels": ["a"], "counts": [-1], "rare": []},
        {"type": "time", "first": "tomorrow", "dates": False, "zone": False, "text": False},
        {"type": "time", "first": 3, "dates": False, "zone": False, "text": False},
        [],
        None,
    ],
)
def test_a_type_that_is_not_sound_is_refused(value):
    with pytest.raises(FileFormatError, match="not the type of a column"):
        from_json(value)


def heaps(n: int = 400) -> np.ndarray:
    """Return amounts, of which a third is 0 and others are 9.99 or log-normal."""
    random = np.random.default_rng(0)
    kind = random.choice(3, n, p=[0.35, 0.15, 0.5])
    return np.where(kind == 0, 0.0, np.where(kind == 1, 9.99, np.exp(random.normal(0, 2, n)) + 0.01)).round(4)


def test_a_value_that_repeats_is_a_class_beside_the_number():
    values = heaps()
    column = pl.Series("c", [None, *values.tolist()])
    kind = decide(column)
    assert kind.spikes == (0.0, 9.99) and kind.classes == (3, None) and kind.spline is not None
    entries = kind.read(column)
    assert np.isnan(entries[0]).all()
    np.testing.assert_array_equal(entries[1:, 0], np.select([values == 0, values == 9.99], [0, 1], 2))
    np.testing.assert_array_equal(np.isnan(entries[1:, 1]), np.isin(values, kind.spikes))
    assert kind.write(entries).to_list() == column.to_list()
    assert from_json(kind.to_json()) == kind


def test_a_spline_is_taken_where_it_fits_held_out_values_better():
    random = np.random.default_rng(0)
    for values, bent in ((random.normal(3, 2, 900), False), (np.exp(random.normal(0, 2, 900)), True)):
        assert (decide(pl.Series(values)).spline is not None) == bent
        assert decide(pl.Series(values), rule=NumberRule(spline=False)).spline is None
        assert decide(pl.Series(values), rule=NumberRule(spline=True)).spline is not None


@pytest.mark.parametrize(
    "values", [np.exp(np.linspace(-4, 4, 300)), np.r_[np.linspace(0, 1, 99), np.linspace(8, 9, 9)]]
)
def test_a_spline_ascends_goes_back_and_knows_its_slope(values):
    spline = Spline.of(values)
    x = np.linspace(values.min() - 2, values.max() + 3, 1000)
    y = spline(x)
    assert (np.diff(y) > 0).all()
    np.testing.assert_allclose(spline.back(y), x, atol=1e-9 * np.abs(x).max())
    step = 1e-6 * (values.max() - values.min())
    slope = (spline(x + step) - spline(x - step)) / (2 * step)
    near = np.abs(x[:, None] - np.array(spline.knots)).min(1) < 2 * step  # where it bends
    np.testing.assert_allclose(np.log(slope)[~near], spline.log_slope(x)[~near], atol=1e-3)
    assert np.isnan(spline(np.array([np.nan]))).all()
