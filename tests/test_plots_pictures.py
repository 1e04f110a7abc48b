"""Pictures of rows, and the codes that are worth decoding into some."""

import io
from statistics import NormalDist

import numpy as np
import pytest
from PIL import Image

from omokage import plots
from omokage.errors import DataError
from omokage.plots import mosaic

RNG = np.random.default_rng(0)
PICTURES = RNG.random((6, 12))
SHAPE = (4, 3)


def images(figure):
    """Return the images of a figure from top to bottom, each (height, width, 4)."""
    return [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]


def place(image, row, column):
    """Return one picture of an image of pictures of 4 × 3 pixels, one pixel apart."""
    return image[5 * row : 5 * row + 4, 4 * column : 4 * column + 3]


def words(figure):
    return [text.get_text() for axes in figure.axes for text in [*axes.texts, *axes.get_yticklabels()]]


# ----------------------------------------------------------------------------------------------- reconstructions


def test_draws_stand_below_the_mean():
    draws = RNG.random((3, 6, 12))
    figure = plots.reconstructions(PICTURES, PICTURES / 2, SHAPE, draws=draws, limits=(0, 1))
    (image,) = images(figure)
    assert image.shape == (5 * 5 - 1, 6 * 4 - 1, 4)
    for number, rows in enumerate([PICTURES, PICTURES / 2, *draws]):
        for column, picture in enumerate(rows.reshape(6, *SHAPE)):
            np.testing.assert_allclose(place(image, number, column)[..., 0], picture, atol=1 / 255)
    assert words(figure) == ["original", "mean", "draw 1", "draw 2", "draw 3"]


def test_missing_pixels_stay_empty():
    with_holes = PICTURES.copy()
    with_holes[:, 0] = np.nan
    (image,) = images(plots.reconstructions(with_holes, PICTURES, SHAPE))
    assert not place(image, 0, 0)[0, 0].any() and place(image, 0, 0)[0, 1, 3] == 1
    coloured = np.full((1, 12), 0.5)
    coloured[0, 1] = np.nan
    (image,) = images(plots.grid(coloured, (2, 2, 3), limits=(0, 1)))
    assert not image[0, 0].any() and image[1, 1].tolist() == [0.5, 0.5, 0.5, 1.0]


def test_the_best_and_the_worst_are_those_of_the_errors():
    errors = [0.5, 0.1, 9.0, 0.2, 7.0, 0.3]
    figure = plots.best_and_worst(PICTURES, PICTURES / 2, SHAPE, errors=errors, count=2, limits=(0, 1))
    best, worst = images(figure)
    for image, rows in ((best, [1, 3]), (worst, [2, 4])):
        for column, row in enumerate(rows):
            np.testing.assert_allclose(place(image, 0, column)[..., 0].ravel(), PICTURES[row], atol=1 / 255)
            np.testing.assert_allclose(place(image, 1, column)[..., 0].ravel(), PICTURES[row] / 2, atol=1 / 255)
    shown = words(figure)
    assert [text for text in shown if text[0].isdigit()] == ["0.1", "0.2", "9", "7"]
    assert shown.count("error") == 2 and {"best", "worst", "reconstruction"} <= set(shown)


def test_scores_are_errors_turned_round_and_squared_errors_are_the_default():
    squared = np.square(PICTURES - 0.5).sum(1)
    figures = [
        plots.best_and_worst(PICTURES, np.full((6, 12), 0.5), SHAPE, **given)
        for given in ({}, {"errors": squared}, {"scores": -squared})
    ]
    for other in figures[1:]:
        for first, second in zip(images(figures[0]), images(other), strict=True):
            np.testing.assert_array_equal(first, second)
    assert "squared error" in words(figures[0]) and "score" in words(figures[2])
    assert images(figures[0])[0].shape == (9, 3 * 4 - 1, 4), "no row is both among the best and the worst"


# ---------------------------------------------------------------------------------------------- rows of pictures


def test_rows_of_pictures_with_words_around_them():
    figure = plots.picture_rows(
        PICTURES.reshape(2, 3, 12), SHAPE, row_labels=["a", "b"], column_labels=["A", "", "B"], limits=(0, 1)
    )
    (image,), (axes,) = images(figure), figure.axes
    np.testing.assert_allclose(place(image, 1, 2)[..., 0].ravel(), PICTURES[5], atol=1 / 255)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["A", "", "B"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    heights = [text.get_window_extent().y0 for text in axes.get_xticklabels() if text.get_text()]
    assert all(height >= axes.get_window_extent().y1 for height in heights), "words stand above"


def test_rows_of_pictures_far_out_are_named_by_their_norms():
    figure = plots.far_out(PICTURES.reshape(2, 3, 12), [8, 21.5], SHAPE)
    assert words(figure) == ["‖z‖ = 8", "‖z‖ = 21.5"]


def test_many_rows_do_not_make_an_endless_figure():
    figure = plots.picture_rows(np.zeros((40, 1, 12)), SHAPE)
    (axes,) = figure.axes
    assert figure.get_figheight() <= 8.01
    box = axes.get_window_extent()
    (image,) = images(figure)
    assert box.width / box.height == pytest.approx(image.shape[1] / image.shape[0], rel=1e-6), "pixels stay square"


def test_a_picture_can_be_saved_as_pixels():
    output = io.BytesIO()
    plots.best_and_worst(PICTURES, PICTURES / 2, SHAPE).savefig(output, format="png")
    assert Image.open(output).width == round(100 * plots.WIDTH)


# -------------------------------------------------------------------------------------------------------- codes


def test_each_code_of_the_quantile_grid_stands_for_an_equal_share_of_the_prior():
    z = plots.quantile_grid(5)
    shares = np.vectorize(NormalDist().cdf)(z).reshape(5, 5, 2)
    np.testing.assert_allclose(shares[..., 0], np.tile((np.arange(5) + 0.5) / 5, (5, 1)), atol=1e-6)
    np.testing.assert_allclose(shares[..., 1], shares[..., 0].T[::-1], atol=1e-6)


def test_the_range_grid_is_a_square_with_its_first_row_on_top():
    z = plots.range_grid(4, -3, 3).reshape(4, 4, 2)
    assert z[0, 0].tolist() == [-3, 3] and z[-1, -1].tolist() == [3, -3]
    np.testing.assert_allclose(np.diff(z[..., 0], axis=1), 2.0)
    np.testing.assert_allclose(np.diff(z[..., 1], axis=0), -2.0)


def test_straight_paths_are_even():
    a, b = RNG.normal(size=(2, 3, 5))
    path = plots.linear_path(a, b, 7)
    np.testing.assert_allclose(path[:, 0], a)
    np.testing.assert_allclose(path[:, -1], b)
    np.testing.assert_allclose(np.diff(path, axis=1), np.repeat((b - a)[:, None] / 6, 6, axis=1))


def test_paths_on_a_sphere_turn_evenly_and_keep_their_length():
    a, b = RNG.normal(size=(2, 20, 6))
    path = plots.spherical_path(a, b, 9)
    np.testing.assert_allclose(path[:, 0], a, atol=1e-12)
    np.testing.assert_allclose(path[:, -1], b, atol=1e-12)
    lengths = np.linalg.norm(path, axis=2)
    np.testing.assert_allclose(np.diff(lengths, n=2, axis=1), 0, atol=1e-12)
    turns = np.arccos(((path[:, 1:] * path[:, :-1]).sum(2) / (lengths[:, 1:] * lengths[:, :-1])).clip(-1, 1))
    np.testing.assert_allclose(turns, np.tile(turns[:, :1], (1, 8)), rtol=1e-6)
    whole = np.arccos((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))
    np.testing.assert_allclose(turns.sum(1), whole, rtol=1e-6)


@pytest.mark.parametrize("other", [3.0, -1.0, 0.0])
def test_where_there_is_no_arc_the_path_is_straight(other):
    a = RNG.normal(size=(1, 4))
    np.testing.assert_allclose(plots.spherical_path(a, other * a, 6), plots.linear_path(a, other * a, 6), atol=1e-12)
    np.testing.assert_allclose(plots.spherical_path(other * a, a, 6), plots.linear_path(other * a, a, 6), atol=1e-12)


def test_codes_far_out_have_the_norms_and_share_their_directions():
    z = plots.codes_at_norms([0, 8, 21], 500, 3, seed=4)
    np.testing.assert_allclose(np.linalg.norm(z, axis=2), np.tile([[0], [8], [21]], (1, 500)))
    np.testing.assert_allclose(z[1] / 8, z[2] / 21)
    # A mean of 500 directions in three dimensions: the standard error of each entry is √(1/3/500) = 0.026.
    assert (np.abs(z[1].mean(0) / 8) < 0.13).all()
    np.testing.assert_array_equal(z, plots.codes_at_norms([0, 8, 21], 500, 3, seed=4))


# -------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: plots.reconstructions(PICTURES, PICTURES, SHAPE, draws=PICTURES),
            r"draws: expected shape \(k, n, D\).*got \(6, 12\)",
        ),
        (
            lambda: plots.reconstructions(PICTURES, PICTURES, SHAPE, draws=PICTURES[None, :4]),
            "draws: expected 6 rows, as many as originals; got 4",
        ),
        (lambda: plots.grid([["a"]], (1, 1)), "pictures: expected an array of numbers"),
        (lambda: plots.grid([[1.0], [1.0, 2.0]], (1, 1)), "pictures: expected an array of numbers"),
        (lambda: plots.grid(PICTURES, SHAPE, columns=0), "columns: expected a whole number of at least 1; got 0"),
        (lambda: plots.best_and_worst(PICTURES, PICTURES[:2], SHAPE), "reconstructed: expected 6 rows"),
        (lambda: plots.best_and_worst(PICTURES[:1], PICTURES[:1], SHAPE), "originals: expected at least two rows"),
        (
            lambda: plots.best_and_worst(PICTURES, PICTURES, SHAPE, errors=np.ones(6), scores=np.ones(6)),
            "errors, scores: expected one of the two",
        ),
        (
            lambda: plots.best_and_worst(PICTURES, PICTURES, SHAPE, scores=np.ones(5)),
            r"scores: expected one number for each of the 6 rows; got shape \(5,\)",
        ),
        (
            lambda: plots.best_and_worst(PICTURES, PICTURES, SHAPE, errors=np.full(6, np.nan)),
            "errors: expected one number.*got NaN",
        ),
        (lambda: plots.picture_rows(PICTURES, SHAPE), r"pictures: expected shape \(rows, columns, D\)"),
        (
            lambda: plots.picture_rows(PICTURES.reshape(2, 3, 12), SHAPE, column_labels=["A", "B"]),
            "column_labels: expected 3 texts, or none; got 2",
        ),
        (
            lambda: plots.far_out(PICTURES.reshape(2, 3, 12), [8], SHAPE),
            r"norms: expected one for each row of pictures, \(2,\); got \(1,\)",
        ),
        (lambda: plots.quantile_grid(0), "count: expected a whole number of at least 1; got 0"),
        (lambda: plots.range_grid(3, 2, -2), "low, high: expected two numbers, the first below the second"),
        (lambda: plots.linear_path([[1.0, 2.0]], [[1.0]]), r"z_b: expected shape \(1, 2\), that of z_a; got \(1, 1\)"),
        (lambda: plots.spherical_path([[1.0]], [[2.0]], 1), "steps: expected a whole number of at least 2; got 1"),
        (
            lambda: plots.spherical_path([[1.0, np.nan]], [[2.0, 0.0]]),
            "z_a: expected finite numbers; got nan in row 0, dimension 1",
        ),
        (lambda: plots.codes_at_norms([-1.0], 2, 2), "norms: expected distances of zero or more"),
        (lambda: plots.codes_at_norms([1.0], 2, 0), "latent_dim: expected a whole number of at least 1; got 0"),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, message):
    with pytest.raises(DataError, match=message):
        draw()


# ------------------------------------------------------------------------------------- columns as asked, grey as it is


def widths(figure, shape):
    """Return how many pictures stand beside and below each other, by the size of the drawn image."""
    (image,) = images(figure)
    gap = max(1, round(min(shape) / 12))
    return (image.shape[1] + gap) / (shape[1] + gap), (image.shape[0] + gap) / (shape[0] + gap)


@pytest.mark.parametrize(
    ("count", "columns", "expected"),
    [
        (5, 10, (10, 1)),  # fewer pictures than columns
        (1, 4, (4, 1)),
        (10, 4, (4, 3)),  # the last line is not full
        (12, 4, (4, 3)),
        (7, 1, (1, 7)),
        (400, 20, (20, 20)),
        (30, 15, (15, 2)),
        (1, None, (1, 1)),
        (2, None, (2, 1)),
        (9, None, (3, 3)),
        (10, None, (4, 3)),
        (225, None, (15, 15)),  # a square of codes stays one
        (400, None, (20, 20)),
    ],
)
def test_a_grid_has_as_many_columns_as_were_asked_for(count, columns, expected):
    pictures = np.ones((count, 6))
    figure = plots.grid(pictures, (2, 3), columns=columns)
    assert widths(figure, (2, 3)) == expected
    (image,) = images(figure)
    filled = image[..., 3].reshape(-1).sum() / 6
    assert filled == count, "places without a picture are empty"


def test_a_square_of_codes_is_laid_out_as_it_is():
    z = plots.quantile_grid(13)
    drawn = images(plots.grid(np.repeat(z[:, :1], 4, 1), (2, 2), limits=(z.min(), z.max())))[0]
    first = drawn[0, ::3, 0]
    assert (np.diff(first) > 0).all() and len(first) == 13, "the first dimension rises to the right"
    assert (drawn[::3, 0, 0] == first[0]).all()


def test_a_grid_of_absurdly_many_columns_is_refused_before_it_is_made():
    with pytest.raises(DataError, match=r"columns: expected at most 1,000; got 1,000,000,000\. Draw"):
        plots.grid(PICTURES, SHAPE, columns=10**9)


WHOLE = np.uint8([[200, 200, 200, 200]])


@pytest.mark.parametrize(
    ("picture", "grey"),
    [
        (np.full((1, 4), 0.0), 0.0),
        (np.full((1, 4), 0.5), 0.5),
        (np.full((1, 4), 1.0), 1.0),
        (np.full((1, 4), 0.95), 0.95),
        (np.full((1, 4), True), 1.0),
        (WHOLE, 200 / 255),
        (WHOLE.astype(float), 200 / 255),
        (np.full((1, 4), 40.0), 40 / 255),
        (np.uint8([[10, 10, 10, 20]]), 10 / 255),
        (np.uint8([[1, 1, 1, 1]]), 1.0),  # 0 and 1 in whole numbers
        (np.full((1, 4), 255), 1.0),
    ],
)
def test_a_picture_of_one_grey_is_drawn_in_it(picture, grey):
    flat, shape = np.asarray(picture), (2, 2)
    figures = [
        plots.grid(flat, shape),
        plots.picture_rows(flat[None], shape),
        plots.far_out(flat[None], [3.0], shape),
        plots.reconstructions(flat, flat, shape),
        plots.best_and_worst(np.repeat(flat, 2, 0), np.repeat(flat, 2, 0), shape),
        plots.interpolation(Straight(), flat, flat, shape, steps=2),
        plots.heat_maps(flat, flat, np.ones((1, 4)), shape),
    ]
    for figure in figures:
        assert abs(images(figure)[0][0, 0, 0] - grey) < 1 / 250


def test_nearly_white_pictures_stay_so_and_what_lies_beyond_is_clipped():
    originals = np.array([[0.9, 1.0, 0.95, 0.92], [0.91, 0.98, 1.0, 0.9]])
    made = originals + np.array([-2.0, 3.0, 0.0, 0.0])
    drawn = images(plots.reconstructions(originals, made, (2, 2)))[0][..., 0]
    assert abs(drawn[0, 0] - 0.9) < 0.01 and drawn[0, 1] == 1.0
    assert (drawn[3, 0], drawn[3, 1]) == (0.0, 1.0), "below black is black, above white is white"
    assert abs(drawn[4, 0] - 0.95) < 0.01, "the same number is the same grey beside it"


def test_decoded_pictures_go_a_little_beyond_black_and_white():
    for white in (1.0, 255.0):
        decoded = white * np.array([[-0.1, 0.0, 0.5, 1.2]])
        assert np.allclose(images(plots.grid(decoded, (2, 2)))[0][..., 0], [[0, 0], [0.5, 1]], atol=1 / 250)


def test_numbers_of_other_kinds_have_their_extremes():
    for low, high in [(-1.0, 1.0), (0.0, 16.0), (-3.0, 5.0), (0.0, 1000.0), (-0.5, 0.5)]:
        assert mosaic.grey_limits(None, [low, high], beyond=0.25) == (low, high)
    assert mosaic.grey_limits(None, [-0.1, 1.1]) == (-0.1, 1.1), "of data, nothing is clipped"
    assert mosaic.grey_limits(None, [np.nan]) == (0.0, 1.0)
    assert mosaic.grey_limits(None, [0.2, np.nan, np.inf]) == (0.0, 1.0)
    assert mosaic.grey_limits((1, 0), [5]) == (1.0, 0.0), "as asked for, a negative too"


@pytest.mark.parametrize("limits", [(0, 0), (0,), "ab", 3, (0, np.nan), (0, 1, 2), (None, 1)])
def test_limits_that_are_none_are_refused(limits):
    with pytest.raises(DataError, match="limits: expected two different numbers, for black and for white; got"):
        plots.grid(PICTURES, SHAPE, limits=limits)


class Straight:
    """A model whose codes are the rows themselves."""

    def transform(self, X):
        return np.asarray(X, float)

    inverse_transform = transform


class Conditional:
    """A model whose codes are the rows and whose rows are codes plus the context, of each row or of all."""

    def __init__(self):
        self.asked = []

    def transform(self, X, *, context):
        self.asked.append(context)
        return np.asarray(X)

    def inverse_transform(self, Z, *, context):
        self.asked.append(context)
        return np.asarray(Z) + np.reshape(context, (-1, 1))


@pytest.mark.parametrize("context", [[10.0, 20.0], 5.0])
def test_an_interpolation_takes_the_context_of_its_pairs(context):
    a, b = np.zeros((2, 4)), np.full((2, 4), 30.0)
    model = Conditional()
    drawn = images(plots.interpolation(model, a, b, (2, 2), steps=4, context=context, limits=(0, 100)))[0]
    assert all(asked is context for asked in model.asked)
    per_pair = np.broadcast_to(context, 2)
    expected = (np.linspace(0, 30, 4) + per_pair[:, None]) / 100
    assert np.allclose(drawn[::3, ::3, 0], expected, atol=1 / 250)
