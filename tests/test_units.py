"""In which unit values are given changes nothing, and a value far out changes little of the rest of its row."""

from typing import Any, cast

import numpy as np
import pytest
from sklearn.datasets import load_digits

import omokage as om
from omokage.batch import Batch, Event
from omokage.data.columns import Moments
from omokage.model import Model
from omokage.nets.views import Bounds

SMALL = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "batch_size": 100, "verbose": 0}
LEVELS = load_digits().data  # whole numbers from 0 to 16


def width(X, pixels=False):
    return Moments.empty(X.shape[1]).updated(X).common_range(pixels)


def test_columns_share_a_range_whatever_its_unit():
    random = np.random.default_rng(0)
    faces = np.clip(random.normal(120, 40, (400, 64)), 9, 238).round()  # which reach neither 0 nor 255
    assert width(LEVELS / 16) == width(faces / 255) == 1
    assert (width(LEVELS), width(LEVELS * 50 - 7), width(LEVELS / 8 - 1)) == (16, 800, 2)
    assert (width(faces), width(faces * 257)) == (255, 65535)
    assert width(LEVELS / 16 - LEVELS.mean(0) / 16) == 1  # less the mean picture


def test_columns_of_a_table_share_no_range():
    random = np.random.default_rng(0)
    normal, counts = random.normal(size=(500, 64)), random.poisson(random.gamma(1, 20, 64), (500, 64))
    for X in (normal, counts * 1.0, normal[:, :2] * [1, 100], random.random((500, 3)) * [1, 2, 3], normal * 0 + 1):
        assert width(X) is None
    answers = random.integers(1, 6, (500, 9)) * 1.0  # from 1 to 5, as of a questionnaire
    assert (width(answers), width(answers, pixels=True)) == (None, 4)


@pytest.mark.parametrize("scale, shift", [(255 / 16, 0), (1, 0), (4096, -7)])
def test_a_model_of_grey_levels_is_the_same_in_any_unit(scale, shift):
    unit, other = LEVELS[:500] / 16, LEVELS[:500] * scale + shift
    model, same = (om.VAE(**SMALL).fit(X) for X in (unit, other))
    width = 16 * scale
    assert (model.recipe_.standardize, same.recipe_.standardize) == ("center", "range")
    assert same.recipe_.likelihood == model.recipe_.likelihood
    np.testing.assert_allclose((same.reconstruct(other) - shift) / width, model.reconstruct(unit), atol=1e-4)
    np.testing.assert_allclose(same.transform(other), model.transform(unit), atol=1e-3)
    # Of each of the 64 pixels the density is that of a unit which is so many times as wide.
    densities = same.score_samples(other) + 64 * np.log(width)
    np.testing.assert_allclose(densities, model.score_samples(unit), rtol=1e-4, atol=1e-2)


def test_networks_see_nothing_beyond_twenty_deviations():
    spread, centre = np.array([1.0, 2.0, 0.001]), np.array([0.0, 5.0, 0.0])
    bounds = Bounds(Event((3,), np.ones(3), spread, centre))
    usual = np.sqrt(np.mean(spread**2))
    seen = np.asarray(bounds(np.array([[3e38, -3e38, 3e38], [1.0, 4.0, 0.5]], np.float32)))
    np.testing.assert_allclose(seen, [[20 * usual, 5 - 40, 20 * usual], [1.0, 4.0, 0.5]], rtol=1e-6)


def test_of_two_values_networks_see_the_farther_one_farther():
    bounds = Bounds(Event((1,), np.ones(1), np.ones(1), np.full(1, 3.0)))
    out = np.geomspace(1, 1e4, 500, dtype=np.float32)[:, None]
    above, below = np.asarray(bounds(3 + out)), np.asarray(bounds(3 - out))
    np.testing.assert_allclose(above - 3, 3 - below, rtol=1e-6)
    slopes = np.diff(above[:, 0]) / np.diff(out[:, 0])
    assert (slopes > 0).all() and (np.diff(slopes) < 1e-3).all()  # ever slower, without a jump
    within = (3 + out)[out < 10]
    np.testing.assert_array_equal(above[out < 10], within)  # to the bit: a model of such rows is what it was


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    X = random.normal(size=(500, 2)) @ random.normal(size=(2, 6)) + 0.1 * random.normal(size=(500, 6))
    X[:, 5] = 0
    X[7, 5] = 1e-3  # hardly ever varies: its deviation is 1/22 of that
    return X


@pytest.mark.parametrize("estimator", [om.VAE, om.AutoEncoder])
def test_an_entry_far_out_leaves_the_rest_of_its_row(estimator, table):
    model = estimator(**SMALL).fit(table)
    rows, far = table[:50].copy(), table[:50].copy()
    rows[:, 5], far[:, 5] = 1e-3, 1e3
    # 1e-3 is seen at 15 deviations, and 1e3, a million times as far, at 20.
    codes = model.transform(table)
    assert (np.abs(model.transform(far) - model.transform(rows)) < np.ptp(codes, axis=0)).all()
    moved = np.abs(model.reconstruct(far) - model.reconstruct(rows))
    assert (moved < np.ptp(table, axis=0)).all()
    # The density is that of the value as it is.
    if estimator is om.VAE:
        assert (model.score_samples(far) < model.score_samples(rows) - 1e6).all()


def test_a_hole_is_still_a_hole_to_a_network():
    """Also where means are far from 0, so that 0, which stands for a hole, lies out of bounds."""
    bounds = Bounds(Event((1,), np.ones(1), np.ones(1), np.full(1, 1000.0)))
    model = Model(*3 * [cast(Any, None)], bounds=bounds)
    x = np.array([[[1001.0], [0.0], [2000.0], [0.0]]], np.float32)
    holes = Batch(x, mask=np.array([[[True], [False], [True], [False]]]))
    for rows in (holes, Batch(x[:, :3], mask=holes.mask[:, :3], lengths=np.array([3]))):
        np.testing.assert_allclose(np.ravel(model.seen(rows)), [1001, 0, 1019.9, 0][: rows.x.shape[1]])
    padded = Batch(x[:, [0, 2, 1, 3]], lengths=np.array([2]))
    np.testing.assert_allclose(np.ravel(model.seen(padded)), [1001, 1019.9, 0, 0])


def test_members_with_units_of_their_own_and_their_folders(table, tmp_path):
    detector = om.AnomalyDetector({**SMALL, "epochs": 1}, ensemble=2, verbose=0).fit(table)
    far = table[:5].copy()
    far[:, 5] = [1, 10, 100, 1e3, 1e4]
    scores = detector.score_samples(far)
    assert np.isfinite(scores).all() and (np.diff(scores) < 0).all()
    detector.save(tmp_path / "detector")
    np.testing.assert_array_equal(om.load(tmp_path / "detector").score_samples(far), scores)
