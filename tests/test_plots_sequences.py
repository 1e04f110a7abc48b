"""Pictures of sequences and of weights."""

import numpy as np
import pytest
from matplotlib.patches import Patch

from omokage import plots
from omokage.errors import DataError

RNG = np.random.default_rng(0)
ONE = RNG.normal(size=(40, 3))


def lines(axes):
    return [line for line in axes.get_lines() if line.get_linestyle() == "-"]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# ------------------------------------------------------------------------------------------------------ sequences


def test_each_channel_has_a_panel_with_both_curves():
    figure = plots.sequences(ONE, ONE / 2, names=["温度", "$x$", "_a"])
    assert [axes.get_title("left") for axes in figure.axes] == ["温度", "$x$", "_a"]
    for channel, axes in enumerate(figure.axes):
        original, reconstructed = lines(axes)
        np.testing.assert_array_equal(original.get_ydata(), ONE[:, channel])
        np.testing.assert_array_equal(reconstructed.get_ydata(), ONE[:, channel] / 2)
        assert original.get_color() != reconstructed.get_color()
    assert legend(figure) == ["original", "reconstruction"]


def test_the_band_has_two_deviations():
    (axes,) = plots.sequences(ONE[:, 0], ONE[:, 0], deviations=np.full(40, 0.25)).axes
    vertices = axes.collections[0].get_paths()[0].vertices
    for step in (0, 17, 39):
        at = vertices[vertices[:, 0] == step, 1]
        np.testing.assert_allclose([at.min(), at.max()], ONE[step, 0] + np.array([-0.5, 0.5]))


def test_missing_entries_are_gaps_and_single_ones_can_be_seen():
    line = np.arange(8.0)
    line[[0, 2, 5]] = np.nan  # 1 stands alone, 3-4 and 6-7 do not
    (axes,) = plots.sequences(line, np.zeros(8)).axes
    original = lines(axes)[0].get_ydata()
    assert np.isnan(original[[0, 2, 5]]).all()
    dots = [drawn for drawn in axes.get_lines() if drawn.get_marker() == "o"]
    assert [drawn.get_xdata().tolist() for drawn in dots] == [[1]]


def test_imputed_stretches_are_highlighted():
    mask = np.zeros((40, 3), bool)
    mask[5:9, 1] = mask[39, 1] = True
    figure = plots.sequences(ONE, ONE, imputed=mask)
    spans = [[(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches] for axes in figure.axes]
    assert spans == [[], [(4.5, 8.5), (38.5, 39.5)], []]
    assert "imputed" in legend(figure)
    whole = plots.sequences(ONE, ONE, imputed=mask[:, 1])
    assert all(len(axes.patches) == 2 for axes in whole.axes), "a mask of steps holds for all channels"


def test_a_strip_of_scores_lies_below_the_curves():
    scores = np.arange(40.0)
    figure = plots.sequences(ONE, ONE, scores=scores)
    strips = [axes for axes in figure.axes if axes.get_images()]
    assert len(strips) == 1 and len(figure.axes) == 4
    np.testing.assert_array_equal(strips[0].get_images()[0].get_array()[0], scores)
    figure.draw_without_rendering()
    assert strips[0].get_position().y1 <= min(axes.get_position().y0 for axes in figure.axes if axes is not strips[0])
    assert strips[0].get_xlim() == figure.axes[0].get_xlim(), "a step of the strip is below that of the curve"
    each = plots.sequences(ONE, ONE, scores=ONE**2)
    found = [axes.get_images()[0].get_array()[0] for axes in each.axes if axes.get_images()]
    np.testing.assert_array_equal(found, (ONE**2).T)
    assert any(name.startswith("score, ") for name in legend(each))


def test_lengths_may_differ_between_sequences_and_from_their_reconstructions():
    originals = [ONE[:n, 0] for n in (40, 25, 10, 33)]
    reconstructed = [np.zeros(n) for n in (40, 30, 10, 5)]
    figure = plots.sequences(originals, reconstructed, sequence_names="abcd", scores=[part**2 for part in originals])
    curves = [axes for axes in figure.axes if not axes.get_images()]
    assert [axes.get_title("left") for axes in curves] == ["a", "b", "c", "d"]
    assert [axes.get_xlim() for axes in curves] == [(-0.5, 39.5), (-0.5, 29.5), (-0.5, 9.5), (-0.5, 32.5)]
    assert len({axes.get_ylim() for axes in curves}) == 1, "one scale, so that they can be compared"
    heats = {axes.get_images()[0].get_clim() for axes in figure.axes if axes.get_images()}
    assert len(heats) == 1


def test_many_channels_are_cut_and_it_is_said():
    figure = plots.sequences(np.zeros((5, 20)), np.zeros((5, 20)))
    assert len(figure.axes) == 12
    assert figure.get_supxlabel() == "the first 12 of 20 channels"


def test_the_scale_is_that_of_the_curves_where_bands_are_wide():
    line = np.linspace(0, 1, 20)
    (axes,) = plots.sequences(line, line, deviations=np.full(20, 1e6)).axes
    low, high = axes.get_ylim()
    assert high - low < 3


def test_a_constant_or_missing_sequence_can_be_drawn():
    plots.svg(plots.sequences(np.ones(5), np.ones(5), scores=np.zeros(5)))
    plots.svg(plots.sequences(np.full(5, np.nan), np.ones(5), scores=np.full(5, np.nan)))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.sequences(ONE, ONE[:, :2]), "reconstructed: expected 3 channels; got 2"),
        (
            lambda: plots.sequences([ONE, ONE], [ONE]),
            "reconstructed: expected 2 sequences, as many as originals; got 1",
        ),
        (
            lambda: plots.sequences([ONE, ONE[:, :1]], [ONE, ONE]),
            r"originals \(sequence 1\): expected 3 channels; got 1",
        ),
        (lambda: plots.sequences([], []), "originals: expected a sequence of shape"),
        (lambda: plots.sequences("ab", "ab"), "originals: expected an array of numbers"),
        (
            lambda: plots.sequences(ONE, ONE, deviations=ONE[:9]),
            r"deviations: expected shape \(40, 3\), to fit reconstr",
        ),
        (lambda: plots.sequences(ONE, ONE, deviations=ONE - 9), "deviations: expected standard deviations of zero"),
        (lambda: plots.sequences(ONE, ONE, scores=ONE[:, :2]), r"scores: expected shape \(40, 1\) or \(40, 3\)"),
        (lambda: plots.sequences(ONE, ONE, imputed=np.ones(3, bool)), r"imputed: expected shape \(40, 1\) or"),
        (lambda: plots.sequences(ONE, ONE, names=["a"]), "names: expected one for each of the 3 channels; got 1"),
        (lambda: plots.weight_panels({}), "arrays: expected at least one array"),
        (
            lambda: plots.weight_panels({"W": np.zeros((0, 3))}),
            r"arrays\['W'\]: expected at least one number; got shape",
        ),
        (lambda: plots.weight_panels({"W": ["a"]}), r"arrays\['W'\]: expected an array of numbers"),
        (lambda: plots.weight_panels({"W": [1.0]}, shape=(2, 2, 3)), r"shape: expected \(height, width\)"),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, message):
    with pytest.raises(DataError, match=message):
        draw()


# -------------------------------------------------------------------------------------------------------- weights


def test_histograms_count_every_weight():
    arrays = {"first": RNG.normal(size=(30, 20)), "bias": np.zeros(30), "kernel": RNG.normal(size=(3, 3, 2, 4))}
    figure = plots.weight_panels(arrays)
    for axes, (name, values) in zip(figure.axes, arrays.items(), strict=True):
        (drawn,) = [patch for patch in axes.patches if isinstance(patch, Patch)]
        assert drawn.get_data().values.sum() == values.size
        assert axes.get_title("left") == name
        assert axes.get_xlabel().startswith(" × ".join(map(str, values.shape)))


def test_weights_that_are_not_finite_are_counted_apart():
    (axes,) = plots.weight_panels({"W": [1.0, np.nan, np.inf, 2.0]}).axes
    assert "2 not finite" in axes.get_xlabel()
    plots.svg(plots.weight_panels({"W": [np.nan]}))


def test_layers_from_and_to_pixels_are_pictures():
    inward, outward = np.zeros((5, 6)), np.zeros((6, 5))
    inward[0, 0], outward[5, 4] = 1.0, -1.0
    figure = plots.weight_panels({"in": inward, "out": outward, "between": np.zeros((5, 5))}, shape=(2, 3))
    first, last, between = figure.axes
    image = first.get_images()[0].get_array()
    assert image.shape == (2, 5 * 4 - 1, 4)
    assert image[0, 0, 3] == 1 and (image[..., 3] > 0.01).sum() == 1, "nothing is drawn at zero"
    image = last.get_images()[0].get_array()
    assert image[1, 4 * 4 + 2, 3] == 1 and image[1, 4 * 4 + 2, 2] > image[1, 4 * 4 + 2, 0], "blue below zero"
    assert not between.get_images() and between.patches


def test_long_names_keep_their_ends():
    (axes,) = plots.weight_panels({"a." * 30 + "weight": [1.0]}).axes
    assert axes.get_title("left").startswith("…") and axes.get_title("left").endswith("weight")
