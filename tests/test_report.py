"""The report: one whole file that refers to nothing outside, and what it shows of a model of each kind of data."""

import copy
import dataclasses
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import omokage as om
from omokage import inference, plots, report
from omokage.data import Images, Sequences
from omokage.diagnostics import Finding
from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.objectives import MomentMatching
from omokage.report import Cloud, Picture, Section, Table
from omokage.report import page as page_module

HOSTILE = '<script>alert("1")</script>'
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page and the text outside of tags; it fails where elements are not closed in order."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self._open = [], [], []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def hostile_sections():
    names = [HOSTILE, "温度", "# 1f2328 #1f2328", '" id="x" url(#a)']
    figure = plots.column_errors(names, [4, 3, 2, 1])
    codes = plots.latent_scatter(np.eye(4)[:, :2], [HOSTILE, "良品", "良品", "c"])
    table = Table([HOSTILE, "b"], [[HOSTILE, "1"]], HOSTILE)
    return [Section(HOSTILE, [HOSTILE], [Picture(figure, HOSTILE, HOSTILE), Picture(codes, "b", "c")], table)]


@pytest.fixture
def page(tmp_path):
    path = report.write_report(
        tmp_path / "report.html",
        HOSTILE,
        hostile_sections(),
        lead=HOSTILE,
        key_figures=Table([HOSTILE], [[HOSTILE]]),
        lang="ja",
    )
    return path.read_text(encoding="utf-8")


# --------------------------------------------------------------------------------------------------------- the page


def test_everything_that_users_write_is_escaped(page):
    read = Page(page)
    assert not read.all("script")
    assert "<script" not in page
    assert read.text.count(HOSTILE) >= 8, "it is there as text"
    assert any(attributes.get("aria-label") == HOSTILE for attributes in read.all("svg"))


def test_nothing_outside_is_referred_to(page):
    assert "http" not in page and "//" not in re.sub(r"base64,[^\"]*", "", page)
    read = Page(page)
    for tag, attributes in read.elements:
        assert tag not in {"link", "iframe", "object", "img"}
        for name, value in attributes.items():
            if name in {"src", "href", "xlink:href"}:
                assert value.startswith(("#", "data:"))
    assert set(re.findall(r"url\((.)", page)) <= {"#"} and "@import" not in page


def test_pictures_have_words_ids_of_their_own_and_hold_their_text(page):
    read = Page(page)
    pictures = read.all("svg")
    assert len(pictures) == 2
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = re.findall(r'(?:href="|url\()#([^")]+)', "".join(re.findall(r"<[^>]*>", page)))
    assert referred and set(referred) <= set(ids)
    shown = [text.strip() for text in read.text]
    assert {"温度", "良品", "# 1f2328 #1f2328", '" id="x" url(#a)'} <= set(shown)


def test_pictures_take_the_colours_of_the_page(page):
    tags = "".join(re.findall(r"<[^>]*>", page[page.index("<body") :]))
    assert "var(--ink)" in tags and "var(--muted)" in tags
    assert not set(page_module._COLOURS) & set(re.findall("#[0-9a-f]{6}", tags))
    style = page[page.index("<style>") : page.index("</style>")]
    assert all(f"{value[4:-1]}:" in style for value in page_module._COLOURS.values())
    assert "prefers-color-scheme: dark" in style


def test_language_and_width(page):
    read = Page(page)
    assert read.all("html")[0]["lang"] == "ja"
    assert any(attributes.get("name") == "viewport" for attributes in read.all("meta"))


def test_a_row_of_another_length_than_the_headings_is_an_error(tmp_path):
    with pytest.raises(ParameterError, match=r"Table: expected 2 cells in each row; got \['a'\]"):
        report.write_report(tmp_path / "r.html", "t", [Section("s", table=Table(["x", "y"], [["a"]]))])
    assert not any(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------- points to turn


CODES = np.random.default_rng(0).normal(size=(30, 3)) * [1, 2, 3]


@pytest.fixture
def cloudy(tmp_path):
    labels = [HOSTILE, "良品", '" onclick="alert(1)'] * 10
    clouds = [Cloud(CODES, HOSTILE, HOSTILE, labels), Cloud(CODES, "b", "Without labels.")]
    path = report.write_report(tmp_path / "report.html", "t", [Section("s", clouds=clouds)])
    return path.read_text(encoding="utf-8")


def test_the_points_are_in_the_page(cloudy):
    first, second = (json.loads(canvas["data-cloud"]) for canvas in Page(cloudy).all("canvas"))
    points = np.reshape(first["points"], (30, 3)) / 1000
    assert np.abs(points).max() <= 1
    centred = CODES - CODES.mean(0)
    scale = np.linalg.norm(centred) / np.linalg.norm(points - points.mean(0))
    np.testing.assert_allclose(scale * (points - points.mean(0)), centred, atol=scale * 1.1e-3)  # whole thousandths
    assert [first["kinds"][i] == first["kinds"][i + 3] for i in range(27)] == [True] * 27
    assert len(set(first["kinds"])) == len(set(first["colours"])) == 3
    assert second["colours"] == [""], "without labels the page's own colour is drawn"


def test_labels_of_points_are_escaped_and_the_only_script_is_ours(cloudy):
    read = Page(cloudy)
    assert cloudy.count("<script") == 1 and HOSTILE not in cloudy
    assert {HOSTILE, "良品", '" onclick="alert(1)'} <= {text.strip() for text in read.text}
    assert read.all("canvas")[0]["aria-label"] == HOSTILE
    assert not any("onclick" in attributes for _, attributes in read.elements)
    script = cloudy[cloudy.index("<script>") :]
    assert "alert" not in script and "innerHTML" not in script and "eval" not in script


def test_a_page_with_points_refers_to_nothing_outside(cloudy):
    assert "http" not in cloudy and "//" not in cloudy
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|import|sendBeacon|cookie|localStorage)\b", cloudy)
    canvas = Page(cloudy).all("canvas")[0]
    assert canvas["tabindex"] == "0", "it can be reached and turned by the keyboard"


def test_of_many_points_two_thousand_are_drawn_and_it_is_said(tmp_path):
    Z = np.random.default_rng(0).normal(size=(5001, 4))
    path = report.write_report(tmp_path / "r.html", "t", [Section("s", clouds=[Cloud(Z, "a", "b.")])])
    read = Page(path.read_text(encoding="utf-8"))
    assert len(json.loads(read.all("canvas")[0]["data-cloud"])["kinds"]) == 2000
    assert "2,000 of 5,001 points are drawn." in " ".join(read.text)
    assert path.stat().st_size < 100_000


def test_codes_of_two_dimensions_are_no_cloud(tmp_path):
    with pytest.raises(DataError, match=r"Z: expected codes.*latent_dim of at least 3"):
        report.write_report(tmp_path / "r.html", "t", [Section("s", clouds=[Cloud(CODES[:, :2], "a", "b")])])
    assert not any(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------- writing


def test_the_old_report_stays_if_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileFormatError, match=r"report.html: cannot be written \(No space left on device\)"):
        report.write_report(path, "new", [])
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_the_new_report_takes_the_place_of_the_old_when_it_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    seen = []
    replace = Path.replace

    def watched(self, target):
        seen.append((path.read_text(), self.read_text(encoding="utf-8")))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    report.write_report(path, "new", [])
    ((before, beside),) = seen
    assert before == "old"
    assert beside == path.read_text(encoding="utf-8") and beside.rstrip().endswith("</html>")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_in_the_way_is_an_error(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileFormatError, match="taken: is a folder or a device, not a file"):
        report.write_report(tmp_path / "taken", "t", [])


def test_the_same_report_gives_the_same_bytes(tmp_path):
    first, second = (report.write_report(tmp_path / name, "t", hostile_sections()).read_bytes() for name in "ab")
    assert first == second


# --------------------------------------------------------------------------------------------- findings and contents


def test_a_verdict_is_a_word_with_a_colour_on_either_ground(tmp_path):
    findings = [Finding("collapse", "problem", HOSTILE), Finding("holes", "good", "None.")]
    path = report.write_report(tmp_path / "r.html", "t", [Section("Diagnosis", findings=findings)])
    page = path.read_text(encoding="utf-8")
    read = Page(page)
    text = [part.strip() for part in read.text if part.strip()]
    start = text.index("question")
    assert text[start : start + 9] == [
        "question",
        "verdict",
        "answer",
        "collapse",
        "problem",
        HOSTILE,
        "holes",
        "good",
        "None.",
    ]
    assert [mark["class"] for mark in read.all("span") if "verdict" in mark.get("class", "")] == [
        "verdict problem",
        "verdict good",
    ]
    style = page[page.index("<style>") : page.index("</style>")]
    for verdict in ("good", "warning", "problem"):
        assert f".verdict.{verdict} {{ color: var(--{verdict}); }}" in style
        assert style.count(f"--{verdict}: #") == 2, "one for a light page, one for a dark one"


def test_a_long_page_begins_with_links_to_its_sections(tmp_path):
    sections = [Section(name) for name in ("One", HOSTILE, "三", "Four")]
    read = Page(report.write_report(tmp_path / "r.html", "t", sections).read_text(encoding="utf-8"))
    links = [link["href"] for link in read.all("a")]
    assert links == [f"#{section['id']}" for section in read.all("section")] and len(set(links)) == 4
    short = Page(report.write_report(tmp_path / "s.html", "t", sections[:3]).read_text(encoding="utf-8"))
    assert not short.all("nav")


# ------------------------------------------------------------------------------------------------- of an estimator


OF_A_VAE = ["Reconstruction", "Codes", "What codes leave open", "Diagnosis", "Training", "Layers"]
TINY = {"hidden": (8,), "epochs": 2, "verbose": 0}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(120, 4))
    return pl.DataFrame(X * [1, 10, 100, 1000], schema=["温度", "圧力", HOSTILE, "speed"])


@pytest.fixture(scope="module")
def series():
    """Two channels of unlike units in the layout CT, of unlike lengths, with holes; too few to be judged."""
    random = np.random.default_rng(0)
    found = [np.sin(np.arange(n) / 3 + random.uniform(0, 6, (2, 1))) * [[1.0], [100.0]] for n in (9, 12, 16) * 4]
    found[3][0, 2], found[3][:, 5] = np.nan, np.nan
    return found


@pytest.fixture(scope="module")
def of_series(series):
    return om.VAE(2, data=Sequences("NCT"), **TINY).fit(series, X_valid=series)


@pytest.fixture(scope="module")
def vae(table):
    return om.VAE(2, hidden=(8,), epochs=3, verbose=0).fit(table[:60], X_valid=table[60:])


def test_report_of_a_table(vae, table, tmp_path):
    sections = report.model_sections(vae, table[60:], labels=["良品"] * 30 + ["不良品"] * 30)
    assert [section.heading for section in sections] == OF_A_VAE
    read = Page(report.write_report(tmp_path / "r.html", "部品", sections).read_text(encoding="utf-8"))
    assert {"温度", "圧力", HOSTILE, "良品", "不良品", "部品"} <= {text.strip() for text in read.text}
    assert sections[-1].table.rows[-1][-1] == f"{vae.summary().total:,}"


def test_codes_of_three_dimensions_can_be_turned(vae, table):
    codes = report.model_sections(vae, table)[1]
    assert codes.heading == "Codes" and codes.clouds == [], "there is no third dimension"
    deeper = om.VAE(3, hidden=(8,), epochs=1, verbose=0).fit(table)
    (cloud,) = report.model_sections(deeper, table, labels=np.arange(120) % 2)[1].clouds
    np.testing.assert_array_equal(cloud.Z, deeper.transform(table))
    np.testing.assert_array_equal(cloud.labels, np.arange(120) % 2)


def test_column_errors_are_shares_of_the_variance(vae, table):
    """Whatever the units: here columns differ by factors of 1,000."""
    reconstruction, *_ = report.model_sections(vae, table)
    (axes,) = reconstruction.pictures[0].figure.axes
    X = table.to_numpy()
    expected = ((X - vae.reconstruct(table)) ** 2).mean(0) / X.var(0)
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], sorted(expected, reverse=True), rtol=1e-5)


def test_the_history_of_raw_data_ends_where_the_scores_are(vae, table):
    last = report.raw_history(vae)[-1]
    terms = vae.terms(table[60:], samples=2000)
    for mine, theirs in (("loss", -terms["elbo"]), ("reconstruction", terms["reconstruction"]), ("kl", terms["kl"])):
        # The history has one draw for each row, of a deviation of a few nats: 60 rows, so under a nat on average.
        assert abs(last[f"validation_{mine}"] - theirs.mean()) < 3.0
    assert abs(vae.schema_.log_jacobian) > 6.0, "or the shift would not be seen"
    assert vae.history_[-1]["validation_kl"] == last["validation_kl"]


def test_a_loss_that_is_not_in_nats_stays_as_it_is(table):
    vae = om.VAE(2, objective=MomentMatching(0.01), **TINY).fit(table)
    assert abs(vae.schema_.log_jacobian) > 6.0 and report.raw_history(vae) == vae.history_
    *_, training, _ = report.model_sections(vae, table)
    assert "nats" not in training.paragraphs[0]


def test_the_loss_of_series_is_raw_on_average(of_series, series):
    """Of unlike lengths, so that each series has a Jacobian of its own."""
    last = report.raw_history(of_series)[-1]
    # The history has one draw for each of a few series, whose bound has a deviation of some nats.
    assert abs(last["validation_loss"] + of_series.terms(series)["elbo"].mean()) < 5.0
    assert of_series.schema_.log_jacobian < -40.0, "or the shift would not be seen"


def test_a_plain_autoencoder_has_no_posterior_to_show(table):
    autoencoder = om.AutoEncoder(2, **TINY).fit(table)
    headings = [section.heading for section in report.model_sections(autoencoder, table)]
    assert headings == ["Reconstruction", "Codes", "Diagnosis", "Training", "Layers"]
    assert [section.heading for section in report.model_sections(autoencoder)] == ["Training", "Layers"]


def test_too_few_rows_are_not_judged(vae, table):
    headings = [section.heading for section in report.model_sections(vae, table[:5])]
    assert headings == [heading for heading in OF_A_VAE if heading != "Diagnosis"]


def test_the_diagnosis_is_that_of_the_estimator(vae, table, tmp_path):
    section = report.diagnosis_section(vae, table)
    diagnosis = vae.diagnose(table)
    assert section.findings == diagnosis.findings
    counted = {verdict: [f.verdict for f in diagnosis.findings].count(verdict) for verdict in ("good", "problem")}
    assert f"{counted['good']} good" in section.paragraphs[0] and "120 rows" in section.paragraphs[0]
    page = report.write_report(tmp_path / "r.html", "t", [section]).read_text(encoding="utf-8")
    assert page.count('<span class="verdict ') == len(diagnosis.findings)


def test_what_codes_leave_open_is_drawn_for_the_first_of_each_label(vae, table):
    labels = np.repeat(list("edcba"), 24)
    jitter, kl = report.certainty_section(vae, table, labels).pictures
    names = [text.get_text() for text in jitter.figure.axes[0].get_legend().get_texts()]
    assert names == ["a", "b", "c", "d", "e", "all means"]
    bars = [bar.get_height() + bar.get_y() for bar in kl.figure.axes[0].patches]
    expected = inference.kl_by_dimension(vae.model_, vae._asked(table)[1].whole).mean(0)
    np.testing.assert_allclose(bars, np.maximum(sorted(expected, reverse=True), 1e-3), rtol=1e-5)


@pytest.mark.parametrize(
    ("estimator", "form"),
    [
        (om.VAE, "rows of vectors"),
        (om.AutoEncoder, "colours"),
        (om.VAE, "two channels"),
        (om.AutoEncoder, "without channels"),
    ],
)
def test_report_of_pictures(estimator, form, tmp_path):
    digits = om.datasets.load("digits")
    X, shape = digits.X[:60], None
    if form == "rows of vectors":
        shape = (8, 8)
    else:
        channels = {"without channels": (), "colours": (3,), "two channels": (2,)}[form]
        X = np.broadcast_to(X.reshape(60, 8, 8, *[1] * len(channels)), (60, 8, 8, *channels)).copy()
    model = estimator(2, network="mlp", data="vectors" if shape else Images(), **TINY).fit(X)
    sections = {
        section.heading: section for section in report.model_sections(model, X, shape=shape, labels=digits.y[:60])
    }
    expected = [*OF_A_VAE[:3], "Samples", *OF_A_VAE[3:]]
    assert list(sections) == [name for name in expected if estimator is om.VAE or name != "What codes leave open"]
    passed, best = (picture.figure for picture in sections["Reconstruction"].pictures)
    rows = [label.get_text() for label in passed.axes[0].get_yticklabels()]
    assert rows == (["original", "mean", "draw 1", "draw 2"] if estimator is om.VAE else ["original", "reconstruction"])
    first = passed.axes[0].images[0].get_array()[:8, :8]
    zero = X[np.flatnonzero(digits.y[:60] == 0)[0]].reshape(8, 8, -1)
    np.testing.assert_allclose(first[..., 0], zero[..., 0], atol=0.01)  # 256 levels of grey
    assert len(best.axes) == 2
    assert Page(report.write_report(tmp_path / "r.html", "t", list(sections.values())).read_text(encoding="utf-8"))


def test_report_of_series(of_series, series, tmp_path):
    model = of_series
    sections = report.model_sections(model, series)
    assert [section.heading for section in sections][-3:] == ["Samples", "Training", "Layers"]
    some, extremes = (picture.figure for picture in sections[0].pictures)
    shown = [0, 5, 11]
    curves = {axes.get_title(loc="left").split(",")[0]: axes for axes in some.axes if axes.lines}
    for number in shown:
        axes = curves[f"series {number}"]
        np.testing.assert_allclose(axes.lines[0].get_ydata(), series[number][0], atol=1e-5)
        np.testing.assert_allclose(axes.lines[1].get_ydata(), model.reconstruct(series)[number][0], atol=1e-5)
    errors = [
        float(axes.get_title(loc="left").split(",")[0].split(": ")[1])
        for axes in extremes.axes
        if ":" in axes.get_title(loc="left")
    ]
    best, worst = errors[:2], errors[2:]
    assert best == sorted(best) and worst == sorted(worst, reverse=True) and max(best) < min(worst)
    Page(report.write_report(tmp_path / "r.html", "t", sections).read_text(encoding="utf-8"))


def test_the_strip_is_the_score_of_each_step(of_series, series):
    """Dark where `step_scores` is low, empty where nothing was observed."""
    chosen = series[3:4] * 2
    (figure, *_) = (picture.figure for picture in report.model_sections(of_series, chosen)[0].pictures)
    strip = next(axes.images[0].get_array() for axes in figure.axes if axes.images)
    scores = -of_series.step_scores(chosen)[0]
    assert np.isnan(np.ma.filled(strip[0], np.nan)[5])
    seen = np.arange(len(scores)) != 5
    np.testing.assert_allclose(np.ma.filled(strip[0], np.nan)[seen], scores[seen], rtol=1e-4)


def test_samples_of_series_are_draws_and_their_means(of_series):
    (samples,) = [section for section in report.model_sections(of_series) if section.heading == "Samples"]
    figure = samples.pictures[0].figure
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["draw of x", "its mean"]
    means = of_series.sample(3, mean=True)
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), means[0][0], atol=1e-5)


def test_the_template_is_in_the_package():
    program = (
        "from importlib.resources import files; assert (files('omokage') / 'templates/report.html.jinja').is_file()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# ------------------------------------------------------------------------------------------------ conditional models

MANY = 2100  # more than are looked at


def conditions(form):
    """Return the context of 2,100 rows, a label and a quantity of each row, in one of its forms."""
    label = np.array(["a", "b", "c"])[np.arange(MANY) % 3]
    size = np.arange(MANY) / MANY
    return {
        "list": label.tolist(),
        "array": label,
        "matrix": np.column_stack([size, -size]),
        "mapping": {"label": label, "size": size},
        "polars": pl.DataFrame({"label": label, "size": size}),
        "pandas": pd.DataFrame({"label": label, "size": size}, index=np.arange(MANY)[::-1]),
        "series": pl.Series(label),
    }[form]


@pytest.fixture(scope="module")
def conditional_rows():
    return np.random.default_rng(5).random((MANY, 4))


@pytest.fixture(scope="module")
def conditional(conditional_rows):
    """Return a function from a form of context to a model that was fitted with one of its columns."""
    fitted = {}

    def model(form):
        kind = {"series": "list", "mapping": "polars", "pandas": "polars"}.get(form, form)
        if kind not in fitted:
            vae = om.VAE(latent_dim=2, hidden=(8,), epochs=1, batch_size=512, verbose=0)
            fitted[kind] = vae.fit(conditional_rows, context=conditions(kind))
        return fitted[kind]

    return model


@pytest.mark.parametrize(
    "form",
    ["matrix", "pandas"]
    + [pytest.param(form, marks=pytest.mark.exhaustive) for form in ("list", "series", "mapping", "polars")],
)
def test_a_conditional_model_is_shown_with_the_context_of_its_rows(form, conditional, conditional_rows, monkeypatch):
    vae, context, X = conditional(form), conditions(form), conditional_rows
    asked, sample = [], vae.sample
    monkeypatch.setattr(vae, "sample", lambda n, **how: asked.append((n, how["context"])) or sample(n, **how))
    sections = report.model_sections(vae, X, shape=(2, 2), context=context)
    assert [section.heading for section in sections][:2] == ["Reconstruction", "Codes"]
    (((count, given)),) = asked
    drawn = vae.context_schema_.encode(given, count)
    known = vae.context_schema_.encode(context, MANY)[:2000]
    assert all((row == known).all(1).any() for row in drawn), "samples have the context of rows"
    spread = known[np.lexsort(-known.T[::-1])][np.linspace(0, 1999, count).astype(int)]
    assert np.array_equal(drawn, spread), "at even distances among all"
    samples = next(section for section in sections if section.heading == "Samples")
    assert "given the context of one of the rows" in samples.paragraphs[0]
    diagnosis = next(section for section in sections if section.heading == "Diagnosis")
    first = vae.context_schema_.encode(context, MANY)[:2000]
    assert len(first) == 2000 and diagnosis.findings


def test_one_context_stands_for_all_and_a_wrong_one_is_refused(conditional, conditional_rows):
    X, vae = conditional_rows[:60], conditional("list")
    sections = report.model_sections(vae, X, shape=(2, 2), context="b")
    assert report.diagnosis_section(vae, X, context="b").findings == sections[-3].findings
    assert report.certainty_section(vae, X, context="b").pictures
    only = report.model_sections(vae, shape=(2, 2), context="b")
    assert "given the same context" in only[0].paragraphs[0]
    with pytest.raises(DataError, match="context: expected the context of 60 rows, one for each; got that of 59"):
        report.model_sections(vae, X, context=conditions("list")[:59])
    with pytest.raises(DataError, match="context: the model was fitted with a context and needs that of these rows"):
        report.model_sections(vae, X)


def test_pictures_of_a_report_are_as_bright_as_they_are():
    bright = np.random.default_rng(0).uniform(0.9, 1.0, (30, 16))
    vae = om.VAE(latent_dim=2, hidden=(8,), epochs=1, verbose=0).fit(bright)
    section = report.model_sections(vae, bright, shape=(4, 4))[0]
    drawn = np.asarray(section.pictures[0].figure.axes[0].get_images()[0].get_array())
    assert drawn[:4, :4, 0].min() > 0.88


# ------------------------------------------------------------------------------------------- how good a detector is


@pytest.fixture(scope="module")
def detector():
    X = np.random.default_rng(0).normal(size=(200, 3))
    small = om.VAE(latent_dim=2, hidden=(8,), epochs=3, verbose=0)
    return om.AnomalyDetector(small, ensemble=2, false_alarm_rate=0.05, verbose=0).fit(X)


def labelled():
    """Return 100 rows of which 0 to 9 are anomalies: 0 to 3 are far out, the others look like normal rows."""
    X = np.random.default_rng(1).normal(size=(100, 3))
    X[:4] += 20
    X[4:10] *= 0.1
    return X, np.arange(100) < 10


def looked_at(path):
    """Return the heading and the rows of the table of rows to look at, and the whole text."""
    text = path.read_text(encoding="utf-8")
    found = re.search(r"<h2>([^<]*to look at[^<]*)</h2>", text)
    heading, part = found[1], text[found.end() :]
    body = part[part.index("<tbody>") : part.index("</tbody>")]
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in body.split("</tr>")[:-1]]
    return heading, rows, text


def test_the_page_tells_missed_from_found_by_the_decision(detector, tmp_path):
    X, y = labelled()
    path = report.evaluation_page(tmp_path / "page.html", detector, X, y, om.evaluate_detector(detector, X, y))
    heading, rows, text = looked_at(path)
    flagged = detector.predict(X) == -1
    expected = {"found": y & flagged, "missed": y & ~flagged, "false alarm": ~y & flagged}
    assert all(which.any() for which in expected.values()), "the rows have some of each"
    for kind, which in expected.items():
        listed = [int(row[1]) for row in rows if row[0] == kind]
        assert set(listed) <= set(np.flatnonzero(which)) and len(listed) == min(10, which.sum()), kind
        assert all(row[2] == ("anomaly" if y[int(row[1])] else "normal") for row in rows if row[0] == kind)
    counts = [int(which.sum()) for which in expected.values()]
    words = f"{counts[0]} found, {counts[1]} missed, {counts[2]} false alarm{'s' * (counts[2] != 1)}"
    assert heading == f"Rows to look at: {words}" and f"By the detector&#39;s own decision: {words}." in text
    assert "its rate of false alarms is set to 0.05" in text


def test_the_page_follows_another_rate_of_the_detector(detector, tmp_path):
    X, y = labelled()
    other = copy.copy(detector)
    other.fitted_ = dataclasses.replace(detector.fitted_, offset=-np.inf)  # nothing is flagged
    heading, rows, _ = looked_at(
        report.evaluation_page(tmp_path / "page.html", other, X, y, om.evaluate_detector(other, X, y))
    )
    assert heading == "Rows to look at: 0 found, 10 missed, 0 false alarms"
    assert {row[0] for row in rows} == {"missed"}


def test_the_page_of_a_model_without_a_decision_says_ranked(tmp_path):
    class Distance:
        def score_samples(self, X):
            return -np.abs(X).sum(1)

    X, y = labelled()
    path = report.evaluation_page(tmp_path / "page.html", Distance(), X, y, om.evaluate_detector(Distance(), X, y))
    heading, rows, text = looked_at(path)
    assert heading == "Rows to look at, ranked" and "decides nothing" in text
    assert not {"found", "missed", "false alarm"} & {row[0] for row in rows}
    assert [row[1] for row in rows if row[0] == "highest score"] == [
        str(row) for row in np.argsort(-np.abs(X).sum(1), kind="stable")[:10]
    ]
