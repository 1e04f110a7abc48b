"""Questions as values: each is a function of arrays that can be traced for any number of rows, in raw units as well."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax import export

import omokage as om
from omokage import questions
from omokage.batch import Batch
from omokage.data.kinds import open_data
from omokage.detection import scores
from omokage.ensemble import of_each
from omokage.estimators.fitting import prepared
from omokage.questions import QUESTIONS

RANDOM = np.random.default_rng(0)
FEW = {"latent_dim": 2, "epochs": 1, "verbose": 0}
TABLE = RANDOM.normal(size=(30, 4)) * [1, 10, 0.1, 3] + [0, 100, 1, -5]
SERIES = RANDOM.normal(size=(12, 6, 2)) * 5 + 20
PICTURES = RANDOM.random((12, 8, 8, 1)) * 255


KINDS = {
    "table": (om.VAE(hidden=(8,), **FEW), TABLE),
    "autoregressive": (om.VAE(hidden=(8,), likelihood=om.likelihoods.Autoregressive(width=4, bins=5), **FEW), TABLE),
    "autoencoder": (om.AutoEncoder(hidden=(8,), **FEW), TABLE),
    "series": (om.VAE(hidden=(8,), network="gru", **FEW), SERIES),
    "windows": (om.VAE(hidden=(8,), network="tcn", **FEW), SERIES),
    "pictures": (om.VAE(network="conv", data="images", **FEW), PICTURES),
}
OTHERS = [pytest.param(kind, marks=pytest.mark.slow) for kind in list(KINDS)[1:]]


@functools.cache
def fitted(kind):
    model, X = KINDS[kind]
    return model.fit(X), X


def untrained(estimator, X):
    return prepared(estimator._checked(), open_data(X, "auto"), 0, None, None)[2]


def rows_of(x):
    return Batch(x, lengths=jnp.full(x.shape[0], x.shape[1], jnp.int32) if x.ndim == 3 else None)


def exported(model, name, shape, latent=2):
    """Return a question as a program for a number of rows that is not known when it is made."""
    question = QUESTIONS[name]

    def ask(x):
        first, *options = question.example(rows_of(x), latent)
        return question.function(model, first, *options)

    (count,) = export.symbolic_shape("rows")
    return export.export(jax.jit(ask))(jax.ShapeDtypeStruct((count, *shape), jnp.float32))


@pytest.mark.parametrize("kind", ["table", *OTHERS])
def test_every_question_is_a_program_for_any_number_of_rows(kind):
    model, X = fitted(kind)
    fit = model.fitted_
    expected = set(QUESTIONS)
    if kind == "autoencoder":  # whose posterior is a point
        expected -= {"deviations", "divergences", "log_likelihood"}
    assert set(fit.questions) == expected
    sizes = {"row": (), "latent": (2,), "event": X.shape[1:], "events": (2, *X.shape[1:])}
    for name, question in fit.questions.items():
        program = exported(fit.model_of_raw_rows, name, X.shape[1:])
        given = jax.tree.unflatten(program.out_tree, program.out_avals)
        given = given if isinstance(given, dict) else {"": given}
        assert set(given) == (set(question.gives) if kind != "autoencoder" else set(question.gives) - {"kl", "elbo"})
        for part, value in given.items():
            assert value.shape[1:] == sizes[question.gives[part].of], name
            assert str(value.shape[0]) == "rows" and value.dtype == jnp.float32


@pytest.mark.parametrize("kind", ["table", *OTHERS[2:]])
def test_a_program_of_raw_rows_answers_as_the_estimator_does(kind):
    model, X = fitted(kind)
    x, raw = X.astype(np.float32), model.fitted_.model_of_raw_rows
    found = {name: exported(raw, name, X.shape[1:]).call(x) for name in ("features", "reconstruction", "terms")}
    np.testing.assert_allclose(found["features"], model.transform(X), atol=1e-4)
    np.testing.assert_allclose(found["reconstruction"], model.reconstruct(X), rtol=1e-4, atol=1e-3)
    # The noise of a draw depends on where a row lies, in the model's own units, and rounding moves few rows.
    np.testing.assert_allclose(found["terms"]["kl"], model.terms(X)["kl"], rtol=1e-3, atol=1e-3)
    apart = np.abs(found["terms"]["elbo"] - model.score_samples(X))
    assert np.median(apart) < 1e-3 and apart.max() < 0.05 * X[0].size


def test_raw_rows_of_an_ensemble_with_units_of_its_members_and_of_a_context():
    X = np.random.default_rng(1).normal(size=(60, 4)) * [1, 10, 100, 1] + 5
    told = np.linspace(100, 200, 60)
    settings = {"latent_dim": 2, "hidden": (8,), "epochs": 1}
    detector = om.AnomalyDetector(settings, ensemble=3, score="mahalanobis", verbose=0).fit(X, context=told)
    fit = detector.fitted_
    assert fit.model.models.codec is not None  # each member has learned its units from other rows
    rows = Batch(X.astype(np.float32), context=told.astype(np.float32)[:, None])
    question = of_each(questions.reconstruction)
    encoded = detector.schema_.rows(X).with_context(fit.context.encode(told[:, None], 60)).whole
    columns = detector.schema_.columns
    mine = np.asarray(question(fit.model, encoded)) * columns.scale + columns.location
    np.testing.assert_allclose(question(fit.model_of_raw_rows, rows), mine, rtol=1e-3, atol=1e-3)
    deviances = of_each(lambda model, batch: scores.CONTRIBUTIONS["mahalanobis"](model, batch))
    np.testing.assert_allclose(
        deviances(fit.model_of_raw_rows, rows), deviances(fit.model, encoded), rtol=1e-2, atol=1e-3
    )


def test_what_a_model_has_no_answer_to_is_not_among_its_questions():
    rows = Batch(TABLE[:1].astype(np.float32))
    heavy = untrained(om.VAE(hidden=(8,), likelihood=om.likelihoods.NumPyro(dist.Cauchy), **FEW), TABLE)
    found = set(questions.answered(heavy, rows))
    assert {"decoded", "reconstruction", "scales", "sample_means"}.isdisjoint(found)
    assert {"features", "terms", "samples"} < found
    full = untrained(om.VAE(hidden=(8,), posterior="full_normal", **FEW), TABLE)
    assert set(questions.answered(full, rows)) == set(QUESTIONS) - {"divergences"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        *({"likelihood": name} for name in ("laplace", "student_t", "log_normal", "poisson", "negative_binomial")),
        *({"likelihood": name} for name in ("bernoulli", "continuous_bernoulli")),
        {"likelihood": om.likelihoods.Categorical(3)},
        {"likelihood": om.likelihoods.DiscretizedLogistic()},
        *({"posterior": one} for one in ("full_normal", om.posteriors.Flow(), om.posteriors.Flow("coupling"))),
        *({"prior": name} for name in ("full_normal", "mixture", "vamp", "flow", "two_layer")),
        {"normalization": "batch"},
        {"normalization": "layer", "activation": "gelu"},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_members_of_all_axes_are_programs_for_any_number_of_rows(settings):
    X = np.random.default_rng(0).integers(0, 2, (20, 3)).astype(float)
    X = X + 1 if settings.get("likelihood") == "log_normal" else X
    model = untrained(om.VAE(latent_dim=2, hidden=(8,), verbose=0, **settings), X)
    for name in ("drawn_reconstruction", "terms", "log_likelihood", "samples"):
        given = exported(model, name, (3,)).out_avals
        assert all(str(value.shape[0]) == "rows" for value in given), name
