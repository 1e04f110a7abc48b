"""Arguments of odd kinds and sizes: each ends in one line that names them, before anything is computed."""

import pickle

import numpy as np
import pandas as pd
import pytest

import omokage as om
from omokage.errors import DataError, OmokageError, ParameterError, one_line
from omokage.settings import VAESettings, check

X = np.random.default_rng(0).normal(size=(40, 3))
TINY = {"latent_dim": 2, "hidden": (4,), "epochs": 3, "batch_size": 20, "verbose": 0}
ITSELF = []
ITSELF.append(ITSELF)


@pytest.fixture(scope="module")
def vae():
    return om.VAE(**TINY).fit(X)


@pytest.fixture(scope="module")
def detector():
    return om.AnomalyDetector(om.VAE(**TINY), ensemble=2, verbose=0).fit(X)


# --------------------------------------------------------------------------------------------------------- messages


def test_a_message_is_one_line_whatever_came():
    for value in (np.zeros((3, 2)), pd.Series([1, 2]), "a\nb\x1b[2J", "x" * 10**6):
        text = str(ParameterError(f"name: expected a number; got {value}. Mend it."))
        assert len(text.splitlines()) == 1 and len(text) < 1100 and text.isprintable()
        assert text.startswith("name: expected a number; got ") and text.endswith(" Mend it.")
    assert one_line("温度\u3000a") == "温度\u3000a"
    assert str(FileNotFoundError("x")) == "x"


def test_several_problems_are_a_line_each_also_after_pickling():
    with pytest.raises(ParameterError) as found:
        check(VAESettings, {"latent_dim": np.zeros((2, 2)), "epochs": pd.Series([1, 2])})
    again = pickle.loads(pickle.dumps(found.value))
    for error in (found.value, again):
        first, *others = str(error).splitlines()
        assert first == "several parameters:" and [line[:4] for line in others] == ["  la", "  ep"]


@pytest.mark.parametrize(
    "value",
    [np.ma.masked, np.array([1, 2]), np.timedelta64(5, "ns"), np.datetime64(5, "ns"), ITSELF, 2j, np.array("x"), {1}],
    ids=repr,
)
@pytest.mark.parametrize("name", ["latent_dim", "batch_size", "epochs", "dropout", "normalization"])
def test_what_is_no_number_is_no_setting(name, value):
    with pytest.raises(ParameterError, match=rf"^{name}: expected"):
        check(VAESettings, {name: value})


def test_a_number_of_numpy_is_a_number_also_without_axes():
    found = check(VAESettings, {"latent_dim": np.array(3), "hidden": np.array([4, 5]), "dropout": np.float32(0.5)})
    assert (found.latent_dim, found.hidden, found.dropout) == (3, (4, 5), 0.5)


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay"])
def test_no_setting_of_an_optimizer_is_infinite(name):
    with pytest.raises(ParameterError, match=rf"^{name}: expected .*finite"):
        check(VAESettings, {name: float("inf"), "optimizer": "adamw"})


# --------------------------------------------------------------------------------------------------------- questions

SEEDED = ("terms", "score_samples", "log_likelihood", "bits_per_dimension", "reconstruct", "entry_scores", "diagnose")


@pytest.mark.parametrize("seed", [None, -1, 1.5, "7", True, 2**32, 2**70, np.array([1, 2]), np.nan], ids=repr)
def test_a_seed_is_a_whole_number_of_32_bits(vae, seed):
    calls = [getattr(vae, name) for name in (*SEEDED, "annealed_log_likelihood", "fit_density")]
    for call in calls:
        with pytest.raises(ParameterError, match=r"^seed: expected a whole number from 0 to 4,294,967,295; got"):
            call(X, seed=seed)
    with pytest.raises(ParameterError, match=r"^seed: "):
        vae.sample(2, seed=seed)


def test_seeds_are_whole_numbers_of_any_class(vae):
    for seed in (np.uint8(7), np.int64(7)):
        np.testing.assert_array_equal(vae.sample(2, seed=seed), vae.sample(2, seed=7))


def test_numbers_that_no_program_can_count_to_are_refused(vae):
    for name, value in (("samples", 2**31), ("samples", 2**70), ("samples", 0), ("samples", np.array([1, 2]))):
        with pytest.raises(ParameterError, match=rf"^{name}: expected a whole number of at "):
            vae.terms(X, **{name: value})
    with pytest.raises(ParameterError, match=r"n=2147483647: needs 25.8 GB, and there are .* of memory"):
        from omokage import memory

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "limit", lambda: 2 * 10**9)
            vae.sample(2**31 - 1)


@pytest.mark.parametrize("value", [1, "yes", None, np.array([True, False])], ids=repr)
def test_a_flag_is_true_or_false(vae, value):
    for call in (
        lambda: vae.reconstruct(X, sample=value),
        lambda: vae.sample(2, mean=value),
        lambda: vae.log_likelihood(X, return_std=value),
        lambda: om.VAE(**TINY).fit(X, resume=value),
    ):
        with pytest.raises(ParameterError, match="expected True or False; got"):
            call()


def test_how_often_a_checkpoint_is_kept_is_checked_first(tmp_path):
    with pytest.raises(ParameterError, match=r"^checkpoint_every: expected a whole number of at least 1; got 0"):
        om.VAE(**TINY).fit(tmp_path / "there is none", checkpoint=tmp_path / "run", checkpoint_every=0)


@pytest.mark.parametrize("device", ["banana", 3, None, [], np.array(["cpu", "gpu"])], ids=repr)
def test_a_device_that_is_set_after_the_fit_is_checked(vae, device):
    import copy

    changed = copy.copy(vae).set_params(device=device)
    with pytest.raises(ParameterError, match=r"^device: expected one of 'auto', 'cpu', 'gpu', 'tpu'; got"):
        changed.transform(X)


def test_what_a_detector_is_asked_with(detector):
    for by in ([], None, 3, "elbow"):
        with pytest.raises(ParameterError, match=r"^by="):
            detector.explain(X, by=by)
    for count in (-1, 1.5, True, "2"):
        with pytest.raises(ParameterError, match=r"^count: expected a whole number of at least 0"):
            detector.explain(X).top(count)
    for rate in ("x", None, 0, 2.0):
        with pytest.raises(ParameterError, match=r"^false_alarm_rate: "):
            om.AnomalyDetector(verbose=0, false_alarm_rate=rate)._rate()


@pytest.mark.parametrize("density", [np.array([1, 2]), np.array([]), pd.Series([1, 2]), pd.NA, 3, "x"], ids=repr)
def test_a_density_is_a_name_or_a_prior(vae, density):
    with pytest.raises(ParameterError, match=r"^density: expected"):
        vae.fit_density(X, density)


# ---------------------------------------------------------------------------------------------------------- containers


class Broken:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("there is\nno array")


@pytest.mark.parametrize(
    "rows",
    [Broken(), ITSELF, [ITSELF, ITSELF], [[10**400, 1, 1]] * 3, np.ndarray, pd.DataFrame, [Broken(), Broken()]],
    ids=["broken", "itself", "lists of itself", "large", "class", "class of frames", "list of broken"],
)
def test_containers_that_cannot_be_read_are_refused(vae, rows):
    for call in (lambda: om.VAE(**TINY).fit(rows), lambda: vae.transform(rows)):
        with pytest.raises(OmokageError) as found:
            call()
        assert len(str(found.value).splitlines()) == 1


def test_only_what_weights_are_to_one_another_counts_where_they_are_huge_or_tiny():
    weight = np.arange(1.0, 41)
    for factor in (2.0**1000, 2.0**-1020):
        np.testing.assert_allclose(
            om.VAE(**TINY).fit(X, sample_weight=weight * factor).transform(X),
            om.VAE(**TINY).fit(X, sample_weight=weight / 40).transform(X),
            rtol=1e-5,
            atol=1e-6,
        )


# -------------------------------------------------------------------------------------------- members of detectors


def test_settings_of_members_may_hold_tables_as_in_configuration_files():
    series = np.random.default_rng(0).normal(size=(60, 2))
    table = {"name": "sequences", "window": 8}
    settings = {**TINY, "network": "tcn", "data": table}
    by_table = om.AnomalyDetector(settings, ensemble=2, verbose=0).fit(series)
    of_object = {**settings, "data": om.data.Sequences(window=8)}
    by_object = om.AnomalyDetector(of_object, ensemble=2, verbose=0).fit(series)
    np.testing.assert_array_equal(by_table.score_samples(series), by_object.score_samples(series))
    of_model = om.AnomalyDetector(om.VAE(**settings), ensemble=2, verbose=0).fit(series)
    np.testing.assert_array_equal(by_table.score_samples(series), of_model.score_samples(series))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"data": {"name": "tables"}}, "data: expected name = one of"),
        ({"data": {"name": "sequences", "windows": 8}}, "data: sequences has no setting 'windows'"),
        ({"likelihood": {"name": "x"}}, "likelihood: expected name = one of"),
        ({1: 2}, "1: no such parameter"),
        ({"latent": 2}, "latent: no such parameter. Did you mean 'latent_dim'"),
        ({"epochs": 0}, "epochs: expected"),
    ],
    ids=str,
)
def test_settings_of_members_are_checked_before_the_rows(settings, text, tmp_path):
    with pytest.raises(ParameterError) as found:
        om.AnomalyDetector(settings, verbose=0).fit(tmp_path / "there is none.csv")
    assert str(found.value).startswith(text)


def test_weights_of_rows_that_cannot_be_used_are_refused():
    for weight in (np.full(40, np.inf), -np.ones(40), np.zeros(40)):
        with pytest.raises(DataError, match=r"^sample_weight: "):
            om.VAE(**TINY).fit(X, sample_weight=weight)
