"""What stands when a fit is refused or interrupted, in threads and in copies of a process, and in other units."""

import os
import threading

import numpy as np
import pandas as pd
import polars as pl
import pytest

import omokage as om
from omokage import training
from omokage.data import Sequences
from omokage.errors import DataError, ForkError, ParameterError

SMALL = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "verbose": 0}
X = np.random.default_rng(0).normal(size=(60, 4))


@pytest.fixture(scope="module")
def vae():
    return om.VAE(**SMALL).fit(X)


@pytest.fixture
def fitted(vae):
    """Return an estimator with the fit of `vae`, which a test may spoil."""
    other = om.VAE(**SMALL)
    other.fitted_ = vae.fitted_
    return other


@pytest.mark.parametrize(
    "refused",
    [
        np.ones((60, 3)),
        np.full((60, 5), np.nan),
        pd.DataFrame({"a": [1.0, 2.0], "b": [[1], [2]]}),
        np.ones((1, 4)),
        "no such file.csv",
        [],
    ],
)
def test_a_fit_that_is_refused_changes_nothing(fitted, refused):
    before, expected = fitted.fitted_, fitted.score_samples(X)
    with pytest.raises((ValueError, TypeError)):
        fitted.fit(refused)
    assert fitted.fitted_ is before
    np.testing.assert_array_equal(fitted.score_samples(X), expected)
    assert fitted.n_features_in_ == 4


def test_what_comes_beside_x_is_refused_without_a_change_too(fitted):
    before = fitted.fitted_
    for beside in (
        {"sample_weight": np.full(60, -1)},
        {"sample_weight": np.arange(60).astype("timedelta64[s]")},
        {"X_valid": np.ones((5, 3))},
        {"context_valid": np.ones(5)},
        {"resume": True},
    ):
        with pytest.raises((DataError, ParameterError)):
            fitted.fit(X, **beside)
        assert fitted.fitted_ is before


def test_an_interruption_before_the_first_epoch_is_over_changes_nothing(fitted, monkeypatch):
    before = fitted.fitted_

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training._Run, "advance", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(X[:, :3])
    assert fitted.fitted_ is before


def test_a_refused_detector_stays_as_it_was():
    detector = om.AnomalyDetector(om.VAE(**SMALL), ensemble=2, verbose=0).fit(X)
    before = detector.fitted_
    with pytest.raises(DataError):
        detector.fit(np.ones((60, 3)))
    with pytest.raises(DataError):
        detector.recalibrate(np.ones((60, 3)))
    assert detector.fitted_ is before


def test_a_thread_that_asks_while_another_fits_has_the_old_model_or_the_new(vae):
    wide = om.VAE(**SMALL).fit(np.hstack([X, X]))
    expected = {4: vae.transform(X), 8: wide.transform(np.hstack([X, X]))}
    shared, problems, ends = om.VAE(**SMALL), [], threading.Event()
    shared.fitted_ = vae.fitted_

    def ask():
        while not ends.is_set():
            for rows in (X, np.hstack([X, X])):
                try:
                    found = shared.transform(rows)
                except DataError as error:  # the other model
                    if "features" not in str(error):
                        problems.append(error)
                except Exception as error:  # whatever it is, it is what is looked for
                    problems.append(error)
                else:
                    if not np.array_equal(found, expected[rows.shape[1]]):
                        problems.append("neither the old model nor the new one")

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(40):
        shared.fitted_ = wide.fitted_
        shared.fitted_ = vae.fitted_
    ends.set()
    for thread in threads:
        thread.join()
    assert not problems, problems[:3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_process_made_by_fork_after_computing_fails_at_once(vae):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            vae.transform(X)
            os.write(writing, b"answered")
        except ForkError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert b"spawn" in os.read(reading, 1000)
    os.close(reading)
    os.close(writing)


def test_a_unit_changes_nothing_but_rounding():
    """A column in thousandths has the same order of training rows, and so the same model to rounding."""
    other = X.copy()
    other[:, 1] *= 1000
    settings = {**SMALL, "epochs": 20}
    one, two = (om.VAE(**settings).fit(rows) for rows in (X, other))
    np.testing.assert_allclose(two.transform(other), one.transform(X), atol=1e-3)
    series = np.random.default_rng(1).normal(size=(24, 6, 2))
    settings = {**SMALL, "hidden": (4,), "network": "tcn"}
    one, two = (om.VAE(**settings).fit(series * [1, unit]) for unit in (1, 1000))
    np.testing.assert_allclose(two.transform(series * [1, 1000]), one.transform(series), atol=1e-3)


def test_one_long_series_comes_back_as_one():
    long = np.random.default_rng(2).normal(size=(100, 2))
    long[20:25, 0] = np.nan
    vae = om.VAE(**{**SMALL, "hidden": (4,), "network": "tcn"}, data=Sequences(window=16)).fit(long)
    assert vae.reconstruct(long).shape == (100, 2)
    assert vae.entry_scores(long).shape == (100, 2)
    assert vae.step_scores(long).shape == (100,)
    filled = vae.impute(long, samples=2, rounds=1)
    assert not np.isnan(filled).any()
    there = ~np.isnan(long)
    np.testing.assert_array_equal(filled[there], long[there])
    several = [long, long[:60]]
    assert [len(one) for one in vae.reconstruct(several)] == [100, 60]
    other = om.VAE(**{**SMALL, "hidden": (4,), "network": "tcn"}, data=Sequences(layout="NCT", window=16)).fit(long.T)
    assert other.reconstruct(long.T).shape == (2, 100)


def test_times_of_text_are_in_the_order_of_time():
    times = ["31.01.2024 23:00", "01.02.2024 00:00", "01.02.2024 01:00", "1.2.2024 02:00"]
    frame = pl.DataFrame({"at": times[:3], "x": [1.0, 2.0, 3.0]})
    read = Sequences(window=2, time="at").rows(frame)
    assert read.count == 2
    with pytest.raises(DataError, match=r"row 1 .* comes before the time of row 0"):
        Sequences(window=2, time="at").rows(frame[::-1])
    assert Sequences(window=2, time="at").rows(frame.with_columns(at=pl.Series(["9", "10", "11"]))).count == 2
    with pytest.raises(DataError, match="ISO 8601"):
        Sequences(window=2, time="at").rows(
            frame.with_columns(at=pl.Series(["01/02/2024", "02/02/2024", "03/02/2024"]))
        )
