"""Pictures of scores, of false alarms and of what is to blame."""

import numpy as np
import pytest

from omokage import plots
from omokage.errors import DataError


def heights(axes):
    return np.array([bar.get_height() for bar in axes.patches])


def test_bars_are_shares_of_each_kind():
    random = np.random.default_rng(0)
    labels = random.random(500) < 0.2
    scores = random.gamma(3, 1, 500) + 5 * labels
    axes = plots.score_histogram(scores, labels, threshold=6.0).axes[0]
    found = heights(axes)
    assert found[found > 0].sum() == pytest.approx(1) and found[found < 0].sum() == pytest.approx(-1)
    assert axes.get_xlim()[0] == scores.min()
    alone = heights(plots.score_histogram(scores).axes[0])
    assert alone.sum() == pytest.approx(1) and (alone >= 0).all()


def test_scores_beyond_all_others_stand_in_the_last_bar_which_says_so():
    scores = np.r_[np.random.default_rng(0).normal(size=200), 1e6, np.inf, np.nan]
    axes = plots.score_histogram(scores).axes[0]
    assert axes.get_xlim()[1] < 100 and "the last bar" in axes.get_xlabel()
    assert heights(axes)[-1] == pytest.approx(3 / 203)


@pytest.mark.parametrize("scores", [np.ones(4), np.r_[1.0, np.inf], np.array([3.0])])
def test_few_or_equal_scores_can_be_drawn(scores):
    assert heights(plots.score_histogram(scores).axes[0]).sum() == pytest.approx(1)


def test_precision_against_recall_ends_where_all_are_flagged():
    labels = np.array([0, 0, 1, 0, 1])
    line = plots.precision_recall([0.1, 0.2, 0.9, 0.3, 0.8], labels).axes[0].lines[0]
    assert set(zip(*np.round(line.get_data(), 3), strict=True)) >= {(1.0, 0.4), (0.5, 1.0), (1.0, 1.0)}


def test_false_alarms_are_the_share_of_p_values_up_to_a_rate():
    p = (1 + np.arange(1000)) / 1000
    axes = plots.false_alarms(p).axes[0]
    rates, seen = axes.lines[1].get_data()
    assert np.allclose(seen[rates > 0.01], np.floor(1000 * rates[rates > 0.01] + 1e-9) / 1000)


def test_the_pixels_to_blame_are_the_darkest():
    pictures = np.zeros((3, 64))
    parts = np.full((3, 64), 0.1)
    parts[:, 9] = 5
    figure = plots.heat_maps(pictures + 1, pictures, parts, (8, 8))
    heat = figure.axes[1].images[0].get_array()
    darkness = 3 - np.asarray(heat)[..., :3].sum(-1)
    assert np.unravel_index(darkness[:8, :8].argmax(), (8, 8)) == (1, 1)
    assert [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()] == [
        "original",
        "expected",
        "to blame",
    ]


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plots.score_histogram([np.nan]), "some of them finite"),
        (lambda: plots.score_histogram([1.0, 2.0], [0]), r"labels: expected shape \(2,\)"),
        (lambda: plots.precision_recall([1.0, 2.0], [0, 0]), "got one kind only"),
        (lambda: plots.false_alarms([0.2, 1.2]), "from 0 to 1"),
        (lambda: plots.heat_maps(np.ones((2, 4)), np.ones((3, 4)), np.ones((2, 4)), (2, 2)), "normal"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, words):
    with pytest.raises(DataError, match=words):
        draw()
