"""`--context` on the command line: columns of which a model is told, found again by name wherever rows come from."""

import io

import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage import cli
from omokage.data.context_columns import Covariate, Labels

SMALL = ["--latent-dim", "1", "--hidden", "8", "--epochs", "2", "--quiet"]


def table(n=60, seed=0):
    """Return a table whose columns a and b depend on the lot and the temperature, and what does not count."""
    random = np.random.default_rng(seed)
    lot, temperature = random.integers(0, 2, n), random.normal(20, 5, n).round(2)
    return pl.DataFrame({
        "part": [f"{number:03}" for number in range(n)],
        "a": np.where(lot, 5, -5) + random.normal(size=n).round(3),
        "lot": np.array(["007", "B"])[lot],
        "b": temperature * 2 + random.normal(size=n).round(3),
        "temperature": temperature,
    })  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with tables of parts and a model of them, which was fitted on the command line."""
    folder = tmp_path_factory.mktemp("context")
    table().write_csv(folder / "parts.csv")
    table(20, 1).select("temperature", "b", "part", "lot", "a").write_csv(folder / "new.csv")
    with pytest.MonkeyPatch.context() as patch:
        words = ["fit", folder / "parts.csv", "--id", "part", "--context", "lot,temperature", "--out", folder / "m"]
        patch.setattr("sys.argv", ["omokage", *map(str, words), *SMALL])
        with pytest.raises(SystemExit, match="0"):
            cli.main()
    return folder


def told(frame):
    return frame.select("lot", "temperature")


def test_the_columns_are_taken_out_of_x_and_are_what_a_frame_in_python_is(files):
    vae = om.load(files / "m")
    assert vae.schema_.names == ("a", "b")
    assert vae.context_schema_.names == ("lot", "temperature")
    labels, number = vae.context_schema_.columns
    assert labels == Labels(("007", "B")) and isinstance(number, Covariate)
    frame = table()
    same = om.VAE(latent_dim=1, hidden=(8,), epochs=2, verbose=0).fit(frame.select("a", "b"), context=told(frame))
    assert same.context_schema_ == vae.context_schema_
    rows = frame.select("a", "b")
    np.testing.assert_array_equal(same.transform(rows, context=told(frame)), vae.transform(rows, context=told(frame)))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_every_command_finds_them_by_name(command, files, tmp_path, ending):
    vae, frame = om.load(files / "m"), table(20, 1)
    rows, given, new = frame.select("a", "b"), told(frame), files / "new.csv"
    for name in ("score", "encode", "reconstruct"):
        status, _, said = command(name, files / "m", new, "--out", tmp_path / f"{name}.{ending}")
        assert status == 0, said
    read = pl.read_csv if ending == "csv" else pl.read_parquet
    how = {"schema_overrides": {"part": pl.String, "lot": pl.String}} if ending == "csv" else {}
    scores, codes, made = (read(tmp_path / f"{name}.{ending}", **how) for name in ("score", "encode", "reconstruct"))
    for written in (scores, codes, made):  # passed through, so that what is written can be read again
        assert written.columns[:3] == ["part", "lot", "temperature"]
        assert written.select("part", "lot", "temperature").equals(frame.select("part", "lot", "temperature"))
    np.testing.assert_allclose(scores["anomaly_score"], -vae.score_samples(rows, context=given), rtol=1e-6)
    np.testing.assert_allclose(codes["vae0"], vae.transform(rows, context=given)[:, 0], rtol=1e-5)
    np.testing.assert_allclose(made.select("a", "b"), vae.reconstruct(rows, context=given), rtol=1e-5)
    made.write_csv(tmp_path / "again.csv")
    assert command("score", files / "m", tmp_path / "again.csv", "--out", tmp_path / "s.csv")[0] == 0


def test_cells_of_the_context_come_back_as_they_stand_in_the_file(command, tmp_path):
    """Whole numbers, booleans and numbers are read for the model, in the notation of the file, and not rewritten."""
    rows = [
        ["01", "TRUE", "20,50", "1,5", "2"],
        ["2", "false", "1.200,0", "2,5", "3"],
        ["+1", "True", "3e1", "3,5", "4"],
    ]
    lines = "\n".join(["lot;new;heat;a;b", *(";".join(row) for row in rows * 8)])
    (tmp_path / "x.csv").write_text(lines + "\n")
    fit = ["fit", tmp_path / "x.csv", "--context", "lot,new,heat", "--out", tmp_path / "m", *SMALL]
    assert command(*fit)[0] == 0
    vae = om.load(tmp_path / "m")
    assert vae.context_schema_.columns[:2] == (Labels((1, 2)), Labels((False, True)))
    frame = pl.DataFrame({"a": [1.5, 2.5, 3.5] * 8, "b": [2, 3, 4] * 8})
    context = pl.DataFrame({"lot": [1, 2, 1] * 8, "new": [True, False, True] * 8, "heat": [20.5, 1200.0, 30.0] * 8})
    for name in ("score", "encode"):
        assert command(name, tmp_path / "m", tmp_path / "x.csv", "--out", tmp_path / "s.csv")[0] == 0
        made = pl.read_csv(tmp_path / "s.csv", infer_schema=False)
        assert made.select("lot", "new", "heat").rows() == [tuple(row[:3]) for row in rows] * 8
    np.testing.assert_allclose(
        made.to_series(3).cast(float), vae.transform(frame, context=context)[:, 0], rtol=1e-5, atol=1e-6
    )


def test_lines_of_standard_input_bring_theirs(command, files):
    vae, frame = om.load(files / "m"), table(20, 1)
    lines = frame.select("lot", "a", "temperature", "b").write_csv().splitlines()
    lines.insert(2, "C,1.0,20.0,40.0")
    lines.insert(3, "B,1.0,warm,40.0")
    status, out, said = command("score", files / "m", "-", stdin="\n".join(lines))
    assert status == 0
    answers = pl.read_csv(io.StringIO(out), schema_overrides={"lot": pl.String, "temperature": pl.String})
    assert "-: row 1, column 'lot': expected one of '007', 'B', as at fit, got 'C'; left empty." in said
    assert "-: row 2, column 'temperature': expected a finite number, as at fit, got 'warm'; left empty." in said
    assert answers["anomaly_score"].is_null().to_list()[:4] == [False, True, True, False]
    expected = -vae.score_samples(frame.select("a", "b"), context=told(frame))
    np.testing.assert_allclose(answers["anomaly_score"].drop_nulls(), expected, rtol=1e-5)
    status, _, said = command("score", files / "m", "-", stdin="a,b,lot\n1,2,B\n")
    assert (status, "--context: no column 'temperature' in the first line" in said) == (1, True)


def test_rows_whose_context_cannot_be_used_are_left_empty_or_end_the_run(command, files, tmp_path):
    frame = table(20, 1).with_columns(lot=pl.Series(["Z"] + ["B"] * 18 + [None]))
    frame.write_csv(tmp_path / "odd.csv")
    status, _, said = command("score", files / "m", tmp_path / "odd.csv", "--out", tmp_path / "s.csv")
    assert status == 0 and "row 0, column 'lot': expected one of '007', 'B', as at fit, got 'Z'; left empty." in said
    assert "row 19, column 'lot'" in said and "2 rows have no score" in said
    scores = pl.read_csv(tmp_path / "s.csv")["anomaly_score"]
    assert scores.is_null().to_list() == [True] + [False] * 18 + [True]
    for words in (("score", "--strict"), ("encode",), ("reconstruct",)):
        status, _, said = command(words[0], files / "m", tmp_path / "odd.csv", "--out", tmp_path / "t.csv", *words[1:])
        assert status == 1 and "odd.csv: row 0, column 'lot': expected one of '007', 'B', as at fit, got 'Z'" in said
        assert not (tmp_path / "t.csv").exists()


def test_a_file_that_lacks_them_is_refused_by_name(command, files, tmp_path):
    table().drop("lot").write_csv(tmp_path / "less.csv")
    for name in ("score", "encode", "reconstruct"):
        status, _, said = command(name, files / "m", tmp_path / "less.csv", "--out", tmp_path / "s.csv")
        assert status == 1 and f"--context: no column 'lot' in {tmp_path / 'less.csv'}" in said, said
    np.save(tmp_path / "x.npy", np.zeros((4, 2)))
    status, _, said = command("score", files / "m", tmp_path / "x.npy", "--out", tmp_path / "s.csv")
    assert status == 1 and "no column 'lot', 'temperature'" in said and "it has no names" in said
    status, _, said = command("score", files / "m", files / "new.csv", "--context", "b", "--out", tmp_path / "s.csv")
    assert status == 1 and "--context: expected 'lot', 'temperature', as at fit; got 'b'" in said


def test_samples_are_drawn_for_a_context(command, files, tmp_path):
    vae = om.load(files / "m")
    words = ["sample", files / "m", "--out", tmp_path / "s.csv"]
    status, _, said = command(*words, "-n", 5, "--context", "lot=007,temperature=21.5", "--seed", 3)
    assert status == 0, said
    drawn = pl.read_csv(tmp_path / "s.csv", schema_overrides={"lot": pl.String})
    assert drawn["lot"].to_list() == ["007"] * 5 and drawn["temperature"].to_list() == [21.5] * 5
    expected = vae.sample(5, context={"lot": "007", "temperature": 21.5}, seed=3)
    np.testing.assert_allclose(drawn.select("a", "b"), expected, rtol=1e-5)
    assert command(*words, "-n", 5, "--context", "lot=007", "--context", "temperature=21.5", "--seed", 3)[0] == 0
    assert pl.read_csv(tmp_path / "s.csv", schema_overrides={"lot": pl.String}).equals(drawn)
    status, _, said = command(*words, "--context-file", files / "new.csv")
    assert status == 0, said
    drawn, frame = pl.read_csv(tmp_path / "s.csv", schema_overrides={"lot": pl.String}), table(20, 1)
    assert told(drawn).equals(told(frame))
    np.testing.assert_allclose(drawn.select("a", "b"), vae.sample(20, context=told(frame)), rtol=1e-5)
    assert command("score", files / "m", tmp_path / "s.csv", "--out", tmp_path / "t.csv")[0] == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "--context: expected for what to draw, lot=007,temperature="),
        (("--context", "lot=B"), "--context: no value for 'temperature'; give temperature=VALUE too."),
        (("--context", "B"), "--context: expected 'lot', 'temperature', each as NAME=VALUE; got 'B'."),
        (
            ("--context", "lot=B,temperature=hot"),
            "column 'temperature': expected a finite number, as at fit; got 'hot'.",
        ),
        (("--context", "lot=b,temperature=1"), "column 'lot': expected one of '007', 'B', as at fit; got 'b'."),
        (("--context", "lot=B,lot=B"), "--context: two values for 'lot'; expected one."),
        (("--context-file", "new.csv", "-n", "7"), "-n: new.csv has 20 lines, one for each draw; got 7. Leave -n out."),
        (("--context-file", "new.csv", "--context", "lot=B"), "got both"),
        (("--context-file", "none.csv"), "there is no such file"),
    ],
)
def test_what_cannot_be_drawn_for_is_said(command, files, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(files)
    status, _, said = command("sample", files / "m", "--out", tmp_path / "s.csv", *words)
    assert (status, text in said, said.count("\n")) == (1, True, 1), said
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--context", "Lot"), "--context: no column 'Lot' in"),
        (("--context", "lot,lot"), "--context: names 'lot' twice"),
        (("--context", "part"), "--context: 'part' is named by --id too; expected one of them."),
        (("--context", "lot,temperature,a,b"), "--context: no column of"),
        (("--context", "lot:number"), "--context lot:number: expected numbers; got 'B' in row"),
    ],
)
def test_what_cannot_be_the_context_of_a_fit_is_said(command, files, tmp_path, words, text):
    fit = ["fit", files / "parts.csv", "--id", "part", "--out", tmp_path / "m", *SMALL]
    status, _, said = command(*fit, *words)
    assert (status, text in said, said.count("\n")) == (1, True, 1), said
    assert not (tmp_path / "m").exists()


def test_labels_that_differ_by_a_leading_zero_are_not_made_one(command, tmp_path):
    table().with_columns(lot=pl.Series(["1", "01"] * 30)).write_csv(tmp_path / "x.csv")
    fit = ["fit", tmp_path / "x.csv", "--id", "part", "--out", tmp_path / "m", *SMALL]
    status, _, said = command(*fit, "--context", "lot")
    assert (status, said.count("\n")) == (1, 1) and "'01' and '1'" in said and "--context lot:label" in said
    assert command(*fit, "--context", "lot:label")[0] == 0
    assert om.load(tmp_path / "m").context_schema_.columns[0].labels == ("01", "1")


@pytest.mark.parametrize("series", [(), ("--data", "sequences", "--series", "part")])
@pytest.mark.parametrize("cells", [["NA", "null"], ["1", "NA"], ["", "B"]])
def test_missing_cells_of_a_context_name_the_way_to_read_them_as_labels(command, tmp_path, cells, series):
    table().with_columns(lot=pl.Series((["A"] * 2 if cells[1] != "NA" else ["1"] * 2) + cells * 29)).write_csv(
        tmp_path / "x.csv", null_value=""
    )
    fit = ["fit", tmp_path / "x.csv", *(series or ("--id", "part")), "--out", tmp_path / "m", *SMALL]
    status, _, said = command(*fit, "--context", "lot")
    assert (status, said.count("\n")) == (1, 1)
    assert f"in row {2 + (cells[1] == 'NA')}, column 'lot', and in" in said and "pass --context lot:label" in said
    if "" not in cells and not series:
        assert command(*fit, "--context", "lot:label")[0] == 0
        assert set(cells) <= set(om.load(tmp_path / "m").context_schema_.columns[0].labels)


def test_types_can_be_asked_for_and_settings_name_the_context_too(command, tmp_path):
    table().with_columns(hour=pl.Series(range(60)) % 24, digit=pl.Series([f"{n % 3:02}" for n in range(60)])).drop(
        "part", "lot"
    ).write_csv(tmp_path / "x.csv")
    (tmp_path / "s.toml").write_text('context = ["hour:number", "digit:label", "temperature"]\n')
    fit = ["fit", tmp_path / "x.csv", "--config", tmp_path / "s.toml", *SMALL]
    status, _, said = command(*fit, "--valid", tmp_path / "x.csv", "--out", tmp_path / "m")
    assert status == 0, said
    vae = om.load(tmp_path / "m")
    hour, digit, _ = vae.context_schema_.columns
    assert isinstance(hour, Covariate) and digit == Labels(("00", "01", "02"))
    assert "validation_loss" in vae.history_[-1]
    status, out, _ = command("info", tmp_path / "m")
    assert status == 0 and "labels: '00', '01', '02'" in out and "hour" in out
    assert command("score", tmp_path / "m", tmp_path / "x.csv", "--out", tmp_path / "s.csv")[0] == 0
    # Whole numbers are labels, as in a data frame, unless it is said that they are numbers.
    assert command(*fit, "--context", "hour", "--id", "digit", "--out", tmp_path / "n")[0] == 0
    assert om.load(tmp_path / "n").context_schema_.columns == (Labels(tuple(range(24))),)
    pl.read_csv(tmp_path / "x.csv").with_columns(pl.col("hour").cast(pl.Float64)).write_csv(tmp_path / "float.csv")
    assert command("score", tmp_path / "n", tmp_path / "float.csv", "--out", tmp_path / "t.csv", "--strict")[0] == 0


def test_a_context_without_names_is_named_where_rows_come_from_files(command, files, tmp_path):
    frame = table()
    vae = om.VAE(latent_dim=1, hidden=(8,), epochs=2, verbose=0)
    vae.fit(frame.select("a", "b"), context=frame["lot"]).save(tmp_path / "m")
    score = [
        "score",
        tmp_path / "m",
        files / "new.csv",
        "--id",
        "part",
        "--id",
        "temperature",
        "--out",
        tmp_path / "s.csv",
    ]
    status, _, said = command(*score)
    assert status == 1 and "--context: expected the name of 1 column" in said and "got none" in said
    status, _, said = command(*score, "--context", "lot")
    assert status == 0, said
    new = table(20, 1)
    expected = -vae.score_samples(new.select("a", "b"), context=new["lot"])
    np.testing.assert_allclose(pl.read_csv(tmp_path / "s.csv")["anomaly_score"], expected, rtol=1e-5)
    assert command("sample", tmp_path / "m", "-n", 3, "--context", "B", "--out", tmp_path / "d.csv")[0] == 0
    np.testing.assert_allclose(pl.read_csv(tmp_path / "d.csv"), vae.sample(3, context="B"), rtol=1e-5)
    om.VAE(latent_dim=1, hidden=(8,), epochs=2, verbose=0).fit(frame.select("a", "b")).save(tmp_path / "plain")
    status, _, said = command("sample", tmp_path / "plain", "--context", "B", "--out", tmp_path / "d.csv")
    assert status == 1 and "--context: the model was fitted without a context" in said


def engines(n=12):
    """Return a long table of series of two types, whose level is that of the type."""
    random = np.random.default_rng(0)
    parts = []
    for number in range(n):
        steps = 5 + number % 3
        level = 5.0 * (number % 2) + random.normal(size=steps).round(3)
        kind = ["old", "new"][number % 2]
        parts.append(
            pl.DataFrame({"engine": [f"e{number}"] * steps, "cycle": range(steps), "type": kind, "speed": level})
        )
    return pl.concat(parts)


@pytest.mark.parametrize("window", [(), ("--window", "4", "--stride", "2")])
def test_series_have_one_context_each(command, tmp_path, window):
    frame = engines()
    frame.write_csv(tmp_path / "runs.csv")
    fit = ["fit", tmp_path / "runs.csv", "--series", "engine", "--time", "cycle", "--context", "type", *window]
    status, _, said = command(*fit, "--out", tmp_path / "m", *SMALL)
    assert status == 0, said
    vae = om.load(tmp_path / "m")
    assert vae.schema_.names == ("speed",) and vae.context_schema_.names == ("type",)
    rows, given = frame.drop("type"), frame.group_by("engine", maintain_order=True).first()["type"].to_list()
    status, _, said = command("score", tmp_path / "m", tmp_path / "runs.csv", "--by-step", "--out", tmp_path / "s.csv")
    assert status == 0, said
    steps = np.concatenate(list(vae.step_scores(rows, context={"type": given})))
    np.testing.assert_allclose(pl.read_csv(tmp_path / "s.csv")["anomaly_score"], -steps, rtol=1e-4)
    holes = frame.with_columns(speed=pl.when(pl.col("cycle") == 2).then(None).otherwise(pl.col("speed")))
    holes.write_csv(tmp_path / "torn.csv")
    status, _, said = command("impute", tmp_path / "m", tmp_path / "torn.csv", "--out", tmp_path / "whole.csv")
    assert status == 0, said
    assert pl.read_csv(tmp_path / "whole.csv")["type"].equals(frame["type"])
    draw = ["sample", tmp_path / "m", "-n", 3, "--length", 4, "--context", "old", "--out", tmp_path / "drawn.csv"]
    assert command(*draw)[0] == 0
    drawn = pl.read_csv(tmp_path / "drawn.csv")
    assert drawn.columns == ["engine", "cycle", "type", "speed"] and drawn["type"].to_list() == ["old"] * 12
    frame.with_columns(type=pl.when(pl.col("cycle") == 3).then(pl.lit("old")).otherwise("type")).write_csv(
        tmp_path / "odd.csv"
    )
    for words in ([*fit[:1], tmp_path / "odd.csv", *fit[2:], *SMALL], ["encode", tmp_path / "m", tmp_path / "odd.csv"]):
        status, _, said = command(*words, "--out", tmp_path / "x.csv")
        assert status == 1 and "column 'type' changes within series 'e1': 'new' in row 5, 'old' in row 8" in said, said


def test_a_folder_of_pictures_has_no_columns(command, tmp_path):
    from PIL import Image

    (tmp_path / "p").mkdir()
    for number in range(3):
        Image.new("L", (4, 4), 80 * number).save(tmp_path / "p" / f"{number}.png")
    fit = ["fit", tmp_path / "p", "--context", "lot", "--out", tmp_path / "m", *SMALL]
    status, _, said = command(*fit)
    assert status == 1 and "--context: expected a table with names of columns" in said


def test_a_detector_is_told_too(command, files, tmp_path):
    fit = ["fit", files / "parts.csv", "--id", "part", "--context", "lot,temperature", "--task", "detect"]
    status, _, said = command(*fit, "--ensemble", 2, "--out", tmp_path / "d", *SMALL)
    assert status == 0, said
    detector, frame = om.load(tmp_path / "d"), table(20, 1)
    score = ["score", tmp_path / "d", files / "new.csv", "--explain", 1, "--out", tmp_path / "s.csv"]
    assert command(*score)[0] == 0
    written = pl.read_csv(tmp_path / "s.csv")
    np.testing.assert_allclose(written["p_value"], detector.p_values(frame.select("a", "b"), context=told(frame)))
    frame.with_columns(broken=pl.Series([0] * 15 + [1] * 5)).write_csv(tmp_path / "labelled.csv")
    words = ["--label-column", "broken", "--out", tmp_path / "page.html"]
    status, _, said = command("evaluate", tmp_path / "d", tmp_path / "labelled.csv", *words)
    assert status == 0, said
    assert (tmp_path / "page.html").exists()
    status, _, said = command("evaluate", tmp_path / "d", tmp_path / "labelled.csv", "--label-column", "lot")
    assert status == 1 and "--label-column: 'lot' is one of the columns that the model is told" in said, said
