"""The report and the demo: one whole file that refers to nothing outside, and figures that are what they say."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import PCA

import omokage as om
from omokage import demo, plots, report
from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.report import Cloud, Picture, Section, Table

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
    assert not set(report._COLOURS) & set(re.findall("#[0-9a-f]{6}", tags))
    style = page[page.index("<style>") : page.index("</style>")]
    assert all(f"{value[4:-1]}:" in style for value in report._COLOURS.values())
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
    with pytest.raises(FileFormatError, match="taken: cannot be written"):
        report.write_report(tmp_path / "taken", "t", [])


def test_the_same_report_gives_the_same_bytes(tmp_path):
    first, second = (report.write_report(tmp_path / name, "t", hostile_sections()).read_bytes() for name in "ab")
    assert first == second


# ------------------------------------------------------------------------------------------------- of an estimator


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(120, 4))
    return pl.DataFrame(X * [1, 10, 100, 1000], schema=["温度", "圧力", HOSTILE, "speed"])


@pytest.fixture(scope="module")
def vae(table):
    return om.VAE(2, hidden=(8,), epochs=3, verbose=0).fit(table[:60], X_valid=table[60:])


def test_report_of_a_table(vae, table, tmp_path):
    sections = report.model_sections(vae, table[60:], labels=["良品"] * 30 + ["不良品"] * 30)
    assert [section.heading for section in sections] == ["Training", "Reconstruction", "Codes", "Layers"]
    read = Page(report.write_report(tmp_path / "r.html", "部品", sections).read_text(encoding="utf-8"))
    assert {"温度", "圧力", HOSTILE, "良品", "不良品", "部品"} <= {text.strip() for text in read.text}
    assert sections[-1].table.rows[-1][-1] == f"{vae.summary().total:,}"


def test_codes_of_three_dimensions_can_be_turned(vae, table):
    codes = report.model_sections(vae, table)[2]
    assert codes.heading == "Codes" and codes.clouds == [], "there is no third dimension"
    deeper = om.VAE(3, hidden=(8,), epochs=1, verbose=0).fit(table)
    (cloud,) = report.model_sections(deeper, table, labels=np.arange(120) % 2)[2].clouds
    np.testing.assert_array_equal(cloud.Z, deeper.transform(table))
    np.testing.assert_array_equal(cloud.labels, np.arange(120) % 2)


def test_column_errors_are_shares_of_the_variance(vae, table):
    """Whatever the units: here columns differ by factors of 1,000."""
    _, reconstruction, *_ = report.model_sections(vae, table)
    (axes,) = reconstruction.pictures[0].figure.axes
    X = table.to_numpy()
    expected = ((X - vae.reconstruct(table)) ** 2).mean(0) / X.var(0)
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], sorted(expected, reverse=True), rtol=1e-6)


def test_the_history_of_raw_data_ends_where_the_scores_are(vae, table):
    last = report.raw_history(vae)[-1]
    terms = vae.terms(table[60:], samples=2000)
    for mine, theirs in (("loss", -terms["elbo"]), ("reconstruction", terms["reconstruction"]), ("kl", terms["kl"])):
        # The history has one draw for each row, of a deviation of a few nats: 60 rows, so under a nat on average.
        assert abs(last[f"validation_{mine}"] - theirs.mean()) < 3.0
    assert abs(vae.schema_.log_jacobian) > 6.0, "or the shift would not be seen"
    assert vae.history_[-1]["validation_kl"] == last["validation_kl"]


def test_report_of_pictures_shows_samples_where_the_model_can_draw(demonstration):
    X = om.datasets.load("digits").X[:60]
    headings = [
        section.heading for section in report.model_sections(om.load(demonstration[1]["model"]), X, shape=(8, 8))
    ]
    assert headings == ["Training", "Reconstruction", "Codes", "Samples", "Layers"]
    autoencoder = om.AutoEncoder(2, hidden=(8,), epochs=1, verbose=0).fit(X)
    headings = [section.heading for section in report.model_sections(autoencoder, shape=(8, 8))]
    assert headings == ["Training", "Layers"]


# --------------------------------------------------------------------------------------------------------- the demo


def test_bits_bound_the_code_of_quantised_values():
    """Normal values, of which only the cell in a grid of width 1/16 is kept: bits are at least their entropy.

    The bound's excess is the mean divergence within a cell, small where the density hardly changes across one.
    """
    rng = np.random.default_rng(0)
    levels = np.round(rng.normal(0.5, 0.2, size=(20_000, 4)) * 16) / 16
    noisy = levels + (rng.random(levels.shape) - 0.5) / 16
    nats = (-0.5 * ((noisy - 0.5) / 0.2) ** 2 - np.log(0.2 * np.sqrt(2 * np.pi))).sum(1).mean()
    frequencies = np.unique(levels, return_counts=True)[1] / levels.size
    entropy = -(frequencies * np.log2(frequencies)).sum()
    assert entropy < demo.bits_per_dimension(nats, 4) < entropy + 0.05
    assert demo.bits_per_dimension(0.0, 4) == 4.0, "a uniform density on [0, 1] has sixteen cells"
    assert demo.bits_per_dimension(4 * np.log(2), 4, levels=2) == pytest.approx(0.0)


def test_noise_stays_in_the_cell_of_its_level():
    X = om.datasets.load("digits").X
    noisy = demo._dequantised(X, np.random.default_rng(0))
    assert noisy.dtype == np.float32
    np.testing.assert_array_equal(np.round(noisy.clip(0, 1) * 16) / 16, X)
    assert abs((noisy - X).mean()) < 1e-3 and abs((noisy - X).std() - 1 / 16 / np.sqrt(12)) < 1e-3


def test_likelihoods_of_all_sizes_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5))
    expected = [PCA(q).fit(X[:200]).score(X[200:]) for q in range(1, 5)]
    np.testing.assert_allclose(demo.pca_log_likelihoods(X[:200], X[200:]), expected, rtol=1e-8)


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, demo.run_demo(out, epochs=2, seed=3, verbose=0)


def test_the_demo_writes_a_report_and_a_model(demonstration):
    out, figures = demonstration
    assert {entry.name for entry in out.iterdir()} == {"report.html", "model"}
    assert figures["report"] == str(out / "report.html") and figures["model"] == str(out / "model")
    source = (out / "report.html").read_text(encoding="utf-8")
    read = Page(source)
    assert len(read.all("svg")) == 5
    assert "http" not in source
    cells = {text.strip() for text in read.text}
    assert f"{figures['elbo']:.1f}" in cells and f"{figures['bits_per_dimension']:.3f}" in cells
    assert f"{figures['pca']['log_likelihood']:.1f}" in cells
    json.dumps(figures)


def test_the_figures_of_the_demo_are_those_of_the_saved_model(demonstration):
    _, figures = demonstration
    vae, held_out = om.load(figures["model"]), om.datasets.load("digits", "test")
    assert figures["pictures"] == len(held_out.X)
    error = np.square(vae.reconstruct(held_out.X) - held_out.X).sum(1).mean()
    assert figures["squared_error"] == pytest.approx(error, rel=1e-6)
    assert figures["elbo"] == pytest.approx(figures["reconstruction"] - figures["kl"], abs=1e-3)
    assert figures["log_likelihood"] >= figures["elbo"]
    assert figures["bits_per_dimension"] == demo.bits_per_dimension(figures["elbo"], 64)
    assert figures["pca_best"]["log_likelihood"] >= figures["pca"]["log_likelihood"]
    assert figures["gain_over_pca"] == pytest.approx(
        figures["log_likelihood"] - figures["pca"]["log_likelihood"], abs=1e-3
    )


def test_pca_is_judged_by_the_same_rows(demonstration):
    """Its figures again, by scikit-learn alone, from the data and noise that the demo describes."""
    _, figures = demonstration
    train, held_out = om.datasets.load("digits", "train").X, om.datasets.load("digits", "test").X
    noise = np.random.default_rng(3)
    X = np.concatenate([train + (noise.random(train.shape, np.float32) - 0.5) / 16 for _ in range(5)])
    judged_by = held_out + (noise.random(held_out.shape, np.float32) - 0.5) / 16
    pca = PCA(10).fit(X)
    assert figures["pca"]["log_likelihood"] == pytest.approx(pca.score(judged_by), abs=0.02)
    error = np.square(pca.inverse_transform(pca.transform(held_out)) - held_out).sum(1).mean()
    assert figures["pca"]["squared_error"] == pytest.approx(error, rel=1e-3)


def test_the_demo_says_what_is_wrong_before_it_takes_time(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileFormatError, match=r"out: expected a folder .*\(there is a file of that name\)"):
        demo.run_demo(tmp_path / "file", verbose=0)
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(ParameterError, match="seed: expected a whole number"):
        demo.run_demo(tmp_path / "new", seed=-1, verbose=0)
    with pytest.raises(ParameterError, match="epochs: expected"):
        demo.run_demo(tmp_path / "new", epochs=0, verbose=0)


@pytest.mark.slow
def test_the_demo_is_convincing(tmp_path):
    """What its text may be taken to promise, with wide margins; the default settings, another seed."""
    figures = demo.run_demo(tmp_path / "out", seed=1, verbose=0)
    assert figures["log_likelihood"] > figures["pca_best"]["log_likelihood"] + 10
    assert figures["squared_error"] < 0.9 * figures["pca"]["squared_error"]


def test_the_template_is_in_the_package():
    program = (
        "from importlib.resources import files; assert (files('omokage') / 'templates/report.html.jinja').is_file()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
