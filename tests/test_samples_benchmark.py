"""The benchmark of samples: its judges know what is the same, what is far off, and what is missing."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def samples():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("samples")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def heaps(random, count, centres=(0, 20)):
    """As many points around each centre, (count · centres, 3)."""
    return np.concatenate([random.normal(size=(count, 3)) + centre for centre in centres])


def test_the_shares_are_those_of_a_worked_example(samples):
    real, made = np.array([[0.0], [1], [3], [10]]), np.array([[0.5], [2.5], [50], [60]])
    # With k = 1 real radii are 1, 1, 2, 7: balls [-1, 1], [0, 2], [1, 5], [3, 17]; made ones 2, 2, 10, 10: balls
    # [-1.5, 2.5], [0.5, 4.5], [40, 60], [50, 70].
    found = samples.precision_recall_density_coverage(real, made, 1)
    assert found == {"precision": 0.5, "recall": 0.75, "density": 0.75, "coverage": 0.75}


def test_a_set_is_all_it_could_be_of_itself(samples):
    points = heaps(np.random.default_rng(0), 150)
    found = samples.precision_recall_density_coverage(points, points)
    assert found["precision"] == found["recall"] == found["coverage"] == 1
    # Each ball holds its centre and k - 1 neighbours; of the k-th, on its edge, rounding decides.
    assert 1 <= found["density"] <= 1 + 1 / samples.NEIGHBOURS


def test_sets_far_apart_have_nothing_of_one_another(samples):
    points = heaps(np.random.default_rng(0), 150)
    assert set(samples.precision_recall_density_coverage(points, points + 1000).values()) == {0.0}


def test_two_sets_of_one_distribution_have_a_density_of_one(samples):
    random = np.random.default_rng(1)
    found = samples.precision_recall_density_coverage(heaps(random, 1000), heaps(random, 1000))
    assert found["density"] == pytest.approx(1, abs=0.08)
    # The k-th real neighbour is nearer than all made ones with probability 1 / 2^k, where both are equally many.
    assert found["coverage"] == pytest.approx(1 - 0.5**samples.NEIGHBOURS, abs=0.03)


def test_a_dropped_mode_costs_recall_and_coverage_but_not_precision(samples):
    random = np.random.default_rng(2)
    real, whole, half = heaps(random, 400), heaps(random, 400), heaps(random, 800, centres=(0,))
    before, after = (samples.precision_recall_density_coverage(real, made) for made in (whole, half))
    assert after["precision"] > before["precision"] - 0.05
    assert before["recall"] > 0.85
    assert before["coverage"] > 0.85
    assert after["recall"] < 0.55
    assert after["coverage"] < 0.55


def test_a_mode_too_many_costs_precision_and_density_but_not_recall(samples):
    random = np.random.default_rng(3)
    real, made = heaps(random, 800, centres=(0,)), heaps(random, 400, centres=(0, 20))
    found = samples.precision_recall_density_coverage(real, made)
    assert found["precision"] < 0.55
    assert found["density"] < 0.6
    assert found["recall"] > 0.85


def test_points_crowded_in_the_middle_have_a_density_above_one(samples):
    random = np.random.default_rng(4)
    real = random.normal(size=(500, 10))
    found = samples.precision_recall_density_coverage(real, 0.3 * random.normal(size=(500, 10)))
    assert found["precision"] > 0.99
    assert found["density"] > 1.5
    assert found["recall"] < 0.5


def test_chunks_make_no_difference(samples):
    from sklearn import config_context

    random = np.random.default_rng(5)
    real, made = random.normal(size=(700, 2)), random.normal(size=(900, 2))
    whole = samples.precision_recall_density_coverage(real, made)
    with config_context(working_memory=0.1):  # MB: some twelve rows at a time
        assert samples.precision_recall_density_coverage(real, made) == whole


def test_two_halves_of_one_set_cannot_be_told_apart_and_other_sets_can(samples):
    random = np.random.default_rng(6)
    points = random.normal(size=(2000, 4))
    # The standard error of an accuracy of 1/2 over 2,000 points is 0.011.
    assert samples.two_sample_accuracy(points[:1000], points[1000:]) == pytest.approx(0.5, abs=0.045)
    assert samples.two_sample_accuracy(points[:1000], points[1000:] + 6) > 0.99
    # Same mean, other width: no linear classifier would see it.
    assert samples.two_sample_accuracy(points[:1000], 4 * points[1000:]) > 0.8


def test_of_sets_of_unlike_sizes_the_larger_is_cut(samples):
    points = np.random.default_rng(7).normal(size=(1600, 3))
    assert samples.two_sample_accuracy(points[:400], points[400:]) == pytest.approx(0.5, abs=0.09)


def test_a_grid_shows_the_pictures_in_order(samples, tmp_path):
    rows = np.zeros((128, 784), np.float32)
    rows[17] = 1  # second row, second column
    samples.draw_grid(rows, tmp_path / "grid.png")
    shown = np.asarray(Image.open(tmp_path / "grid.png"))
    assert shown.shape == (8 * 56, 16 * 56)
    assert (shown[56:112, 56:112] == 0).all()
    assert shown.sum() == 255 * (shown.size - 56 * 56)
