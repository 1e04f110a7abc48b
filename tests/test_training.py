"""The training loop: repeatable, resumable, interruptible, and loud when a loss is not finite."""

import json
import os
import signal
import threading

import jax
import numpy as np
import optax
import pytest

import omokage as om
from omokage import compilation, training
from omokage.errors import DataError, FileFormatError, ParameterError, TrainingError
from omokage.nets.layers import BatchNorm
from omokage.optimizers import SCHEDULES

X = np.random.default_rng(0).normal(size=(230, 4)) @ np.random.default_rng(1).normal(size=(4, 4))
TINY = {"latent_dim": 2, "hidden": (8,), "epochs": 4, "batch_size": 50, "verbose": 0}

OVERFIT = {"hidden": (64,), "batch_size": 40, "learning_rate": 0.02, "schedule": "constant"}


def leaves(estimator):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(estimator.model_) if hasattr(leaf, "shape")]


def assert_equal_models(one, other):
    for a, b in zip(leaves(one), leaves(other), strict=True):
        assert np.array_equal(a, b)


def without_times(history):
    return [{k: v for k, v in record.items() if k not in ("seconds", "rows_per_second")} for record in history]


@pytest.mark.optimised
def test_the_same_seed_gives_the_same_model_to_the_bit_and_another_one_does_not():
    one, other, third = (om.VAE(**TINY, random_state=seed).fit(X) for seed in (3, 3, 4))
    assert_equal_models(one, other)
    assert without_times(one.history_) == without_times(other.history_)
    assert not np.array_equal(one.transform(X), third.transform(X))


def test_the_order_of_rows_does_not_matter():
    assert_equal_models(om.VAE(**TINY).fit(X), om.VAE(**TINY).fit(X[::-1]))


def test_whole_weights_are_repeated_rows_and_zero_weights_are_no_rows():
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = om.VAE(**TINY).fit(X, sample_weight=weight)
    assert_equal_models(weighted, om.VAE(**TINY).fit(np.repeat(X, weight, axis=0)))


def test_a_weight_in_one_batch_is_a_weighted_mean():
    """With one batch an epoch and no noise, weights w and 3w give the same, and rows of little weight count little."""
    settings = {**TINY, "batch_size": 10_000, "epochs": 3, "standardize": False}
    weight = np.where(X[:, 0] > 0, 0.3, 0.02)
    one, other = (om.AutoEncoder(**settings).fit(X, sample_weight=w) for w in (weight, 3 * weight))
    np.testing.assert_allclose(one.transform(X), other.transform(X), rtol=1e-3, atol=1e-4)
    unweighted = om.AutoEncoder(**settings).fit(X)
    assert not np.allclose(one.transform(X), unweighted.transform(X), rtol=1e-3, atol=1e-4)


def test_training_lowers_the_loss_and_history_says_what_happened():
    records = []
    vae = om.VAE(**{**TINY, "epochs": 40}).fit(X, X_valid=X[:70], on_epoch=records.append)
    assert records == vae.history_
    assert [record["epoch"] for record in vae.history_] == list(range(1, 41))
    names = {"epoch", "loss", "reconstruction", "kl", "learning_rate", "seconds", "rows_per_second"}
    assert names | {f"validation_{name}" for name in ("loss", "reconstruction", "kl")} == set(records[0])
    assert records[-1]["loss"] < records[0]["loss"] - 0.1
    assert records[-1]["loss"] == pytest.approx(records[-1]["kl"] - records[-1]["reconstruction"], rel=1e-4)


def test_the_validation_loss_is_the_bound_of_those_rows():
    """Validation takes one draw, so the mean over rows agrees with the bound within its own error."""
    valid = np.random.default_rng(5).normal(size=(4000, 4))
    vae = om.VAE(**TINY).fit(X, X_valid=valid)
    bound = vae.terms(valid, samples=200)
    raw = vae.schema_.log_jacobian - vae.history_[-1]["validation_loss"]
    assert raw == pytest.approx(bound["elbo"].mean(), abs=0.1)
    assert vae.history_[-1]["validation_kl"] == pytest.approx(bound["kl"].mean(), rel=1e-4)


@pytest.mark.optimised
@pytest.mark.parametrize("settings", [{}, {"early_stopping": 3}, {"normalization": "batch", "dropout": 0.2}])
def test_a_resumed_run_is_equal_to_one_that_was_never_interrupted(tmp_path, settings):
    settings = {**TINY, "epochs": 7, **settings}

    def stop(record):
        if record["epoch"] == 4:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        om.VAE(**settings).fit(X, checkpoint=tmp_path / "run", on_epoch=stop)
    resumed = om.VAE(**settings).fit(X, checkpoint=tmp_path / "run", resume=True)
    whole = om.VAE(**settings).fit(X)
    assert_equal_models(resumed, whole)
    assert without_times(resumed.history_) == without_times(whole.history_)


def test_checkpoints_come_every_so_many_epochs_and_at_the_end(tmp_path):
    epochs = []

    def look(record):
        spec = tmp_path / "run" / "spec.json"
        epochs.append(len(json.loads(spec.read_text())["history"]) if spec.exists() else 0)

    om.VAE(**{**TINY, "epochs": 5}).fit(X, checkpoint=tmp_path / "run", checkpoint_every=2, on_epoch=look)
    assert epochs == [0, 2, 2, 4, 5]


def test_a_checkpoint_of_other_settings_or_data_is_refused(tmp_path):
    om.VAE(**TINY).fit(X, checkpoint=tmp_path / "run")
    with pytest.raises(ParameterError, match=r"learning_rate was 0\.001 and is 0\.01.*resume=False"):
        om.VAE(**TINY, learning_rate=0.01).fit(X, checkpoint=tmp_path / "run", resume=True)
    with pytest.raises(ParameterError, match="rows was 230 and is 229"):
        om.VAE(**TINY).fit(X[1:], checkpoint=tmp_path / "run", resume=True)
    with pytest.raises(ParameterError, match="checkpoint_every: expected a whole number of at least 1; got 0"):
        om.VAE(**TINY).fit(X, checkpoint=tmp_path / "run", checkpoint_every=0)
    om.VAE(**TINY).fit(X).save(tmp_path / "model")
    with pytest.raises(FileFormatError, match="which omokage did not write there"):
        om.VAE(**TINY).fit(X, checkpoint=tmp_path / "model", resume=True)


def test_early_stopping_brings_back_the_best_weights():
    """Rows that are pure noise are learned by heart, so the validation loss turns round."""
    random = np.random.default_rng(0)
    noise, valid = random.normal(size=(40, 6)), random.normal(size=(200, 6))
    settings = {**TINY, **OVERFIT}
    best: dict[int, float] = {}
    ae = om.AutoEncoder(**{**settings, "epochs": 200, "early_stopping": 5})
    ae.fit(noise, X_valid=valid, on_epoch=lambda record: best.update({record["epoch"]: record["validation_loss"]}))
    epoch = min(best, key=best.get)
    assert len(ae.history_) == epoch + 5 < 200
    again = om.AutoEncoder(**{**settings, "epochs": epoch}).fit(noise)
    assert_equal_models(ae, again)


def test_early_stopping_holds_rows_out_by_itself():
    vae = om.VAE(**TINY, early_stopping=True, validation_fraction=0.25).fit(X)
    assert "validation_loss" in vae.history_[-1]


@pytest.fixture
def usual_ctrl_c():
    """Python's own handler, also in a background job, for which a shell turns Ctrl-C off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_keeps_what_there_is_and_says_so(usual_ctrl_c):
    def interrupt(record):
        if record["epoch"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    vae = om.VAE(**{**TINY, "epochs": 5000})
    with pytest.warns(UserWarning, match=r"Interrupted after 3 epochs: the weights so far are kept\."):
        vae.fit(X, on_epoch=interrupt)
    assert len(vae.history_) == 3
    assert np.isfinite(vae.score_samples(X)).all()


def test_ctrl_c_behaves_as_before_after_training():
    before = signal.getsignal(signal.SIGINT)
    om.VAE(**TINY).fit(X)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_with_validation_keeps_the_best():
    """Rows that are pure noise are learned by heart, so the best epoch is long over."""

    def interrupt(record):
        if record["epoch"] == 100:
            raise KeyboardInterrupt

    random = np.random.default_rng(0)
    noise, valid = random.normal(size=(40, 6)), random.normal(size=(200, 6))
    ae = om.AutoEncoder(**{**TINY, **OVERFIT, "epochs": 400})
    with pytest.warns(UserWarning, match="Interrupted after 100 epochs: the best weights so far are kept"):
        ae.fit(noise, X_valid=valid, on_epoch=interrupt)
    losses = [record["validation_loss"] for record in ae.history_]
    best = 1 + int(np.argmin(losses))
    assert best < 90
    assert_equal_models(ae, om.AutoEncoder(**{**TINY, **OVERFIT, "epochs": best}).fit(noise))


def test_a_loss_that_is_not_finite_stops_at_once_and_names_the_culprit():
    wild = X.copy()
    wild[7, 2] = 3e25
    settings = {**TINY, "standardize": False, "likelihood": "gaussian", "optimizer": "sgd"}
    vae = om.VAE(**settings)
    with pytest.raises(TrainingError) as caught:
        vae.fit(wild)
    text = str(caught.value)
    assert "is not finite" in text
    assert "in epoch" in text
    assert "columns 2 (1e+15)" in text
    assert "Try a lower learning_rate, gradient_clip=1.0" in text
    assert "No epoch was over, so nothing of this fit is kept" in text and not hasattr(vae, "fitted_")


def test_a_first_epoch_that_fails_leaves_the_model_of_before():
    vae = om.VAE(**TINY).fit(X)
    before, history = vae.score_samples(X), vae.history_
    with pytest.raises(TrainingError, match=r"epoch 1, .* No epoch was over, so nothing of this fit is kept"):
        vae.set_params(learning_rate=1e30).fit(X)
    np.testing.assert_array_equal(vae.score_samples(X), before)
    assert vae.history_ == history


def test_the_name_of_the_culprit_is_the_columns():
    import pandas as pd

    frame = pd.DataFrame(X, columns=["圧力", "温度", "流量", "振動"])
    frame.loc[7, "流量"] = 3e25
    vae = om.VAE(**TINY, standardize=False, likelihood="gaussian", optimizer="sgd")
    with pytest.raises(TrainingError, match="'流量' \\(1e\\+15\\)"):
        vae.fit(frame)


def test_the_compiled_program_does_not_depend_on_the_number_of_rows():
    from omokage.training import _advance

    om.VAE(**TINY).fit(X[:200])
    before = _advance._cache_size()
    for rows in (101, 150, 177, 230):
        om.VAE(**{**TINY, "epochs": 2, "learning_rate": 0.01}).fit(X[:rows])
    assert _advance._cache_size() == before


def test_a_program_for_many_rows_gives_the_same_as_one_for_few():
    """Chunks of another size cut the same minibatches."""
    vae = om.VAE(**TINY)
    small = vae.fit(X)
    old = training._MOST_STEPS
    try:
        training._MOST_STEPS = 2
        assert_equal_models(om.VAE(**TINY).fit(X), small)
    finally:
        training._MOST_STEPS = old


def test_warm_start_goes_on_from_where_it_was():
    vae = om.VAE(**{**TINY, "epochs": 30}, warm_start=True).fit(X)
    first = vae.history_[-1]["loss"]
    location = vae.schema_.columns.location.copy()
    vae.set_params(epochs=1).fit(X + 0.1)
    assert vae.history_[0]["loss"] < first + 0.5
    assert np.array_equal(vae.schema_.columns.location, location)  # the same units as before
    with pytest.raises(ValueError, match="3 features"):
        vae.fit(X[:, :3])


def test_batch_norm_uses_the_rows_statistics_outside_training():
    """After training for long at a rate of nearly 0, the running statistics are those of the data."""
    settings = {**TINY, "normalization": "batch", "epochs": 300, "learning_rate": 1e-12, "standardize": False}
    ae = om.AutoEncoder(**settings).fit(X)
    linear, norm = ae.model_.posterior.network.layers[:2]
    assert isinstance(norm, BatchNorm)
    hidden = np.float64(X) @ np.float64(linear.weight).T + np.float64(linear.bias)
    np.testing.assert_allclose(norm.mean.value, hidden.mean(0), atol=0.3 * hidden.std(0).max())
    np.testing.assert_allclose(norm.variance.value, hidden.var(0), rtol=0.5)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "rmsprop", "sgd"])
def test_every_optimizer_lowers_the_loss(optimizer):
    rate = {"sgd": 1e-2}.get(optimizer, 3e-3)
    ae = om.AutoEncoder(**{**TINY, "epochs": 30}, optimizer=optimizer, learning_rate=rate, gradient_clip=5.0).fit(X)
    assert ae.history_[-1]["loss"] < ae.history_[0]["loss"] - 0.1


def test_an_optax_transformation_brings_its_own_rate():
    ae = om.AutoEncoder(**TINY, optimizer=optax.sgd(0.0)).fit(X)
    assert ae.history_[-1]["loss"] == pytest.approx(ae.history_[0]["loss"], rel=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_within_their_bounds(name):
    values = [float(SCHEDULES[name](np.float32(progress))) for progress in np.linspace(0, 1, 50)]
    assert min(values) >= -1e-6
    assert max(values) <= 3
    if name != "constant":
        assert values[-1] < 1e-3


def test_small_tables_get_more_epochs():
    from omokage import build

    parameters = om.VAE().get_params()
    assert build.plan(parameters, 150, 0).epochs == 1000
    assert build.plan(parameters, 16_000, 0).epochs == 30
    assert build.plan(parameters, 1_000, 0).epochs == 200
    assert build.plan({**parameters, "epochs": 3}, 150, 0).epochs == 3


def test_a_file_larger_than_memory_allows_is_streamed(tmp_path, monkeypatch):
    from omokage.data.kinds import vectors as table

    path = tmp_path / "rows.npy"
    np.save(path, X.astype(np.float32))
    reference = om.VAE(**TINY).fit(X.astype(np.float32))
    monkeypatch.setattr(table, "IN_MEMORY_BYTES", 0)
    streamed = om.VAE(**TINY).fit(path)
    np.testing.assert_allclose(
        streamed.schema_.columns.location, reference.schema_.columns.location, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(streamed.schema_.columns.scale, reference.schema_.columns.scale, rtol=1e-5)
    assert streamed.n_features_in_ == 4
    assert streamed.history_[-1]["loss"] < streamed.history_[0]["loss"]
    with pytest.raises(DataError, match="sample_weight: expected None where X is a large file"):
        om.VAE(**TINY).fit(path, sample_weight=np.ones(len(X)))


def test_threads_can_fit_side_by_side():
    results = {}

    def work(seed):
        results[seed] = om.VAE(**TINY, random_state=seed).fit(X)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_equal_models(results[0], om.VAE(**TINY, random_state=0).fit(X))


def test_weight_decay_shrinks_matrices_and_nothing_else():
    ae = om.AutoEncoder(**TINY, optimizer="adamw", learning_rate=1e-9, weight_decay=1e7, schedule="constant").fit(X)
    start = om.AutoEncoder(**TINY, optimizer="adamw", learning_rate=1e-9, weight_decay=0.0, schedule="constant").fit(X)
    steps = 4 * 5  # epochs of 230 rows in batches of 50
    trained = [jax.tree.leaves((one.model_.posterior, one.model_.likelihood)) for one in (ae, start)]
    for decayed, plain in zip(*trained, strict=True):
        factor = 0.99**steps if decayed.ndim == 2 else 1.0
        np.testing.assert_allclose(decayed, factor * plain, rtol=1e-3, atol=1e-6)


def test_weights_are_not_undone_in_small_batches():
    """Two clusters, one of a hundredth of the weight: with one row a batch it must still count for that."""
    random = np.random.default_rng(0)
    clusters = np.concatenate([random.normal(-3, 0.1, (200, 2)), random.normal(3, 0.1, (200, 2))])
    weight = np.repeat([0.01, 1.0], 200)
    settings = {**TINY, "batch_size": 1, "epochs": 3, "standardize": False, "likelihood": "gaussian"}
    vae = om.VAE(**settings).fit(clusters, sample_weight=weight)
    assert (vae.sample(2000)[:, 0] < 0).mean() < 0.1
    assert (om.VAE(**settings).fit(clusters).sample(2000)[:, 0] < 0).mean() > 0.2


def test_a_validation_loss_that_is_not_finite_stops_training():
    class Overflowing:
        def __call__(self, model, batch, key, epoch):
            loss = -model.log_likelihood(model.encode(batch).mean[None], batch)[0]
            return {"loss": loss + jax.numpy.where(jax.numpy.isinf(epoch), jax.numpy.inf, 0.0)}

    with pytest.raises(TrainingError, match=r"epoch 1: the validation loss is not finite.*validation rows"):
        om.AutoEncoder(**TINY, objective=Overflowing()).fit(X, X_valid=X)


def test_other_data_are_noticed_when_a_run_goes_on(tmp_path):
    binary = (np.random.default_rng(0).random((60, 4)) > 0.5).astype(float)
    om.VAE(**TINY).fit(binary, checkpoint=tmp_path / "run")
    with pytest.raises(ParameterError, match="digest was"):
        om.VAE(**TINY).fit(1 - binary, checkpoint=tmp_path / "run", resume=True)
    with pytest.raises(ParameterError, match="resume=True: expected a checkpoint folder"):
        om.VAE(**TINY).fit(binary, resume=True)


def test_what_a_model_is_made_of_cannot_change_when_training_goes_on():
    vae = om.VAE(**TINY, warm_start=True).fit(X)
    with pytest.raises(ParameterError, match="warm_start: 'latent_dim', 'activation' cannot change"):
        vae.set_params(latent_dim=3, activation="tanh").fit(X)
    vae.set_params(latent_dim=2, activation="relu").fit(np.abs(X) / np.abs(X).max())  # columns of another kind
    assert type(vae.recipe_.likelihood).__name__ == "Gaussian"
    assert vae.recipe_.likelihood.scale == "feature"


@pytest.mark.skipif(not compilation._MAPS.exists(), reason="only Linux counts memory maps")
def test_many_models_in_one_process_do_not_fill_it_with_programs(monkeypatch):
    def maps():
        return len(compilation._MAPS.read_bytes().splitlines())

    monkeypatch.setattr(compilation, "_CHECK_EVERY", 1)
    monkeypatch.setattr(compilation, "_MOST_MAPS", 0)
    compilation.make_room()
    few = maps()
    monkeypatch.setattr(compilation, "_MOST_MAPS", 10**9)
    models = [om.AutoEncoder(1, hidden=(width,), epochs=1, verbose=0).fit(X) for width in (3, 4, 5)]
    codes = [model.transform(X) for model in models]
    many = maps()
    assert many > few + 150
    monkeypatch.setattr(compilation, "_MOST_MAPS", many - 1)
    compilation.make_room()
    assert maps() < few + (many - few) / 2
    for model, code in zip(models, codes, strict=True):  # which are none the worse for it
        np.testing.assert_array_equal(model.transform(X), code)
