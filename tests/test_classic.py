"""The classic class: documented usage and files, going on with training, two optimizers, a decoder that holds."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from omokage import classic
from omokage.batch import Batch
from omokage.classic import chainer_files
from omokage.classic.optimizers import together
from omokage.errors import DataError, FileFormatError, ParameterError, TrainingError
from omokage.model import Model, divergence

X = np.random.default_rng(0).random((150, 12)).astype(np.float32)
VALID = np.random.default_rng(1).random((50, 12)).astype(np.float32)
NO_GPU = pytest.mark.skipif(jax.default_backend() == "gpu", reason="there is a GPU")


def make(folder, cls=classic.VAE, **settings):
    return cls(12, [8, 3], folder=folder, **settings)


def fit(vae, epoch, data=X, **settings):
    vae.train(data, epoch, 50, gpu_num=-1, **settings)
    return vae


def files(folder):
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def assert_same_weights(one, other):
    one, other = chainer_files.arrays(one.model), chainer_files.arrays(other.model)
    assert one.keys() == other.keys()
    for key in one:
        assert np.array_equal(one[key], other[key]), key


def test_the_documented_usage(tmp_path, capsys):
    vae = classic.VAE(12, [8, 3], "tanh", "sigmoid", True, "xavier", str(tmp_path), False)
    vae.train(X, 11, 50, C=1.0, k=1, gpu_num=-1, valid=VALID, is_plot_weight=True)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["epoch", "loss", "latent", "reconst", "MSE", "valid"]
    assert [line[0] for line in lines[1:]] == ["1", "10"]
    feat, reconst, error = vae.reconst(X)
    assert (feat.shape, reconst.shape, error.shape) == ((150, 3), (150, 12), (150,))
    np.testing.assert_allclose(error, ((X - reconst) ** 2).mean(1), rtol=1e-5)
    assert np.array_equal(vae.featuremap_to_image(feat), reconst)
    for line, record in zip(lines[1:], (vae.history[0], vae.history[9]), strict=True):
        loss, latent, reconstruction, mse, valid = map(float, line[1:])
        assert loss == pytest.approx(latent + reconstruction, rel=1e-4)
        assert (mse, valid) == (pytest.approx(record["MSE"], rel=1e-4), pytest.approx(record["valid"], rel=1e-4))
    folder = tmp_path / "[12, 8, 3]"
    best = min(vae.history, key=lambda record: record["validation_loss"])["epoch"]
    state = {"training/spec.json", "training/state.safetensors"}
    assert files(folder) - state == {
        "model.npz", "error_curve.png", "weight_plot/epoch_1.png", "weight_plot/epoch_10.png", "best_valid/model.npz",
        "best_valid/error_curve.png", f"best_valid/weight_plot/epoch_{best}.png",
    }  # fmt: skip
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in folder.rglob("*.png"))


def test_the_printed_errors_are_those_of_the_rows(tmp_path):
    vae = fit(make(tmp_path), 10, valid=VALID)
    last = vae.history[-1]
    assert last["MSE"] == pytest.approx(vae.reconst(X)[2].mean(), rel=1e-5)
    assert last["valid"] == pytest.approx(vae.reconst(VALID)[2].mean(), rel=1e-5)


@pytest.mark.optimised
def test_training_again_goes_on_to_the_bit(tmp_path):
    once = fit(make(tmp_path / "once"), 4)
    twice = fit(fit(make(tmp_path / "twice"), 2), 2)
    fit(make(tmp_path / "loaded"), 2)
    loaded = make(tmp_path / "loaded", seed=0)
    loaded.load(path=None)
    assert [record["epoch"] for record in loaded.history] == [1, 2]
    fit(loaded, 2)
    for other in (twice, loaded):
        assert_same_weights(once, other)
        assert [r["loss"] for r in other.history] == [r["loss"] for r in once.history]
        assert [r["epoch"] for r in other.history] == [1, 2, 3, 4]


def test_other_weights_than_those_of_the_state_begin_a_new_run(tmp_path):
    fit(make(tmp_path), 2)
    other = fit(make(tmp_path / "other", seed=1), 1)
    place = tmp_path / "[12, 8, 3]" / "model.npz"
    place.write_bytes((other.path / "model.npz").read_bytes())
    vae = make(tmp_path)
    with pytest.warns(UserWarning, match="other weights than those beside it"):
        vae.load()
    assert_same_weights(vae, other)
    assert vae.history == []


def test_the_best_weights_are_chosen_by_the_validation_rows(tmp_path):
    """Training pulls outputs down, so rows of large values are worse at each epoch, and training rows better."""
    vae = fit(make(tmp_path / "a"), 3, data=0.2 * X, valid=0.7 + 0.3 * VALID)
    losses = [record["validation_loss"] for record in vae.history]
    assert losses == sorted(losses)
    assert vae.history[-1]["loss"] < vae.history[0]["loss"]
    best = make(tmp_path / "a")
    best.load(vae.path / "best_valid")
    assert_same_weights(best, fit(make(tmp_path / "b"), 1, data=0.2 * X))


def test_the_best_weights_stay_the_best_when_training_goes_on_with_the_same_rows(tmp_path):
    data, valid = 0.2 * X, 0.7 + 0.3 * VALID
    fit(make(tmp_path), 1, data=data, valid=valid)
    again = make(tmp_path)
    again.load()
    first = (again.path / "best_valid" / "model.npz").read_bytes()
    fit(again, 1, data=data, valid=valid)
    assert (again.path / "best_valid" / "model.npz").read_bytes() == first
    fit(again, 1, data=data, valid=valid[:30])  # other rows: the losses cannot be compared
    assert (again.path / "best_valid" / "model.npz").read_bytes() != first


def test_features_are_means_and_draws_on_request(tmp_path):
    vae = fit(make(tmp_path), 1)
    mean, drawn = vae.reconst(X)[0], vae.reconst(X, draw=True, seed=3)
    assert np.array_equal(mean, vae.reconst(X)[0])
    assert np.array_equal(mean[7:9], vae.reconst(X[7:9])[0])
    assert np.array_equal(drawn[0], vae.reconst(X, draw=True, seed=3)[0])
    assert not np.array_equal(drawn[0], vae.reconst(X, draw=True, seed=4)[0])
    assert np.array_equal(drawn[1], vae.featuremap_to_image(drawn[0]))
    standard = (drawn[0] - mean) / np.sqrt(np.asarray(vae.model.encode(Batch(jnp.asarray(X))).variance))
    assert abs(standard.mean()) < 5 / np.sqrt(450)  # five standard errors of 450 draws
    assert abs(standard.var() - 1) < 5 * np.sqrt(2 / 450)


@pytest.mark.parametrize("gauss", [False, True])
def test_the_three_terms_add_up_to_the_loss(tmp_path, gauss):
    vae = fit(make(tmp_path, is_gauss_dist=gauss), 2)
    x = Batch(jnp.asarray(np.where(X < 0.1, 0, X)))  # exact zeros too
    posterior = vae.model.encode(x)
    kl = divergence(posterior, vae.model.latent())
    loss = kl - vae.model.log_likelihood(posterior.mean[None], x)[0]
    terms = vae.terms(np.asarray(x.x))
    assert {name: values.shape for name, values in terms.items()} == dict.fromkeys("DAM", (150,))
    np.testing.assert_allclose(terms["D"], kl, rtol=1e-5)
    np.testing.assert_allclose(terms["D"] + terms["A"] + terms["M"], loss, rtol=1e-4, atol=1e-4)
    entries = vae.reconst(np.asarray(x.x), unregular=True)[2]
    assert entries.shape == X.shape and (entries >= 0).all()
    np.testing.assert_allclose(entries.sum(1), terms["M"], rtol=1e-5)
    assert not np.allclose(entries, entries.mean())


@pytest.mark.parametrize("gauss", [False, True])
def test_m_is_zero_where_the_reconstruction_is_perfect_and_a_is_the_rest(tmp_path, gauss):
    vae = make(tmp_path, is_gauss_dist=gauss)
    given = vae.model.decode(jnp.zeros((1, 3)))
    attainable, rest = vae.model.likelihood.family.parts(given.mean, given)
    np.testing.assert_allclose(rest, 0, atol=1e-6)
    np.testing.assert_allclose(attainable, -given.log_prob(given.mean), rtol=1e-5)


def test_a_model_that_was_not_trained_says_so(tmp_path):
    with pytest.warns(UserWarning, match="neither trained nor loaded"):
        make(tmp_path).reconst(X)


def test_weights_start_as_xavier_and_functions_do_as_names(tmp_path):
    vae = classic.VAE(30, [20, 3], use_BN=False, folder=tmp_path)
    weights = chainer_files.arrays(vae.model)
    for key in ("enc0/W", "enc_mu/W", "dec0/W", "dec_out1/W"):
        bound = np.sqrt(6 / sum(weights[key].shape))
        assert 0.8 * bound < np.abs(weights[key]).max() <= bound
        assert abs(weights[key].mean()) < 5 * bound / np.sqrt(3 * weights[key].size)
    assert not weights["enc0/b"].any()
    normal = chainer_files.arrays(classic.VAE(30, [20, 3], init_method="henormal", folder=tmp_path).model)["enc0/W"]
    assert normal.std() == pytest.approx(np.sqrt(2 / 30), rel=5 / np.sqrt(2 * 600))
    ones = classic.VAE(30, [20, 3], init_method=lambda random, outputs, inputs: np.ones((outputs, inputs)))
    assert (chainer_files.arrays(ones.model)["enc_var/W"] == 1).all()
    by_name, by_function = fit(make(tmp_path), 1), fit(make(tmp_path / "f", act_func=jnp.tanh), 1)
    assert_same_weights(by_name, by_function)


def test_the_documented_two_optimizers(tmp_path):
    vae = make(tmp_path, classic.VAE_ED)
    vae.enc_opt = optax.sgd(0.0)
    vae.dec_opt = classic.Adam(alpha=1e-3, clip=1.0)
    vae.enc_opt.setup(vae.encoder)
    vae.dec_opt.setup(vae.decoder)
    before = chainer_files.arrays(vae.model)
    fit(vae, 2, valid=VALID)
    after = chainer_files.arrays(vae.model)
    for key in before:
        if "avg" not in key:  # statistics follow the data
            assert np.array_equal(before[key], after[key]) == key.startswith("enc"), key
    state = {"training_ed/spec.json", "training_ed/state.safetensors"}
    assert files(vae.path) - state == {
        "encoder.npz", "decoder.npz", "error_curve.png", "best_valid/encoder.npz", "best_valid/decoder.npz",
        "best_valid/error_curve.png",
    }  # fmt: skip
    assert {key[:3] for key in np.load(vae.path / "encoder.npz")} == {"enc"}
    loaded = make(tmp_path, classic.VAE_ED)
    with pytest.warns(UserWarning, match="other optimizers than those that are assigned"):
        loaded.load()
    assert_same_weights(vae, loaded)
    loaded.enc_opt, loaded.dec_opt = optax.sgd(0.0), classic.Adam(alpha=1e-3, clip=1.0)
    loaded.load()
    assert len(loaded.history) == 2


def counts(vae):
    """Return how many steps each optimizer has taken."""
    return {name: int(optax.tree.get(state, "count")) for name, state in vae._snapshot.state.optimizer.items()}


def test_an_optimizer_that_is_assigned_or_set_up_begins_anew(tmp_path):
    vae = fit(make(tmp_path, classic.VAE_ED), 2)
    assert counts(vae) == {"encoder": 6, "decoder": 6}
    vae.enc_opt = classic.Adam(alpha=1e-4)
    assert counts(vae) == {"encoder": 0, "decoder": 6}
    vae.dec_opt.setup(vae.decoder)
    assert counts(vae) == {"encoder": 0, "decoder": 0}
    with pytest.raises(ParameterError, match=r"not the optimizer of the encoder; assign it to vae.enc_opt first"):
        vae.dec_opt.setup(vae.encoder)
    with pytest.raises(ParameterError, match=r"setup: expected vae.encoder or vae.decoder"):
        vae.dec_opt.setup(X)
    with pytest.raises(ParameterError, match="expected an Optax transformation such as"):
        vae.enc_opt = "adam"
    with pytest.raises(ParameterError, match="alpha=0"):
        classic.Adam(alpha=0)


def test_two_adams_are_one_but_for_clipping_by_parts():
    model = Model(jnp.ones(3), jnp.ones(5), None)
    small = Model(jnp.array([0.01, -0.02, 0.03]), jnp.full(5, 0.01), None)

    def steps(optimizer, *names, gradients):
        whole = together(tuple((name, optimizer) for name in names))
        return jax.tree.leaves(whole.update(gradients, whole.init(model), model)[0])

    adam = classic.Adam(alpha=0.5, clip=1.0).transformation
    two = steps(adam, "encoder", "decoder", gradients=small)
    for a, b in zip(steps(adam, "model", gradients=small), two, strict=True):
        assert np.array_equal(a, b)
        np.testing.assert_allclose(np.abs(a), 0.5, rtol=1e-5)  # Adam's first step
    mixed = Model(1e4 * small.posterior, small.likelihood, None)
    encoder, decoder = steps(optax.clip_by_global_norm(1.0), "encoder", "decoder", gradients=mixed)
    assert np.linalg.norm(encoder) == pytest.approx(1.0, rel=1e-5)
    assert np.array_equal(decoder, small.likelihood)


@NO_GPU
def test_a_gpu_that_is_not_there_is_the_cpu_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"gpu_num=3: JAX finds no GPU; the CPU is used"):
        make(tmp_path).train(X, 1, 50, gpu_num=3)


DATA = {
    "raw": 255 * X**3,
    "large": 1e6 * (X - 0.5),
    "standardised": (X - X.mean(0)) / X.std(0),
    "nearly constant": 0.5 + 1e-5 * X,
    "constant": np.full_like(X, 0.3),
}
OUT_FUNCS = ["identity", "sigmoid", "tanh", "relu", "elu", "softplus", "leaky", jnp.exp]


@pytest.mark.parametrize(
    "out_func", [name if name == "identity" else pytest.param(name, marks=pytest.mark.slow) for name in OUT_FUNCS]
)
def test_a_gaussian_decoder_stays_finite(tmp_path, out_func):
    for name, data in DATA.items():
        vae = fit(make(tmp_path / name, is_gauss_dist=True, out_func=out_func), 100, data=data)
        assert np.isfinite([record["loss"] for record in vae.history]).all(), name
        assert len(vae.history) == 100
        feat, reconst, error = vae.reconst(data, unregular=True)
        assert all(np.isfinite(values).all() for values in (feat, reconst, error, *vae.terms(data).values())), name
        # No density can be higher than that of the least deviation.
        assert (-vae.terms(data)["A"]).max() <= 12 * -np.log(0.1 * np.sqrt(2 * np.pi)) + 1e-3


def test_a_learned_variance_fits_the_noise_where_a_sigmoid_cannot(tmp_path):
    """Noise of deviation 0.3 about a constant: the best mean NLL is that deviation's; a sigmoid stays above 1."""
    data = (0.3 * np.random.default_rng(0).normal(size=(500, 12))).astype(np.float32)
    scales = {}
    for out_func in ("identity", "sigmoid"):
        vae = fit(make(tmp_path / out_func, is_gauss_dist=True, out_func=out_func), 100, data=data)
        scales[out_func] = np.exp(vae.terms(data)["A"] / 12 - 0.5 * np.log(2 * np.pi)).mean()
    assert scales["identity"] == pytest.approx(0.3, rel=0.15)
    assert scales["sigmoid"] > 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": 0}, "input_shape: expected a whole number of at least 1; got 0"),
        ({"hidden": 3}, "hidden: expected a list of whole numbers"),
        ({"hidden": [8, 0]}, "hidden: expected a list of whole numbers"),
        ({"act_func": "tan"}, r"act_func: expected one of .*; got 'tan'\. Did you mean 'tanh'\?"),
        ({"out_func": None}, "out_func: expected one of"),
        ({"init_method": "Xavier"}, "Did you mean 'xavier'"),
        (
            {"use_BN": "yes", "is_gauss_dist": 1},
            "use_BN: expected True or False.*is_gauss_dist: expected True or False",
        ),
        ({"folder": None}, "folder: expected a path; got None"),
        ({"floor": 0}, "floor: expected a number from"),
        ({"seed": -1}, "seed: expected a whole number"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ParameterError, match=message):
        classic.VAE(**{"input_shape": 12, "hidden": [8, 3], **arguments})


def test_bad_training_arguments_are_named_all_at_once(tmp_path):
    vae = make(tmp_path)
    with pytest.raises(ParameterError, match=r"epoch: .*batch: .*k: .*C: .*gpu_num: .*is_plot_weight: "):
        vae.train(X, 0, 0, C=-1, k=0, gpu_num=-2, is_plot_weight="no")
    for data, message in [
        (X[:, :5], "train: expected 12 columns; got 5"),
        (255 * X, "train: the Bernoulli decoder needs values from 0 to 1"),
        (X.reshape(-1, 3, 4), r"train: expected rows, \(n, 12\); got \(150, 3, 4\)"),
        (np.full_like(X, np.nan), "train contains NaN"),
    ]:
        with pytest.raises(DataError, match=message):
            fit(vae, 1, data=data)
    with pytest.raises(DataError, match="valid: expected 12 columns"):
        fit(vae, 1, valid=X[:, :3])
    with pytest.raises(DataError, match="data: expected 12 columns"):
        vae.reconst(X[:, :3])
    with pytest.raises(DataError, match="z: expected 3 columns"):
        vae.featuremap_to_image(X)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileFormatError, match="is a file: name a folder"):
        fit(make(tmp_path / "file"), 1)


def test_a_loss_that_is_not_finite_keeps_the_last_whole_epoch(tmp_path):
    vae = fit(make(tmp_path, is_gauss_dist=True, out_func="identity"), 1)
    before = chainer_files.arrays(vae.model)
    with pytest.raises(TrainingError, match="in epoch 2"):
        fit(vae, 3, data=1e30 * X)
    loaded = make(tmp_path, is_gauss_dist=True, out_func="identity")
    loaded.load()
    for one in (vae, loaded):
        assert len(one.history) == 1
        assert all(np.array_equal(array, before[key]) for key, array in chainer_files.arrays(one.model).items())


def test_the_history_can_be_read_without_omokage(tmp_path):
    vae = fit(make(tmp_path), 2)
    assert json.loads((vae.path / "training" / "spec.json").read_text())["history"] == vae.history


def test_the_page_runs(tmp_path, monkeypatch):
    page = Path(__file__).parents[1] / "docs" / "classic.md"
    if not page.exists():
        pytest.skip("needs docs/classic.md")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), str(page), "exec"), {})
