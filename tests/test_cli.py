"""The command line, from end to end: what is asked for is written, and what cannot be is said in a line."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage import cli
from omokage.data import Images, Sequences
from omokage.files.opening import TableFile
from omokage.files.pictures import read_pictures, write_pictures
from omokage.objectives import ELBO
from omokage.settings import AutoEncoderSettings, VAESettings

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")  # they are in sys.argv

NAMES = ("温度 [degC]", "圧力", "流量|[/m]")
ROWS = 60
SMALL = ("--hidden", "8", "--latent-dim", "2", "--epochs", "2", "--batch-size", "20", "--quiet")


def table(rows=ROWS, seed=0):
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, 3)) * [1, 10, 100] + [20, 0, 1000]
    numbers = random.permutation(rows)
    columns = {"品番": [f"{number:04d}" for number in numbers], "ロット": [f"Ａ{number % 7}" for number in numbers]}
    return pl.DataFrame(
        {"品番": columns["品番"], **dict(zip(NAMES, values.T.round(4), strict=True)), "ロット": columns["ロット"]}
    )


@pytest.fixture
def refused(command):
    """Run a command line that must end in one line on standard error with all of the parts."""

    def run(words, *parts):
        status, out, err = command(*words)
        assert (status, out) == (1, ""), err
        assert re.fullmatch(r"omokage: [^\n]+\n", err)
        for part in parts:
            assert part in err
        return err

    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a table in several formats, and models fitted on it by the command line."""
    folder = tmp_path_factory.mktemp("cli")
    table().write_csv(folder / "parts.csv")
    table().write_parquet(folder / "parts.parquet")
    (folder / "cp932.csv").write_bytes(table().write_csv().encode("cp932"))
    np.save(folder / "parts.npy", table().select(NAMES).to_numpy())
    ids = ("--id", "品番", "--id", "ロット")
    for data, out, *more in [
        ("parts.csv", "model", *ids),
        ("parts.npy", "plain"),
        ("parts.parquet", "[auto]", *ids, "--model", "autoencoder"),
    ]:
        words = ["fit", str(folder / data), "--out", str(folder / out), *more, *SMALL]
        cli.app(words, exit_on_error=False, print_error=False, result_action="return_value")
    return folder


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


IDS = ("--id", "品番", "--id", "ロット")


# ------------------------------------------------------------------------------------------- end to end


def test_fit_learns_from_the_columns_that_are_not_ids(files):
    model = om.load(files / "model")
    assert tuple(model.feature_names_in_) == NAMES
    assert (model.hidden, model.latent_dim, len(model.history_)) == ((8,), 2, 2)
    fitted = om.VAE(2, hidden=(8,), epochs=2, batch_size=20, verbose=0).fit(table().select(NAMES))
    assert fitted.transform(table().select(NAMES)).tobytes() == model.transform(table().select(NAMES)).tobytes()


def test_fit_says_what_came_of_it(command, files, tmp_path):
    words = [word for word in SMALL if word != "--quiet"]
    status, out, err = command("fit", files / "parts.csv", *IDS, "--out", tmp_path / "m", *words)
    assert status == 0
    assert f"{tmp_path / 'm'}: 3 columns to 2; " in out
    assert re.search(r"loss -?\d", out)
    assert "epoch    1/2" in out + err


@pytest.mark.parametrize("read", ["parts.csv", "parts.parquet"])
@pytest.mark.parametrize("write", ["out.csv", "out.parquet"])
@pytest.mark.parametrize("verb", ["encode", "reconstruct", "score"])
def test_rows_and_ids_stay_in_order(command, files, tmp_path, read, write, verb):
    out = tmp_path / write
    status, shown, err = command(verb, files / "model", files / read, *IDS, "--out", out)
    assert (status, shown, err) == (0, "", f"{out}: written\n")
    text = {"品番": pl.String}
    result = pl.read_csv(out, schema_overrides=text) if write.endswith("csv") else pl.read_parquet(out)
    assert result.columns[:2] == ["品番", "ロット"]
    assert result.select("品番", "ロット").equals(table().select("品番", "ロット"))  # 0007 is still 0007
    model, rows = om.load(files / "model"), table().select(NAMES)
    expected = {
        "encode": lambda: dict(zip(model.get_feature_names_out(), model.transform(rows).T, strict=True)),
        "reconstruct": lambda: dict(zip(NAMES, model.reconstruct(rows).T, strict=True)),
        "score": lambda: {"anomaly_score": -model.score_samples(rows), **model.terms(rows)},
    }[verb]()
    assert result.columns[2:] == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(result[name].to_numpy(), values, rtol=1e-6, atol=1e-12)


def test_ids_are_passed_in_the_order_that_is_asked_for(command, files, tmp_path):
    command(
        "encode", files / "model", files / "parts.csv", "--id", "ロット", "--id", "品番", "--out", tmp_path / "o.csv"
    )
    assert pl.read_csv(tmp_path / "o.csv").columns[:2] == ["ロット", "品番"]


def test_columns_may_come_in_another_order(command, files, tmp_path):
    table().select(table().columns[::-1]).write_csv(tmp_path / "turned.csv")
    for name in ("turned.csv", "parts.csv"):
        data = tmp_path / name if name == "turned.csv" else files / name
        assert command("score", files / "model", data, *IDS, "--out", tmp_path / f"of-{name}")[0] == 0
    assert (tmp_path / "of-turned.csv").read_bytes() == (tmp_path / "of-parts.csv").read_bytes()


def test_rows_of_later_batches_come_in_order_too(command, files, tmp_path, monkeypatch):
    command("score", files / "model", files / "parts.csv", *IDS, "--out", tmp_path / "whole.csv")
    batches = TableFile.batches
    monkeypatch.setattr(TableFile, "batches", lambda self, rows=0: batches(self, 7))
    command("score", files / "model", files / "parts.csv", *IDS, "--out", tmp_path / "parts.csv")
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_samples_depend_on_the_seed_only(command, files, tmp_path):
    for out, *words in [
        ("a.csv", "-n", 5), ("b.parquet", "--rows", 5), ("c.csv", "-n", 5, "--seed", 1), ("d.csv", "-n", 5, "--mean"),
    ]:  # fmt: skip
        status, shown, err = command("sample", files / "model", "--out", tmp_path / out, *words)
        assert (status, shown, err) == (0, f"{tmp_path / out}: 5 rows\n", "")
    first = pl.read_csv(tmp_path / "a.csv")
    assert tuple(first.columns) == NAMES
    assert first.equals(pl.read_parquet(tmp_path / "b.parquet"))
    expected = om.load(files / "model").sample(5)
    np.testing.assert_allclose(first.to_numpy(), expected, rtol=1e-12)
    assert not first.equals(pl.read_csv(tmp_path / "c.csv"))
    np.testing.assert_allclose(
        pl.read_csv(tmp_path / "d.csv").to_numpy(), om.load(files / "model").sample(5, mean=True), rtol=1e-12
    )


def test_info_shows_names_as_they_are(command, files):
    status, out, err = command("info", files / "[auto]")
    assert (status, err) == (0, "")
    for part in (
        str(files / "[auto]"),
        "AutoEncoder of 3 columns",
        *NAMES,
        "Gaussian(scale='unit'",
        "Linear",
        "epoch: 2",
    ):
        assert part in out


def test_an_autoencoder_scores_by_its_squared_error_and_has_samples(command, files, tmp_path):
    assert command("score", files / "[auto]", files / "parts.csv", *IDS, "--out", tmp_path / "s.csv")[0] == 0
    result = pl.read_csv(tmp_path / "s.csv")
    assert result["anomaly_score"].equals(result["squared_error"].rename("anomaly_score"))
    assert command("sample", files / "[auto]", "-n", 3, "--out", tmp_path / "x.csv")[0] == 0
    drawn = pl.read_csv(tmp_path / "x.csv").to_numpy()
    np.testing.assert_allclose(drawn, om.load(files / "[auto]").sample(3), rtol=1e-12)


def test_arrays_without_names(command, refused, files, tmp_path):
    assert command("reconstruct", files / "plain", files / "parts.npy", "--out", tmp_path / "r.csv")[0] == 0
    assert pl.read_csv(tmp_path / "r.csv").columns == ["column_1", "column_2", "column_3"]
    with pytest.warns(UserWarning, match="X has feature names, but VAE was fitted without"):
        status, _, err = command("encode", files / "plain", files / "parts.csv", *IDS, "--out", tmp_path / "e.csv")
    assert status == 0, err
    assert pl.read_csv(tmp_path / "e.csv").columns == ["品番", "ロット", "vae0", "vae1"]
    np.savez(tmp_path / "two.npz", a=np.eye(3), b=np.eye(4))
    err = refused(["encode", files / "plain", tmp_path / "two.npz", "--out", tmp_path / "x.csv"], "--array")
    assert "'a', 'b'" in err
    wide = ["encode", files / "plain", tmp_path / "two.npz", "--array", "b", "--out", tmp_path / "x.csv"]
    refused(wide, "two.npz: ", "4 features", "3 features")
    refused(["encode", files / "plain", files / "parts.npy", "--id", "a", "--out", tmp_path / "x.csv"], "no names")
    assert not (tmp_path / "x.csv").exists()


def test_text_in_other_encodings(command, refused, files, tmp_path):
    words = ["score", files / "model", files / "cp932.csv", *IDS, "--out", tmp_path / "s.csv"]
    refused([*words, "--encoding", "utf-8"], "cp932.csv: byte ", "not text in utf-8", "--encoding cp932")
    for how in ([], ["--encoding", "cp932"]):  # found, or named
        assert command(*words, *how)[0] == 0
        assert pl.read_csv(tmp_path / "s.csv")["ロット"].equals(table()["ロット"])
    refused([*words, "--encoding", "cp392"], "encoding: 'cp392' is not a text encoding")


def test_a_validation_file_is_read_like_the_data(command, refused, files, tmp_path):
    table(20, 1).select(table().columns[::-1]).write_csv(tmp_path / "valid.csv")
    table(20, 1).drop("圧力").write_csv(tmp_path / "less.csv")
    fit = ["fit", files / "parts.csv", *IDS, "--out", tmp_path / "m", *SMALL, "--valid"]
    refused([*fit, tmp_path / "less.csv"], "less.csv: X: its columns are not those seen at fit: missing '圧力'")
    assert command(*fit, tmp_path / "valid.csv")[0] == 0
    assert np.isfinite(om.load(tmp_path / "m").history_[-1]["validation_loss"])


def test_an_interrupted_run_is_resumed(command, files, tmp_path, monkeypatch):
    fit = ["fit", files / "parts.csv", *IDS, *SMALL, "--checkpoint", tmp_path / "c"]
    from omokage.estimators import fitting as base

    def stop(folder, snapshot, settings):
        write(folder, snapshot, settings)
        raise RuntimeError("stopped")

    write = base.write_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(base, "write_checkpoint", stop)
        with pytest.raises(RuntimeError):
            command(*fit, "--out", tmp_path / "none")
    assert names_in(tmp_path) == ["c"]
    assert command(*fit, "--out", tmp_path / "m", "--resume")[0] == 0
    rows = table().select(NAMES)
    assert om.load(tmp_path / "m").transform(rows).tobytes() == om.load(files / "model").transform(rows).tobytes()


# ---------------------------------------------------------------------------------------------- settings


def test_settings_come_from_a_file_and_flags_override_it(command, files, tmp_path):
    (tmp_path / "config.toml").write_text(
        "hidden = [8]\nlatent_dim = 1\nepochs = 2\nbatch_size = 20\nverbose = 0\n"
        '[objective]\nname = "elbo"\nbeta = 4.0\n[likelihood]\nname = "gaussian"\nscale = "shared"\n',
        "utf-8",
    )
    words = ["fit", files / "parts.csv", *IDS, "--config", tmp_path / "config.toml", "--out", tmp_path / "m"]
    status, out, err = command(*words, "--latent-dim", 2)
    assert (status, err) == (0, "")
    assert "epoch    1/2" not in out  # verbose = 0
    model = om.load(tmp_path / "m")
    assert (model.latent_dim, model.hidden, len(model.history_)) == (2, (8,), 2)
    assert model.recipe_.objective == model.objective == ELBO(beta=4.0)
    assert model.recipe_.likelihood == om.likelihoods.Gaussian(scale="shared")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("latent_dmi = 2", ["latent_dmi: no such parameter. Did you mean 'latent_dim'?"]),
        ("[fit]\nlatent_dim = 2", ["fit: no such parameter"]),
        ("[score]\nseed = 2", ["--score: only with --task detect"]),
        ("[settings]\nlatent_dim = 2", ["settings: no such parameter"]),
        ("out = 'x'", ["out: no such parameter"]),
        ("latent_dim = 0", ["latent_dim: expected", "got 0"]),
        ("latent_dim = '2'", ["latent_dim: expected", "got '2'"]),
        ("hidden = [8, 0]", ["hidden: expected", "got (8, 0)"]),
        ("[hidden]\nfirst = 8", ["hidden: expected", "{'first': 8}"]),
        ("objective = 'elbow'", ["objective: expected", "'elbow'. Did you mean 'elbo'?"]),
        ("[objective]\nname = 'elbow'", ["objective: expected name = one of 'elbo'", "Did you mean 'elbo'?"]),
        ("[objective]\nbeta = 4.0", ["objective: expected name = one of 'elbo'", "got None"]),
        ("[objective]\nname = 'elbo'\nbetta = 4.0", ["objective: elbo has no setting 'betta'", "'beta'"]),
        ("[objective]\nname = 'elbo'\nbeta = -1", ["ELBO(beta=-1): expected a number of at least 0"]),
        ("latent_dim = ", ["config.toml: not sound TOML", "Invalid value"]),
        ("latent_dim = 1\nlatent_dim = 2", ["config.toml: not sound TOML"]),
    ],
)
def test_settings_that_cannot_be_are_refused(refused, files, tmp_path, text, parts):
    (tmp_path / "config.toml").write_text(text, "utf-8")
    refused(["fit", files / "parts.csv", *IDS, "--config", tmp_path / "config.toml", "--out", tmp_path / "m"], *parts)
    assert names_in(tmp_path) == ["config.toml"]


def test_a_configuration_that_cannot_be_read_is_named(refused, files, tmp_path):
    fit = ["fit", files / "parts.csv", "--out", tmp_path / "m", "--config"]
    refused([*fit, tmp_path / "nothing.toml"], "nothing.toml: cannot be read (No such file")
    refused([*fit, tmp_path], "cannot be read (Is a directory)")
    (tmp_path / "bad.toml").write_bytes("hidden = '幅'".encode("cp932"))
    refused([*fit, tmp_path / "bad.toml"], "bad.toml: not sound TOML")


def test_all_settings_that_cannot_be_are_named_at_once(command, files, tmp_path):
    flags = ["--latent-dim", "0", "--hidden", "8,x", "--activation", "rellu", "--dropout", "one"]
    status, out, err = command("fit", files / "parts.csv", "--out", tmp_path / "m", *flags)
    assert (status, out) == (1, "")
    for part in ("latent_dim: ", "hidden: ", "activation: ", "Did you mean 'relu'?", "dropout: "):
        assert part in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["fit", "x.csv"], ["--out"]),
        (["fit", "x.csv", "--out", "m", "--latnt-dim", "3"], ["--latnt-dim", "Did you mean --latent-dim?"]),
        (["fit", "x.csv", "--out", "m", "--checkpoint-every", "x"], ["--checkpoint-every", '"x"']),
        (["fit", "x.csv", "--out", "m", "--model", "vea"], ["vea", 'Did you mean "vae"?']),
        (["fti", "x.csv"], ["fti", 'Did you mean "fit"?']),
        (["encode", "m"], ["requires an argument"]),
        (["sample", "m", "--out", "x.csv", "-n", "many"], ["many"]),
    ],
)
def test_words_that_are_no_command_are_refused_in_a_line(refused, words, parts):
    refused(words, *parts)


def test_every_setting_has_a_flag_with_its_choices(command):
    status, out, _ = command("fit", "--help")
    assert status == 0
    flags = set(re.findall(r"--[\w-]+", out))
    for name in {**VAESettings.model_fields, **AutoEncoderSettings.model_fields}:
        assert (f"--{name.replace('_', '-')}" in flags) == (name not in ("warm_start", "verbose")), name
    words = re.sub(r"[\s│]+", "", out)
    assert "[relu|leaky|elu|gelu|silu|softplus|tanh|sigmoid|identity]Default:relu." in words
    assert "[auto|mlp|conv|gru|tcn]Default:auto." in words
    assert flags >= {"--data", "--series", "--time", "--layout", "--size", "--colours"}


# ------------------------------------------------------------------------------------------------ errors


def test_columns_other_than_at_fit_are_named(refused, files, tmp_path):
    table().rename({"圧力": "電流"}).write_csv(tmp_path / "other.csv")
    for verb in ("encode", "reconstruct", "score"):
        words = [verb, files / "model", tmp_path / "other.csv", *IDS, "--out", tmp_path / "o.csv"]
        refused(words, "other.csv: X: its columns are not those seen at fit: missing '圧力'; unexpected '電流'.")
    words = ["score", files / "model", files / "parts.csv", "--id", "品番", "--out", tmp_path / "o.csv"]
    refused(words, "unexpected 'ロット'", "--id")
    words = ["score", files / "model", files / "parts.csv", *IDS, "--id", "社員", "--out", tmp_path / "o.csv"]
    refused(words, "--id: no column '社員' in ", "parts.csv; it has '品番', '温度 [degC]'")
    refused(["fit", files / "parts.csv", "--id", "社員", "--out", tmp_path / "m"], "--id: no column '社員'")
    words = ["fit", files / "parts.csv", "--data", "vectors", "--out", tmp_path / "m"]
    refused(words, "'ロット' (row 0: 'Ａ", "--id")
    refused(["fit", "digits", "--id", "a", "--out", tmp_path / "m"], "--id: the columns of digits have no names")
    assert names_in(tmp_path) == ["other.csv"]


@pytest.mark.parametrize("out", ["o.csv", "o.parquet"])
def test_an_error_on_the_way_leaves_an_old_result_as_it_was(refused, files, tmp_path, monkeypatch, out):
    batches = TableFile.batches
    monkeypatch.setattr(TableFile, "batches", lambda self, rows=0: batches(self, 10))
    rows = table().with_columns(pl.when(pl.int_range(pl.len()) != 45).then("圧力").alias("圧力"))
    rows.write_csv(tmp_path / "holes.csv")
    (tmp_path / out).write_bytes(b"the old result")
    words = ["score", files / "model", tmp_path / "holes.csv", *IDS, "--out", tmp_path / out, "--strict"]
    refused(words, "holes.csv: X contains NaN", "at row 45, column '圧力'")  # of the file, not of the batch
    assert (tmp_path / out).read_bytes() == b"the old result"
    assert names_in(tmp_path) == sorted(["holes.csv", out])


def test_files_that_cannot_be_read_are_named(refused, files, tmp_path):
    half = tmp_path / "half.parquet"
    half.write_bytes((files / "parts.parquet").read_bytes()[:-200])
    (tmp_path / "empty.csv").touch()
    (tmp_path / "sheet.xlsx").write_bytes(b"PK")
    for name, part in [
        ("nothing.csv", "there is no such file"),
        ("half.parquet", "cut short"),
        ("empty.csv", "the file is empty"),
        ("sheet.xlsx", "not a format that omokage reads"),
        (".", "a folder, where a file of rows is expected"),
    ]:
        if name != ".":  # which would be one of pictures
            refused(["fit", tmp_path / name, "--out", tmp_path / "m"], part)
        refused(["score", files / "model", tmp_path / name, "--out", tmp_path / "o.csv"], part)
    assert names_in(tmp_path) == ["empty.csv", "half.parquet", "sheet.xlsx"]


def test_files_without_permission_are_named(refused, files, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_bytes((files / "parts.csv").read_bytes())
    secret.chmod(0)
    if os.access(secret, os.R_OK):
        pytest.skip("the superuser may read and write everywhere")
    refused(["fit", secret, "--out", tmp_path / "m"], "secret.csv: cannot be read (Permission denied)")
    (tmp_path / "locked").mkdir(mode=0o500)
    locked = tmp_path / "locked"
    refused(["fit", files / "parts.csv", *IDS, *SMALL, "--out", locked / "m"], "m: cannot be written", "permission")
    score = ["score", files / "model", files / "parts.csv", *IDS, "--out", locked / "o.csv"]
    refused(score, "o.csv: cannot be written (Permission denied)")


def test_models_and_results_that_cannot_be_are_named(refused, files, tmp_path):
    data = files / "parts.csv"
    for verb in (["info"], ["score", data, *IDS, "--out", tmp_path / "o.csv"], ["sample", "--out", tmp_path / "o.csv"]):
        verb.insert(1, tmp_path / "nothing")
        refused(verb, "nothing does not exist: expected the folder that `save`")
    refused(["info", data], "parts.csv is a file, not a folder")
    refused(["info", files], "spec.json: cannot be read (No such file")
    score = ["score", files / "model", data, *IDS, "--out"]
    refused([*score, tmp_path / "o.xlsx"], "o.xlsx cannot be written; end it in .csv, .tsv or .parquet")
    refused([*score, tmp_path / "none" / "o.csv"], "the folder", "none does not exist")
    refused(["sample", files / "model", "-n", 0, "--out", tmp_path / "o.csv"], "n: expected", "at least 1; got 0")
    assert names_in(tmp_path) == []


def test_a_folder_of_others_is_refused_before_the_training(refused, files, tmp_path, monkeypatch):
    monkeypatch.setattr(om.VAE, "fit", lambda *_, **__: pytest.fail("trained for nothing"))
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    refused(["fit", files / "parts.csv", *IDS, *SMALL, "--out", tmp_path], "holds 'photo.jpg', which omokage did not")
    refused(["fit", files / "parts.csv", *IDS, *SMALL, "--out", tmp_path / "photo.jpg"], "is a file: name a folder")
    assert (tmp_path / "photo.jpg").read_bytes() == b"mine"


def test_what_is_read_is_not_written_over(refused, files, tmp_path):
    data = tmp_path / "parts.csv"
    data.write_bytes((files / "parts.csv").read_bytes())
    refused(["score", files / "model", data, *IDS, "--out", tmp_path / "." / "parts.csv"], "is the file that is read")
    assert data.read_bytes() == (files / "parts.csv").read_bytes()
    fit = ["fit", data, *IDS, *SMALL, "--out", tmp_path / "m", "--checkpoint", tmp_path / "m"]
    refused(fit, "--checkpoint and --out both name", "folder of its own")
    assert names_in(tmp_path) == ["parts.csv"]


def test_an_interrupt_is_no_traceback(command, files, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(om.VAE, "terms", interrupt)
    status, out, err = command("score", files / "model", files / "parts.csv", *IDS, "--out", tmp_path / "o.csv")
    assert (status, out, err) == (130, "", "omokage: interrupted\n")
    assert names_in(tmp_path) == []


# --------------------------------------------------------------------------------------------- sequences


RUN = ("--id", "型", "--series", "号機", "--time", "時刻")


def runs(holes=True, mixed=True):
    """Return a long table of engines, their rows mixed: the time, a type to pass through, and two channels."""
    random = np.random.default_rng(0)
    rows = [
        {
            "号機": f"{engine:03d}",
            "型": "甲乙"[engine % 2],
            "時刻": step / 2,
            "回転": random.normal(1e3, 50.0),
            "熱": step,
        }
        for engine in range(20)
        for step in range((5, 9, 12, 16)[engine % 4])
    ]
    frame = pl.DataFrame(rows).with_columns(回転=pl.col("回転").round(3))
    if holes:
        frame = frame.with_columns(回転=pl.when(pl.int_range(len(frame)) % 17 != 3).then("回転"))
    return frame.sort("時刻", maintain_order=True) if mixed else frame


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_links_that_lead_round_are_no_place_to_write_to(refused, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for loop in ("loop", "loop.csv", "loop.npy", "loop.html"):
        Path(loop).symlink_to(loop)
    data, model = (files / "parts.csv", *IDS), files / "model"
    for words in (
        ("fit", *data, "--out", "loop"),
        ("fit", *data, "--out", "loop/m"),
        ("fit", *data, "--out", "m", "--checkpoint", "loop"),
        *((verb, model, *data, "--out", out) for verb in ("score", "encode") for out in ("loop.csv", "loop/o.csv")),
        ("reconstruct", model, *data, "--out", "loop.npy"),
        ("sample", model, "--out", "loop.csv"),
        ("evaluate", model, *data, "--label-column", "x", "--out", "loop.html"),
        ("demo", "--out", "loop"),
        ("reproduce", "pca", "--out", "loop"),
    ):
        refused(words, "loop")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A folder with series as a table and as an array, and models fitted on them by the command line."""
    folder = tmp_path_factory.mktemp("series")
    runs().write_csv(folder / "runs.csv")
    np.save(folder / "runs.npy", np.random.default_rng(0).normal(size=(20, 2, 16)))
    for data, out, *more in [("runs.csv", "model", *RUN), ("runs.npy", "plain", "--layout", "NCT")]:
        words = ["fit", str(folder / data), "--out", str(folder / out), *more, *SMALL]
        cli.app(words, exit_on_error=False, print_error=False, result_action="return_value")
    return folder


def by_engine(frame, columns=("回転", "熱")):
    """Return the series of a table, in the order of their first rows."""
    parts = frame.partition_by("号機", maintain_order=True)
    return [part.select(columns).cast(pl.Float64).fill_null(float("nan")).to_numpy() for part in parts]


def read(path):
    return pl.read_csv(path, schema_overrides={"号機": pl.String})


def test_series_get_a_row_each_with_their_name(command, series, tmp_path):
    model = om.load(series / "model")
    assert model.data == Sequences(series="号機", time="時刻")
    assert model.schema_.names == ("回転", "熱")
    names = runs()["号機"].unique(maintain_order=True).to_list()
    for verb, expected in [
        ("encode", dict(zip(("vae0", "vae1"), model.transform(runs().drop("型")).T, strict=True))),
        ("score", model.terms(runs().drop("型"))),
    ]:
        words = [verb, series / "model", series / "runs.csv", "--id", "型", "--out", tmp_path / "o.csv"]
        status, out, err = command(*words)
        assert (status, out, err) == (0, "", f"{tmp_path / 'o.csv'}: written\n")
        result = read(tmp_path / "o.csv")
        assert result.columns[:2] == ["号機", "型"]
        assert result["号機"].to_list() == names  # 007 is still 007
        assert result["型"].to_list() == ["甲乙"[int(name) % 2] for name in names]
        for name, values in expected.items():
            np.testing.assert_allclose(result[name].to_numpy(), values, rtol=1e-6)
    np.testing.assert_allclose(result["anomaly_score"], -result["elbo"])


@pytest.mark.parametrize("write", ["out.csv", "out.parquet"])
def test_a_long_table_comes_back_as_it_was_but_for_its_channels(command, series, tmp_path, write):
    model, frame = om.load(series / "model"), runs()
    for verb, expected in [("reconstruct", model.reconstruct), ("impute", model.impute)]:
        words = [verb, series / "model", series / "runs.csv", "--id", "型", "--out", tmp_path / write]
        status, out, err = command(*words)
        assert (status, out) == (0, ""), err
        result = read(tmp_path / write) if write.endswith("csv") else pl.read_parquet(tmp_path / write)
        assert result.columns == frame.columns
        for name in ("号機", "型", "時刻"):
            assert result[name].equals(frame[name]), name
        for found, values in zip(by_engine(result), expected(frame.drop("型")), strict=True):
            np.testing.assert_allclose(found, values, rtol=1e-12)
    holes = frame["回転"].is_null()
    assert err == f"{tmp_path / write}: {holes.sum()} entries filled\n"
    assert result.filter(~holes).equals(frame.filter(~holes).with_columns(pl.col("熱").cast(pl.Float64)))
    assert not result["回転"].is_null().any()


def test_scores_of_steps(command, series, tmp_path):
    words = ["score", series / "model", series / "runs.csv", "--id", "型", "--by-step", "--out", tmp_path / "s.csv"]
    assert command(*words)[0] == 0
    result, model = read(tmp_path / "s.csv"), om.load(series / "model")
    assert result.columns == ["号機", "型", "時刻", "anomaly_score"]
    assert result.select("号機", "型", "時刻").equals(runs().select("号機", "型", "時刻"))
    for found, scores in zip(by_engine(result, ["anomaly_score"]), model.step_scores(runs().drop("型")), strict=True):
        np.testing.assert_allclose(found[:, 0], -scores, rtol=1e-6)
    torn = runs().with_columns(pl.when(pl.int_range(pl.len()) != 30).then(pl.col("回転", "熱")))
    torn.write_csv(tmp_path / "torn.csv")
    words[2] = tmp_path / "torn.csv"
    assert command(*words)[0] == 0
    assert np.flatnonzero(read(tmp_path / "s.csv")["anomaly_score"].is_null()).tolist() == [30]


def test_what_tells_series_apart_is_no_label(refused, series):
    evaluate = ("evaluate", series / "model", series / "runs.csv", "--id", "型", "--label-column")
    for name in ("号機", "時刻"):
        refused((*evaluate, name), f"--label-column: '{name}' tells series or their steps apart. Name a column of")


def test_draws_of_series_are_a_long_table_that_can_be_learned_from(command, series, tmp_path):
    words = ["sample", series / "model", "-n", 5, "--out"]
    assert command(*words, tmp_path / "d.csv") == (0, f"{tmp_path / 'd.csv'}: 5 series\n", "")
    result = read(tmp_path / "d.csv")
    assert result.columns == ["号機", "時刻", "回転", "熱"]
    for found, drawn in zip(by_engine(result), om.load(series / "model").sample(5), strict=True):
        np.testing.assert_allclose(found, drawn, rtol=1e-12)
    assert command("score", series / "model", tmp_path / "d.csv", "--out", tmp_path / "s.csv")[0] == 0
    assert command(*words, tmp_path / "d.npy", "--length", 7)[0] == 0
    assert np.load(tmp_path / "d.npy").shape == (5, 7, 2)


def test_a_channel_without_any_value_is_filled_too(command, series, tmp_path):
    runs().with_columns(熱=pl.lit(None)).write_csv(tmp_path / "torn.csv")
    words = ["impute", series / "model", tmp_path / "torn.csv", "--id", "型", "--out", tmp_path / "o.csv"]
    assert command(*words)[0] == 0
    result, seen = read(tmp_path / "o.csv"), runs()["回転"].is_not_null()
    assert not result["熱"].is_null().any()
    assert result["回転"].filter(seen).equals(runs()["回転"].filter(seen))


def test_arrays_of_series(command, refused, series, tmp_path):
    X, model = np.load(series / "runs.npy"), om.load(series / "plain")
    X[3, 1, 4] = np.nan
    np.save(tmp_path / "torn.npy", X)
    for verb, expected in [("reconstruct", model.reconstruct), ("impute", model.impute)]:
        assert command(verb, series / "plain", tmp_path / "torn.npy", "--out", tmp_path / "o.npy")[0] == 0
        np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), expected(X))
    assert command("impute", series / "plain", tmp_path / "torn.npy", "--out", tmp_path / "o.csv")[0] == 0
    result = pl.read_csv(tmp_path / "o.csv")
    assert result.columns == ["series", "step", "channel_1", "channel_2"]
    np.testing.assert_allclose(result.to_numpy()[:, 2:].reshape(20, 16, 2), np.load(tmp_path / "o.npy").swapaxes(1, 2))
    assert command("score", series / "plain", series / "runs.npy", "--out", tmp_path / "s.csv")[0] == 0
    assert pl.read_csv(tmp_path / "s.csv").columns[0] == "anomaly_score"
    words = ["score", series / "plain", tmp_path / "torn.npy", "--by-step", "--out", tmp_path / "s.csv"]
    assert command(*words)[0] == 0
    assert pl.read_csv(tmp_path / "s.csv").select("series", "step").equals(result.select("series", "step"))
    refused(["encode", series / "plain", series / "runs.csv", "--out", tmp_path / "x.csv"], "tells series apart")


def test_sequences_by_a_configuration(command, series, tmp_path):
    (tmp_path / "c.toml").write_text(
        'epochs = 1\nhidden = [8]\nlatent_dim = 2\n[data]\nname = "sequences"\nseries = "号機"\ntime = "型"\n', "utf-8"
    )
    fit = ["fit", series / "runs.csv", "--config", tmp_path / "c.toml", "--id", "型", "--out", tmp_path / "m"]
    status, out, err = command(*fit, "--time", "時刻", "--valid", series / "runs.csv")  # a flag overrides the file
    assert status == 0, err
    assert f"{tmp_path / 'm'}: sequences of 2 channels to 2; " in out
    assert om.load(tmp_path / "m").data == Sequences(series="号機", time="時刻")
    assert "validation_loss" in om.load(tmp_path / "m").history_[-1]
    status, out, err = command("info", tmp_path / "m")
    assert (status, err) == (0, "")
    for part in ("VAE of sequences of 2 channels", "5 to 16 (padded to", "missing entries", "'号機'", "回転", "熱"):
        assert part in out


@pytest.mark.parametrize(
    "words",
    [["sample", "m", "-n", "1.5"], ["demo", "--seed", "2.0"], ["score", "m", "x", "--explain", "1.5"]],
    ids=lambda words: words[0],
)
def test_a_whole_number_is_not_rounded(refused, words, tmp_path):
    refused([*words, "--out", tmp_path / "out"], f"Invalid value for {words[-2]}: expected a whole number; got")


def test_series_that_cannot_be_are_refused(refused, series, files, tmp_path):
    out = ["--out", tmp_path / "o.csv"]
    fit = ["fit", series / "runs.csv", "--id", "型", *SMALL, "--out", tmp_path / "m"]
    refused([*fit, "--series", "号機 "], "no column '号機 '. Did you mean '号機'? It has")
    refused([*fit, "--time", "時刻"], "expected series= as well")
    refused([*fit, "--data", "sequences"], "needs the column that tells series apart", "--series")
    refused([*fit, "--layout", "CNT", "--series", "号機"], "layout='CNT'")
    refused([*fit, "--series", "号機", "--size", "8x8"], "--series and --size: are for tables, sequences or pictures")
    refused([*fit, "--series", "号機", "--data", "images"], "--series: for data='sequences', and data is 'images'")
    refused([*fit, "--series", "号機", "--network", "mlp"], "network='mlp': takes vectors or images")
    runs().reverse().write_csv(tmp_path / "turned.csv")
    runs().with_columns(色=pl.lit("x")).write_csv(tmp_path / "more.csv")
    for verb in (["score"], ["score", "--by-step"], ["encode"], ["reconstruct"], ["impute"]):
        words = [verb[0], series / "model", tmp_path / "turned.csv", "--id", "型", *verb[1:], *out]
        refused(words, "turned.csv: X: series '0", "comes before the time of row", "Sort the table")
        words = [verb[0], series / "model", tmp_path / "more.csv", *verb[1:], *out]  # the id is remembered
        refused(words, "expected numbers in every column beside '号機' and '時刻'; not so in '色'")
        refused([verb[0], series / "model", series, *verb[1:], *out], ": expected sequences, ")
    runs().drop("熱").write_csv(tmp_path / "less.csv")
    refused(["score", series / "model", tmp_path / "less.csv", "--id", "型", *out], "less.csv: X: ", "missing '熱'")
    refused(
        ["score", files / "model", files / "parts.csv", *IDS, "--by-step", *out],
        "--by-step, --window: only sequences have steps",
        "Leave them out",
    )
    refused(
        ["impute", files / "model", files / "parts.csv", *IDS, *out],
        "a model of 3 columns in which nothing can be missing",
    )
    refused(
        ["reconstruct", series / "model", series / "runs.csv", "--id", "型", "--out", tmp_path / "o"], "end it in .csv"
    )
    npy = ["--out", tmp_path / "o.npy"]
    refused(
        ["reconstruct", series / "model", series / "runs.csv", "--id", "型", *npy], "end it in .csv, .tsv or .parquet."
    )
    refused(["sample", series / "model", *npy], "an array holds series of one length", "End it in .csv")
    refused(["sample", files / "model", "--length", 4, *out], "length=4: only sequences have one")
    assert names_in(tmp_path) == ["less.csv", "more.csv", "turned.csv"]


# ------------------------------------------------------------------------------------------------ pictures


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of folders of pictures, and models fitted on them by the command line."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    write_pictures(folder / "good", random.random((20, 9, 7)), [f"line {i % 2}/{i}.png" for i in range(20)])
    np.save(folder / "levels.npy", random.integers(0, 256, (20, 8, 6), np.uint8))
    for data, out, *more in [
        ("good", "model", "--size", "8x6", "--colours", "rgb"),
        ("levels.npy", "plain", "--data", "images"),
    ]:
        words = ["fit", str(folder / data), "--out", str(folder / out), *more, *SMALL, "--network", "mlp"]
        cli.app(words, exit_on_error=False, print_error=False, result_action="return_value")
    return folder


def test_a_folder_of_pictures(command, folders, tmp_path):
    model = om.load(folders / "model")
    assert model.data == Images(size=(8, 6), colours="rgb")
    X, names = read_pictures(folders / "good", size=(8, 6), colours="rgb")
    for verb, first, expected in [
        ("encode", "vae0", model.transform(X)[:, 0]),
        ("score", "elbo", model.score_samples(X)),
    ]:
        assert command(verb, folders / "model", folders / "good", "--out", tmp_path / "o.csv")[0] == 0
        result = pl.read_csv(tmp_path / "o.csv")
        assert result["file"].to_list() == list(names)
        np.testing.assert_allclose(result[first].to_numpy(), expected, rtol=1e-6)
    status, out, err = command("reconstruct", folders / "model", folders / "good", "--out", tmp_path / "rebuilt")
    assert (status, out, err) == (0, "", f"{tmp_path / 'rebuilt'}: written\n")
    found, names_there = read_pictures(tmp_path / "rebuilt")
    assert names_there == names
    np.testing.assert_allclose(found, np.clip(model.reconstruct(X), 0, 1), atol=0.51 / 255)
    assert command("sample", folders / "model", "-n", 3, "--out", tmp_path / "drawn")[0] == 0
    np.testing.assert_allclose(read_pictures(tmp_path / "drawn")[0], np.clip(model.sample(3), 0, 1), atol=0.51 / 255)
    assert names_in(tmp_path) == ["drawn", "o.csv", "rebuilt"]
    status, out, err = command("info", folders / "model")
    assert (status, err) == (0, "")
    assert "VAE of images of 8×6 pixels and 3 channels" in out
    assert len(out.splitlines()) < 40  # and not a line for each pixel
    for word in ("resized to 8×6", "values", "Linear"):
        assert word in out


def test_an_array_of_pictures(command, folders, tmp_path):
    X, model = np.load(folders / "levels.npy"), om.load(folders / "plain")
    assert command("reconstruct", folders / "plain", folders / "levels.npy", "--out", tmp_path / "o.npy")[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), model.reconstruct(X))
    assert command("reconstruct", folders / "plain", folders / "levels.npy", "--out", tmp_path / "o")[0] == 0
    assert names_in(tmp_path / "o") == [f"{number:02d}.png" for number in range(20)]
    levels = np.clip(model.reconstruct(X) / 255, 0, 1)
    np.testing.assert_allclose(read_pictures(tmp_path / "o")[0][..., 0], levels, atol=0.51 / 255)
    assert command("score", folders / "plain", folders / "levels.npy", "--out", tmp_path / "s.csv")[0] == 0
    np.testing.assert_allclose(pl.read_csv(tmp_path / "s.csv")["elbo"].to_numpy(), model.score_samples(X), rtol=1e-6)
    assert command("sample", folders / "plain", "-n", 2, "--out", tmp_path / "d.npy")[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "d.npy"), model.sample(2))
    (tmp_path / ".drawn.123-abcd1234.part").mkdir()  # of a run that was killed
    assert command("sample", folders / "plain", "-n", 2, "--out", tmp_path / "drawn")[0] == 0
    assert [name for name in names_in(tmp_path) if "drawn" in name] == ["drawn"]


def test_known_pictures_and_files_of_the_literature(command, tmp_path):
    words = ["fit", "digits", "--data", "images", "--network", "mlp", *SMALL, "--out", tmp_path / "m"]
    assert command(*words)[0] == 0
    assert om.load(tmp_path / "m").schema_.shape == (8, 8, 1)
    header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (20, 4, 6))
    levels = np.random.default_rng(0).integers(0, 256, 480, np.uint8)
    (tmp_path / "x-images-idx3-ubyte").write_bytes(header + levels.tobytes())
    words[1:4], words[-1] = [tmp_path / "x-images-idx3-ubyte", "--data", "images"], tmp_path / "idx"
    assert command(*words, "--valid", tmp_path / "x-images-idx3-ubyte")[0] == 0
    assert om.load(tmp_path / "idx").schema_.shape == (4, 6, 1)
    assert command("score", tmp_path / "idx", words[1], "--out", tmp_path / "s.csv")[0] == 0


def test_pictures_that_cannot_be_are_refused(refused, folders, files, tmp_path):
    fit = ["fit", folders / "good", *SMALL, "--out", tmp_path / "m"]
    for size in ("8", "8x", "8x6x1", "axb", "0x3"):
        refused([*fit, "--size", size], "size", f"{size!r}" if size != "0x3" else "(0, 3)")
    refused([*fit, "--colours", "gray"], "colours='gray'")
    refused([*fit, "--id", "a"], "--id: ", "folder of pictures, which has no columns")
    refused([*fit[:-1], folders / "good" / "m"], "--out: ", "is in the folder of pictures that is read")
    refused([*fit[:-1], folders / "good"], "--out: ", "is the file that is read")
    out = ["--out", tmp_path / "o.csv"]
    refused(["score", files / "model", folders / "good", *out], "a folder, where a file of rows is expected")
    refused(["score", folders / "model", folders / "good", "--by-step", *out], "only sequences have steps")
    refused(
        ["score", folders / "model", folders / "levels.npy", *out], "levels.npy: X: expected images of 8×6", "as at fit"
    )
    refused(["score", folders / "plain", folders / "good", *out], "expected images of 8×6 pixels", "got 9×7")
    for verb in (["reconstruct", folders / "model", folders / "good"], ["sample", folders / "model"]):
        refused([*verb, *out], "o.csv: images go to a folder, as PNG files, or to one array that ends in .npy")
        refused([*verb, "--out", folders / "good"], "is the file that is read" if len(verb) > 2 else "is there already")
        refused([*verb, "--out", tmp_path / "a" / "b"], "the folder", "does not exist")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    refused(["sample", folders / "model", "--out", tmp_path / "full"], "full is there already", "name another")
    refused(["impute", folders / "model", folders / "good", "--out", tmp_path / "o"], "in which nothing can be missing")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.png").write_bytes(b"no picture")
    refused(["score", folders / "model", tmp_path / "bad", *out], "1.png: not a picture that omokage reads")
    refused(["fit", tmp_path / "bad", "--out", tmp_path / "m"], "1.png: not a picture that omokage reads")
    assert names_in(tmp_path) == ["bad", "full"]


# --------------------------------------------------------------------------------------------- processes


def started(*words, **settings):
    command = [sys.executable, "-m", "omokage", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, encoding="utf-8", **settings)


def test_the_module_is_a_program(files, tmp_path):
    done = started("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("demo", "encode", "fit", "impute", "info", "reconstruct", "sample", "score"):
        assert re.search(rf"^\W*{name} ", done.stdout, re.MULTILINE)
    assert started("--version").stdout.strip() == om.__version__


def test_a_program_ends_with_status_1_and_a_line(files, tmp_path):
    done = started("score", files / "model", tmp_path / "none.csv", "--out", tmp_path / "o.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"omokage: .*none\.csv: there is no such file[^\n]*\n", done.stderr)


def test_a_warning_is_a_line_too(files, tmp_path):
    small = ["--hidden", "8", "--latent-dim", 4, "--epochs", 2, "--batch-size", "20", "--quiet"]
    words = ["fit", files / "parts.csv", *IDS, *small, "--out", Path("[m]")]
    done = started(*words, cwd=tmp_path)
    assert (done.returncode, names_in(tmp_path)) == (0, ["[m]"])
    assert re.fullmatch(r"omokage: warning: latent_dim=4 is more than the 3 columns[^\n]*\n", done.stderr)


def test_a_detector_is_fitted_and_writes_scores_p_values_and_reasons(command, refused, tmp_path):
    table(200).write_csv(tmp_path / "normal.csv")
    strange = table(30, seed=1).with_columns(pl.when(pl.int_range(30) == 4).then(900.0).otherwise("圧力").alias("圧力"))
    strange.write_csv(tmp_path / "new.csv")
    ids, model = ("--id", "品番", "--id", "ロット"), tmp_path / "detector"
    fit = ("fit", tmp_path / "normal.csv", *ids, "--task", "detect", "--ensemble", "2", *SMALL, "--out", model)
    assert command(*fit)[0] == 0
    score = ("score", model, tmp_path / "new.csv", *ids, "--out", tmp_path / "scores.csv")
    assert command(*score, "--false-alarm-rate", "0.02", "--explain", "2")[0] == 0
    found = pl.read_csv(tmp_path / "scores.csv", schema_overrides={"品番": pl.String})
    assert found.columns == [
        "品番", "ロット", "anomaly_score", "p_value", "is_anomaly", "top_feature_1", "top_feature_2",
        "reason_1", "reason_2",
    ]  # fmt: skip
    assert found["品番"].to_list() == strange["品番"].to_list()
    assert found["top_feature_1"][4] == "圧力" and found["reason_1"][4].startswith("圧力 = 900, where ")
    assert found["is_anomaly"][4] and found["p_value"].arg_min() == 4
    detector = om.load(model)
    np.testing.assert_allclose(-detector.score_samples(strange[list(NAMES)]), found["anomaly_score"])
    np.testing.assert_allclose(detector.p_values(strange[list(NAMES)]), found["p_value"])
    out = command("info", model)[1]
    assert "AnomalyDetector of 3 columns" in out
    refused((*score, "--false-alarm-rate", "0.0001"), "200 calibration rows", "9,999")
    for words in (("encode", model, tmp_path / "new.csv"), ("sample", model)):
        refused((*words, "--out", tmp_path / "x.csv"), "a detector", "omokage score")


def test_flags_of_detectors_are_for_detectors(refused, tmp_path):
    table().write_csv(tmp_path / "normal.csv")
    fit = ("fit", tmp_path / "normal.csv", "--id", "品番", "--id", "ロット", *SMALL, "--out", tmp_path / "model")
    refused((*fit, "--score", "elbo"), "--score", "--task detect")
    refused((*fit, "--task", "detect", "--score", "elbow"), "score", "'elbo'")
    refused((*fit, "--task", "detect", "--valid", tmp_path / "normal.csv"), "--valid")


def test_a_row_that_cannot_be_scored_is_reported_and_left_empty(command, refused, tmp_path):
    table().write_csv(tmp_path / "x.csv")
    ids, model, out = ("--id", "品番", "--id", "ロット"), tmp_path / "model", tmp_path / "scores.csv"
    assert command("fit", tmp_path / "x.csv", *ids, *SMALL, "--out", model)[0] == 0
    assert command("score", model, tmp_path / "x.csv", *ids, "--out", out)[0] == 0
    whole = pl.read_csv(out)
    lines = (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()
    for row, cell in ((3, "broken"), (17, ""), (59, "inf")):
        cells = lines[row + 1].split(",")
        lines[row + 1] = ",".join([*cells[:2], cell, *cells[3:]])
    (tmp_path / "bad.csv").write_text("\n".join(lines), encoding="utf-8")
    score = ("score", model, tmp_path / "bad.csv", *ids, "--out", out)
    status, _, err = command(*score)
    assert status == 0 and "3 rows have no score" in err
    assert "row 3, column '圧力'" in err and "'broken'" in err and "row 17" in err and "row 59" in err
    found = pl.read_csv(out)
    assert found["anomaly_score"].is_null().arg_true().to_list() == [3, 17, 59]
    good = found["anomaly_score"].is_not_null()
    assert found.filter(good).equals(whole.filter(good)) and found.columns == whole.columns
    status, _, err = command(*score, "--strict")
    note, error = err.splitlines()  # of what is found in the file, and then of the row
    assert (status, "'broken'" in note) == (1, True) and "圧力" in error and "row 3" in error
    (tmp_path / "none.csv").write_text("\n".join([lines[0], lines[4]]), encoding="utf-8")
    refused((*score[:2], tmp_path / "none.csv", *score[3:]), "圧力")


def test_scoring_that_was_killed_goes_on_where_it_was(command, tmp_path, monkeypatch):
    from omokage.estimators import VAE

    table(200).write_csv(tmp_path / "x.csv")
    ids, model = ("--id", "品番", "--id", "ロット"), tmp_path / "model"
    assert command("fit", tmp_path / "x.csv", *ids, *SMALL, "--out", model)[0] == 0
    whole = TableFile.batches
    monkeypatch.setattr(TableFile, "batches", lambda self, rows=65_536: whole(self, min(rows, 30)))
    score = ("score", model, tmp_path / "x.csv", *ids, "--out")
    assert command(*score, tmp_path / "expected.csv")[0] == 0
    terms, seen = VAE.terms, []

    def counted(self, X, **settings):
        seen.append(len(X))
        if len(seen) == 4 and seen[0] == 30:
            raise KeyboardInterrupt
        return terms(self, X, **settings)

    monkeypatch.setattr(VAE, "terms", counted)
    assert command(*score, tmp_path / "scores.csv")[0] == 130
    parts = tmp_path / ".scores.csv.parts"
    ready = sorted(int(part.stem) for part in parts.glob("0*.arrow"))
    assert 3 <= len(ready) < 6 and ready[-1] < 6 and not (tmp_path / "scores.csv").exists()
    seen[:] = [0]
    assert command(*score, tmp_path / "scores.csv")[0] == 0
    assert sum(seen) == 200 - 30 * len(ready)
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    assert not parts.exists()
    # Parts of another input or question are not taken up.
    seen[:] = []
    assert command(*score, tmp_path / "scores.csv")[0] == 130
    table(200, seed=3).write_csv(tmp_path / "x.csv")
    seen[:] = [0]
    assert command(*score, tmp_path / "scores.csv")[0] == 0
    assert sum(seen) == 200
    # Nor are they kept when something else takes the place of the scores.
    (tmp_path / "link.csv").symlink_to("scores.csv")
    for verb, out in (("score", "scores.csv"), ("encode", "scores.csv"), ("score", "link.csv")):
        monkeypatch.setattr(TableFile, "batches", lambda self, rows=65_536: whole(self, min(rows, 30)))
        seen[:] = []
        assert command(*score, tmp_path / "scores.csv")[0] == 130 and parts.exists()
        monkeypatch.setattr(TableFile, "batches", whole)
        assert command(verb, *score[1:], tmp_path / out)[0] == 0
        assert not parts.exists() and (tmp_path / "link.csv").is_symlink()


def test_a_second_run_with_the_output_of_one_that_is_running_is_refused(command, refused, files, tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    whole = TableFile.batches
    monkeypatch.setattr(TableFile, "batches", lambda self, rows=65_536: whole(self, min(rows, ROWS // 2)))
    score, parts = ("score", files / "model", files / "parts.csv", *IDS, "--out", tmp_path / "s.csv"), ".s.csv.parts"
    (tmp_path / parts).mkdir()
    (tmp_path / parts / "000000.arrow").write_bytes(b"of the first run")
    first = os.open(tmp_path / parts, os.O_RDONLY)
    fcntl.flock(first, fcntl.LOCK_EX)
    refused(score, parts, "another run", "--out")
    assert (tmp_path / parts / "000000.arrow").read_bytes() == b"of the first run"
    os.close(first)
    assert command(*score)[0] == 0
    assert len(pl.read_csv(tmp_path / "s.csv")) == ROWS and not (tmp_path / parts).exists()


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("extension", ["parquet", "csv"])
def test_a_killed_process_leaves_what_the_next_one_goes_on_from(command, tmp_path, extension):
    random = np.random.default_rng(0)
    pl.DataFrame(random.normal(size=(230_000, 8)).astype(np.float32)).write_parquet(tmp_path / "x.parquet")
    pl.read_parquet(tmp_path / "x.parquet").head(2000).write_parquet(tmp_path / "normal.parquet")
    model, settings = tmp_path / "model", ("--hidden", "16", "--latent-dim", "2", "--epochs", "5", "--ensemble", "2")
    assert command("fit", tmp_path / "normal.parquet", "--task", "detect", *settings, "--out", model)[0] == 0
    words = [
        sys.executable,
        "-m",
        "omokage",
        "score",
        str(model),
        str(tmp_path / "x.parquet"),
        "--explain",
        "1",
        "--out",
    ]
    expected, out = tmp_path / f"expected.{extension}", tmp_path / f"out.{extension}"
    subprocess.run([*words, str(expected)], check=True, capture_output=True)
    parts, killed = tmp_path / f".{out.name}.parts", []
    for wanted in (1, 2):
        process = subprocess.Popen([*words, str(out)], stderr=subprocess.DEVNULL)
        while len(list(parts.glob("0*.arrow"))) < wanted and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        killed.append(process.wait() == -signal.SIGKILL)
        assert not out.exists()
    assert killed == [True, True]
    subprocess.run([*words, str(out)], check=True, capture_output=True)
    assert out.read_bytes() == expected.read_bytes() and not parts.exists()


def test_a_file_that_grows_while_it_is_scored_is_refused(command, refused, tmp_path, monkeypatch):
    table(100).write_csv(tmp_path / "x.csv")
    ids, model = ("--id", "品番", "--id", "ロット"), tmp_path / "model"
    assert command("fit", tmp_path / "x.csv", *ids, *SMALL, "--out", model)[0] == 0
    whole = TableFile.batches

    def growing(self, rows=65_536):
        for number, batch in enumerate(whole(self, min(rows, 30))):
            if number == 2:
                with (tmp_path / "x.csv").open("a") as file:
                    file.write("9999,1,2,3,x\n")
            yield batch

    monkeypatch.setattr(TableFile, "batches", growing)
    refused(("score", model, tmp_path / "x.csv", *ids, "--out", tmp_path / "s.csv"), "changed while it was read")
    assert not (tmp_path / "s.csv").exists()


def test_a_bad_cell_of_standard_input_is_named_as_it_was_written(command, files):
    status, out, err = command("score", files / "plain", "-", stdin="4,5,x\n4,\0,6\n4,,6\n4,5,6\n")
    assert status == 0 and len(out.splitlines()) == 5
    for place, (column, got) in enumerate([(2, "'x'"), (1, r"'\x00'"), (1, "None")]):
        assert f"row {place}, column {column}: expected a finite number, got {got}; left empty." in err, err
    names = ",".join(["品番", "ロット", *NAMES])
    for asked in ((), ("--decimal", ",", "--separator", ";")):
        header, row = (text.replace(",", ";") if asked else text for text in (names, "1,x,\0,2,3"))
        err = command("score", files / "model", "-", *asked, stdin=f"{header}\n{row}\n")[2]
        assert rf"column '{NAMES[0]}': expected a finite number, got '\x00'" in err, err


def test_lines_from_standard_input_are_answered_at_once(command, refused, tmp_path, monkeypatch):
    import io

    table().write_csv(tmp_path / "x.csv")
    ids, model = ("--id", "品番", "--id", "ロット"), tmp_path / "model"
    assert command("fit", tmp_path / "x.csv", *ids, *SMALL, "--out", model)[0] == 0
    assert command("score", model, tmp_path / "x.csv", *ids, "--out", tmp_path / "whole.csv")[0] == 0
    lines = (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    asked, answered = [], []

    class Lines(io.StringIO):
        def readline(self, *limit):
            asked.append(len(answered))
            return super().readline(*limit)

    monkeypatch.setattr("builtins.print", lambda *words, **_: answered.extend(words))
    monkeypatch.setattr(sys, "stdin", Lines("".join(lines[:6])))
    assert command("score", model, "-", *ids)[0] == 0
    assert "".join(answered) == "".join((tmp_path / "whole.csv").read_text(encoding="utf-8").splitlines(True)[:6])
    assert asked == [0, 0, 1, 2, 3, 4, 5]  # no line is waited for before the one before it is answered
    monkeypatch.undo()
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join([lines[0], "1,2,x,3,4\n", lines[2]])))
    status, out, err = command("score", model, "-", *ids)
    assert status == 0 and "'x'" in err and len(out.splitlines()) == 3
    assert pl.read_csv(io.StringIO(out))["anomaly_score"].is_null().to_list() == [True, False]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join([lines[0], "1,2,x,3,4\n", lines[2]])))
    status, out, err = command("score", model, "-", *ids, "--strict")
    assert status == 1 and out == "" and "--strict" in err
    monkeypatch.setattr(sys, "stdin", io.StringIO("\ufeff" + lines[0] + lines[1].strip() + ",5\n" + lines[2]))
    status, out, err = command("score", model, "-", *ids)
    assert status == 0 and "line 2: 6 cells where the first line has 5" in err
    assert pl.read_csv(io.StringIO(out))["anomaly_score"].is_null().to_list() == [True, False]
    monkeypatch.setattr(sys, "stdin", io.StringIO("品番,品番\n1,2\n"))
    refused(("score", model, "-", *ids), "'品番' repeat")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    refused(("score", model, "-", *ids), "no lines")
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(lines[:2]).replace("圧力", "圧")))
    refused(("score", model, "-", *ids), "missing '圧力'")
    refused(("score", model, tmp_path / "x.csv", *ids), "--out")


def test_a_detector_is_evaluated_on_a_labelled_table(command, refused, tmp_path):
    table(200).write_csv(tmp_path / "normal.csv")
    strange = table(20, seed=1).with_columns(pl.lit(500.0).alias("圧力"), pl.lit(1).alias("defect"))
    pl.concat([table(80, seed=2).with_columns(pl.lit(0).alias("defect")), strange]).write_csv(tmp_path / "new.csv")
    ids, model = ("--id", "品番", "--id", "ロット"), tmp_path / "detector"
    fit = ("fit", tmp_path / "normal.csv", *ids, "--task", "detect", "--ensemble", "2", *SMALL, "--out", model)
    assert command(*fit)[0] == 0
    evaluate = ("evaluate", model, tmp_path / "new.csv", *ids, "--label-column")
    out = command(*evaluate, "defect")[1]
    assert "100 rows, 20 of them anomalies" in out and "AUROC                        1.0000" in out
    assert command(*evaluate, "defect", "--out", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Rows to look at" in page and "圧力" in page and "0003, Ａ" in page and "http" not in page.split("<svg")[0]
    refused((*evaluate, "defect", "--out", tmp_path / "page.pdf"), "page.pdf", "end it in .html")
    refused((*evaluate, "defects"), "--label-column", "'defects'", "defect")
    refused((*evaluate, "流量|[/m]"), "--label-column: '流量|[/m]' is one of the columns that the model judges")
    # A column that the model left out is one of labels too, whether it is named again or remembered.
    fit = ("fit", tmp_path / "new.csv", *ids, "--id", "defect", *fit[6:-1], tmp_path / "knows")
    assert command(*fit)[0] == 0
    evaluate = ("evaluate", tmp_path / "knows", *evaluate[2:])
    for words in (("--id", "defect"), ()):
        status, out, err = command(*evaluate, "defect", *words, "--out", tmp_path / "page.html")
        assert status == 0 and "100 rows, 20 of them anomalies" in out, err
    out = command(*evaluate[:3], "--label-column", "defect")[1]
    assert "100 rows, 20 of them anomalies" in out


def test_rows_where_the_likelihood_is_no_density_are_left_empty_too(command, tmp_path):
    counts = np.random.default_rng(0).poisson(3, (50, 2))
    frame = pl.DataFrame(counts, schema=["a", "b"]).with_columns(on=pl.int_range(50) % 2 == 0)
    frame.write_csv(tmp_path / "x.csv")
    model, out = tmp_path / "model", tmp_path / "s.csv"
    assert command("fit", tmp_path / "x.csv", "--likelihood", "poisson", *SMALL, "--out", model)[0] == 0
    assert command("score", model, tmp_path / "x.csv", "--out", tmp_path / "whole.csv")[0] == 0
    lines = (tmp_path / "x.csv").read_text().splitlines()
    lines[4], lines[9] = "-1,2,true", "1,2,perhaps"
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    status, _, err = command("score", model, tmp_path / "bad.csv", "--out", out)
    assert status == 0 and "row 3, column 'a': expected whole numbers" in err and "'perhaps'" in err
    found, whole = pl.read_csv(out), pl.read_csv(tmp_path / "whole.csv")
    assert found["anomaly_score"].is_null().arg_true().to_list() == [3, 8]
    assert found.drop_nulls().equals(whole[[row for row in range(50) if row not in (3, 8)]])
