"""Figures of scores of steps: VUS-PR, events, false alarms."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from omokage.detection.events import evaluate_steps, stretches, vus_pr
from omokage.errors import DataError, ParameterError


def series(seed=0, steps=600, events=4):
    random = np.random.default_rng(seed)
    labels = np.zeros(steps, int)
    for start in random.integers(50, steps - 50, events):
        labels[start : start + random.integers(5, 25)] = 1
    return random.normal(size=steps) + 1.5 * np.convolve(labels, np.ones(7) / 7, "same"), labels


def by_definition(scores, labels, width):
    """One threshold after the other, as the paper has it: Paparrizos et al., 2022, section 4."""
    faded = labels.astype(float)
    for start, stop in stretches(labels):
        for distance in range(1, width // 2 + 1):
            for place in (start - distance, stop - 1 + distance):
                if 0 <= place < len(labels):
                    faded[place] = max(faded[place], np.sqrt(1 - distance / width))
    spans, positives, area, before = stretches(faded > 0), (labels.sum() + faded.sum()) / 2, 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        flagged = scores >= threshold
        met = np.mean([flagged[a:b].any() for a, b in spans])
        recall = min((faded * flagged).sum() / positives, 1) * met
        area += (recall - before) * (faded * flagged).sum() / flagged.sum()
        before = recall
    return area


@pytest.mark.parametrize("seed", range(3))
def test_the_volume_is_the_mean_of_the_areas_as_defined(seed):
    scores, labels = series(seed)
    scores = np.round(scores, 1)  # with ties
    expected = np.mean([by_definition(scores, labels, width) for width in range(9)])
    assert vus_pr([scores], [labels], 8) == pytest.approx(expected, rel=1e-12)


def test_without_buffer_events_of_single_steps_are_average_precision_weighed_by_what_is_met():
    scores, labels = series(1)
    one_event = np.zeros_like(labels)
    one_event[300] = 1  # one event of one step: met as soon as it is found
    assert vus_pr([scores], [one_event], 0) == pytest.approx(average_precision_score(one_event, scores))


def test_perfect_scores_have_a_volume_of_one_and_chance_about_the_prevalence():
    labels = series(2, steps=20_000, events=40)[1]
    assert vus_pr([labels + 0.0], [labels], 0) == 1.0
    random = np.random.default_rng(0).normal(size=len(labels))
    # Standard error of average precision by chance: below a tenth of the prevalence here.
    assert vus_pr([random], [labels], 0) == pytest.approx(labels.mean(), rel=0.4)


def by_package(scores, labels, width):
    """One threshold after the other, as the package vus 0.0.6 does: what is not flagged of a buffer is 0."""
    half, length = width // 2, len(labels)
    faded = labels.astype(float)
    for start, stop in stretches(labels):
        for distance in range(1, half + 1):
            for place in (start - distance, stop - 1 + distance):
                if 0 <= place < length:
                    faded[place] += np.sqrt(1 - distance / width)
    faded, spans = np.minimum(faded, 1), []
    for start, stop in stretches(labels):
        a, b = max(start - half, 0), min(stop + half, length)
        spans = [*spans[:-1], (spans[-1][0], b)] if spans and spans[-1][1] > a else [*spans, (a, b)]
    area, before = 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        flagged = scores >= threshold
        wanted = np.where(labels == 1, 1.0, faded * flagged)
        met = np.mean([flagged[a:b].any() for a, b in spans])
        found = (wanted * flagged).sum()
        recall = min(found / ((labels.sum() + wanted.sum()) / 2), 1) * met
        area += (recall - before) * found / flagged.sum()
        before = recall
    return area


# What vus 0.0.6 gives (RangeAUC_volume_opt with as many thresholds as steps), by `series(seed, steps=150)`.
PACKAGE = [0.6873890321386581, 0.8077521301031421, 0.7053587601416822]


@pytest.mark.parametrize("seed", range(3))
def test_the_volume_of_the_package_is_as_the_package_has_it(seed):
    scores, labels = series(seed, steps=150)
    assert vus_pr([scores], [labels], 12, "package") == pytest.approx(PACKAGE[seed], rel=1e-9)
    scores = np.round(scores, 1)
    expected = np.mean([by_package(scores, labels, width) for width in range(13)])
    assert vus_pr([scores], [labels], 12, "package") == pytest.approx(expected, rel=1e-12)


def test_a_perfect_ranking_has_one_by_the_package_at_every_buffer_and_length():
    for steps in (1_000, 10_000):
        labels = np.zeros(steps, int)
        labels[300:310] = 1
        ranking = labels + np.linspace(0, 0.5, steps)
        assert [vus_pr([ranking], [labels], buffer, "package") for buffer in (0, 10, 40)] == pytest.approx([1, 1, 1])
        assert vus_pr([labels], [labels], 40, "package") == pytest.approx(1)
        assert vus_pr([labels], [labels], 40) < 0.7


def test_the_definition_of_the_volume_is_one_of_two_and_is_said():
    scores, labels = series(0)
    found = evaluate_steps([scores], [labels], definition="package")
    assert "as the package vus counts" in str(found) and "package" not in str(evaluate_steps([scores], [labels]))
    assert found.vus_pr == vus_pr([scores], [labels], found.buffer, "package")
    with pytest.raises(ParameterError, match="definition='vus': expected 'paper' or 'package'"):
        evaluate_steps([scores], [labels], definition="vus")


def test_only_the_order_of_scores_matters_and_series_are_apart():
    (first, truth), (second, other) = series(3), series(4)
    found = vus_pr([first, second], [truth, other], 10)
    assert vus_pr([np.exp(first), np.exp(second)], [truth, other], 10) == pytest.approx(found, rel=1e-12)
    assert vus_pr([second, first], [other, truth], 10) == pytest.approx(found, rel=1e-12)
    # The buffer of an event at the end of a series does not reach into the next.
    end, start = np.zeros(50, int), np.zeros(50, int)
    end[-5:] = 1
    assert vus_pr([first[:50], second[:50]], [end, start], 6) != vus_pr([first[:100]], [np.r_[end, start]], 6)


def test_a_buffer_forgives_an_early_alarm():
    labels = np.zeros(200, int)
    labels[100:110] = 1
    early = np.zeros(200)
    early[97:107] = 1
    assert vus_pr([early], [labels], 10) > vus_pr([early], [labels], 0)


def test_events_and_false_alarms_are_counted_by_stretches():
    labels = np.zeros(1000, int)
    labels[100:110], labels[500:505] = 1, 1
    flags = np.zeros(1000, bool)
    flags[[108, 300, 301, 302, 700]] = True
    found = evaluate_steps([flags * 1.0], [labels], [flags])
    assert (found.events, found.detected) == (2, 0.5)
    assert found.false_alarms == pytest.approx(1000 * 2 / 985)
    low, high = found.detected_interval
    assert low < 0.05 and high > 0.95 and "1,000 steps, 15 of them (1.5%) in 2 events" in str(found)


def test_a_step_without_a_score_is_the_least_strange():
    scores, labels = series(5)
    scores[:20] = np.nan
    lowest = np.where(np.isnan(scores), -100, scores)
    assert evaluate_steps([scores], [labels]).vus_pr == evaluate_steps([lowest], [labels]).vus_pr


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        ([np.zeros(5)], [np.zeros(4)], r"one label for each step, \[5\].*shapes \[\(4,\)\]"),
        ([np.zeros(5)], [np.zeros(5)], "some of both; got 0"),
        ([np.zeros(5)], [[0, 1, 2, 0, 0]], "got 0, 1, 2"),
        ([np.zeros(5)], [[0, 1, np.nan, 0, 0]], "one that is missing"),
        ([np.zeros((5, 2))], [np.zeros(5)], "one number for each step"),
    ],
)
def test_labels_and_scores_that_do_not_fit_are_refused(scores, labels, words):
    with pytest.raises(DataError, match=words):
        evaluate_steps(scores, labels)


def test_a_buffer_is_a_number_of_steps():
    with pytest.raises(ParameterError, match="buffer=-1: expected a whole number of steps"):
        evaluate_steps([np.arange(5.0)], [[0, 0, 1, 0, 0]], buffer=-1)
