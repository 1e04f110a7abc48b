"""The benchmark of right numbers: its closed forms are right, its judges can refuse, and omokage passes."""

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield {name: importlib.import_module(name) for name in ("conformance", "conformance_problems")}
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def truth(bench):
    return bench["conformance_problems"].TRUTH


def test_closed_forms_of_densities(truth):
    exact = multivariate_normal(truth.b, truth.W @ truth.W.T + np.eye(len(truth.b))).logpdf(truth.X)
    np.testing.assert_allclose(truth.log_densities(), exact, rtol=1e-9)
    noise = np.random.default_rng(0).normal(size=(20_000, 1, 2))
    z = truth.means[:9] + np.sqrt(truth.v) * noise  # (20000, 9, 2)
    error = truth.X[:9] - truth.b - z @ truth.W.T
    given = -0.5 * (error**2 + np.log(2 * np.pi)).sum(-1)
    ratio = 0.5 * (noise**2 + np.log(truth.v) - z**2).sum(-1)  # log p(z) - log q(z|x)
    weights = given + ratio
    spread = weights.std(0) / np.sqrt(len(noise))
    assert (np.abs(weights.mean(0) - truth.bounds()[:9]) < 5 * spread).all()
    assert (np.abs(ratio.mean(0) + truth.divergences()[:9]) < 5 * ratio.std(0) / np.sqrt(len(noise))).all()
    variances = np.exp(weights - exact[:9]).var(0)
    np.testing.assert_allclose(variances, truth.weight_variances()[:9], rtol=0.05)


@pytest.mark.parametrize(
    ("gradient", "function", "names"),
    [
        ("likelihood_gradient", "log_densities", "Wb"),
        ("bound_gradient", "bounds", "Wb"),
        ("bound_gradient_of_encoder", "bounds", "Aa"),
    ],
)
def test_closed_forms_of_gradients(truth, gradient, function, names):
    def value(name, place, step):
        array = getattr(truth, name).copy()
        array.flat[place] += step
        return -getattr(dataclasses.replace(truth, **{name: array}), function)().mean()

    step = 1e-4
    slopes = [
        (value(name, place, step) - value(name, place, -step)) / (2 * step)
        for name in names
        for place in range(getattr(truth, name).size)
    ]
    np.testing.assert_allclose(getattr(truth, gradient)(), slopes, atol=1e-6)


CHEAP = ["size", "kl_counts", "embed_twice", "posterior_means", "rows_kept"]


def test_omokage_passes_and_what_is_absent_is_named(bench, monkeypatch, tmp_path, capsys):
    conformance = bench["conformance"]
    monkeypatch.setattr(conformance, "CONTENDERS", {"omokage": "omokage", "other": "a_package_that_nobody_has"})
    monkeypatch.setattr(sys, "argv", ["conformance.py", "--out", str(tmp_path / "page.md"), "--only", *CHEAP])
    conformance.main()
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page in capsys.readouterr().out
    table = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(table) == len(CHEAP) + 1
    assert all("| pass: " in line for line in table[:-1])
    assert all(line.endswith("| not installed |") for line in table)
    assert f"{len(CHEAP)} of {len(CHEAP)}" in table[-1]


def test_every_judge_refuses_a_wrong_answer(bench):
    labels = {"rising": ["K = 1", "K = 8"], "draws": ["1", "7"], "output_range": ["least", "greatest"]}
    for check in bench["conformance"].CHECKS:
        for wrong in (float("nan"), 0.5):
            assert not check.passes(dict.fromkeys(labels.get(check.name, [""]), wrong)), check.name


def test_questions_and_answers_have_the_same_names(bench):
    asked = {check.name for check in bench["conformance"].CHECKS}
    for package in bench["conformance"].CONTENDERS.values():
        source = (ROOT / "benchmarks" / f"conformance_{package}.py").read_text(encoding="utf-8")
        defined = {name for name in asked if f"\ndef {name}(" in source}
        listed = source.split("ANSWERS: ")[1]
        assert defined
        assert all(name in listed for name in defined)
