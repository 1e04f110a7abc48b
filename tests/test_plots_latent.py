"""Pictures of z: in space and turning, how far it moves for one x, and whether it is distributed as the prior."""

import re
from statistics import NormalDist

import numpy as np
import pytest
from matplotlib.patches import Ellipse
from PIL import Image

from omokage import plots
from omokage.errors import DataError, FileFormatError
from omokage.plots import latent, space

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(60, 3))
LABELS = np.arange(60) % 3


def texts(figure):
    found = [text for axes in figure.axes for text in axes.texts]
    owners = [
        owner
        for owner in [figure, *figure.axes]
        for owner in (owner.legends if owner is figure else [owner.get_legend()])
    ]
    return {text.get_text() for text in found} | {
        text.get_text() for owner in owners if owner for text in owner.get_texts()
    }


# ------------------------------------------------------------------------------------------------------ in space


def test_seen_from_the_front_points_are_where_they_are():
    points = RNG.uniform(-1, 1, size=(20, 3))
    flat = points * [1, 0, 1]  # no depth
    np.testing.assert_allclose(space.seen(flat, 0, 0)[:, :2], flat[:, [0, 2]])
    np.testing.assert_allclose(space.seen(points, 360, 0), space.seen(points, 0, 0), atol=1e-12)
    from_above = space.seen(points * [1, 1, 0], 0, 90)
    np.testing.assert_allclose(from_above[:, :2], points[:, :2] * [1, -1], atol=1e-12)
    nearer, farther = space.seen(np.array([[0.5, 0.5, 0], [0.5, -0.5, 0]]), 0, 0)
    assert nearer[0] > farther[0] and nearer[2] > farther[2]


def test_the_points_of_the_figure_are_the_codes():
    figure = plots.latent_scatter_3d(CODES, LABELS, azimuth=30, elevation=10)
    box = space.in_box(CODES)
    (dots,) = figure.axes[0].collections
    expected = space.seen(box.points, 30, 10)
    order = np.argsort(expected[:, 2])
    np.testing.assert_allclose(dots.get_offsets(), expected[order, :2])
    colours = dots.get_facecolors()
    for label in range(3):
        assert len({tuple(colour[:3]) for colour in colours[LABELS[order] == label]}) == 1
    assert len({tuple(colour[:3]) for colour in colours}) == 3
    assert {"0", "1", "2", "z₁", "z₂", "z₃"} <= texts(figure)
    assert (np.diff(dots.get_sizes()) >= 0).all(), "nearer points are larger, and drawn last"


def test_the_box_has_one_scale_and_says_which():
    Z = CODES * [1, 2, 3] + [100, 0, 0]
    box = space.in_box(Z)
    assert np.abs(box.points).max() <= 1 + 1e-12
    found = re.match(r"each edge of the box is (\S+) long, its middle at \((.+)\)", box.scale)
    side, middle = float(found[1]), [float(text.replace("−", "-")) for text in found[2].split(", ")]
    np.testing.assert_allclose(box.points * side / 2 + middle, Z, atol=1e-9)


def test_more_dimensions_are_principal_components():
    from sklearn.decomposition import PCA

    Z = RNG.normal(size=(50, 6)) * [5, 1, 4, 1, 3, 1]
    box, pca = space.in_box(Z), PCA(3).fit(Z)
    expected = pca.transform(Z)
    scale = np.ptp(expected[:, 0]) / np.ptp(box.points[:, 0])
    apart = box.points * scale
    apart = (apart - apart.mean(0)) * np.sign((apart * expected).sum(0))
    np.testing.assert_allclose(apart, expected, atol=1e-8)
    assert f"{pca.explained_variance_ratio_.sum():.0%}" in box.title


def test_fractional_labels_are_sorted_into_intervals():
    values = np.append(np.linspace(0.0, 0.6, 59), np.nan)
    kinds = latent.kinds_of(values, 60)
    assert [kind.name for kind in kinds][:2] == ["0 to 0.1", "0.1 to 0.2"]
    assert kinds[-1].name == "missing" and kinds[-1].members.tolist() == [False] * 59 + [True]
    assert sum(kind.members.astype(int) for kind in kinds).tolist() == [1] * 60


# ------------------------------------------------------------------------------------------------------- turning


def frames(path):
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            yield np.asarray(image.convert("RGB"), int)


def test_the_moving_picture_turns(tmp_path):
    path = plots.latent_rotation(CODES, LABELS, tmp_path / "new" / "turn.gif", frames=8, seconds=2)
    assert path == tmp_path / "new" / "turn.gif"
    shown = list(frames(path))
    assert len(shown) == 8
    assert all((one != other).any(2).mean() > 0.005 for one, other in zip(shown, [*shown[1:], shown[0]], strict=True))
    with Image.open(path) as image:
        assert image.format == "GIF" and image.info["loop"] == 0 and image.info["duration"] == 250
    assert path.stat().st_size < 200_000
    again = plots.latent_rotation(CODES, LABELS, tmp_path / "again.gif", frames=8, seconds=2)
    assert again.read_bytes() == path.read_bytes()


def test_the_moving_picture_has_the_colours_of_the_kinds(tmp_path):
    path = plots.latent_rotation(CODES, LABELS, tmp_path / "turn.gif", frames=2)
    seen = {"#{:02x}{:02x}{:02x}".format(*pixel) for frame in frames(path) for pixel in frame.reshape(-1, 3)}
    assert set(plots.CLASSES[:3]) <= seen
    assert plots.PAPER in seen


def test_the_old_file_stays_where_the_new_one_fails(tmp_path):
    path = tmp_path / "turn.gif"
    path.write_text("old")
    with pytest.raises(DataError, match="frames: expected a whole number from 2 to 60; got 61"):
        plots.latent_rotation(CODES, None, path, frames=61)
    with pytest.raises(DataError, match="seconds: expected a time above 0"):
        plots.latent_rotation(CODES, None, path, seconds=0)
    with pytest.raises(DataError, match="latent_dim of at least 3; got shape"):
        plots.latent_rotation(CODES[:, :2], None, path)
    assert path.read_text() == "old" and [entry.name for entry in tmp_path.iterdir()] == ["turn.gif"]
    with pytest.raises(FileFormatError, match="cannot be written"):
        plots.latent_rotation(CODES, None, path / "below.gif", frames=2)


# ----------------------------------------------------------------------------------------------- how far z moves


def test_ellipses_have_one_and_two_deviations():
    means, deviations = RNG.normal(size=(2, 30, 4))
    deviations = np.abs(deviations)
    figure = plots.posterior_jitter(means, deviations, [7, 3], dimensions=(1, 3), names=["a", "b"])
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, Ellipse)]
    assert len(found) == 4
    for number, ellipse in enumerate(found):
        row, times = [7, 3][number // 2], 1 + number % 2
        np.testing.assert_allclose(ellipse.center, means[row, [1, 3]])
        np.testing.assert_allclose([ellipse.width, ellipse.height], 2 * times * deviations[row, [1, 3]])
    cloud = figure.axes[0].collections[0]
    np.testing.assert_allclose(cloud.get_offsets(), means[:, [1, 3]])
    assert {"a", "b", "all means"} <= texts(figure)


def test_draws_lie_among_the_dimensions_that_move_most():
    means = RNG.normal(size=(200, 4)) * [0.1, 3, 0.1, 2]
    draws = RNG.normal(size=(5, 2, 4))
    figure = plots.posterior_jitter(means, np.ones((200, 4)), [0, 1], draws=draws)
    upper = figure.axes[0]
    assert upper.get_xlabel() == "z, dimension 1" and upper.get_ylabel() == "z, dimension 3"
    sets = [np.asarray(part.get_offsets()) for part in upper.collections]
    for row in range(2):
        assert any(part.shape == (5, 2) and np.allclose(part, draws[:, row][:, [1, 3]]) for part in sets)


def test_bars_of_every_dimension_reach_one_and_two_deviations():
    means, deviations = np.zeros((3, 2)), np.array([[1.0, 2.0]] * 3)
    figure = plots.posterior_jitter(means, deviations, [1])
    ends = [np.array([path.vertices[:, 1] for path in part.get_paths()]) for part in figure.axes[1].collections]
    np.testing.assert_allclose(ends[0], [[-1, 1], [-2, 2]])
    np.testing.assert_allclose(ends[1], [[-2, 2], [-4, 4]])


# ------------------------------------------------------------------------------------------------------ normality


def band(axes):
    """Return where the band is: places, lower ends, upper ends."""
    vertices = axes.collections[0].get_paths()[0].vertices
    places = np.unique(vertices[:, 0])
    ends = [
        [vertices[vertices[:, 0] == place, 1].min(), vertices[vertices[:, 0] == place, 1].max()] for place in places
    ]
    return places, *np.array(ends).T


def test_draws_of_the_prior_lie_within_the_band_and_others_do_not():
    """95 % at any one place: over 50 lines and all places, the share inside has a standard error of about 1 %."""
    inside = []
    for trial in range(10):
        Z = np.random.default_rng(trial).normal(size=(300, 5))
        for axes in plots.normality(Z).axes:
            _, low, high = band(axes)
            drawn = axes.get_lines()[1].get_ydata()
            inside.append(((drawn >= low) & (drawn <= high)).mean())
    assert len(inside) == 50 and 0.90 < np.mean(inside) < 0.99
    narrow = np.random.default_rng(0).normal(size=(300, 1)) * 0.5
    (axes,) = plots.normality(narrow).axes
    _, low, high = band(axes)
    drawn = axes.get_lines()[1].get_ydata()
    assert ((drawn >= low) & (drawn <= high)).mean() < 0.5


def test_lines_are_the_quantiles_of_z():
    Z = RNG.normal(size=(40, 2)) * 2 + 1
    for dimension, axes in enumerate(plots.normality(Z).axes):
        diagonal, line = axes.get_lines()
        np.testing.assert_allclose(line.get_ydata(), np.sort(Z[:, dimension]))
        np.testing.assert_allclose(line.get_xdata(), [NormalDist().inv_cdf((k + 0.5) / 40) for k in range(40)])
        np.testing.assert_allclose(diagonal.get_xdata(), diagonal.get_ydata())


def test_of_many_rows_the_line_has_few_places_and_both_ends():
    Z = RNG.normal(size=(5000, 1))
    (axes,) = plots.normality(Z).axes
    drawn = axes.get_lines()[1].get_ydata()
    assert len(drawn) <= 80 and drawn[0] == Z.min() and drawn[-1] == Z.max()


def test_of_many_dimensions_the_farthest_from_normal_are_drawn():
    Z = RNG.normal(size=(200, 20))
    Z[:, 17] *= 5
    titles = [axes.get_title("left") for axes in plots.normality(Z).axes]
    assert len(titles) == 12 and "dimension 17" in titles
    assert [axes.get_title("left") for axes in plots.normality(Z, dimensions=[3, 1]).axes] == [
        "dimension 3",
        "dimension 1",
    ]


# ------------------------------------------------------------------------------------------------ KL by dimension


def test_bars_are_sorted_and_the_line_is_at_the_threshold():
    rows = np.array([[0.001, 2.0, 0.3], [0.003, 4.0, 0.5]])
    (axes,) = plots.kl_per_dimension(rows, threshold=0.05).axes
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(tops, [3.0, 0.4, 0.005])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "0"]
    assert axes.get_lines()[0].get_ydata() == [0.05, 0.05]
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[0] == colours[1] != colours[2]
    assert "2 of 3 dimensions" in axes.get_title("left") and "3.4 nats in all" in axes.get_title("left")


def test_a_collapsed_model_can_be_drawn():
    plots.svg(plots.kl_per_dimension(np.zeros(70)))


# --------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.latent_scatter_3d(CODES[:, :2]), "Z: expected codes.*latent_dim of at least 3; got shape"),
        (lambda: plots.latent_scatter_3d(CODES, [1, 2]), "labels: expected one for each of the 60 rows"),
        (lambda: plots.latent_scatter(np.full((3, 2), np.inf)), "Z: expected finite.*row 0, dimension 0, and 5 more"),
        (lambda: plots.posterior_jitter(CODES, CODES[:3], [0]), r"deviations: expected shape \(60, 3\)"),
        (lambda: plots.posterior_jitter(CODES, CODES - 9, [0]), "deviations: expected standard deviations of zero"),
        (lambda: plots.posterior_jitter(CODES, CODES**2, [60]), "rows: expected one to 10 whole numbers from 0 to 59"),
        (lambda: plots.posterior_jitter(CODES, CODES**2, []), "rows: expected one to 10"),
        (
            lambda: plots.posterior_jitter(CODES, CODES**2, [0], draws=np.zeros((4, 2, 3))),
            r"draws: expected shape \(k, 1, 3\); got \(4, 2, 3\)",
        ),
        (
            lambda: plots.posterior_jitter(CODES, CODES**2, [0], dimensions=(0, 3)),
            "dimensions: expected two different whole numbers from 0 to 2",
        ),
        (lambda: plots.posterior_jitter(CODES, CODES**2, [0], names=["a", "b"]), "names: expected one for each"),
        (lambda: plots.posterior_jitter(CODES[:, :1], CODES[:, :1], [0]), "means: .*latent_dim of at least 2"),
        (lambda: plots.normality(CODES[:5]), "Z: expected codes.*n of at least 10"),
        (lambda: plots.normality(CODES, dimensions=[3]), "dimensions: expected whole numbers from 0 to 2"),
        (lambda: plots.kl_per_dimension([]), "kl: expected finite nats"),
        (lambda: plots.kl_per_dimension([np.nan]), "kl: expected finite nats.*got NaN or infinity"),
        (lambda: plots.kl_per_dimension([1.0], threshold=0), "threshold: expected nats above zero; got 0"),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, message):
    with pytest.raises(DataError, match=message):
        draw()
