"""The estimators as users meet them: tools of the ecosystem, and every way to get it wrong."""

import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import omokage as om
from omokage.errors import DataError, ParameterError
from omokage.settings import AutoEncoderSettings, CommonSettings, VAESettings

IRIS = load_iris(as_frame=True).data
SETTINGS = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "batch_size": 50, "verbose": 0}


@pytest.fixture(scope="module", params=[om.VAE, om.AutoEncoder], ids=["VAE", "AutoEncoder"])
def fitted(request):
    return request.param(**SETTINGS).fit(IRIS)


def test_constructors_have_just_the_parameters_that_the_settings_declare():
    for kind, settings in ((om.VAE, VAESettings), (om.AutoEncoder, AutoEncoderSettings)):
        defaults = kind().get_params()
        assert set(defaults) == set(settings.model_fields)
        assert defaults == {name: field.default for name, field in settings.model_fields.items()}
        for name in settings.model_fields:
            assert f"    {name} : " in om.VAE.__doc__ or f"    {name} : " in om.AutoEncoder.__doc__


def test_every_parameter_refuses_what_it_cannot_be_and_says_its_name():
    class Wrong:
        pass

    for kind in (om.VAE, om.AutoEncoder):
        for name in kind().get_params():
            for value in ("no such name", -1.5, Wrong()):
                if name in ("random_state", "activation", "initializer", "schedule", "optimizer") and isinstance(
                    value, Wrong
                ):
                    continue  # may be an object; what it can do shows when it is called
                with pytest.raises(ParameterError, match=f"^{name}[:=]|parameters"):
                    kind(**{name: value}).fit(IRIS)


def test_all_problems_are_named_at_once_with_suggestions():
    with pytest.raises(ParameterError) as caught:
        om.VAE(latent_dim=0, optimizer="adma", learning_rate=-1, hidden=(8, 0)).fit(IRIS)
    text = str(caught.value)
    assert "latent_dim: expected a number greater than or equal to 1; got 0." in text
    assert "optimizer: expected 'adam', 'adamw', 'nadam', 'rmsprop' or 'sgd' or an object; got 'adma'." in text
    assert "Did you mean 'adam'?" in text
    assert "learning_rate: expected 'auto' or a number greater than 0; got -1." in text
    assert "hidden: expected 'auto' or a number greater than or equal to 1; got (8, 0)." in text


def test_numpy_numbers_and_lists_are_welcome():
    om.VAE(latent_dim=np.int64(2), hidden=[8], epochs=np.int32(1), learning_rate=np.float32(0.01), verbose=0).fit(IRIS)


def test_a_class_in_place_of_an_instance_is_pointed_out():
    with pytest.raises(ParameterError, match=r"likelihood: .*Did you mean Gaussian\(\)\?"):
        om.VAE(**SETTINGS, likelihood=om.likelihoods.Gaussian).fit(IRIS)


def test_parts_that_do_not_fit_together_are_refused():
    with pytest.raises(ParameterError, match=r"ELBO needs a posterior with a density.*posterior='diagonal'"):
        om.VAE(**SETTINGS, posterior="point").fit(IRIS)
    with pytest.raises(ParameterError, match="standardize='scale': Bernoulli is for values from 0 to 1"):
        om.VAE(**SETTINGS, likelihood="bernoulli", standardize="scale").fit(IRIS / 8)


def test_a_point_posterior_with_reconstruction_is_a_plain_autoencoder():
    vae = om.VAE(**SETTINGS, posterior="point", objective="reconstruction").fit(IRIS)
    assert set(vae.terms(IRIS)) == {"reconstruction"}
    np.testing.assert_array_equal(vae.score_samples(IRIS), vae.terms(IRIS)["reconstruction"])


BAD = {
    "nan": (
        IRIS.mask(IRIS.index.to_series() == 3).to_numpy(),
        DataError,
        "NaN.* at row 3, column 0, and 3 more",
    ),
    "inf": (np.where(np.eye(5, 3), np.inf, 1.0), DataError, "infinity .* at row 0, column 0, and 2 more"),
    "empty": (np.empty((0, 3)), ValueError, "0 sample"),
    "no columns": (np.empty((3, 0)), ValueError, r"0 feature"),
    "one row": (np.ones((1, 3)), ValueError, "1 sample.*minimum of 2"),
    "all constant": (np.ones((9, 3)), DataError, "every column is constant.*9 rows × 3 columns"),
    "lists": (pd.DataFrame({"a": [1.0, 2.0], "b": [[1], [2]]}), DataError, "column 'b' holds List"),
    "one dimension": (np.ones(5), ValueError, "Expected 2D array, got 1D array"),
    "no such file": ("no/such/file.csv", om.errors.FileFormatError, "no/such/file.csv"),
}


@pytest.mark.parametrize("case", BAD)
def test_data_that_cannot_be_used(case):
    X, error, text = BAD[case]
    with pytest.raises(error, match=text):
        om.VAE(**SETTINGS).fit(X)


def test_values_outside_of_a_likelihood_are_named():
    frame = pd.DataFrame({"a": [0.0, 1.0], "温度": [0.0, 20.0]})
    with pytest.raises(
        DataError, match=r"ContinuousBernoulli needs values from 0 to 1; columns '温度' have others \(from 0 to 20"
    ):
        om.VAE(**SETTINGS, likelihood="continuous_bernoulli").fit(frame)


def test_one_column_works_and_warns():
    with pytest.warns(UserWarning, match="latent_dim=2 is more than the 1 columns of X"):
        vae = om.VAE(**SETTINGS).fit(IRIS.iloc[:, :1])
    assert vae.sample(3).shape == (3, 1)


def test_constant_columns_among_others_are_reproduced():
    X = IRIS.assign(constant=7.5)
    vae = om.VAE(**{**SETTINGS, "epochs": 300}).fit(X)
    np.testing.assert_allclose(vae.reconstruct(X)[:, -1], 7.5, atol=0.1)
    assert list(vae.schema_.columns.constant) == [False] * 4 + [True]


def test_other_columns_than_at_fit_are_named(fitted):
    renamed = IRIS.rename(columns={"sepal length (cm)": "sepal size"})
    with pytest.raises(ValueError, match=r"(?s)unseen at fit time:.*sepal size.*missing:.*sepal length"):
        fitted.transform(renamed)
    with pytest.raises(ValueError, match=r"3 features, but .* is expecting 4"):
        fitted.transform(IRIS.to_numpy()[:, :3])
    with pytest.raises(DataError, match="Z: expected 2 columns, one a latent dimension; got 3"):
        fitted.inverse_transform(np.ones((4, 3)))


def test_clone_and_pickle_and_joblib(fitted):
    assert clone(fitted).get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(IRIS), fitted.transform(IRIS))
    np.testing.assert_array_equal(again.score_samples(IRIS), fitted.score_samples(IRIS))


def test_pipelines_name_their_features(fitted):
    pipeline = make_pipeline(StandardScaler(), type(fitted)(**SETTINGS)).set_output(transform="pandas").fit(IRIS)
    features = pipeline.transform(IRIS)
    name = type(fitted).__name__.lower()
    assert list(features.columns) == [f"{name}0", f"{name}1"] == list(pipeline[-1].get_feature_names_out())
    assert (features.index == IRIS.index).all()


def test_polars_in_and_out():
    frame = pl.from_pandas(IRIS)
    vae = om.VAE(**SETTINGS).set_output(transform="polars").fit(frame)
    assert isinstance(vae.transform(frame), pl.DataFrame)
    assert list(vae.feature_names_in_) == frame.columns
    plain = om.VAE(**SETTINGS).fit(IRIS)
    np.testing.assert_array_equal(vae.transform(frame).to_numpy(), plain.transform(IRIS))


def test_grid_search_takes_the_mean_bound_as_its_score():
    search = GridSearchCV(om.VAE(**SETTINGS), {"latent_dim": [1, 2]}, cv=2).fit(IRIS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    assert search.score(IRIS) == best.score(IRIS) == pytest.approx(best.score_samples(IRIS).mean())


@pytest.mark.optimised
@pytest.mark.slow
def test_joblib_workers_give_the_same_results():
    def work(seed):
        return om.VAE(**SETTINGS, random_state=seed).fit(IRIS).transform(IRIS)

    here = [work(seed) for seed in (0, 1)]
    there = joblib.Parallel(n_jobs=2)(joblib.delayed(work)(seed) for seed in (0, 1))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("X", "plain", "name"),
    [
        (np.eye(6, 4), False, "Bernoulli"),
        (np.eye(6, 4), True, "Bernoulli"),
        (np.eye(6, 4) * 0.7, False, "Gaussian"),
        (np.eye(6, 4) * 0.7, True, "Gaussian"),
        (np.eye(6, 4) * 7, False, "Gaussian"),
    ],
)
def test_the_likelihood_is_chosen_by_the_columns(X, plain, name):
    estimator = (om.AutoEncoder if plain else om.VAE)(**{**SETTINGS, "epochs": 1}).fit(X)
    assert type(estimator.recipe_.likelihood).__name__ == name
    bounded = name != "Gaussian"
    assert estimator.recipe_.standardize == (False if bounded else "center" if X.max() <= 1 else "scale")


def test_summary_counts_the_parameters():
    """784-1000-10-1000-784 of a plain autoencoder: weights and biases of four layers."""
    random = np.random.default_rng(0)
    ae = om.AutoEncoder(10, hidden=(1000,), epochs=1, batch_size=4, verbose=0).fit(random.random((4, 784)))
    summary = ae.summary()
    assert summary.total == 784 * 1000 + 1000 + 1000 * 10 + 10 + 10 * 1000 + 1000 + 1000 * 784 + 784
    assert sum(layer.parameters for layer in summary) == summary.total
    assert f"{summary.total:,}" in str(summary)


def test_progress_is_shown_where_it_is_wanted(capsys):
    om.VAE(**{**SETTINGS, "verbose": 1, "epochs": 100}).fit(IRIS)
    lines = capsys.readouterr().out.splitlines()
    assert 20 <= len(lines) <= 22
    assert lines[-1].startswith("epoch  100/100  ")
    assert "kl" in lines[-1]
    assert lines[-1].endswith("rows/s")
    om.VAE(**SETTINGS).fit(IRIS)
    assert capsys.readouterr() == ("", "")


def test_no_device_of_that_kind():
    with pytest.raises(ParameterError, match="device='tpu': there is none here; JAX sees"):
        om.VAE(**SETTINGS, device="tpu").fit(IRIS)


def test_random_state_none_is_another_seed_each_time():
    one, other = (om.VAE(**SETTINGS, random_state=None).fit(IRIS).transform(IRIS) for _ in range(2))
    assert not np.array_equal(one, other)


def test_settings_are_frozen_and_common():
    assert issubclass(VAESettings, CommonSettings)
    with pytest.raises(ValueError, match="frozen"):
        VAESettings().latent_dim = 3


@pytest.mark.parametrize("kind", [om.VAE, om.AutoEncoder])
def test_a_model_that_is_not_fitted_says_so(kind):
    for method in ("transform", "inverse_transform", "reconstruct", "score_samples", "terms", "score"):
        with pytest.raises(NotFittedError):
            getattr(kind(), method)(IRIS)


def test_rows_that_the_likelihood_cannot_have_made_are_refused():
    """A Bernoulli would call them more than normal: its log-density is linear in x."""
    bits = np.eye(6, 4)
    vae = om.VAE(**SETTINGS).fit(bits)
    with pytest.raises(DataError, match="expected values from 0 to 1, as at fit; got 255 at row 0, column 0"):
        vae.score_samples(bits * 255)
    with pytest.raises(DataError, match="expected values from 0 to 1"):
        om.VAE(**SETTINGS).fit(bits, X_valid=bits * 2)


def test_what_is_saved_is_what_was_fitted(tmp_path):
    vae = om.VAE(**SETTINGS).fit(IRIS)
    features = vae.transform(IRIS)
    vae.set_params(activation="tanh", latent_dim=3).save(tmp_path / "m")
    np.testing.assert_array_equal(om.load(tmp_path / "m").transform(IRIS), features)


def test_a_point_mass_has_no_likelihood():
    vae = om.VAE(**SETTINGS, posterior="point", objective="reconstruction").fit(IRIS)
    with pytest.raises(ParameterError, match="posterior='point' has no density"):
        vae.log_likelihood(IRIS)


def test_denoising_a_vae_keeps_its_kl():
    assert om.VAE(**SETTINGS, objective="denoising").fit(IRIS).history_[-1]["kl"] >= 0


def test_constant_columns_leave_the_others_alone():
    X = IRIS.to_numpy()
    wide = np.hstack([X, np.full((len(X), 5), 7.5)])
    settings = {**SETTINGS, "epochs": 60}
    plain, beside = (om.VAE(**settings).fit(data).reconstruct(data)[:, :4] for data in (X, wide))
    errors = [np.mean(((X - rebuilt) / X.std(0)) ** 2) for rebuilt in (plain, beside)]
    assert errors[1] < 2 * errors[0] + 0.05


def test_rates_are_not_taken_for_grey_levels():
    random = np.random.default_rng(0)
    rates = random.random((50, 4)) * [1.0, 1e-3, 1e-3, 1e-3]
    vae = om.VAE(**SETTINGS).fit(rates)
    assert (vae.recipe_.likelihood.scale, vae.recipe_.standardize) == ("feature", "scale")


def test_rows_of_zeros_and_ones_get_draws_of_their_own():
    bits = (np.random.default_rng(0).random((2000, 32)) > 0.5).astype(float)
    vae = om.VAE(**{**SETTINGS, "epochs": 1}).fit(bits)
    noise = vae.reconstruct(bits, sample=True) - vae.reconstruct(bits)
    assert len(np.unique(noise, axis=0)) > 0.99 * len(np.unique(bits, axis=0))
