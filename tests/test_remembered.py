"""How files are read: told in a line where it was found, remembered by a saved model, the same line by line."""

import io
import json

import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage.files.writing import write_table

SMALL = ["--latent-dim", "2", "--hidden", "8", "--epochs", "2", "--quiet"]
ROWS = np.random.default_rng(0).normal(size=(40, 3)).round(3)


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    """Return a file with semicolons, decimal commas, and serial numbers that are no sensor."""
    lines = ["Teil;a;b;c", *(f"{n:03};" + ";".join(map(str, row)).replace(".", ",") for n, row in enumerate(ROWS))]
    path = tmp_path_factory.mktemp("files") / "teile.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_what_was_found_is_said_and_what_was_asked_for_remembered(command, german, tmp_path):
    status, _, said = command("fit", german, "--id", "Teil", "--out", tmp_path / "m", *SMALL)
    assert status == 0
    assert "';' between cells" in said and "decimal comma" in said
    spec = json.loads((tmp_path / "m" / "spec.json").read_text())
    assert spec["reading"] == {"ids": ["Teil"], "options": {"notation": [",", ""]}}
    # The next file is read as the first was: the ids are passed through without a word.
    assert command("score", tmp_path / "m", german, "--out", tmp_path / "s.csv")[0] == 0
    scores = pl.read_csv(tmp_path / "s.csv", schema_overrides={"Teil": pl.String})
    assert scores["Teil"].to_list()[:3] == ["000", "001", "002"]
    vae = om.load(tmp_path / "m")
    with pytest.warns(UserWarning, match="';'"):
        np.testing.assert_allclose(-vae.score_samples(str(german)), scores["anomaly_score"], rtol=1e-6)
    np.testing.assert_allclose(
        vae.score_samples(pl.DataFrame(ROWS, schema=["a", "b", "c"])), -scores["anomaly_score"].to_numpy(), rtol=1e-6
    )


def test_options_are_remembered_and_flags_override_them(command, german, tmp_path):
    fit = ["fit", german, "--id", "Teil", "--separator", ";", "--decimal", ",", "--out", tmp_path / "m", *SMALL]
    status, _, said = command(*fit)
    assert (status, "';'" in said) == (0, False)
    assert om.load(tmp_path / "m").fitted_.reading == {"options": {"separator": ";", "decimal": ","}, "ids": ["Teil"]}
    (tmp_path / "new.csv").write_text("a,b,c\n0.5,1.5,2.5\n")
    assert command("score", tmp_path / "m", tmp_path / "new.csv", "--out", tmp_path / "s.csv")[0] == 1
    words = ["--separator", ",", "--decimal", "."]
    assert command("score", tmp_path / "m", tmp_path / "new.csv", "--out", tmp_path / "s.csv", *words)[0] == 0
    assert pl.read_csv(tmp_path / "s.csv").columns[0] == "anomaly_score"


NOTATIONS = {  # of a file that tells how its numbers are written, and numbers that do not tell
    "decimal comma": ("3.125,7", "3.001", 3001.0),
    "decimal point": ("3,125.7", "3,001", 3001.0),
    "no thousands": ("3125,7", "3,001", 3.001),
}


@pytest.fixture(params=NOTATIONS)
def found(request, command, tmp_path):
    """Return a model whose file told how numbers are written, and a cell that does not tell, with its value."""
    first, cell, value = NOTATIONS[request.param]
    rows = [f"P{n};{first};{n}{'.' if '.' in first[-2:] else ','}5" for n in range(20)]
    (tmp_path / "first.csv").write_text("\n".join(["Teil;a;b", *rows]) + "\n")
    assert command("fit", tmp_path / "first.csv", "--id", "Teil", "--out", tmp_path / "m", *SMALL)[0] == 0
    return tmp_path / "m", cell, value


def expected(model, *rows):
    return om.load(model).score_samples(pl.DataFrame(rows, schema=["a", "b"], orient="row"))


def test_numbers_are_read_in_the_notation_found_at_fit(command, monkeypatch, found, tmp_path):
    model, cell, value = found
    content = f"Teil;a;b\nQ1;{cell};7\n"
    (tmp_path / "new.csv").write_text(content)
    right = expected(model, (value, 7.0))
    status, _, said = command("score", model, tmp_path / "new.csv", "--out", tmp_path / "s.csv")
    assert (status, "as at the fit" in said) == (0, True)
    np.testing.assert_allclose(-pl.read_csv(tmp_path / "s.csv")["anomaly_score"].to_numpy(), right, rtol=1e-6)
    _, out, _ = answered(command, monkeypatch, model, content.encode())
    np.testing.assert_allclose([-float(out[1].split(",")[1])], right, rtol=1e-5)
    vae = om.load(model)
    with pytest.warns(UserWarning, match="as at the fit"):
        np.testing.assert_allclose(vae.score_samples(str(tmp_path / "new.csv")), right, rtol=1e-6)
    # A cell that is no number makes its column one of text, and leaves its neighbours as they are.
    (tmp_path / "bad.csv").write_text(content + "Q2;x;7\n")
    assert command("score", model, tmp_path / "bad.csv", "--out", tmp_path / "s.csv")[0] == 0
    scores = pl.read_csv(tmp_path / "s.csv")["anomaly_score"]
    np.testing.assert_allclose([-scores[0]], right, rtol=1e-6)
    assert scores[1] is None


def test_numbers_that_cannot_be_read_as_at_the_fit_are_said_or_refused(command, monkeypatch, found, tmp_path):
    model, *_ = found
    mark = "." if model.parent.joinpath("first.csv").read_text().splitlines()[1].endswith(",5") else ","
    (tmp_path / "new.csv").write_text(f"Teil;a;b\nQ1;3{mark}0012;2{mark}95\n")
    status, _, said = command("score", model, tmp_path / "new.csv", "--out", tmp_path / "s.csv")
    assert (status, "not as at the fit" in said) == (0, True)
    right = expected(model, (3.0012, 2.95))
    np.testing.assert_allclose(-pl.read_csv(tmp_path / "s.csv")["anomaly_score"].to_numpy(), right, rtol=1e-6)
    _, out, said = answered(command, monkeypatch, model, f"Teil;a;b\nQ1;3{mark}0012;7\n".encode())
    assert not out[1].replace(",", "") and f"column 'a': '3{mark}0012'" in said


def test_the_notation_found_holds_in_python_and_for_rows_to_validate_on(tmp_path):
    (tmp_path / "first.csv").write_text("a;b\n" + "".join(f"3.{n:03},7;{n}\n" for n in range(125, 145)))
    (tmp_path / "new.csv").write_text("a;b\n3.131;7\n3.132;9\n")
    frame = pl.DataFrame({"a": [3131.0, 3132.0], "b": [7, 9]})
    with pytest.warns(UserWarning, match="as at the fit"):
        vae = om.VAE(latent_dim=2, hidden=(8,), epochs=2, verbose=0, random_state=0)
        histories = [vae.fit(tmp_path / "first.csv", X_valid=X).history_ for X in (tmp_path / "new.csv", frame)]
    assert histories[0][-1]["validation_loss"] == histories[1][-1]["validation_loss"]
    assert vae.fitted_.reading == {"options": {"notation": [",", "."]}}


def test_a_notation_that_stays_in_doubt_is_refused(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text('a,b\n"3.001",7\n')  # 3001, or a point where the files before have a comma
    with pytest.raises(om.errors.DataError, match=r"'3\.001' may have .* decimal=','"):
        om.read(path, notation=(",", "")).read()


def test_python_reads_with_the_same_options(german):
    vae = om.VAE(latent_dim=2, hidden=(8,), epochs=2, verbose=0)
    vae.fit(om.read(german, separator=";", decimal=",", columns=["a", "b", "c"]))
    assert vae.fitted_.reading["options"] == {"separator": ";", "decimal": ","}
    assert vae.feature_names_in_.tolist() == ["a", "b", "c"]


@pytest.fixture
def model(command, german, tmp_path):
    command("fit", german, "--id", "Teil", "--separator", ";", "--decimal", ",", "--out", tmp_path / "m", *SMALL)
    return tmp_path / "m"


def answered(command, monkeypatch, model, content, *words):
    stream = io.TextIOWrapper(io.BytesIO(content))
    monkeypatch.setattr("sys.stdin", stream)
    status, out, said = command("score", model, "-", *words)
    return status, out.splitlines(), said


def test_every_line_is_answered_or_reported(command, monkeypatch, model):
    lines = [b"Teil;a;b;c", b"NA;1,5;2,5;3,5", b"x;\xff;1;2", b'y;"1;2', b"z;1;2", b"", b"007;1;2;3"]
    status, out, said = answered(command, monkeypatch, model, b"\n".join(lines))
    assert status == 0
    keys = [line.split(",")[0] for line in out]
    assert keys == ["Teil", "NA", "", "", "", "007"]
    assert [bool(line.split(",")[1]) for line in out[1:]] == [True, False, False, False, True]
    for words in ("line 3: byte 2", "line 4: cannot be split", "line 5: 3 cells where the first line has 4"):
        assert words in said


def test_ids_of_the_fit_need_not_come_line_by_line(command, monkeypatch, model):
    status, out, _ = answered(command, monkeypatch, model, b"a;b;c\n1,5;2;3\n")
    assert (status, len(out), out[0].split(",")[0]) == (0, 2, "anomaly_score")
    status, _, said = answered(command, monkeypatch, model, b"a;b;c\n1,5;2;3\n", "--id", "Teil")
    assert (status, "no column 'Teil' in the first line" in said) == (1, True)


def test_a_file_of_ids_alone_has_nothing_to_learn_from(command, german, model, tmp_path):
    status, _, said = command(
        "fit", german, *(f"--id={name}" for name in ("Teil", "a", "b", "c")), "--out", tmp_path / "n"
    )
    assert (status, f"--id: no column of {german} is left for X; it has 'Teil', 'a', 'b', 'c'." in said) == (1, True)
    (tmp_path / "ids.csv").write_text("Teil\n001\n")
    with pytest.raises(om.errors.DataError, match=r"X: no column of .*ids.csv is left beside 'Teil'"):
        om.load(model).score_samples(tmp_path / "ids.csv")


def test_columns_of_other_types_are_named(command, model, tmp_path):
    frame = pl.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0]})
    for odd in (
        pl.Series("c", ["x", "y"], dtype=pl.Categorical),
        pl.Series("c", [[1.0], [2.0]]),
        pl.Series("c", [b"1", b"2"]),
        pl.Series("c", [{"p": 1}, {"p": 2}]),
    ):
        frame.with_columns(odd).write_parquet(tmp_path / "odd.parquet")
        status, _, said = command("score", model, tmp_path / "odd.parquet", "--out", tmp_path / "s.csv")
        assert (status, "'c'" in said, "Traceback" in said) == (1, True, False), said
    numbers = frame.with_columns(c=pl.Series(["5.0", "6.0"], dtype=pl.Categorical))
    numbers.write_parquet(tmp_path / "numbers.parquet")
    assert command("score", model, tmp_path / "numbers.parquet", "--out", tmp_path / "s.csv")[0] in (0, 1)


def test_labels_need_no_id(command, model, german, tmp_path):
    frame = pl.DataFrame(ROWS, schema=["a", "b", "c"]).with_columns(broken=pl.Series([0] * 35 + [1] * 5))
    frame.write_csv(tmp_path / "labelled.csv")
    words = ["--label-column", "broken", "--separator", ",", "--decimal", ".", "--out", tmp_path / "page.html"]
    assert command("evaluate", model, tmp_path / "labelled.csv", *words)[0] == 0
    assert (tmp_path / "page.html").exists()


def test_parts_that_a_killed_run_left_are_removed(tmp_path):
    left = tmp_path / ".out.csv.123-abcd1234.part"
    left.mkdir()
    (left / "out.csv").write_text("half")
    other = tmp_path / ".other.csv.123-abcd1234.part"
    other.mkdir()
    write_table(tmp_path / "out.csv", {"a": [1]})
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "out.csv"]


def test_parts_of_a_run_that_goes_on_stay(tmp_path):
    def pieces():
        yield {"a": [1]}
        write_table(tmp_path / "out.csv", {"a": [2]})
        assert any(path.name.endswith(".part") for path in tmp_path.iterdir())
        yield {"a": [3]}

    write_table(tmp_path / "out.csv", pieces())
    assert pl.read_csv(tmp_path / "out.csv")["a"].to_list() == [1, 3]
