"""The theory pages: their code runs, both languages say the same, and what they claim is computed here."""

import ast
import gzip
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("theory.md", "theory.ja.md")}
ENGLISH, JAPANESE = PAGES.values()

D, L = 784, 20  # of the pictures and the latent variable in section 5


def code(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def prose(page: str) -> str:
    """Return the page with code masked, so that what remains between dollars is mathematics."""
    page = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    return re.sub(r"`([^`\n]*)`", lambda span: "x" * len(span[0]), page)


def displayed(page: str) -> list[str]:
    return re.findall(r"^\$\$(.*)\$\$$", page, re.MULTILINE)


def states(*texts: str) -> bool:
    """Say whether both pages, with spaces and line breaks evened out, hold all of these."""
    pages = [re.sub(r"\s+", " ", page) for page in PAGES.values()]
    return all(text in page for text in texts for page in pages)


def test_the_code_of_the_pages_runs(tmp_path, monkeypatch):
    """One run serves both: but for comments the code is the same."""
    trees = [[ast.dump(ast.parse(block)) for block in code(page)] for page in PAGES.values()]
    assert trees[0] == trees[1]
    assert len(trees[0]) > 10
    assert sum(block.count("assert ") for block in code(ENGLISH)) > 25
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(code(ENGLISH)), "docs/theory.md", "exec"), {})


def test_both_pages_have_the_same_sections_equations_code_and_table():
    def skeleton(page):
        """Return headings' levels, code fences, equations and the table's middle column, in their order."""
        blocks = re.findall(r"^(#+) |^(```python)|^(\$\$.*\$\$)$|^\|[^|]*(\|.*`.*\|)[^|]*\|$", page, re.MULTILINE)
        return ["".join(block) for block in blocks]

    assert skeleton(ENGLISH) == skeleton(JAPANESE)
    assert len(displayed(ENGLISH)) > 20
    assert len(re.findall(r"^## \d\. ", JAPANESE, re.MULTILINE)) == 9

    def sources(page):
        return re.findall(r'"([^"]{20,}?)", (\d{4})', re.sub(r"\s+", " ", re.sub(r"```.*?```", "", page, flags=re.S)))

    assert sources(ENGLISH) == sources(JAPANESE)
    assert len(sources(ENGLISH)) > 12

    def formulas(page):
        return set(re.findall(r"\$[^$]+\$", re.sub(r"\$\$.*\$\$", "", prose(page))))

    assert len(formulas(ENGLISH) ^ formulas(JAPANESE)) <= 0.1 * len(formulas(ENGLISH))


@pytest.mark.parametrize("name", PAGES)
def test_markdown_leaves_the_mathematics_alone(name):
    """GitHub wants white space before the first dollar; and nothing may read as an escape or as emphasis."""
    markdown_it = pytest.importorskip("markdown_it")
    text = prose(PAGES[name])
    rendered = markdown_it.MarkdownIt("commonmark").render(text)
    plain = re.sub(r"<[^>]+>", "", rendered)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        plain = plain.replace(entity, character)
    spans = list(re.finditer(r"\$\$[^$]+\$\$|\$[^$]+\$", text))
    assert len(spans) > 150 and text.count("$") == sum(span[0].count("$") for span in spans)
    for span in spans:
        assert "\n" not in span[0], span[0]
        assert span[0] in plain, span[0]
        assert text[span.start() - 1].isspace(), text[span.start() - 9 : span.end()]
        assert re.match(r"[\s.,;:)?!-]", text[span.end()]), text[span.start() : span.end() + 9]
        assert span[0].count("{") == span[0].count("}")
        assert span[0].count(r"\left") == span[0].count(r"\right")


@pytest.mark.parametrize("name", PAGES)
def test_every_function_that_is_named_exists(name):
    text = re.sub(r"```.*?```", "", PAGES[name], flags=re.DOTALL)
    homes = {"VAE": "omokage.estimators", "AutoEncoder": "omokage.estimators", "schema_": "omokage.data.kinds.base"}
    found = 0
    for home, member in re.findall(r"`(\w+)\.(\w+)[`(]", text):
        if home in ("batch", "q", "PCA") or member == "md":
            continue
        if home == "model" and member in ("encode", "decode", "latent", "log_likelihood"):
            owner = importlib.import_module("omokage.model").Model
        elif home in homes:
            owner = getattr(importlib.import_module(homes[home]), "Schema" if home == "schema_" else home)
        else:
            owner = importlib.import_module(f"omokage.{home}")
        assert hasattr(owner, member), f"{home}.{member}"
        found += 1
    assert found > 20


def test_the_weights_of_section_5():
    assert states(f"0.01 \\cdot 784 / 0.99 = {0.01 * D / 0.99:.3f}", f"\\beta = D / 2 = {D // 2}")
    assert states(f"{D / (2 * L)} nat", f"D / L = {D / L}$", f"{2 * D / L}")
    # Near σ = 1 the KL's part of the variance is a quarter of the squared distance; its slope by μ² is a half.
    variance = 1 + 1e-4
    kl = 0.5 * (variance - 1 - np.log(variance))
    assert D / (2 * L) * (1 - variance) ** 2 / kl == pytest.approx(2 * D / L, rel=1e-3)


def test_what_beta_decides_is_the_minimum():
    """The closed form against a grid over both the signal-to-noise ratio and the posterior's variance."""
    ratio = np.linspace(0, 30, 3001)[:, None]
    variance = np.geomspace(1e-3, 1, 3000)
    for spread, beta, noise in ((4.2, 1.0, 1.0), (4.2, 5.0, 1.0), (2.0, 1.0, 0.3), (0.9, 1.0, 1.0)):
        kl = 0.5 * (ratio * variance + variance - 1 - np.log(variance))
        loss = spread / (2 * noise * (1 + ratio)) + beta * kl
        i, j = np.unravel_index(loss.argmin(), loss.shape)
        best = max(1.0, spread / (beta * noise))
        assert 1 + ratio[i, 0] == pytest.approx(best, abs=0.03)
        assert kl[i, j] == pytest.approx(0.5 * np.log(best), abs=5e-3)


def test_the_simple_loss_pays_for_no_direction_below_its_threshold():
    ratio, variance = np.linspace(0, 40, 4001)[:, None], np.linspace(0, 1, 2001)
    penalty = D / (2 * L) * (ratio * variance + (1 - variance) ** 2)
    least = penalty.min(1)
    closed = D / (2 * L) * np.where(ratio[:, 0] < 2, ratio[:, 0] - ratio[:, 0] ** 2 / 4, 1)
    np.testing.assert_allclose(least, closed, atol=1e-4)
    places = variance[penalty.argmin(1)]
    np.testing.assert_allclose(places, np.maximum(0, 1 - ratio[:, 0] / 2), atol=1e-3)

    def gain(spread):
        return spread / 2 * ratio[:, 0] / (1 + ratio[:, 0])

    assert (gain(D / L * 0.999) <= closed).all()
    assert (gain(D / L * 1.05) > closed).any()


def test_the_variances_of_section_4_are_the_moments():
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()

    def variance(values):
        return weights @ values**2 - (weights @ values) ** 2

    for mu, sigma in ((1.0, 0.5), (-0.7, 2.0)):
        z = mu + sigma * nodes
        score_function = z**2 * (z - mu) / sigma**2
        assert weights @ (2 * z) == pytest.approx(2 * mu)
        assert weights @ score_function == pytest.approx(2 * mu)
        assert variance(2 * z) == pytest.approx(4 * sigma**2)
        assert variance(score_function) == pytest.approx(mu**4 / sigma**2 + 14 * mu**2 + 15 * sigma**2)
        # By the deviation, d/dσ (μ² + σ²) = 2σ; the sum of the three has a variance that does not know σ.
        assert weights @ (nodes * 2 * z) == pytest.approx(2 * sigma)
        assert variance(mu + nodes + sigma) == pytest.approx(1)
    assert 1 / 0.5**2 + 14 + 15 * 0.5**2 == 21.75
    assert states("21.75")


def test_the_kl_is_the_integral_and_is_least_at_the_prior():
    from scipy.integrate import quad
    from scipy.stats import norm

    def kl(mu, sigma, other_mu=0.0, other_sigma=1.0):
        return np.log(other_sigma / sigma) + (sigma**2 + (mu - other_mu) ** 2) / (2 * other_sigma**2) - 0.5

    for arguments in ((0.3, 0.5, 1.0, 2.0), (1.0, 0.2, 0.0, 1.0)):
        q, p = norm(*arguments[:2]), norm(*arguments[2:])
        integral, _ = quad(lambda z, q=q, p=p: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -20, 20, points=[0.3, 1])
        assert kl(*arguments) == pytest.approx(integral, rel=1e-6)
    mu, sigma = np.meshgrid(np.linspace(-2, 2, 41), np.linspace(0.05, 3, 60))
    i, j = np.unravel_index(kl(mu, sigma).argmin(), mu.shape)
    assert (mu[i, j], sigma[i, j]) == pytest.approx((0, 1)) and kl(0.0, 1.0) == 0
    assert kl(1.0, 1e-300) > 600  # the other way round there is no bound


def test_the_best_decoder_is_the_weighted_average():
    """For squared errors and for the cross-entropy, against a search."""
    from scipy.optimize import minimize_scalar

    random = np.random.default_rng(0)
    x, weights = random.uniform(size=30), random.uniform(size=30)
    average = weights @ x / weights.sum()
    losses = (
        lambda c: weights @ (x - c) ** 2,
        lambda c: -weights @ (x * np.log(c) + (1 - x) * np.log(1 - c)),
    )
    for loss in losses:
        assert minimize_scalar(loss, bounds=(0.01, 0.99), method="bounded").x == pytest.approx(average, abs=1e-4)


def test_the_figures_of_the_digits_and_of_the_floor():
    from omokage.data.datasets import load

    digits = load("digits").X
    assert states(f" {digits.var(0).mean():.4f}")
    assert 0.65 < np.linalg.eigvalsh(np.cov(digits.T, bias=True))[-1] < 0.7
    assert states(f"{-np.log(1e-3) - 0.5 * np.log(2 * np.pi):.2f}$ nat")


def test_the_figures_of_mnist(needs):
    path = needs("mnist", "train-images-idx3-ubyte.gz")
    x = np.frombuffer(gzip.decompress(path.read_bytes())[16:], np.uint8).reshape(-1, D).astype(np.float32) / 255
    variance = x.var(0, dtype=np.float64)
    spreads = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    kept = spreads[spreads > 1]
    share = D / (2 * L) / (variance.sum() / 2)
    assert states(
        f"\\sqrt{{{variance.mean():.4f}}} = {variance.mean() ** 0.5:.2f}",
        f"784 \\cdot {variance.mean():.4f} = {variance.sum() / 2:.1f}$ nat",
        f" {spreads[-1]:.1f}",
    )
    assert share == pytest.approx(3 / 4, abs=0.02)
    assert f"{len(kept)} of 784, with {0.5 * np.log(kept).sum():.1f} nats" in re.sub(r"\s+", " ", ENGLISH)
    assert f"784 のうち {len(kept)} 個、合わせて {0.5 * np.log(kept).sum():.1f} nat" in re.sub(r"\s+", " ", JAPANESE)
    black = int((x.max(0) == 0).sum())
    assert f"({black} of the 784 of MNIST)" in re.sub(r"\s+", " ", ENGLISH)
    assert f"784 のうち {black} 個" in re.sub(r"\s+", " ", JAPANESE)
