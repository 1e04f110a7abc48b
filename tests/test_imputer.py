"""Standard errors and draws of what is missing, means in the units of the cells, and the imputer of pipelines."""

import equinox as eqx
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import omokage as om
from omokage import inference
from omokage.batch import Batch
from omokage.errors import DataError, ParameterError
from omokage.testing import linear_gaussian

SMALL = {"latent_dim": 2, "hidden": (8,), "epochs": 3, "batch_size": 16, "verbose": 0}


def test_standard_errors_and_draws_are_those_of_the_conditional_normal_of_a_linear_model():
    model, _, _ = linear_gaussian(1)
    wide = np.full(2, 0.5, np.float32)  # a posterior that knows little: of a narrow one few draws have all the weight
    model = eqx.tree_at(lambda m: m.posterior.heads["log_variance"].bias, model, wide)
    head = model.likelihood.heads["mean"]
    W, b = np.float64(head.weight), np.float64(head.bias)
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 2)) @ W.T + b + 0.7 * random.normal(size=(200, 5))
    seen = np.array([True, False, True, False, False])
    mask = np.broadcast_to(seen, x.shape)
    covariance = W @ W.T + 0.7**2 * np.eye(5)
    gain = covariance[np.ix_(~seen, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    means = b[~seen] + (x[:, seen] - b[seen]) @ gain.T
    rest = covariance[np.ix_(~seen, ~seen)] - gain @ covariance[np.ix_(seen, ~seen)]
    batch = Batch(np.where(mask, x, 0).astype(np.float32), mask=mask)
    found = inference.imputation(model, batch, 5, 2000)
    assert not found["variance"][:, seen].any()
    np.testing.assert_allclose(found["variance"][:, ~seen].mean(0), np.diag(rest), rtol=0.03)
    drawn = inference.completions(model, batch, 5, 500, 0, 60)
    assert np.array_equal(drawn[:, :, seen], np.broadcast_to(batch.x[:, None, seen], (200, 60, 2)))
    white = np.linalg.solve(np.linalg.cholesky(rest), (drawn[:, :, ~seen] - means[:, None]).reshape(-1, 3).T)
    # 12,000 draws, of 60 in a row that choose among the same z.
    np.testing.assert_allclose(white.mean(1), 0, atol=0.05)
    np.testing.assert_allclose(np.cov(white), np.eye(3), atol=0.06)


def rows(n: int, seed: int = 0) -> pl.DataFrame:
    """Return rows of amounts, half of them 0, and what goes with them; a fifth of the cells is missing."""
    random = np.random.default_rng(seed)
    z = random.normal(size=n)
    frame = pl.DataFrame(
        {
            "id": [f"r{number}" for number in range(n)],
            "amount": np.where(z + 0.5 * random.normal(size=n) < -0.3, 0.0, np.exp(z + 0.3 * random.normal(size=n))),
            "size": 2 * z + 0.3 * random.normal(size=n),
            "level": np.where(z + 0.3 * random.normal(size=n) > 0, "high", "low"),
            "flag": np.where(z + random.normal(size=n) > 0, 3, 1),
            "count": random.poisson(np.exp(1 + 0.5 * z)),
        }
    )
    gone = random.random((n, 5)) < 0.2
    return frame.with_columns(
        pl.when(pl.Series(hidden)).then(None).otherwise(frame[name]).alias(name)
        for name, hidden in zip(frame.columns[1:], gone.T, strict=True)
    )


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return rows(300)


@pytest.fixture(scope="module")
def vae(frame) -> om.VAE:
    settings = SMALL | {"epochs": 40, "batch_size": 50, "learning_rate": 0.01}
    with pytest.warns(UserWarning, match="'id': a key"):
        return om.VAE(**settings).fit(frame)


def test_means_and_standard_errors_of_cells_are_those_of_draws(vae, frame):
    amount = vae.schema_.types[0]
    assert amount.spikes == (0.0,) and amount.spline is not None
    filled, errors = vae.impute(frame, return_std=True, rounding=False, samples=200)
    drawn = vae.impute(frame, draws=200, samples=200)
    for name in ("amount", "size", "flag", "count"):
        gone = frame[name].is_null().to_numpy()
        values = np.array([table[name].to_numpy()[gone] for table in drawn], float)
        apart = (values.mean(0) - filled[name].to_numpy()[gone]) / np.maximum(values.std(0), 1e-2) * np.sqrt(200)
        assert 0.7 < np.sqrt(np.square(apart).mean()) < 1.4 and np.abs(apart).max() < 5.5
        if name != "flag":
            ratio = values.std(0) / errors[name].to_numpy()[gone]
            assert np.median(ratio) == pytest.approx(1, abs=0.08)
    gone = frame["level"].is_null().to_numpy()
    other = np.mean([table["level"] != filled["level"] for table in drawn], axis=0)[gone]
    np.testing.assert_allclose(other, errors["level"].to_numpy()[gone], atol=0.15)
    assert (errors["level"] <= 0.5).all()


def test_what_is_there_stays_and_types_too(vae, frame):
    filled, errors = vae.impute(frame, return_std=True, samples=200)
    for table in (filled, *vae.impute(frame, draws=2, samples=200)):
        assert table.schema == frame.schema and not any(table.null_count().row(0))
        for name in frame.columns:
            there = frame[name].is_not_null()
            assert table[name].filter(there).to_list() == frame[name].filter(there).to_list()
    assert errors.columns == frame.columns
    for name in frame.columns[1:]:
        np.testing.assert_array_equal(errors[name].to_numpy() > 0, frame[name].is_null().to_numpy())
    assert set(filled["flag"]) == {1, 3}
    assert not set(vae.impute(frame, rounding=False, samples=200)["flag"]) <= {1, 3}


def test_draws_differ_and_repeat_by_their_seed(vae, frame):
    first, second = vae.impute(frame, draws=2, samples=200)
    assert not first["size"].equals(second["size"])
    again = vae.impute(frame, draws=2, samples=200)
    assert first.equals(again[0]) and second.equals(again[1])
    assert not vae.impute(frame, draws=2, samples=200, seed=1)[0].equals(first)
    # Rows that are equal are drawn apart.
    twice = pl.concat([frame[:1].with_columns(size=pl.lit(None, pl.Float64))] * 2)
    sizes = vae.impute(twice, draws=2, samples=200)[0]["size"]
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"draws": 0}, "draws: expected a whole number of at least 1"),
        ({"draws": 2, "return_std": True}, "draws: expected return_std=False"),
        ({"draws": 2, "rounding": False}, "draws: expected return_std=False and rounding=True"),
        ({"rounding": 3}, "rounding: expected True or False"),
    ],
)
def test_options_that_cannot_be_used_are_named(vae, frame, given, words):
    with pytest.raises(ParameterError, match=words):
        vae.impute(frame, **given)


def test_series_have_draws_and_errors_and_windows_of_them_no_draws():
    X = np.sin(np.arange(12)[:, None] / 2 + np.random.default_rng(0).uniform(0, 6, (32, 1, 1)))
    X[::3, 4:7] = np.nan
    vae = om.VAE(**SMALL | {"epochs": 1}, data="sequences").fit(X)
    filled, errors = vae.impute(X, return_std=True, samples=4)
    np.testing.assert_array_equal(errors > 0, np.isnan(X))
    first, second = vae.impute(X, draws=2, samples=4)
    assert first.shape == X.shape and not np.isnan(filled + first).any()
    np.testing.assert_array_equal(first != second, np.isnan(X))
    windows = om.VAE(**SMALL | {"epochs": 1}, data=om.data.Sequences(window=6)).fit(X[:2])
    assert windows.impute(X[:2], samples=4, return_std=True)[1].shape == X[:2].shape
    with pytest.raises(DataError, match="draws: series are cut into windows"):
        windows.impute(X[:2], draws=2)


def test_the_command_writes_draws_and_standard_errors(vae, frame, tmp_path, command):
    vae.save(tmp_path / "m")
    frame.write_csv(tmp_path / "rows.csv")
    asked = ["impute", tmp_path / "m", tmp_path / "rows.csv", "--samples", "200", "--out", tmp_path / "out.csv"]
    assert command(*asked, "--draws", "2")[0] == 0
    table = pl.read_csv(tmp_path / "out.csv")
    assert table.columns == ["draw", *frame.columns] and table["draw"].to_list() == [1] * 300 + [2] * 300
    assert command(*asked, "--std", tmp_path / "std.csv")[0] == 0
    expected = vae.impute(frame, return_std=True, samples=200)
    for file, answer in zip(("out.csv", "std.csv"), expected, strict=True):
        found = pl.read_csv(tmp_path / file)
        assert found.columns == frame.columns
        np.testing.assert_allclose(found["size"].to_numpy(), answer["size"].to_numpy(), rtol=1e-6)
    code, _, said = command(*asked, "--draws", "2", "--std", tmp_path / "std.csv")
    assert code != 0 and "Leave one out" in said


def table(n: int = 64) -> pd.DataFrame:
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(n, 3)), columns=["a", "b", "c"])
    return X.mask(random.random(X.shape) < 0.2)


def test_an_imputer_is_a_step_of_a_pipeline():
    X, y = table(), np.arange(64.0)
    imputer = om.Imputer(om.VAE(**SMALL), samples=4)
    pipeline = make_pipeline(clone(imputer), LinearRegression()).fit(X, y)
    assert pipeline.predict(X).shape == (64,)
    assert pipeline[:-1].get_feature_names_out().tolist() == ["a", "b", "c"]
    filled = imputer.fit(X).transform(X)
    assert isinstance(filled, pd.DataFrame) and not filled.isna().any(axis=None)
    assert filled.equals(imputer.estimator_.impute(X, samples=4))
    array = om.Imputer(om.VAE(**SMALL), samples=4).set_output(transform="pandas").fit(X.to_numpy())
    assert list(array.transform(X.to_numpy())) == ["x0", "x1", "x2"]
    frozen = om.Imputer(FrozenEstimator(imputer.estimator_), samples=4).fit(X[:10])
    assert frozen.estimator_.estimator is imputer.estimator_ and frozen.transform(X).equals(filled)
    searched = om.Imputer(om.VAE(**SMALL)).set_params(estimator__latent_dim=1)
    assert searched.estimator.latent_dim == 1
    with pytest.raises(ParameterError, match="estimator: expected an estimator of omokage such as VAE"):
        om.Imputer(LinearRegression()).fit(X)


@parametrize_with_checks([om.Imputer(om.VAE(**SMALL), samples=4)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
