"""The benchmark of made tables: its figures know rows of the same distribution, copies, and columns torn apart."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
NUMERIC = ("a", "b")


@pytest.fixture(scope="module")
def metrics():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("table_metrics")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def drawn(seed, count=1000):
    """Rows of two numbers and two categories, of which all depend on one another."""
    random = np.random.default_rng(seed)
    a = random.normal(size=count)
    b = a + 0.3 * random.normal(size=count)
    c = np.where(a + 0.3 * random.normal(size=count) > 0, "up", "down")
    return pd.DataFrame({"a": a, "b": b, "c": c, "d": random.integers(0, 3, count)})


def torn(frame, seed=9):
    """The same cells in each column, in another order."""
    random = np.random.default_rng(seed)
    return pd.DataFrame({name: frame[name].to_numpy()[random.permutation(len(frame))] for name in frame})


def test_precision_and_recall_of_a_worked_example(metrics, monkeypatch):
    monkeypatch.setattr(metrics, "STEPS", 3)  # levels 0, 1/2 and 1
    train = pd.DataFrame({"a": [0.0, 1, 2, 4], "c": ["x"] * 4})
    made = pd.DataFrame({"a": [0.0, 1.5, 2, 3], "c": ["x"] * 4})
    alpha, beta = metrics.alpha_precision_beta_recall(train, made, ("a",), 0)
    # The constant category is left out. The mean is 7/4; distances from it are 7/4, 3/4, 1/4 and 9/4, so the radii are
    # 1/4, 5/4 and 9/4. Made rows are 7/4, 1/4, 1/4 and 5/4 from it: the curve is 1/2, 3/4, 1, and its error 3/4 of 3/2.
    assert alpha == pytest.approx(0.5)
    # The nearest other training rows are 1, 1, 1 and 2 away, the nearest made ones 0, 1/2, 0 and 1: all are covered.
    # Each training row has a made row of its own, 13/8, 1/8, 3/8 and 11/8 from their mean: the curve is 1/4, 1/2, 1.
    assert beta == pytest.approx(5 / 6)


def test_new_rows_have_a_precision_of_one_and_a_recall_of_a_half(metrics):
    # The curve of recall ends at one half, so it is below the diagonal by one half of it.
    alpha, beta = metrics.alpha_precision_beta_recall(drawn(0), drawn(1), NUMERIC, 0)
    assert alpha == pytest.approx(1, abs=0.05)
    assert beta == pytest.approx(0.5, abs=0.05)
    assert metrics.alpha_precision_beta_recall(drawn(0), drawn(0), NUMERIC, 0) == pytest.approx((1, 1), abs=0.02)


def test_sets_of_unlike_sizes_are_made_equally_large(metrics):
    alpha, beta = metrics.alpha_precision_beta_recall(drawn(0, 4000), drawn(1), NUMERIC, 0)
    assert alpha == pytest.approx(1, abs=0.05)
    assert beta == pytest.approx(0.5, abs=0.05)


def test_mutual_information_of_a_worked_example(metrics):
    train = pd.DataFrame({"c": ["x", "x", "y", "y"], "d": ["u", "u", "v", "v"]})
    made = pd.DataFrame({"c": ["x", "x", "y", "y"], "d": ["u", "v", "u", "v"]})
    # Normalised mutual informations 1 and 0: the error is 1 wherever it has weight.
    assert metrics.mutual_information_similarity(train, made, ()) == pytest.approx(0)
    assert metrics.mutual_information_similarity(train, train, ()) == pytest.approx(1)


def test_mutual_information_weighs_pairs_that_depend(metrics):
    train = drawn(0)
    real = metrics._normalised_mutual_information(metrics._coded(train, train, NUMERIC))
    assert metrics.mutual_information_similarity(train, drawn(1), NUMERIC) > 0.97
    # Torn columns have hardly any mutual information, so the error is nearly the weighted mean of the real one.
    found = metrics.mutual_information_similarity(train, torn(train), NUMERIC)
    assert found == pytest.approx(1 - (real**2).sum() / real.sum(), abs=0.05)


def test_made_values_outside_are_a_category_of_their_own(metrics):
    train, made = drawn(0), drawn(0)
    made["a"] = made["a"] + 100
    assert len(set(metrics._coded(made, train, NUMERIC)[0])) == 1
    assert len(set(metrics._coded(train, train, NUMERIC)[0])) == 10


def test_trends_of_a_worked_example(metrics):
    train = pd.DataFrame({"a": [0.0, 1, 2, 10], "b": [0.0, 1, 2, 10], "c": ["x", "x", "y", "y"]})
    made = pd.DataFrame({"a": [0.0, 1, 2, 30], "b": [-0.0, -1, -2, -30], "c": ["x", "x", "y", "y"]})
    # Correlations of 1 and −1: 0. Column a with c: the value outside is in the bin of the greatest: 1. Column b with c:
    # all made values but one are below the least training value: 1/4.
    assert metrics.trend_in_same_bins(train, made, NUMERIC) == pytest.approx((0 + 1 + 1 / 4) / 3)
    assert metrics.trend_in_same_bins(train, train, NUMERIC) == pytest.approx(1)


def test_trends_know_torn_columns(metrics):
    train = drawn(0)
    r = np.corrcoef(train["a"], train["b"])[0, 1]
    assert metrics.trend_in_same_bins(train, drawn(1), NUMERIC) > 0.9
    assert metrics.trend_in_same_bins(train[["a", "b"]], torn(train)[["a", "b"]], NUMERIC) == pytest.approx(
        1 - r / 2, abs=0.05
    )


def test_distances_of_a_worked_example(metrics):
    train = pd.DataFrame({"a": [0.0, 10], "c": ["x", "y"]})
    rows = pd.DataFrame({"a": [1.0, 10, 20], "c": ["x", "y", "x"]})
    # The range is 10, an unlike category costs 2: the last row is 2 from the first training row, 1 + 2 from the second.
    assert metrics._closest(rows, train, train, ("a",)) == pytest.approx([0.1, 0, 2])


def test_blocks_make_no_difference(metrics, monkeypatch):
    whole = metrics._closest(drawn(0), drawn(1), drawn(1), NUMERIC)
    monkeypatch.setattr(metrics, "BLOCK", 7)
    assert np.array_equal(metrics._closest(drawn(0), drawn(1), drawn(1), NUMERIC), whole)


def test_new_rows_are_as_close_to_training_rows_as_to_held_out_ones(metrics):
    train, made, held_out = drawn(0), drawn(1), drawn(2)
    # Standard errors: 0.016 for 1,000 independent rows, and of the order of 1 / √1,000 for the two sets compared with.
    assert metrics.closest_row_share(train, made, held_out, NUMERIC, 0) == pytest.approx(0.5, abs=0.06)
    assert metrics.nearer_than_held_out(train, made, held_out, NUMERIC) == pytest.approx(0.5, abs=0.06)


def test_copies_are_seen(metrics):
    train, held_out = drawn(0), drawn(2)
    made = train.sample(1000, replace=True, random_state=0)
    assert metrics.closest_row_share(train, made, held_out, NUMERIC, 0) == 1
    assert metrics.nearer_than_held_out(train, made, held_out, NUMERIC) == 1
    assert metrics.copies(train, made) == 1
    assert metrics.copies(train, held_out) == 0


def test_few_held_out_rows_hide_copies_from_one_figure_only(metrics):
    train, held_out = drawn(0), drawn(2, 100)
    share = metrics.closest_row_share(train, train, held_out, NUMERIC, 0)
    assert share == pytest.approx(0.55, abs=0.06)  # only every tenth copy has its original among the drawn rows
    assert metrics.nearer_than_held_out(train, train, held_out, NUMERIC) == 1


def test_far_rows_are_not_near(metrics):
    train, held_out = drawn(0), drawn(2)
    made = drawn(1)
    made["a"] = made["a"] + 100
    assert metrics.nearer_than_held_out(train, made, held_out, NUMERIC) == 0
