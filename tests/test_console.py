"""Output survives any terminal: encodings, narrow and dumb ones, pipes that close; and its figures are in raw units."""

import io
import os
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage import cli, progress
from omokage.diagnostics import Finding
from omokage.tables import aligned

NAMES = ("温度", "圧力 [MPa]", "速度")
ENCODINGS = ("ascii", "cp932", "latin-1", "utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table that has Japanese names, labels of anomalies, and a saved model of it."""
    folder = tmp_path_factory.mktemp("console")
    X = np.random.default_rng(0).normal(size=(60, 3)) * [1, 100, 1e-4]
    frame = pl.DataFrame(X, schema=list(NAMES))
    frame.write_csv(folder / "表.csv")
    frame.with_columns(label=(pl.int_range(60) < 5).cast(pl.Int8)).write_csv(folder / "labelled.csv")
    om.VAE(latent_dim=2, hidden=(4,), epochs=2, verbose=0).fit(frame).save(folder / "模型")
    return folder


@pytest.fixture
def shown(monkeypatch):
    """Return a function that runs a command line with streams of an encoding, and gives its status and both texts."""

    def run(words, encoding, columns=80):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["omokage", *map(str, words)])
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            patch.setattr(warnings, "formatwarning", warnings.formatwarning)
            patch.setenv("COLUMNS", str(columns))
            patch.setenv("TERM", "dumb")
            with pytest.raises(SystemExit) as ended:
                cli.main()
                raise SystemExit(0)
        for stream in streams:
            stream.flush()
        return (ended.value.code or 0, *(stream.buffer.getvalue().decode(encoding) for stream in streams))

    return run


def commands(folder):
    model, data = folder / "模型", folder / "表.csv"
    return {
        "info": ["info", model],
        "fit": ["fit", data, "--out", folder / "新", "--latent-dim", 2, "--hidden", 4, "--epochs", 2],
        "score": ["score", model, data, "--out", folder / "得点.csv"],
        "encode": ["encode", model, data, "--out", folder / "符号.csv"],
        "sample": ["sample", model, "-n", 3, "--out", folder / "標本.csv"],
        "evaluate": ["evaluate", model, folder / "labelled.csv", "--label-column", "label"],
        "list": ["reproduce", "--list"],
        "help": ["--help"],
        "help of fit": ["fit", "--help"],
        "version": ["--version"],
    }


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", commands(Path()).keys())
def test_every_command_can_be_shown_in_any_encoding(name, encoding, folder, shown):
    status, out, err = shown(commands(folder)[name], encoding)
    assert status == 0, err
    assert out or err
    assert "Traceback" not in err and "\ufffd" not in out
    if name == "info":
        names = [cell.encode(encoding, "backslashreplace").decode(encoding) for cell in NAMES]
        assert all(cell in out for cell in names), "as Python writes letters that are not in the encoding"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_errors_can_be_shown_in_any_encoding(encoding, folder, shown):
    for words in (
        ["info", folder / "無い"],
        ["fit", folder / "表.csv", "--out", folder / "x", "--温度", "1"],
        ["encode", folder / "模型", folder / "表.csv", "--out", folder / "x.csv", "--id", "品番"],
    ):
        status, out, err = shown(words, encoding)
        assert (status, out) == (1, "") and re.fullmatch("omokage: [^\n]+\n", err)


@pytest.mark.parametrize("columns", [40, 80])
def test_nothing_is_cut_where_the_terminal_is_narrow(columns, folder, shown):
    wide = shown(["info", folder / "模型"], "utf-8", 200)
    assert shown(["info", folder / "模型"], "utf-8", columns) == wide
    model = om.load(folder / "模型")
    for name, scale in zip(NAMES, model.schema_.columns.scale, strict=True):
        assert re.search(rf"{re.escape(name)} .* {scale:.6g} ", wide[1])


@pytest.mark.parametrize("columns", [40, 80])
def test_help_fits_a_narrow_terminal(columns):
    out = omokage(["fit", "--help"], encoding="ascii", COLUMNS=str(columns), TERM="xterm").stdout.decode()
    assert "--latent" in out and "?" not in out and "\\" not in out and "..." not in out.replace("STR...", "")
    assert max(map(len, out.splitlines())) <= columns


@pytest.mark.parametrize("columns", [0, 1, 2, 3])
def test_help_ends_where_a_terminal_has_next_to_no_columns(columns, shown):
    for words in (["--help"], ["score", "--help"]):
        assert shown(words, "ascii", columns) == shown(words, "ascii", 20)


def test_columns_are_aligned_by_how_wide_letters_are():
    lines = aligned([("温度", "1"), ("a", "22"), ("", "333")], right=(1,)).splitlines()
    assert lines == ["温度   1", "a     22", "     333"]
    assert aligned([]) == ""


def test_what_prints_in_python_has_no_letters_that_a_terminal_may_lack(folder):
    model = om.load(folder / "模型")
    X = np.random.default_rng(1).normal(size=(40, 3)) * [1, 100, 1e-4]
    str(model.summary()).encode("ascii")
    for beta in (50.0, 4.0, 0.25):
        recipe = replace(model.recipe_, objective=om.objectives.ELBO(beta=beta))
        model.fitted_ = replace(model.fitted_, recipe=recipe)
        text = str(model.diagnose(pl.DataFrame(X, schema=list(NAMES))))
        for encoding in ("cp932", "utf-8"):  # in which the names of the columns are
            text.encode(encoding)
        for name in NAMES:
            text = text.replace(name, "")
        text.encode("ascii")
        assert f"beta = {beta:g}" in text
    assert str(Finding("a", "good", "β = 1 ± 2 × σ")) == "good     a: beta = 1 +/- 2 x sigma"


# ------------------------------------------------------------------------------------------------- other programs


def omokage(words, *, encoding="utf-8", shell="{}", **variables):
    """Run a command line as a program; in a shell where `{}` stands for it."""
    line = shell.format(" ".join([sys.executable, "-m", "omokage", *(f"'{word}'" for word in words)]))
    environment = {**os.environ, "PYTHONIOENCODING": encoding, **variables}
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, env=environment, timeout=120)


def test_a_warning_is_a_line_in_any_encoding(folder):
    words = ["fit", folder / "表.csv", "--out", folder / "広", "--latent-dim", 4, "--hidden", 4, "--epochs", 1]
    done = omokage(words, encoding="ascii")  # more latent dimensions than columns
    assert done.returncode == 0 and done.stderr.startswith(b"omokage: warning: latent_dim=4 is more than the 3 columns")
    assert done.stdout.splitlines()[-1].endswith(b"(nats per row)") and done.stdout.isascii()


def test_names_are_printed_with_replacements_by_a_terminal_of_ascii(folder):
    done = omokage(["info", folder / "模型"], encoding="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u5727\\u529b [MPa]" in done.stdout and done.stdout.isascii()


def test_names_of_rows_stay_different_in_answers_line_by_line(folder):
    lines = "id,{},{},{}\\n甲,1,2,3\\n乙,1,2,3\\n".format(*NAMES)
    words = ["score", folder / "模型", "-", "--id", "id"]
    done = omokage(words, encoding="ascii", shell=f"printf '{lines}' | PYTHONIOENCODING=ascii:strict {{}}")
    names = [line.split(b",")[0] for line in done.stdout.splitlines()]
    assert (done.returncode, names) == (0, [b"id", b"\\u7532", b"\\u4e59"]), done.stderr


def test_a_pipe_that_closes_ends_the_program_quietly(folder):
    for words in (["--help"], ["fit", "--help"], ["--version"], ["info", folder / "模型"]):
        done = omokage(words, shell="{} | true")
        assert (done.returncode, done.stderr) == (141, b""), words
        done = omokage(words, shell="{} | head -n 1")
        assert done.stderr == b"" and len(done.stdout.splitlines()) == 1
        assert done.returncode in (0, 141), "as other programs that write to a closed pipe, or it was all through"
    done = omokage(["reproduce", "--list"], shell="{} | true")
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_closed_input_is_no_crash(folder):
    done = omokage(["score", folder / "模型", "-"], shell="{} <&-")
    assert (done.returncode, done.stdout) == (1, b"")
    assert re.fullmatch(rb"omokage: -: standard input is closed; [^\n]+\n", done.stderr)


def test_a_closed_or_full_output_is_no_crash(folder):
    done = omokage(["reproduce", "--list"], shell="{} >&-")
    assert (done.returncode, done.stderr) == (0, b"")
    done = omokage(["--version"], shell="{} 2>&-")
    assert (done.returncode, done.stdout.strip()) == (0, om.__version__.encode())
    if Path("/dev/full").exists():
        done = omokage(["reproduce", "--list"], shell="{} > /dev/full")
        assert (done.returncode, done.stderr) == (1, b"omokage: standard output: no space is left on the device.\n")


# ------------------------------------------------------------------------------------------------------ one unit


def last_loss(text):
    return float(re.findall(r"loss (-?[\d.e+-]+)", text)[-1])


def test_training_shows_the_nats_of_raw_data_as_the_report_does(folder, shown, capsys):
    X = np.random.default_rng(0).normal(size=(60, 3)) * [1, 100, 1e-4]
    vae = om.VAE(latent_dim=2, hidden=(4,), epochs=2, verbose=1).fit(pl.DataFrame(X, schema=list(NAMES)))
    expected = vae.history_[-1]["loss"] - vae.schema_.log_jacobian
    assert abs(vae.schema_.log_jacobian) > 3, "the units of the columns make a difference"
    assert om.report.raw_history(vae)[-1]["loss"] == expected
    assert last_loss(capsys.readouterr().out) == pytest.approx(expected, rel=1e-3)
    _, out, _ = shown(commands(folder)["fit"], "utf-8")
    assert last_loss(out) == pytest.approx(expected, rel=1e-3) and "(nats per row)" in out
    _, out, _ = shown(["info", folder / "新"], "utf-8")
    assert float(re.search(r"^loss: (.*)$", out, re.MULTILINE)[1]) == pytest.approx(expected, rel=1e-5)
    section = next(one for one in om.report.model_sections(vae) if one.heading == "Training")
    assert f"the training loss is {expected:.4g} nats per row" in section.paragraphs[0]


def test_a_change_of_unit_moves_the_shown_loss_by_the_jacobian_alone(capsys):
    X = np.random.default_rng(0).normal(size=(64, 2))
    shown = []
    for unit in (1.0, 1024.0):  # a power of two, so that standardised rows are the same to the bit
        om.VAE(latent_dim=1, hidden=(4,), epochs=1, verbose=1).fit(X * unit)
        shown.append(last_loss(capsys.readouterr().out))
    assert shown[1] - shown[0] == pytest.approx(2 * np.log(1024), abs=0.01)


def test_a_loss_that_is_no_density_stays_as_it_is():
    record = {"epoch": 1, "loss": 3.0, "error": 2.0}
    assert progress.raw_record(record, 10.0) == record
    both = {"epoch": 1, "loss": 3.0, "reconstruction": -2.0, "validation_loss": 4.0, "validation_reconstruction": -3.0}
    assert progress.raw_record(both, 10.0) == {
        "epoch": 1, "loss": -7.0, "reconstruction": 8.0, "validation_loss": -6.0, "validation_reconstruction": 7.0,
    }  # fmt: skip


@pytest.mark.parametrize(("columns", "terms"), [(40, ["loss 3"]), (80, ["loss 3", "validation loss 4"])])
def test_a_bar_shows_whole_terms_as_far_as_there_is_room(columns, terms):
    text = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = progress.Console(file=text, width=columns, force_terminal=True, legacy_windows=False)
    record = {"epoch": 2, "loss": 3.0, "kl": 1.0, "rows_per_second": 9e9, "validation_loss": 4.0, "validation_kl": 1.0}
    with progress.Bar(10_000, console) as bar:
        bar.epoch(record)
    text.flush()
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.buffer.getvalue().decode())
    lines = re.split("[\r\n]+", lines)
    assert all(len(line) <= columns for line in lines)
    assert all(any(term in line for line in lines) for term in terms)
    assert any("epoch    2/10000" in line for line in lines)


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    assert isinstance(progress.display(3, 1), progress.Lines)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress.display(3, 1), progress.Bar)
