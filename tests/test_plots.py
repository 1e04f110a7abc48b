"""The pictures: what they show is what was given, and nothing outside them changes."""

import base64
import inspect
import io
import pickle
import pydoc
import re
import subprocess
import sys
import warnings
from xml.etree import ElementTree

import matplotlib
import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from omokage import plots
from omokage.errors import DataError
from omokage.plots import latent, style

HISTORY = [
    {
        "epoch": epoch, "kl": 0.1 * epoch, "loss": 30 / epoch, "reconstruction": -29 / epoch, "learning_rate": 1e-3,
        "seconds": 0.1, "rows_per_second": 1e4, "validation_kl": 0.2 * epoch, "validation_loss": 40 / epoch,
        "validation_reconstruction": -39 / epoch,
    }
    for epoch in range(1, 21)
]  # fmt: skip
PICTURES = np.random.default_rng(0).random((6, 12))
SHAPE = (4, 3)
CODES = np.random.default_rng(1).normal(size=(40, 5)) * [1, 2, 9, 3, 4]


class Linear:
    """A stand-in for a model: codes are the first two entries, decoding repeats them."""

    def transform(self, X):
        return X[:, :2]

    def inverse_transform(self, Z):
        return np.tile(Z, (1, 6))


def all_figures():
    wave = np.sin(np.arange(30))
    return {
        "learning curve": plots.learning_curve(HISTORY),
        "reconstructions": plots.reconstructions(PICTURES, PICTURES / 2, SHAPE, draws=[PICTURES / 3]),
        "best and worst": plots.best_and_worst(PICTURES, PICTURES**2, SHAPE, colours=plots.INK_ON_PAPER),
        "grid": plots.grid(PICTURES, SHAPE, colours=plots.INK_ON_PAPER),
        "rows": plots.picture_rows(PICTURES.reshape(2, 3, 12), SHAPE, row_labels=["a", "b"]),
        "far out": plots.far_out(PICTURES.reshape(2, 3, 12), [8, 21], SHAPE),
        "interpolation": plots.interpolation(Linear(), PICTURES[:2], PICTURES[2:4], SHAPE),
        "codes": plots.latent_scatter(CODES, np.arange(40) % 3),
        "codes on a scale": plots.latent_scatter(CODES, CODES[:, 0]),
        "codes in space": plots.latent_scatter_3d(CODES, np.arange(40) % 3),
        "jitter": plots.posterior_jitter(CODES, np.full(CODES.shape, 0.3), [0, 3], draws=np.zeros((4, 2, 5))),
        "normality": plots.normality(CODES),
        "divergences": plots.kl_per_dimension([2.0, 0.001]),
        "column errors": plots.column_errors(["温度", "speed"], [1.0, 0.5]),
        "sequences": plots.sequences(wave, wave, deviations=wave**2, imputed=wave > 0.9, scores=wave**2),
        "weights": plots.weight_panels({"first": PICTURES, "second": CODES}, shape=SHAPE),
    }


def texts(figure):
    """Return the texts of a figure's SVG, as a reader of XML sees them."""
    found = ElementTree.fromstring(plots.svg(figure)).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(element.itertext()) for element in found]


def canvas(figure):
    """Return the one image of a figure, (height, width, 4)."""
    (axes,) = figure.axes
    (image,) = axes.get_images()
    return np.asarray(image.get_array())


# ------------------------------------------------------------------------------------------- nothing outside changes


def test_no_settings_change_and_no_pyplot(tmp_path):
    before = dict(matplotlib.rcParams)
    for figure in all_figures().values():
        assert isinstance(figure, Figure) and figure.canvas.manager is None
        plots.svg(figure)
    assert dict(matplotlib.rcParams) == before
    program = """
import sys
from omokage import plots
plots.svg(plots.grid([[0.0, 1.0]], (1, 2)))
plots.latent_rotation([[0, 0, 1], [1, 2, 3]], [0, 1], sys.argv[1], frames=2)
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "turn.gif")], check=True, timeout=120)


def test_a_notebook_shows_every_figure_once_and_sharply():
    for name, figure in all_figures().items():
        width, height = (round(side * figure.dpi) for side in figure.get_size_inches())
        assert Image.open(io.BytesIO(figure._repr_png_())).size == pytest.approx((width, height), abs=1), name
        data, about = figure._repr_mimebundle_(include=None, exclude=None)
        assert data.keys() == {"image/png"}, "of several forms a reader would choose one; a notebook shows this one"
        assert Image.open(io.BytesIO(data["image/png"])).size == pytest.approx((2 * width, 2 * height), abs=2), name
        assert about == {"image/png": {"width": width, "height": height}}
        assert not hasattr(figure, "_repr_html_") or figure._repr_html_() is None


def test_a_figure_can_be_copied_and_sent_to_another_process():
    figure = plots.grid(PICTURES, SHAPE)
    again = pickle.loads(pickle.dumps(figure))
    assert again._repr_png_() == figure._repr_png_()


def test_signatures_can_be_read():
    for name in plots.__all__:
        value = getattr(plots, name)
        if not inspect.isfunction(value):
            continue
        signature = inspect.signature(value)
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}, name
        longest = max((len(str(parameter.annotation)) for parameter in signature.parameters.values()), default=0)
        assert longest < 50, f"{name}: {signature}"
        shown = pydoc.render_doc(value, renderer=pydoc.plaintext)
        assert all(f"{parameter}:" in shown for parameter in signature.parameters), name


@pytest.mark.parametrize("style", ["dark_background", "ggplot"])
def test_figures_look_the_same_in_any_style(style):
    plain = {name: plots.svg(figure) for name, figure in all_figures().items()}
    with matplotlib.style.context(style):
        styled = {name: plots.svg(figure) for name, figure in all_figures().items()}
    assert styled == plain


def test_importing_omokage_loads_no_pictures():
    program = (
        "import sys, omokage; assert not {'matplotlib', 'jinja2', 'omokage.plots', 'omokage.report'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


# --------------------------------------------------------------------------------------------------- learning curve


def test_lines_are_the_history():
    figure = plots.learning_curve(HISTORY, validation="held out")
    assert [axes.get_title("left") for axes in figure.axes] == ["loss", "KL divergence", "reconstruction"]
    for axes, name in zip(figure.axes, ["loss", "kl", "reconstruction"], strict=True):
        training, validation = axes.get_lines()
        np.testing.assert_array_equal(training.get_xdata(), range(1, 21))
        np.testing.assert_array_equal(training.get_ydata(), [record[name] for record in HISTORY])
        np.testing.assert_array_equal(validation.get_ydata(), [record[f"validation_{name}"] for record in HISTORY])
        assert axes.get_ylabel() == "nats per row"
    assert {"held out", "training"} <= set(texts(figure))


def test_scale_of_the_learning_curve_shows_the_later_epochs_whole():
    low, high = plots.learning_curve(HISTORY).axes[0].get_ylim()
    late = [record[name] for record in HISTORY[2:] for name in ("loss", "validation_loss")]
    assert low < min(late) and max(late) < high < HISTORY[0]["loss"]


def test_learning_curve_without_validation_and_of_one_epoch():
    figure = plots.learning_curve([{"epoch": 1, "loss": 3.0}])
    (axes,) = figure.axes
    (line,) = axes.get_lines()
    assert line.get_marker() == "o", "a line of one point cannot be seen"
    assert axes.get_legend() is None
    assert axes.get_ylim()[0] < 3.0 < axes.get_ylim()[1]


def test_learning_curve_of_values_that_are_not_finite():
    plots.svg(plots.learning_curve([{"epoch": 1, "loss": np.nan}, {"epoch": 2, "loss": np.inf}]))


def test_learning_curve_wants_a_record():
    with pytest.raises(DataError, match="history: expected at least one record"):
        plots.learning_curve([])


# ------------------------------------------------------------------------------------------------------ pictures


def test_reconstructions_stand_below_their_originals():
    drawn = canvas(plots.reconstructions(PICTURES, PICTURES / 2, SHAPE, limits=(0, 1)))
    assert drawn.shape == (2 * 4 + 1, 6 * 3 + 5, 4)  # a gap of one pixel
    for j, picture in enumerate(PICTURES.reshape(6, 4, 3)):
        left = slice(4 * j, 4 * j + 3)
        np.testing.assert_allclose(drawn[:4, left, 0], picture, atol=1 / 255)
        np.testing.assert_allclose(drawn[5:, left, 0], picture / 2, atol=1 / 255)
    assert not drawn[4].any() and not drawn[:, 3].any(), "gaps are transparent"


def test_reconstructions_are_labelled():
    assert {"original", "reconstruction"} <= set(texts(plots.reconstructions(PICTURES, PICTURES, SHAPE)))


def test_grid_leaves_missing_places_empty():
    drawn = canvas(plots.grid(PICTURES[:5], SHAPE, columns=3, limits=(0, 1)))
    assert drawn.shape == (9, 11, 4)
    np.testing.assert_allclose(drawn[5:, 4:7, 0], PICTURES[4].reshape(SHAPE), atol=1 / 255)
    assert not drawn[5:, 8:].any()


def test_values_beyond_the_limits_are_clipped_and_equal_values_can_be_drawn():
    drawn = canvas(plots.grid([[-3.0, 0.5, 9.0]], (1, 3), limits=(0, 1)))
    np.testing.assert_allclose(drawn[0, :, 0], [0, 0.5, 1], atol=1 / 255)
    assert np.isfinite(canvas(plots.grid(np.ones((2, 4)), (2, 2)))).all()


def test_colours_are_kept():
    picture = np.random.default_rng(2).random((1, 2 * 2 * 3))
    drawn = canvas(plots.grid(picture, (2, 2, 3), limits=(0, 1)))
    np.testing.assert_allclose(drawn[..., :3], picture.reshape(2, 2, 3))
    assert (drawn[..., 3] == 1).all()


def test_ink_is_opaque_where_the_picture_is_one():
    drawn = canvas(plots.grid([[0.0, 0.5, 1.0]], (1, 3), colours=plots.INK_ON_PAPER))
    assert not drawn[..., :3].any()
    np.testing.assert_allclose(drawn[0, :, 3], [0, 0.5, 1], atol=1 / 255)


def test_svg_holds_the_pixels_themselves():
    """Pictures of a few pixels must not be blurred by resampling: the embedded image has one pixel for each."""
    picture = np.random.default_rng(3).random((1, 64))
    source = plots.svg(plots.grid(picture, (8, 8), limits=(0, 1)))
    (embedded,) = re.findall(r"data:image/png;base64,([^\"]+)", source)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(embedded))).convert("L"))
    np.testing.assert_allclose(pixels / 255, picture.reshape(8, 8), atol=2.5 / 255)
    assert "pixelated" in source


def test_interpolation_goes_from_the_one_code_to_the_other():
    drawn = canvas(plots.interpolation(Linear(), PICTURES[:2], PICTURES[2:4], SHAPE, steps=5, limits=(0, 1)))
    assert drawn.shape == (2 * 4 + 1, 5 * 3 + 4, 4)
    for row, (a, b) in enumerate(zip(PICTURES[:2, :2], PICTURES[2:4, :2], strict=True)):
        for step in range(5):
            expected = np.tile((1 - step / 4) * a + step / 4 * b, 6).reshape(SHAPE)
            place = drawn[5 * row : 5 * row + 4, 4 * step : 4 * step + 3, 0]
            np.testing.assert_allclose(place, expected, atol=1 / 255)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: plots.grid(PICTURES, (5, 3)),
            r"pictures: expected at least one row of 15 values.*5 × 3; got shape \(6, 12\)",
        ),
        (lambda: plots.grid(PICTURES[:0], SHAPE), "pictures: expected at least one row"),
        (lambda: plots.grid(PICTURES, (2, 3, 2)), "shape: expected"),
        (lambda: plots.reconstructions(PICTURES, PICTURES[:3], SHAPE), "reconstructed: expected 6 rows.*got 3"),
        (lambda: plots.interpolation(Linear(), PICTURES[:2], PICTURES[:1], SHAPE), "x_b: expected 2 rows.*got 1"),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, message):
    with pytest.raises(DataError, match=message):
        draw()


# ---------------------------------------------------------------------------------------------------------- codes


def points(figure):
    return np.concatenate([np.asarray(drawn.get_offsets()) for drawn in figure.axes[0].collections])


def test_two_dimensions_are_drawn_as_they_are():
    figure = plots.latent_scatter(CODES[:, :2])
    np.testing.assert_allclose(points(figure), CODES[:, :2])
    assert "principal" not in figure.axes[0].get_title("left")


def test_more_dimensions_are_drawn_as_principal_components():
    from sklearn.decomposition import PCA

    figure = plots.latent_scatter(CODES)
    expected, pca = PCA(2).fit_transform(CODES), PCA(2).fit(CODES)
    signs = np.sign((points(figure) * expected).sum(0))
    np.testing.assert_allclose(points(figure) * signs, expected, atol=1e-8)
    title = figure.axes[0].get_title("left")
    assert "principal components of 5 dimensions" in title
    assert f"{pca.explained_variance_ratio_.sum():.0%}" in title


def test_one_dimension_is_drawn_against_ranks():
    drawn = points(plots.latent_scatter(CODES[:, :1]))
    order = np.argsort(drawn[:, 0])
    assert (np.diff(drawn[order, 1]) > 0).all()


def test_each_label_has_its_points_colour_and_name():
    labels = np.array(["良品", "$x$", "_a"])[np.arange(40) % 3]
    figure = plots.latent_scatter(CODES[:, :2], labels)
    groups = figure.axes[0].collections
    assert len(groups) == 3
    assert len({tuple(group.get_facecolor()[0]) for group in groups}) == 3
    for group, name in zip(groups, np.unique(labels), strict=True):
        np.testing.assert_allclose(group.get_offsets(), CODES[labels == name, :2])
    shown = texts(figure)
    assert all(shown.count(name) == 2 for name in ("良品", "$x$", "_a")), "in the legend and among the points"


def test_names_among_the_points_do_not_cover_one_another():
    spots = np.array([[0.0, 0.0], [0.0, 0.0], [0.1, 0.02], [5.0, 5.0]])
    moved = latent.apart(spots, np.array([1.0, 0.5]))
    apart = np.abs(moved[:, None] - moved[None]) / [1.0, 0.5]
    assert (apart.max(2) + np.eye(4) > 0.99).all()
    np.testing.assert_array_equal(moved[3], spots[3])


def test_rare_labels_are_drawn_together():
    labels = np.concatenate([np.repeat(np.arange(9), 4), [90, 91, 92, 93]])
    figure = plots.latent_scatter(CODES, labels)
    assert len(figure.axes[0].collections) == 10
    assert "other" in texts(figure)
    assert len(points(figure)) == 40


def test_numbers_as_labels_get_a_scale():
    figure = plots.latent_scatter(CODES, CODES[:, 0])
    assert len(figure.axes) == 2
    np.testing.assert_allclose(figure.axes[0].collections[0].get_array(), CODES[:, 0])


def test_codes_and_labels_must_fit():
    with pytest.raises(DataError, match=r"Z: expected codes of shape \(n, latent_dim\)"):
        plots.latent_scatter(CODES[0])
    with pytest.raises(DataError, match="labels: expected one for each of the 40 rows"):
        plots.latent_scatter(CODES, [1, 2])


def test_codes_that_are_all_the_same_can_be_drawn():
    plots.svg(plots.latent_scatter(np.zeros((5, 4)), [0, 0, 1, 1, 1]))


# --------------------------------------------------------------------------------------------------- column errors


def test_bars_are_the_errors_worst_first():
    figure = plots.column_errors(["a", "b", "c"], [0.2, 0.5, 0.1])
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0.2, 0.1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a", "c"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first bar is on top"


def test_of_many_columns_the_worst_thirty_are_drawn():
    figure = plots.column_errors([f"column {j}" for j in range(100)], np.arange(100.0))
    assert [bar.get_width() for bar in figure.axes[0].patches] == list(range(99, 69, -1))
    assert "the worst 30 of 100 columns" in texts(figure)


def test_names_of_any_script_survive_as_text():
    names = ["温度 [℃]", "$x_1$ & <script>", "_internal", "価格 ¥"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a font that this machine lacks is no fault of the SVG
        shown = texts(plots.column_errors(names, [4, 3, 2, 1]))
    assert [text for text in shown if text in names] == names


def test_a_font_with_japanese_is_chosen_where_there_is_one():
    if style.cjk_font() is None:
        assert style.fonts("温度") == ["DejaVu Sans"]
        pytest.skip("no Japanese font here")
    assert style.fonts("温度")[1] == style.cjk_font()
    assert style.fonts("speed") == ["DejaVu Sans"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of glyphs that it cannot draw
        plots.column_errors(["温度"], [1.0]).savefig(io.BytesIO(), format="png")


def test_long_names_are_cut_by_their_width():
    assert style.shortened("a" * 28) == "a" * 28
    assert style.shortened("a" * 29) == "a" * 27 + "…"
    assert style.shortened("温" * 14) == "温" * 14
    assert style.shortened("温" * 15) == "温" * 13 + "…"


def test_errors_and_names_must_fit():
    with pytest.raises(DataError, match=r"errors: expected one for each of the 2 names; got shape \(1,\)"):
        plots.column_errors(["a", "b"], [1.0])


def test_the_same_figure_gives_the_same_source():
    first, second = all_figures(), all_figures()
    assert all(plots.svg(first[name]) == plots.svg(second[name]) for name in first)
