"""Distances to neighbours: right, and the same to the bit in any company."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

import omokage as om
from omokage.detection.neighbours import Neighbours


@pytest.mark.parametrize(("known", "width"), [(1, 3), (4, 2), (300, 16), (2000, 8)])
@pytest.mark.parametrize("shift", [0, 100])
def test_distances_are_those_of_another_library(known, width, shift):
    random = np.random.default_rng(0)
    points = (random.normal(size=(known, width)) + shift).astype(np.float32)
    asked = np.concatenate([points[:3], random.normal(size=(500, width)) * 2 + shift]).astype(np.float32)
    near, count = Neighbours(points), min(6, known)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points.astype(np.float64))
    expected = search.kneighbors(asked.astype(np.float64))[0] / near.unit
    if count > 1:
        at_home = expected[:, 0] == 0
        expected = np.where(at_home, expected[:, 1:].mean(1), expected[:, :-1].mean(1))
    np.testing.assert_allclose(near.distances(asked), np.ravel(expected), rtol=1e-5, atol=1e-7)


@pytest.mark.optimised
def test_a_distance_is_the_same_alone_and_among_others():
    random = np.random.default_rng(1)
    near = Neighbours(random.normal(size=(700, 16)).astype(np.float32))
    asked = random.normal(size=(3000, 16)).astype(np.float32)
    together = near.distances(asked)
    assert np.array_equal(together[::-1], near.distances(asked[::-1]))
    assert np.array_equal(together[100:900], near.distances(asked[100:900]))
    assert all(together[row] == near.distances(asked[row : row + 1])[0] for row in range(0, 3000, 75))


def test_far_points_have_finite_distances():
    near = Neighbours(np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))
    assert np.isfinite(near.distances(np.full((1, 4), 1e15, np.float32))).all()
    assert near.distances(np.zeros((0, 4), np.float32)).shape == (0,)


@pytest.mark.optimised
@pytest.mark.parametrize("kind", ["vectors", "series"])
def test_a_detectors_score_is_the_same_alone_and_among_others(kind):
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 5)) if kind == "vectors" else np.cumsum(random.normal(size=(60, 20, 2)), 1) / 5
    settings = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "batch_size": 20}
    detector = om.AnomalyDetector(settings, ensemble=2, verbose=0).fit(X)
    together = detector.score_samples(X)
    assert np.array_equal(together[::-1], detector.score_samples(X[::-1]))
    assert all(together[row] == detector.score_samples(X[row : row + 1])[0] for row in range(0, len(X), 7))
