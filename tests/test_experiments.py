"""The experiments: their settings are sound, their errors clear, and a quick run of each leaves what it promises."""

import io
import itertools
import re
import urllib.request

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from PIL import Image

from omokage import cli, experiments
from omokage.build import from_table
from omokage.errors import FileFormatError, ParameterError
from omokage.experiments import settings_of
from omokage.experiments.classic import Unbounded
from omokage.experiments.diagrams import model_diagram, series_picture
from omokage.experiments.results import COLUMNS, Results, markdown
from omokage.report import Table
from omokage.settings import AutoEncoderSettings, VAESettings, check
from omokage.summary import Layer, Summary

TABLES = [
    (name, table) for name in experiments.NAMES for table, value in settings_of(name).items() if isinstance(value, dict)
]


# ------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_settings_are_those_of_an_estimator(name, table):
    values = settings_of(name)[table]
    made = {key: from_table(key, value) if isinstance(value, dict) else value for key, value in values.items()}
    check(AutoEncoderSettings if table.split("_")[0] in ("autoencoder", "own", "ae") else VAESettings, made)


@pytest.mark.parametrize("name", experiments.NAMES)
def test_quick_settings_stand_wherever_the_name_does(name):
    full, quick = settings_of(name), settings_of(name, quick=True)

    def leaves(values, path=()):
        for key, value in values.items():
            yield from leaves(value, (*path, key)) if isinstance(value, dict) else [((*path, key), value)]

    before, after = dict(leaves(full)), dict(leaves(quick))
    assert before.keys() == after.keys()
    changed = {path[-1] for path in before if before[path] != after[path]}
    assert {"train_rows", "epochs"} <= changed
    for path in before:
        if path[-1] in changed:
            assert after[path] == next(after[other] for other in after if other[-1] == path[-1])


def test_the_list_names_every_experiment(capsys):
    cli.app(["reproduce", "--list"], result_action="return_value")
    out = capsys.readouterr().out
    for name, document, question in experiments.listed():
        assert f"{name}\n    {document}\n    {question}\n" in out


# --------------------------------------------------------------------------------------------- errors


def test_what_is_asked_for_must_be_there(tmp_path):
    with pytest.raises(ParameterError, match=r"name: expected one of classic, .*; got 'sequenze'. Did you mean 'seq"):
        experiments.reproduce("sequenze", tmp_path)
    with pytest.raises(ParameterError, match=r"seed: expected a whole number from 0 to .*; got -1"):
        experiments.reproduce("theory", tmp_path, seed=-1)
    with pytest.raises(ParameterError, match=r"NAME: expected one of classic, .*; got none. See --list"):
        cli.app(["reproduce"], result_action="return_value")
    (tmp_path / "file").touch()
    with pytest.raises(FileFormatError, match=r"out: expected a folder to write to; got '.*file' \(there is a file"):
        experiments.reproduce("theory", tmp_path / "file")


def test_missing_data_are_asked_for_in_words(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setenv("OMOKAGE_DATA", str(tmp_path))
    monkeypatch.setenv("OMOKAGE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileFormatError, match=r"train-images.* no network here.* environment variable OMOKAGE_DATA"):
        experiments.reproduce("theory", tmp_path / "out", quick=True, verbose=0)


# ------------------------------------------------------------------------------------ what they are made of


def test_the_documented_gaussian_decoder_is_the_density_that_it_says():
    random = np.random.default_rng(0)
    h, v, x = random.normal(size=(3, 50))
    given = Unbounded("identity", "identity").distribution(jnp.asarray(h), jnp.asarray(v))
    assert np.allclose(given.log_prob(x), scipy.stats.norm.logpdf(x, h, np.exp(0.5 * v)), atol=1e-5)


def test_a_sigmoid_confines_the_variance_between_one_and_e():
    v = jnp.linspace(-80, 80, 101)
    variance = Unbounded("identity", "sigmoid").distribution(jnp.zeros(101), v).variance
    assert float(variance.min()) == pytest.approx(1) and float(variance.max()) == pytest.approx(np.e)
    free = Unbounded("identity", "identity").distribution(jnp.zeros(101), v)
    assert float(free.log_prob(0.0).max()) > 39  # e^40: nothing bounds the density


def test_a_printed_table_can_be_read_back():
    rows = [["α", "", "1,000"], ["two words", "–", "0"]]
    lines = markdown(Table(["a", "b", "c"], rows, "Caption.")).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert [cells(line) for line in lines[:4:2]][:1] == [["a", "b", "c"]]
    assert [cells(line) for line in lines[2:4]] == rows
    assert lines[4:] == ["", "Caption."]


# ------------------------------------------------------------------------------- pictures of the recurrent model


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_diagram_has_the_layers_of_the_model():
    layers = Summary(
        [
            Layer("posterior.layers.0", "GRU", (40,), 8400),
            Layer("posterior.log_variance", "Linear", (3,), 123),
            Layer("posterior.mean", "Linear", (3,), 123),
            Layer("likelihood.layers.0", "GRU", (40,), 5400),
            Layer("likelihood.logits", "Linear", (28,), 1148),
        ]
    )
    figure = model_diagram(layers, 28, 28)
    words = texts(figure)
    for word in ("40, 8,400 parameters", "mean", "log variance", "28, 1,148 parameters", "28 steps of 28 numbers"):
        assert word in words
    assert "KL(q(z|x) ‖ N(0, I))" in words and len(figure.axes[0].patches) == 8
    corners = [patch.get_bbox() for patch in figure.axes[0].patches]
    (left, right), (bottom, top) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    assert all(left < box.x0 and box.x1 < right and bottom < box.y0 and box.y1 < top for box in corners)
    for one, other in itertools.combinations(corners, 2):
        assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0, "apart"


def test_an_input_is_drawn_as_a_series_of_its_rows():
    picture = np.random.default_rng(0).random((5, 7))
    image, series = series_picture(picture).axes
    assert np.array_equal(image.get_images()[0].get_array(), picture) and image.get_images()[0].get_clim() == (0, 1)
    assert len(series.get_lines()) == 5
    for step, line in enumerate(series.get_lines()):
        assert np.allclose((step - line.get_ydata()) / 0.9, picture[step])


def test_a_quick_run_sets_the_figures_of_the_document_in_brackets(tmp_path):
    for quick, expected in ((True, ["(0.5)", "3", ""]), (False, ["0.5", "3", ""])):
        results = Results("theory", tmp_path / str(quick), 0, quick, 0)
        results.add("loss", "0.5", "0.9")
        results.add("parameters", "3", "3", exact=True)
        results.add("ours alone", "", "1")
        results.finish()
        lines = (tmp_path / str(quick) / "table.md").read_text(encoding="utf-8").splitlines()
        assert [cells(line)[1] for line in lines[2:5]] == expected
        page = (tmp_path / str(quick) / "report.html").read_text(encoding="utf-8")
        for text in ("\n".join(lines), page):
            assert ("cannot be compared with the document" in text) == quick
            assert ("stand in brackets" in text) == quick


# -------------------------------------------------------------------------------------------- quick runs


def cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


# The bits of "classic" are compared.
QUICK = [pytest.param(name, marks=pytest.mark.optimised if name == "classic" else ()) for name in experiments.NAMES]


@pytest.fixture(scope="module", params=QUICK)
def finished(request, tmp_path_factory, needs):
    """The name, the folder and the rows of the table of a quick run, by their figure."""
    needs("mnist", "train-images-idx3-ubyte.gz")
    folder = tmp_path_factory.mktemp(request.param)
    report = experiments.reproduce(request.param, folder, seed=3, quick=True, verbose=0)
    assert report == folder.resolve() / "report.html"
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    first = lines[2 : lines.index("")]
    rows = {values[0]: dict(zip(COLUMNS, values, strict=True)) for values in map(cells, first)}
    assert cells(lines[0]) == list(COLUMNS) and len(rows) == len(first)
    return request.param, folder, rows


@pytest.mark.slow
def test_a_quick_run_leaves_pictures_and_a_table_that_the_report_shows(finished):
    name, folder, rows = finished
    page = (folder / "report.html").read_text(encoding="utf-8")
    pictures = list(folder.glob("*.png"))
    assert len(pictures) == page.count('role="img"') - page.count("<canvas") >= 2
    for path in (*pictures, *folder.glob("*.gif")):
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.load()
            assert len(set(image.convert("L").get_flattened_data())) > 2, path  # not blank
    for row in rows.values():
        assert row["ours"] and row["command"] == f"`omokage reproduce {name} --seed 3 --quick`"
        assert row["figure"].replace("'", "&#39;") in page
    assert any(row["document"] for row in rows.values())


@pytest.mark.slow
def test_what_is_so_whatever_the_number_of_rows(finished):
    name, _, rows = finished
    ours = {figure: row["ours"] for figure, row in rows.items()}

    def number(figure):
        return float(re.match(r"-?[\d.]+", ours[figure])[0])

    if name == "classic":  # Adam treats each weight by itself, so without clipping one is as good as two
        assert number("two optimizers, no clipping: largest difference of a weight") == 0
    elif name == "sequence":
        assert rows["the document's settings: parameters"]["document"] == "15,194"
        assert ours["the document's settings: parameters"] == "15,194"
    elif name == "pca":  # the objective is the error through a draw and twice the KL; its draws are others
        what = "VAE 784-1000-10, deviation 1"
        made = number(f"{what}: test error through a draw") + 2 * number(f"{what}: KL, nats a picture") / 784
        assert number(f"{what}: test objective") == pytest.approx(made, rel=0.05)
    elif name == "any-distribution":  # every output is the same picture, and the diagnosis says so
        assert number("simple loss: variance of the outputs, as a share of the pictures'") < 0.01
        assert ours["simple loss: diagnosis of collapse"] == "problem"
    else:  # the bound is the reconstruction less the KL, which costs at least nothing
        assert number("VAE, our network and schedule: KL in it, nats a picture") >= 0
        assert number("VAE, our network and schedule: test loss, nats a picture") < 784 * np.log(2)
