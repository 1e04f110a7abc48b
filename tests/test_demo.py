"""The demo: a whole report, and figures that are what they say."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

import omokage as om
from omokage import demo
from omokage.errors import FileFormatError, ParameterError


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
    assert source.count("<canvas") == 1 and "http" not in source
    cells = set(re.findall(r">([^<>]+)</td>", source))
    assert f"{figures['elbo']:.1f}" in cells and f"{figures['bits_per_dimension']:.3f}" in cells
    assert f"{figures['pca']['log_likelihood']:.1f}" in cells
    json.dumps(figures)


def test_the_report_goes_from_pictures_to_figures_to_faults(demonstration):
    source = (demonstration[0] / "report.html").read_text(encoding="utf-8")
    headings = re.findall("<h2>(.*?)</h2>", source)
    assert headings == [
        "Reconstruction",
        "New digits",
        "Between two digits",
        "Codes",
        "What codes leave open",
        "Training",
        "Figures",
        "Diagnosis",
        "What the figures mean",
    ]
    sections = re.split("<h2>", source)[1:]
    for section in sections:
        assert re.search(r"</h2>\s*<p>[A-Z]", section), "a sentence says what there is to see"
    assert re.findall(r'<span class="verdict (good|warning|problem)">\1</span>', sections[7])
    assert {"loss", "KL divergence", "reconstruction"} <= set(re.findall(r">([^<>]+)</text>", sections[5]))


def test_no_held_out_digit_is_learned_from(monkeypatch, tmp_path):
    """What `fit` is given as X is near pictures of the training part, and none of the others."""
    seen = []

    def fit(self, X, **more):
        seen.append(X)
        raise KeyboardInterrupt

    monkeypatch.setattr(om.VAE, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(tmp_path / "out", verbose=0)
    levels = {row.tobytes() for row in np.round(seen[0].clip(0, 1) * 16) / np.float32(16)}
    assert levels == {row.tobytes() for row in om.datasets.load("digits", "train").X}


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
@pytest.mark.optimised
def test_the_demo_is_convincing(tmp_path):
    """What its text may be taken to promise, with wide margins; the default settings, another seed."""
    figures = demo.run_demo(tmp_path / "out", seed=1, verbose=0)
    assert figures["log_likelihood"] > figures["pca_best"]["log_likelihood"] + 10
    assert figures["squared_error"] < 0.9 * figures["pca"]["squared_error"]


def test_make_says_what_it_will_download_before_it_does():
    root = Path(__file__).parents[1]
    if not (root / "Makefile").exists() or shutil.which("make") is None:
        pytest.skip("needs make and the Makefile")
    done = subprocess.run(
        ["make", "-n", "--always-make", "demo"], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    said, installed = done.stdout.index("MB to download"), done.stdout.index("pip install")
    trained = done.stdout.index("-m omokage demo")
    assert said < installed < done.stdout.index("nothing more is downloaded") < trained
    assert "--quiet" not in done.stdout, "pip shows how far it is"
