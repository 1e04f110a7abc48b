"""From settings to models: trials of what is handed in, sizes first, names and tables, what objectives say."""

import dataclasses
import functools
import json
import resource
import subprocess
import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest
from scipy.stats import norm

import omokage as om
from omokage import build, classic, cli, memory, names
from omokage.batch import Batch, Event
from omokage.density import Output
from omokage.diagnostics import diagnose, latent
from omokage.diagnostics.aggregate import aggregate, aggregate_of
from omokage.diagnostics.collapse import collapse_finding, weight_finding
from omokage.errors import FileFormatError, ParameterError
from omokage.nets.layers import LayerNorm, layer_weights
from omokage.objectives import (
    CIWAE,
    DIPVAE,
    ELBO,
    IWAE,
    MIWAE,
    PIWAE,
    RAE,
    STL,
    TCVAE,
    WAE,
    Binarizing,
    Denoising,
    DReG,
    InfoVAE,
    Meaning,
    Reconstruction,
    meaning_of,
)
from omokage.optimizers import clipped, decaying
from omokage.posteriors import DiagonalNormal

X = np.random.default_rng(0).normal(size=(60, 3))
TINY = {"latent_dim": 2, "hidden": (4,), "epochs": 2, "verbose": 0}


class Nowhere:
    """Data that must not be looked at: what is wrong with the settings is found before."""

    def __getattr__(self, name):
        raise AssertionError(f"X was read: {name}")


def refused(fit=None, kind=om.VAE, X=X, **settings):
    """Return the message with which a fit is refused."""
    with pytest.raises(ParameterError) as caught:
        kind(**{**TINY, **settings}).fit(X, **(fit or {}))
    return str(caught.value)


# What is handed in


@dataclasses.dataclass
class Changeable:
    """An objective that cannot be hashed."""

    weight: float = 1.0

    def __call__(self, model, batch, key, epoch):
        return {}


def test_an_optimizer_may_know_the_parts_of_the_model():
    def init(parameters):
        return {name: getattr(parameters, name) for name in ("posterior", "likelihood", "prior")}

    def update(gradients, state, parameters=None):
        return jax.tree.map(jnp.zeros_like, dataclasses.replace(gradients, **state)), state

    assert om.VAE(**TINY, optimizer=optax.GradientTransformation(init, update)).fit(X).transform(X).shape == (60, 2)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"activation": np.tanh}, "activation: expected a function of a JAX array"),
        ({"activation": lambda x: x.sum()}, "of float32(2, 3) it makes float32()"),
        ({"activation": lambda x: x > 0}, "it makes bool(2, 3)"),
        ({"activation": jnp.log}, "at -3 it is nan"),
        ({"activation": lambda x, y: x}, "<lambda>(x, y) does not take 1 argument"),
        ({"activation": {"name": "relu"}}, "activation: expected a value, not a table"),
        ({"activation": 3}, "activation: expected 'relu'"),
        ({"initializer": lambda r, o, i: r.normal(size=(i, o))}, "it makes an array of shape (2, 3)"),
        ({"initializer": lambda r, o, i: np.full((o, i), np.inf)}, "it makes numbers that are not finite"),
        ({"initializer": lambda r, o, i: "weights"}, "initializer: expected a function (generator, outputs, inputs)"),
        ({"initializer": jax.nn.initializers.zeros}, "initializer: expected a function (generator, outputs, inputs)"),
        ({"schedule": lambda share: None}, "schedule: expected a function from the share of training"),
        ({"schedule": lambda share: 1 / (share - 1)}, "at 1 it is"),
        ({"schedule": lambda share: jnp.ones(2)}, "of a number it makes float32(2,)"),
        ({"schedule": lambda share: 1.0 if share < 0.5 else 0.1}, "TracerBoolConversionError"),
        ({"optimizer": optax.adam}, "A function that makes one has to be called."),
        ({"optimizer": {"name": "adam"}}, "optimizer: expected a value, not a table"),
        ({"optimizer": 7}, "optimizer: expected 'adam'"),
        ({"optimizer": optax.scale(float("nan"))}, "its first step is not finite"),
        ({"optimizer": optax.GradientTransformation(lambda p: (), lambda g, s: (g, s))}, "does not take 3 arguments"),
        (
            {"optimizer": optax.GradientTransformation(lambda p: (), lambda g, s, p: (jnp.zeros(3), s))},
            "its update returns updates of another shape",
        ),
        ({"objective": ELBO}, "Did you mean ELBO()?"),
        ({"objective": lambda model, batch: {}}, "does not take 4 arguments"),
        ({"objective": Changeable()}, "cannot be hashed"),
        ({"objective": ("elbo",)}, "objective: expected 'elbo'"),
        ({"likelihood": om.likelihoods.Gaussian}, "likelihood: expected an object with parameters and distribution"),
        ({"prior": optax.adam(0.1)}, "which has no parameters and no distribution"),
        ({"posterior": 1.5}, "posterior: expected 'diagonal'"),
        ({"prior": dist.MixtureSameFamily}, "prior: "),
        ({"network": om.nets.Dense}, "Did you mean Dense()?"),
        ({"network": object()}, "which has no encoder and no decoder and no kinds"),
        ({"fit": {"on_epoch": 5}}, "on_epoch: expected a function of one argument"),
        ({"fit": {"on_epoch": lambda: None}}, "does not take 1 argument"),
        ({"fit": {"on_epoch": "print"}}, "on_epoch: expected a function of one argument"),
    ],
)
def test_what_is_handed_in_is_tried_before_data_are_read(settings, text):
    told = refused(X=Nowhere(), **settings)
    assert text in told
    assert "\n" not in told


def test_all_problems_are_told_at_once():
    told = refused(
        X=Nowhere(),
        latent_dim=0,
        activation=jnp.log,
        prior={"name": "mixtur"},
        objective=ELBO,
        optimizer=optax.adam,
        fit={"on_epoch": 1},
    )
    named = [line.strip().split(":")[0] for line in told.splitlines()[1:]]
    assert sorted(named) == ["activation", "latent_dim", "objective", "on_epoch", "optimizer", "prior"]


def test_detectors_try_what_they_are_given_as_well():
    small = om.VAE(**TINY, activation=jnp.log)
    with pytest.raises(ParameterError, match=r"activation: .*at -3 it is nan"):
        om.AnomalyDetector(small, verbose=0).fit(X)


class OfOnesOwn:
    """A family whose distribution is none."""

    def parameters(self, event):
        return {"middle": Output(event.shape)}

    def distribution(self, middle):
        return middle.nothing


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"objective": lambda m, b, k, e: jnp.zeros(len(b.x))}, "got an array of shape (60,)"),
        ({"objective": lambda m, b, k, e: {"loss": jnp.float32(0)}}, "'loss' is an array of shape () (float32) of 60"),
        ({"objective": lambda m, b, k, e: {"loss": jnp.zeros((len(b.x), 1))}}, "'loss' is an array of shape (60, 1)"),
        ({"objective": lambda m, b, k, e: {"loss": m.nothing}}, "objective: <function"),
        (
            {"objective": lambda m, b, k, e: {**ELBO()(m, b, k, e), "mean": jnp.float32(0)}},
            "'mean' is an array of shape ()",
        ),
        ({"likelihood": OfOnesOwn()}, "likelihood: <"),
        ({"posterior": OfOnesOwn()}, "posterior: <"),
        ({"prior": OfOnesOwn()}, "prior: <"),
        ({"optimizer": optax.polyak_sgd()}, "optimizer: GradientTransformationExtraArgs does not work"),
    ],
)
def test_what_only_rows_can_show_is_told_by_part_before_the_first_step(settings, text):
    assert text in refused(**settings)


def test_what_is_in_order_is_taken():
    """Functions of every right kind, at once; `partial` and lambdas among them."""
    vae = om.VAE(
        **TINY,
        activation=functools.partial(jax.nn.leaky_relu, negative_slope=0.3),
        initializer=lambda random, outputs, inputs: random.normal(size=(outputs, inputs)) / inputs,
        schedule=lambda share: 1 - 0.5 * share,
    ).fit(X, on_epoch=lambda record: None)
    assert np.isfinite(vae.transform(X)).all()


@pytest.mark.parametrize(
    ("line", "name"), [("verbose = 1", "verbose"), ("warm_start = true", "warm_start"), ("x = 1", "x")]
)
def test_a_configuration_file_has_settings_of_the_command_line_only(tmp_path, capsys, monkeypatch, line, name):
    (tmp_path / "fit.toml").write_text(line + "\nlatent_dim = 0\n")
    np.save(tmp_path / "x.npy", X)
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "omokage",
            "fit",
            str(tmp_path / "x.npy"),
            "--out",
            str(tmp_path / "m"),
            "--config",
            str(tmp_path / "fit.toml"),
        ],
    )
    with pytest.raises(SystemExit):
        cli.main()
    told = capsys.readouterr().err
    assert f"  {name}: no s" in told and "  latent_dim: expected" in told  # both at once


# Settings of the optimizer


@pytest.mark.parametrize("settings", [{"learning_rate": 1e-3}, {"schedule": "cosine"}, {"weight_decay": 1e-4}])
def test_beside_an_optimizer_that_is_an_object_its_settings_are_refused(settings):
    (name,) = settings
    assert refused(X=Nowhere(), optimizer=optax.adam(1e-2), **settings).startswith(f"{name}: expected 'auto' beside")


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "rmsprop", "sgd"])
def test_weight_decay_is_refused_where_nothing_decays(optimizer):
    told = refused(X=Nowhere(), optimizer=optimizer, weight_decay=0.1)
    assert told.startswith(f"weight_decay: expected 'auto', since optimizer={optimizer!r} has no weight decay")


def test_a_clip_comes_before_an_optimizer_that_is_an_object():
    """Gradients of norm 5 and 50 make the same step once clipped to 1, and each its own without."""
    rule = optax.sgd(1.0)
    both = clipped(rule, 1.0)
    assert both is clipped(rule, 1.0) and clipped(rule, None) is rule  # one object, so one compiled program
    for factor in (1.0, 10.0):
        gradient = {"a": factor * jnp.array([3.0, 4.0])}
        step, _ = both.update(gradient, both.init(gradient), gradient)
        np.testing.assert_allclose(step["a"], [-0.6, -0.8], rtol=1e-6)
    parameters = {"optimizer": rule, "gradient_clip": 1.0, "schedule": "auto", "learning_rate": "auto"}
    parameters |= {"weight_decay": "auto", "early_stopping": False, "epochs": 1, "batch_size": 10}
    assert build.plan(parameters, 10, 0).optimizer is both


def test_a_folder_of_before_is_loaded_and_can_be_fitted_again(tmp_path):
    """0.1 wrote a weight decay and a learning rate beside every optimizer."""
    fitted = om.VAE(**TINY).fit(X)
    fitted.save(tmp_path / "m")
    spec = json.loads((tmp_path / "m" / "spec.json").read_text())
    spec["parameters"] |= {"weight_decay": 1e-4, "learning_rate": 1e-3}
    (tmp_path / "m" / "spec.json").write_text(json.dumps(spec))
    again = om.load(tmp_path / "m")
    assert again.weight_decay == "auto"
    np.testing.assert_array_equal(again.fit(X).transform(X), fitted.transform(X))


def plain_model(prior, event=(3,), network=None, likelihood=None, posterior=None, **settings):
    """Return a model that was not trained."""
    parameters = {
        **TINY,
        "activation": "relu",
        "normalization": None,
        "dropout": 0.0,
        "initializer": "auto",
        **settings,
    }
    recipe = build.Recipe(
        likelihood or om.likelihoods.Gaussian(), posterior or DiagonalNormal(), prior, ELBO(), "scale",
        network or om.nets.Dense(),
    )  # fmt: skip
    return build.model(parameters, recipe, Event.plain(*event), np.random.default_rng(0))


def paths(tree):
    return {
        ".".join(str(getattr(part, "name", getattr(part, "key", getattr(part, "idx", "")))) for part in path)
        for path, flag in jax.tree_util.tree_leaves_with_path(tree)
        if flag is True
    }


@pytest.mark.parametrize(
    "prior",
    [
        om.priors.Mixture(3),
        om.priors.Vamp(4),
        om.priors.FullNormal(),
        om.priors.Flow(2, 4),
        om.priors.TwoLayer(1, 3),
        om.priors.FlowMatching((4, 4)),
    ],
)
@pytest.mark.parametrize("network", [om.nets.Dense(), om.nets.Convolution()])
def test_only_weights_of_layers_decay_whatever_their_shape(prior, network):
    event = (3,) if isinstance(network, om.nets.Dense) else (4, 4, 1)
    model = plain_model(prior, event, network, om.likelihoods.Gaussian("full"), normalization="layer", hidden=(4, 4))
    found = paths(decaying(model))
    every = paths(jax.tree.map(lambda leaf: True, model))
    weights = {path for path in every if path.split(".")[-1] == "weight"}
    of_flows = {f"prior.learned.{name}" for name in getattr(prior, "layer_weights", ())}
    assert found == weights | of_flows
    if isinstance(network, om.nets.Convolution):  # a bias for each pixel has three axes
        assert "likelihood.heads.mean.bias" in every - found


def test_gains_of_other_libraries_layers_do_not_decay():
    layers = {
        "linear": eqx.nn.Linear(2, 3, key=jax.random.key(0)),
        "norm": eqx.nn.LayerNorm((3, 3)),
        "own": LayerNorm(3),
    }
    assert paths(layer_weights(layers)) == {"linear.weight"}


def test_a_step_of_adamw_leaves_everything_else_as_it_is():
    """Without a gradient, weights shrink by rate times decay, and nothing else moves."""
    from omokage.nets.layers import trainable
    from omokage.optimizers import optimizer

    model = plain_model(om.priors.Mixture(3))
    parameters = eqx.filter(model, trainable(model))
    rule = optimizer("adamw", None, 0.25)
    zeros = jax.tree.map(np.zeros_like, parameters)
    steps, _ = rule.update(zeros, rule.init(parameters), parameters)
    for (path, step), weight in zip(
        jax.tree_util.tree_leaves_with_path(steps), jax.tree.leaves(parameters), strict=True
    ):
        decays = getattr(path[-1], "name", "") == "weight"
        np.testing.assert_allclose(step, -0.25 * weight if decays else 0 * weight, rtol=1e-6)


def test_the_penalty_of_rae_is_of_weights_alone():
    """A decoder of pictures with weights 0 and any bias has none."""
    model = plain_model(
        om.priors.StandardNormal(), (4, 4, 1), om.nets.Convolution(), posterior=om.posteriors.PointMass()
    )
    blank = eqx.tree_at(
        lambda model: jax.tree.leaves(eqx.filter(model.likelihood, layer_weights(model.likelihood))),
        model,
        replace_fn=np.zeros_like,
    )
    blank = eqx.tree_at(lambda model: model.likelihood.heads["mean"].bias, blank, np.ones((4, 4, 1), np.float32))
    batch = Batch(jnp.zeros((2, 4, 4, 1)))
    assert RAE()(blank, batch, jax.random.key(0), jnp.float32(0))["decoder"].tolist() == [0.0, 0.0]


# Sizes


@pytest.mark.parametrize(
    "settings",
    [
        {"latent_dim": 2**70},
        {"latent_dim": 10**9},
        {"hidden": (10**9,)},
        {"hidden": (10**9, 10**9)},
        {"hidden": (2**62,)},
        {"prior": om.priors.Mixture(10**12)},
        {"prior": om.priors.Mixture(10**10), "latent_dim": 10**6},
        {"prior": om.priors.Vamp(10**13)},
        {"prior": om.priors.Flow(8, 10**7)},
        {"prior": om.priors.TwoLayer(1, 10**13)},
        {"prior": om.priors.NumPyro("MultivariateNormal"), "latent_dim": 10**6},
        {"posterior": "full_normal", "latent_dim": 10**6},
        {"posterior": om.posteriors.Flow(width=10**7)},
        {"likelihood": om.likelihoods.Categorical(2**24), "hidden": (10**4,)},
    ],
)
def test_what_no_machine_holds_is_refused_before_it_is_made(settings):
    table = np.abs(np.rint(X)) if "likelihood" in settings else X
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    told = refused(X=table, **settings)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # 256 MB
    assert time.process_time() - began < 20
    assert memory.in_words(memory.limit()) in told


@pytest.mark.parametrize(
    "objective", [IWAE(10**10), MIWAE(10**5, 10**5), ELBO(samples=2**40), Denoising(objective=IWAE(10**10))]
)
def test_draws_that_have_no_room_are_refused_before_the_first_step(objective):
    assert "a step makes an array of shape" in refused(objective=objective)


def test_an_ensemble_that_has_no_room_is_refused():
    with pytest.raises(ParameterError, match=r"ensemble=10{12}: 7\.0e\+1[0-9]|ensemble=1000000000000: "):
        om.AnomalyDetector(TINY | {"verbose": 0}, ensemble=10**12, calibration=0.5, verbose=0).fit(X)


@pytest.mark.parametrize("family", [om.priors.Flow, om.posteriors.Flow])
def test_more_steps_than_can_be_compiled_are_refused(family):
    with pytest.raises(ParameterError, match=r"Flow\(steps=1000000\): expected at most 1000 steps"):
        family(steps=10**6)


def test_more_layers_than_can_be_compiled_are_refused():
    assert "hidden: expected at most 1000 layers" in refused(hidden=(1,) * 10**5)
    with pytest.raises(ParameterError, match="Conditional: expected at most 1000 hidden layers"):
        om.priors.Conditional(DiagonalNormal(), (1,) * 10**5)


@pytest.mark.parametrize(
    "prior",
    [
        om.priors.StandardNormal(), om.priors.FullNormal(), om.priors.Mixture(3), om.priors.Vamp(4, widened=True),
        om.priors.Flow(2, 4), om.priors.TwoLayer(1, 3), om.priors.FlowMatching((4, 4)), om.priors.NumPyro("Laplace"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("posterior", [om.posteriors.DiagonalNormal(), om.posteriors.Flow("coupling", 2, 4, 2)])
def test_a_blank_model_has_the_shapes_of_a_real_one_and_takes_no_memory(prior, posterior):
    parameters = {**TINY, "activation": "relu", "normalization": "batch", "dropout": 0.0, "initializer": "auto"}
    recipe = build.Recipe(om.likelihoods.Gaussian(), posterior, prior, ELBO(), "scale", om.nets.Dense())
    blank, real = (
        build.model(parameters, recipe, Event.plain(3), random) for random in (None, np.random.default_rng(0))
    )
    assert jax.tree.structure(blank) == jax.tree.structure(real)
    for one, other in zip(jax.tree.leaves(blank), jax.tree.leaves(real), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert one.size < 2 or not any(one.strides)
    assert build.numbers_in(blank) == sum(leaf.size for leaf in jax.tree.leaves(real))


HOSTILE = [
    {"prior": {"class": "priors.Mixture", "components": 10**8}},
    {"prior": {"class": "priors.Vamp", "components": 10**15}},
    {"prior": {"class": "priors.Flow", "steps": 10**6, "width": 8}},
    {"prior": {"class": "priors.Flow", "steps": 900, "width": 2**80}},
    {"prior": {"class": "priors.TwoLayer", "top": 1, "width": 10**11}},
    {"prior": {"class": "priors.Conditional", "family": {"class": "posteriors.DiagonalNormal"}, "hidden": [1] * 10**4}},
    {"posterior": {"class": "posteriors.Flow", "steps": 1000, "width": 10**9, "context": 5}},
    {"likelihood": {"class": "likelihoods.Categorical", "classes": 10**18}},
    {"network": {"class": "nets.Dense"}, "hidden": [1] * 10**4},
    {"latent_dim": 2**80},
    {"hidden": [10**9]},
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "m"
    om.VAE(**TINY).fit(X).save(folder)
    return folder


@pytest.mark.parametrize("change", HOSTILE)
def test_a_small_folder_that_asks_for_much_is_refused_at_once(saved, change):
    text = (saved / "spec.json").read_text()
    spec = json.loads(text)
    for name, value in change.items():
        spec["recipe" if name in spec["recipe"] else "parameters"][name] = value
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        (saved / "spec.json").write_text(json.dumps(spec))
        with pytest.raises(FileFormatError, match=r"spec\.json"):
            om.load(saved)
    finally:
        (saved / "spec.json").write_text(text)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17
    assert time.process_time() - began < 10


def test_a_density_that_has_no_room_is_refused():
    vae = om.VAE(**TINY).fit(X)
    with pytest.raises(ParameterError, match=r"density=Mixture\(components=10{10}\): 70,000,000,000 parameters"):
        vae.fit_density(X, om.priors.Mixture(10**10))


def test_the_limit_of_the_process_counts():
    """As `ulimit -v` sets it; a container's is read in the same place."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33)); from omokage import memory; "
        "print(memory.limit() <= 2**33)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_the_limit_of_a_container_is_read_where_the_system_has_it(tmp_path, monkeypatch):
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "outer" / "memory.max").write_text("1048576\n")
    (inner / "memory.max").write_text("max\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_lines_of_groups", lambda: ["0::/outer/inner"])
    assert memory.limit() == 2**20
    assert "1.0 MB of memory" in refused(hidden=(10**6,))


# Names, tables, objects


@pytest.mark.parametrize("name", names.OBJECTIVES)
@pytest.mark.parametrize("kind", [om.VAE, om.AutoEncoder])
def test_a_name_is_the_table_with_that_name_and_the_object(name, kind):
    """Whatever the kind of model: defaults that depend on it are the same by every way."""
    plain = kind is om.AutoEncoder
    extra = {} if plain else {"posterior": "diagonal"}
    by_name, by_table, by_class = (
        build.objective(names.objects({"objective": value, **extra})[0])
        for value in (name, {"name": name}, names.OBJECTIVES[name]())
    )
    assert by_name == by_table == by_class
    if name == "denoising":
        assert by_name.objective == (Reconstruction() if plain else ELBO())


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("likelihood", "gaussian"),
        ("likelihood", "laplace"),
        ("prior", "vamp"),
        ("posterior", "flow"),
        ("network", "mlp"),
    ],
)
@pytest.mark.parametrize("plain", [True, False])
def test_other_names_are_tables_too(parameter, value, plain):
    assert names.named(parameter, value, plain) == names.from_table(parameter, {"name": value}, plain)


def test_a_table_is_taken_in_python_as_in_a_file_and_is_what_the_name_is():
    """To the bit: a plain autoencoder's Gaussian has a fixed scale by name and by table."""
    for parameter, value in (("likelihood", "gaussian"), ("objective", "denoising")):
        one, other = (om.AutoEncoder(**TINY, **{parameter: v}).fit(X) for v in (value, {"name": value}))
        assert one.recipe_ == other.recipe_
        np.testing.assert_array_equal(one.transform(X), other.transform(X))
    nested = {"name": "denoising", "amount": 0.1, "objective": "elbo"}
    assert names.from_table("objective", nested) == Denoising("gaussian", 0.1, ELBO())
    nested["objective"] = {"name": "elbo", "beta": 4.0}
    assert names.from_table("objective", nested).objective == ELBO(4.0)
    assert names.from_table("network", {"name": "conv", "strides": [4, 2]}).strides == (4, 2)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({}, "objective: expected name = one of"),
        ({"name": 3}, "got 3"),
        ({"name": "denoisin"}, "Did you mean 'denoising'?"),
        ({"name": "denoising", "objective": "elb"}, "Did you mean 'elbo'?"),
        ({"name": "denoising", "objective": 3}, "Denoising(objective=3): expected an objective"),
        ({"name": "denoising", "amont": 3}, "denoising has no setting 'amont'"),
        ({"name": "elbo", "beta": "4"}, "objective: ELBO(beta='4'): expected a number of at least 0."),
    ],
)
def test_tables_that_say_nothing_are_refused_by_the_usual_line(table, text):
    assert text in refused(X=Nowhere(), objective=table)


# Objectives say what they are


def texts(objective):
    found = weight_finding(objective, 10, 3)
    return "" if found is None else found.text


@pytest.mark.parametrize(
    ("objective", "kl", "bound"),
    [
        (ELBO(), 1.0, "elbo"),
        (ELBO(beta=4.0), 4.0, "looser"),
        (ELBO(beta=0.5), 0.5, ""),
        (ELBO(free_bits=2.0), None, "looser"),
        (ELBO(beta=0.5, free_bits=2.0), None, ""),
        (ELBO(capacity=25.0), None, ""),
        (ELBO(beta=0.0, capacity=25.0), 0.0, ""),
        (STL(), 1.0, "elbo"),
        (IWAE(1), 1.0, "elbo"),
        (IWAE(5), 1.0, "tighter"),
        (DReG(5), 1.0, "tighter"),
        (MIWAE(4, 1), 1.0, "elbo"),
        (MIWAE(2, 5), 1.0, "tighter"),
        (PIWAE(2, 5), 1.0, "tighter"),
        (CIWAE(5, 0.5), 1.0, "tighter"),
        (CIWAE(5, 1.0), 1.0, "elbo"),
        (TCVAE(6.0), None, "looser"),
        (TCVAE(0.5), None, ""),
        (TCVAE(1.0), 1.0, "elbo"),
        (WAE(), None, ""),
        (InfoVAE(), 0.0, ""),
        (InfoVAE(0.0, 1.0), 1.0, "elbo"),
        (DIPVAE(), 1.0, "looser"),
        (RAE(), None, ""),
        (Reconstruction(), None, ""),
        (Denoising(objective=ELBO(beta=4.0)), 4.0, "looser"),
        (Binarizing(ELBO()), 1.0, "elbo"),
    ],
)
def test_objectives_say_what_their_loss_is(objective, kl, bound):
    found = meaning_of(objective)
    assert (found.kl, found.bound) == (kl, bound)


@pytest.fixture(scope="module")
def linear():
    """A linear Gaussian model, of which log p(x) is known, and a posterior that is not the true one."""
    model = plain_model(om.priors.StandardNormal(), hidden=(), likelihood=om.likelihoods.Gaussian(1.0))
    return model, Batch(jnp.asarray(np.random.default_rng(1).normal(size=(512, 3)), jnp.float32))


def exact(model, x):
    head = model.likelihood.heads["mean"]
    weight, bias = np.asarray(head.weight), np.asarray(head.bias)
    return dist.MultivariateNormal(bias, weight @ weight.T + np.eye(3)).log_prob(x)


@pytest.mark.parametrize(
    "objective",
    [
        ELBO(), ELBO(beta=3.0), ELBO(free_bits=0.5), STL(), IWAE(8), DReG(8), MIWAE(2, 8), PIWAE(2, 4), CIWAE(8, 0.5),
        TCVAE(6.0), TCVAE(1.0), DIPVAE(), Denoising(objective=ELBO()),
    ],
)  # fmt: skip
def test_what_is_said_of_bounds_is_so(linear, objective):
    """On average over rows and draws: -loss is the ELBO, above it, or below it, and never above log p(x)."""
    model, batch = linear
    keys = jax.random.split(jax.random.key(3), 30)
    losses = jax.vmap(lambda key: objective(model, batch, key, jnp.inf)["loss"].mean())(keys)
    elbos = jax.vmap(lambda key: -ELBO(samples=20)(model, batch, key, jnp.inf)["loss"].mean())(keys)
    error = float(4 * (losses.std() + elbos.std()) / np.sqrt(len(keys)) + 1e-3)
    value, elbo = float(-losses.mean()), float(elbos.mean())
    assert value <= exact(model, np.asarray(batch.x)).mean() + error
    if isinstance(objective, Denoising):  # of posteriors of other rows
        return
    sign = {"elbo": 0, "tighter": 1, "looser": -1}[meaning_of(objective).bound]
    if sign == 0:
        assert value == pytest.approx(elbo, abs=error)
    else:
        assert sign * (value - elbo) > -error


@pytest.mark.parametrize("objective", [ELBO(capacity=2.0), ELBO(beta=0.1), TCVAE(0.0, 0.0, 0.0), Reconstruction()])
def test_what_is_called_no_bound_can_be_better_than_the_elbo(linear, objective):
    """Where the KL is what the capacity is, or costs less than it is, the loss is below that of the ELBO."""
    model, batch = linear[0], Batch(3 * linear[1].x)
    terms = ELBO()(model, batch, jax.random.key(0), jnp.inf)
    if isinstance(objective, ELBO) and objective.capacity:
        objective = ELBO(capacity=float(np.median(terms["kl"])))
    loss = float(objective(model, batch, jax.random.key(0), jnp.inf)["loss"].mean())
    assert meaning_of(objective).bound == ""
    assert loss < float(terms["loss"].mean()) - 0.1


@pytest.mark.parametrize(
    ("objective", "said", "not_said"),
    [
        (CIWAE(), "tighter than the ELBO", "below 1"),
        (CIWAE(), "0.5 is no weight of the KL", "no bound"),
        (TCVAE(6.0), "6 on the total correlation", "each nat in z must save 6"),
        (ELBO(capacity=25.0), "held at 25 nats", "the ELBO's negative"),
        (ELBO(free_bits=2.0), "The first 2 nats of each latent dimension cost nothing", "the ELBO's negative"),
        (InfoVAE(), "The KL of each row has a weight of 0", "the ELBO's negative"),
        (WAE(), "There is no KL", "β"),
        (DIPVAE(), "looser than that of the ELBO", "the ELBO's negative"),
        (RAE(), "There is no KL", "β"),
        (MIWAE(2, 5), "5 draws", "β"),
        (Denoising(objective=ELBO()), "posteriors of corrupted rows", "the ELBO's negative"),
        (Binarizing(ELBO()), "rows drawn as zeros and ones", "the ELBO's negative"),
    ],
)
def test_diagnoses_say_nothing_false_of_an_objective(objective, said, not_said):
    assert said in texts(objective) and not_said not in texts(objective)


def test_nothing_is_said_of_an_objective_that_says_nothing():
    class Own:
        beta = 50.0  # whatever that may be

        def __call__(self, model, batch, key, epoch):
            return {}

    class Speaking(Own):
        meaning = Meaning(2.0, "looser", "Twice the KL.")

    assert texts(Own()) == texts(Denoising(objective=Own())) == ""
    assert texts(Speaking()) == "Twice the KL."
    x = np.random.default_rng(0).normal(size=(50, 4))
    cause = collapse_finding(x, np.tile(x.mean(0), (50, 1)), np.zeros(3, bool), objective=Own()).text
    assert "β" not in cause and "as it seems" in cause
    for objective in (CIWAE(), TCVAE(6.0), WAE(), RAE(), ELBO(capacity=25.0)):
        cause = collapse_finding(x, np.tile(x.mean(0), (50, 1)), np.zeros(3, bool), objective=objective).text
        assert "times too much" not in cause and "counts each of its nats" not in cause


# Diagnosis beside the model's own prior


def made_latent(means, deviations, prior, log_prior, rows=600, conditional=False):
    """Return what a model would say whose posteriors are normals, with a prior that is given by its density."""
    random = np.random.default_rng(0)
    z = means + deviations * random.normal(size=means.shape)
    pairs = lambda points: norm.logpdf(points[:, None], means, deviations).sum(-1)  # noqa: E731
    own = norm.logpdf(z, means, deviations).sum(1)
    return latent.Latent(
        "p",
        conditional,
        z,
        prior,
        pairs(z),
        pairs(prior),
        log_prior(z),
        log_prior(prior),
        float((own - log_prior(z)).mean()),
        None,
    )


def test_an_aggregate_that_is_the_models_own_prior_is_found_to_be_so():
    """Means N(5, 3²·0.75) and deviations 3·0.5 make q(z) = N(5, 3²), which is the prior, and not N(0, 1)."""
    random = np.random.default_rng(1)
    means, deviations = 5 + 3 * np.sqrt(0.75) * random.normal(size=(600, 2)), np.full((600, 2), 1.5)
    prior = 5 + 3 * random.normal(size=(600, 2))
    found = aggregate_of(made_latent(means, deviations, prior, lambda z: norm.logpdf(z, 5, 3).sum(1)))
    assert found.marginal_kl[0] < 0.1
    assert np.abs(found.shift).max() < 0.2 and np.abs(found.log_ratio).max() < 0.2
    assert found.ks_distance.max() < 0.1 and found.holes < 0.1
    information = 2 * 0.5 * np.log(1 / 0.25)  # of a linear Gaussian channel
    assert found.mutual_information[0] - 0.15 <= information <= found.mutual_information[1] + 0.15
    beside_a_standard_normal = aggregate(means, deviations, np.arange(2))
    assert beside_a_standard_normal.marginal_kl[0] > 10


def test_both_ways_agree_where_the_prior_is_standard():
    random = np.random.default_rng(2)
    means, deviations = 0.7 * random.normal(size=(600, 2)) + 0.5, np.full((600, 2), 0.6)
    one = aggregate(means, deviations, np.arange(2))
    other = aggregate_of(made_latent(means, deviations, random.normal(size=(600, 2)), lambda z: norm.logpdf(z).sum(1)))
    assert other.mean_kl == pytest.approx(one.mean_kl, abs=0.1)
    assert other.marginal_kl[0] == pytest.approx(one.marginal_kl[0], abs=0.15)
    assert other.mutual_information[0] == pytest.approx(one.mutual_information[0], abs=0.2)
    np.testing.assert_allclose(other.shift, one.shift, atol=0.15)


@pytest.mark.parametrize(
    ("prior", "posterior"),
    [
        (om.priors.Mixture(2), DiagonalNormal()),
        (om.priors.Vamp(3), DiagonalNormal()),
        (om.priors.Flow(2, 4), om.posteriors.FullNormal()),
        (om.priors.TwoLayer(1, 3), om.posteriors.Flow(steps=1, width=4, context=2)),
        (om.priors.NumPyro("Uniform", {"low": 0.0, "high": 1.0}), om.posteriors.LogisticNormal()),
        (om.priors.StandardNormal(), om.posteriors.FullNormal()),
        (om.priors.NumPyro("Laplace"), DiagonalNormal()),
    ],
)
def test_a_model_is_asked_whatever_its_prior_and_posterior_are(prior, posterior):
    model = plain_model(prior, posterior=posterior)
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    found = latent.latent_of(model, Batch(x))
    assert not latent.is_standard(model)
    q = model.encode(Batch(jnp.asarray(x)))
    np.testing.assert_allclose(
        found.posterior_of_z[3], q.log_prob(jnp.asarray(found.z[3], jnp.float32)), rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(
        found.prior_of_draws, model.latent().log_prob(jnp.asarray(found.draws, jnp.float32)), rtol=1e-3, atol=1e-3
    )
    assert found.mean_kl > -0.05
    text = str(diagnose(x, x, found.z, np.ones((40, 2)), objective=ELBO(), latent=found))
    assert ("N(0, I)" in text) == isinstance(prior, om.priors.StandardNormal)


def test_a_conditional_prior_is_judged_with_all_contexts_together():
    context = np.random.default_rng(3).normal(size=(60, 1))
    vae = om.VAE(**TINY, prior=om.priors.Conditional(DiagonalNormal(), (4,))).fit(X, context=context)
    diagnosis = vae.diagnose(X, context=context)
    assert "of all contexts together" in diagnosis["normality"].text or "whatever x is" in diagnosis["normality"].text
    if diagnosis.aggregate.mean_kl > 0.01:
        assert "what the context tells included" in diagnosis["information"].text


# classic


@pytest.mark.parametrize("gauss", [True, False])
@pytest.mark.parametrize(("kind", "normalised"), [(classic.VAE, True), (classic.VAE_ED, False)])
def test_a_classic_vae_without_hidden_layers_is_linear(tmp_path, kind, normalised, gauss):
    rows = np.random.default_rng(0).uniform(size=(40, 4)).astype(np.float32)
    vae = kind(4, [2], use_BN=normalised, is_gauss_dist=gauss, folder=tmp_path)
    vae.train(rows, 1, 20, gpu_num=-1, valid=rows, is_plot_weight=True)
    z, _, _ = vae.reconst(rows)
    arrays = np.load(tmp_path / "[4, 2]" / f"{'model' if kind is classic.VAE else 'encoder'}.npz")
    np.testing.assert_allclose(z, rows @ arrays["enc_mu/W"].T + arrays["enc_mu/b"], rtol=1e-4, atol=1e-5)
    assert sorted(key for key in arrays if key.startswith("enc")) == ["enc_mu/W", "enc_mu/b", "enc_var/W", "enc_var/b"]
    again = kind(4, (2,), use_BN=normalised, is_gauss_dist=gauss, folder=tmp_path)
    again.load()
    np.testing.assert_array_equal(again.reconst(rows)[0], z)


# Mixtures on one thread


def test_a_mixture_is_fitted_on_one_thread_and_the_others_come_back(monkeypatch):
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_info

    seen = []
    real = GaussianMixture.fit

    def fit(self, z):
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        return real(self, z)

    monkeypatch.setattr(GaussianMixture, "fit", fit)
    before = [pool["num_threads"] for pool in threadpool_info()]
    om.priors.Mixture(2).fit(np.random.default_rng(0).normal(size=(50, 2)), 0)
    aggregate(np.random.default_rng(0).normal(size=(50, 2)), np.ones((50, 2)), np.arange(2))
    assert seen and set(seen) == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before
