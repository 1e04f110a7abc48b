"""The demo: a variational autoencoder of real handwritten digits, judged by digits that it has not seen.

What is compared. A pixel has one of the 17 grey levels k/16, so a picture x has a probability P(x), while the models
give densities, which one could drive to infinity by putting spikes on the levels. So noise u, uniform in a cell as wide
as a level, [-1/32, 1/32)^D, is added to every picture of D pixels, in training and in judging. What a density p gives
to the cell around x is

    log P(x) = log (16^-D E_u p(x + u))  ≥  E_u log p(x + u) - D log 16        (Jensen)

so that

    bits per dimension = -(log-density in nats / D) / log 2 + log2 16

is at least the length of a code for the grey levels themselves (Theis, van den Oord and Bethge, "A note on the
evaluation of generative models", 2016, section 3.1). The same rows with the same noise are given to probabilistic PCA,
whose likelihood is exact, while that of the autoencoder is itself bounded from below.

How the settings were chosen. Inside the training part alone: a fifth of each class was held back, ten models were
learned from the rest, with β = 1 and 10 latent dimensions throughout, and the one was taken that gave the pictures held
back the largest ELBO. They had hidden layers of 128 and 64, 256 and 128, or 512 and 256 units, 30 or 60 epochs, and
dropout of 0.05 or 0.1; from the best of them, one each with dropout of 0.2, with ReLU in place of SiLU, and with one
scale for each pixel in place of one for each pixel of each picture. The digits by which the report judges had no part
in it.
"""

import math
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from omokage import plots
from omokage.data.datasets import Dataset, load
from omokage.errors import FileFormatError, ParameterError
from omokage.estimators import VAE
from omokage.likelihoods import Gaussian
from omokage.report import (
    Cloud,
    Picture,
    Section,
    Table,
    certainty_section,
    diagnosis_section,
    raw_history,
    write_report,
)
from omokage.tables import aligned

LEVELS = 16  # a pixel is k/16, k = 0..16
LATENT_DIM = 10
EPOCHS = 60
_COPIES = 5  # of each training picture, each with noise of its own
_DRAWS = 500  # for the importance-weighted bound
_ABSENT = "–"
_PAIRS = ((0, 6), (1, 7), (3, 8), (4, 9), (5, 2))
_LOOK: dict[str, Any] = {"limits": (0.0, 1.0), "colours": plots.INK_ON_PAPER}


class _Judged(NamedTuple):
    """What the held-out pictures say of a model."""

    log_density: NDArray[np.float64]  # nats, (n,)
    error: float  # squared, summed over pixels, mean over pictures


def bits_per_dimension(nats: float, dimensions: int, levels: int = LEVELS) -> float:
    """Return the bits that a code needs for one quantised value.

    Args:
        nats: The log-density of a row of `dimensions` values with noise of one level's width, per unit of [0, 1].
        dimensions: D.
        levels: How many steps [0, 1] has.

    Example:
        >>> bits_per_dimension(0.0, 64)  # a uniform density on [0, 1]: 16 cells
        4.0
    """
    return -nats / dimensions / math.log(2) + math.log2(levels)


def run_demo(
    out: str | os.PathLike[str] = "omokage-demo", epochs: int = EPOCHS, seed: int = 0, verbose: int = 1
) -> dict[str, Any]:
    """Train on handwritten digits, judge by held-out ones, and write `report.html` and `model` into a folder.

    The digits are the 1,797 of 8 × 8 pixels that come with scikit-learn; nothing is fetched.

    Args:
        out: The folder; it is made if it is not there.
        epochs: Passes over the training part.
        seed: Of everything random.
        verbose: 0: silent, 1: progress and a table at the end.

    Returns:
        The figures of the report: numbers in nats a picture, bits per dimension, and squared error a picture (pixels in
        [0, 1]), those of PCA under "pca" and "pca_best"; and the paths "report" and "model".

    Raises:
        ParameterError: If `epochs` or `seed` is not a number that it can be.
        FileFormatError: If the folder cannot be written to.
    """
    began = time.monotonic()
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ParameterError(f"seed: expected a whole number from 0 to 2**32 - 1; got {seed!r}.")
    folder = _folder(out)
    train, held_out = load("digits", "train"), load("digits", "test")
    noise = np.random.default_rng(seed)
    learned_from = np.concatenate([_dequantised(train.X, noise) for _ in range(_COPIES)])
    judged_by = _dequantised(held_out.X, noise)
    vae = VAE(
        LATENT_DIM,
        hidden=(512, 256),
        activation="silu",
        dropout=0.1,
        likelihood=Gaussian("full"),
        standardize="scale",
        epochs=epochs,
        random_state=seed,
        verbose=verbose,
    )
    fitting = time.monotonic()
    vae.fit(learned_from, X_valid=judged_by)
    seconds = time.monotonic() - fitting
    model = vae.save(folder / "model")
    figures = _figures(vae, learned_from, judged_by, held_out)
    figures |= {"epochs": epochs, "seed": int(seed), "training_seconds": seconds, "model": str(model)}
    report = write_report(
        folder / "report.html",
        "Handwritten digits, learned and drawn",
        _sections(vae, held_out, judged_by, figures),
        lead=f"A variational autoencoder has learned {len(train.X):,} handwritten digits of 8\u00a0×\u00a08 pixels in "
        f"{seconds:.0f} seconds. Here it meets {len(held_out.X)} others, which it has not seen. First come pictures: "
        "what is left of a digit after passing through its code, new digits, and the codes themselves. Then figures: "
        "how training went, how the model fares beside principal components, and what it says of its own faults.",
    )
    figures |= {"report": str(report), "seconds": time.monotonic() - began}
    if verbose:
        _print(figures)
    return figures


def _folder(out: str | os.PathLike[str]) -> Path:
    """Return the folder, made before anything takes time."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = "there is a file of that name" if folder.is_file() else error.strerror or error
        raise FileFormatError(f"out: expected a folder to write to; got {str(out)!r} ({problem}).") from None
    return folder


def _dequantised(X: NDArray[np.float32], noise: np.random.Generator) -> NDArray[np.float32]:
    """Return rows with uniform noise of one grey level's width; see the module's text."""
    return X + (noise.random(X.shape, np.float32) - np.float32(0.5)) / np.float32(LEVELS)


def _figures(
    vae: VAE, learned_from: NDArray[np.float32], judged_by: NDArray[np.float32], held_out: Dataset
) -> dict[str, Any]:
    terms, weighted = vae.terms(judged_by), vae.log_likelihood(judged_by, samples=_DRAWS)
    error = float(np.square(vae.reconstruct(held_out.X) - held_out.X).sum(1).mean())
    D = held_out.X.shape[1]
    best = int(np.argmax(pca_log_likelihoods(learned_from, judged_by))) + 1
    pca, best_pca = (_judge_pca(count, learned_from, judged_by, held_out.X) for count in (LATENT_DIM, best))
    gain = weighted - pca.log_density
    return {
        "pictures": len(held_out.X),
        "latent_dim": LATENT_DIM,
        "elbo": float(terms["elbo"].mean()),
        "elbo_standard_error": _standard_error(terms["elbo"]),
        "reconstruction": float(terms["reconstruction"].mean()),
        "kl": float(terms["kl"].mean()),
        "log_likelihood": float(weighted.mean()),
        "bits_per_dimension": bits_per_dimension(float(terms["elbo"].mean()), D),
        "bits_per_dimension_weighted": bits_per_dimension(float(weighted.mean()), D),
        "squared_error": error,
        "gain_over_pca": float(gain.mean()),
        "gain_over_pca_standard_error": _standard_error(gain),
        "pca": _described(LATENT_DIM, pca, D),
        "pca_best": _described(best, best_pca, D),
    }


def _judge_pca(
    count: int, learned_from: NDArray[np.float32], judged_by: NDArray[np.float32], pictures: NDArray[np.float32]
) -> _Judged:
    pca = PCA(count, svd_solver="covariance_eigh").fit(learned_from.astype(np.float64))
    reconstructed = pca.inverse_transform(pca.transform(pictures))
    return _Judged(pca.score_samples(judged_by), float(np.square(reconstructed - pictures).sum(1).mean()))


def pca_log_likelihoods(learned_from: NDArray[Any], judged_by: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean log-likelihood of probabilistic PCA with 1, 2, ..., D - 1 components, in nats, (D - 1,).

    All of them share one basis, so one decomposition serves: the variances λ of the first q directions stay, and those
    of the others become their mean σ² (Tipping and Bishop, "Probabilistic Principal Component Analysis", 1999).

    Args:
        learned_from: (n, D), with n above D.
        judged_by: (m, D).
    """
    D = learned_from.shape[1]
    pca = PCA(D, svd_solver="covariance_eigh").fit(learned_from.astype(np.float64))
    variances, squares = pca.explained_variance_, np.square(pca.transform(judged_by)).mean(0)
    likelihoods = []
    for q in range(1, D):
        kept = np.where(np.arange(D) < q, variances, variances[q:].mean())
        likelihoods.append(-0.5 * (np.log(2 * np.pi * kept) + squares / kept).sum())
    return np.array(likelihoods)


def _described(count: int, judged: _Judged, dimensions: int) -> dict[str, Any]:
    nats = float(judged.log_density.mean())
    return {
        "components": count,
        "log_likelihood": nats,
        "log_likelihood_standard_error": _standard_error(judged.log_density),
        "bits_per_dimension": bits_per_dimension(nats, dimensions),
        "squared_error": judged.error,
    }


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def _levels(squared_error: float) -> str:
    """Return a squared error of a picture of 64 pixels as a root mean squared error, in grey levels."""
    return f"{LEVELS * math.sqrt(squared_error / 64):.2f}"


def _signed(number: float) -> str:
    return f"{number:z.1f}".replace("-", "−")


def _comparison(figures: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and rows that the report and the terminal show."""
    pca, best = figures["pca"], figures["pca_best"]
    columns = [
        f"{figures['pictures']} held-out digits",
        f"VAE, {figures['latent_dim']} dimensions",
        f"PCA, {pca['components']} components",
        f"PCA, {best['components']} components",
    ]

    def row(name: str, form: str, vae: str, other: str) -> list[str]:
        own = format(figures[vae], form)
        return [name, own, *(format(model[other], form) if other else _ABSENT for model in (pca, best))]

    rows = [
        row("ELBO, nats", ".1f", "elbo", ""),
        row("log-likelihood, nats", ".1f", "log_likelihood", "log_likelihood"),
        row("bits per pixel, by ELBO", ".3f", "bits_per_dimension", ""),
        row("bits per pixel, by likelihood", ".3f", "bits_per_dimension_weighted", "bits_per_dimension"),
        ["error, grey levels", *(_levels(model["squared_error"]) for model in (figures, pca, best))],
    ]
    return columns, rows


def _comparison_table(figures: dict[str, Any]) -> Table:
    columns, rows = _comparison(figures)
    caption = (
        f"Means over pictures. The log-likelihood of the VAE is the importance-weighted bound with {_DRAWS} draws, "
        "that of PCA is exact; more nats are better, fewer bits are better. The last column has the number of "
        "components at which PCA does best on these very digits, chosen in its favour. The error is that of "
        "reconstructions, the root mean square over pixels with grey levels from 0 to 16."
    )
    return Table(columns, rows, caption)


def _sections(vae: VAE, held_out: Dataset, judged_by: NDArray[np.float32], figures: dict[str, Any]) -> list[Section]:
    """Return the report, pictures first."""
    return [
        _reconstruction_section(vae, held_out, figures),
        _samples_section(vae, held_out, figures["seed"]),
        _between_section(vae, held_out),
        _codes_section(vae, held_out),
        certainty_section(vae, judged_by, held_out.y),
        _training_section(vae, figures),
        Section("Figures", [_figures_text(figures)], table=_comparison_table(figures)),
        diagnosis_section(vae, judged_by),
        Section("What the figures mean", _meaning(figures)),
    ]


def _reconstruction_section(vae: VAE, held_out: Dataset, figures: dict[str, Any]) -> Section:
    X, shape = held_out.X, held_out.shape
    first = X[[np.flatnonzero(held_out.y == digit)[0] for digit in range(10)]]
    draws = np.stack([vae.reconstruct(first, sample=True, seed=figures["seed"] + number) for number in range(2)])
    passed = plots.reconstructions(first, vae.reconstruct(first), shape, draws=draws, **_LOOK)
    extremes = plots.best_and_worst(X, vae.reconstruct(X), shape, **_LOOK)
    text = (
        f"Each picture is turned into {LATENT_DIM} numbers, its code, and back. Look for what is lost: the root mean "
        f"square error is {_levels(figures['squared_error'])} of 16 grey levels; that of PCA with as many numbers is "
        f"{_levels(figures['pca']['squared_error'])}."
    )
    return Section(
        "Reconstruction",
        [text],
        [
            Picture(
                passed,
                "Ten handwritten digits, 0 to 9, above their reconstructions.",
                "The first held-out picture of each digit. Below it what comes back from the mean of its code, q(z|x), "
                "and from two codes drawn from q(z|x): where these differ, the code leaves the picture open.",
            ),
            Picture(
                extremes,
                "The eight best reconstructed pictures, and the eight worst.",
                f"The best and the worst reconstructed of all {len(X)} held-out pictures, the worst first in its row, "
                "with the squared error summed over pixels. The worst are written as few others are; the model makes "
                "them more like the rest.",
            ),
        ],
    )


def _samples_section(vae: VAE, held_out: Dataset, seed: int) -> Section:
    samples = plots.grid(vae.sample(60, mean=True, seed=seed), held_out.shape, columns=12, **_LOOK)
    return Section(
        "New digits",
        ["Codes drawn from the prior, a standard normal distribution, give pictures that nobody has drawn."],
        [
            Picture(
                samples,
                "Five rows of twelve generated pictures.",
                "Sixty draws, none picked out: the mean picture of each code, without the noise of the pixels. Those "
                "that cannot be read lie between digits.",
            )
        ],
    )


def _between_section(vae: VAE, held_out: Dataset) -> Section:
    X, y = held_out.X, held_out.y
    begin, end = (vae.transform(X[[np.flatnonzero(y == pair[side])[1] for pair in _PAIRS]]) for side in (0, 1))
    z = plots.spherical_path(begin, end, 10)
    between = vae.inverse_transform(z.reshape(-1, LATENT_DIM)).reshape(len(_PAIRS), 10, -1)
    lines = plots.picture_rows(between, held_out.shape, column_labels=["from", *[""] * 8, "to"], **_LOOK)
    return Section(
        "Between two digits",
        ["On the way from one code to another, pictures change step by step, and each step is nearly a digit."],
        [
            Picture(
                lines,
                "Five rows of ten pictures, each changing from one digit to another.",
                "Each row leads from the code of one held-out picture to that of another, along an arc that stays as "
                "far from the origin as codes are.",
            )
        ],
    )


def _codes_section(vae: VAE, held_out: Dataset) -> Section:
    Z, y = vae.transform(held_out.X), held_out.y
    return Section(
        "Codes",
        ["Nobody told the model which digit is which. Those that are written alike have codes that lie together."],
        [
            Picture(
                plots.latent_scatter(Z, y),
                "Scatter plot of codes, in a colour for each digit.",
                "Each point is the code of a held-out picture, seen in the plane in which codes differ most. "
                "The digit, known to the plot alone, gives the colour and stands near the median of its points.",
            )
        ],
        clouds=[
            Cloud(
                Z,
                "The same codes in three dimensions.",
                "The same codes with one direction more: digits that cover each other in the plane come apart.",
                y,
            )
        ],
    )


def _training_section(vae: VAE, figures: dict[str, Any]) -> Section:
    curve = plots.learning_curve(raw_history(vae), validation="held out")
    return Section(
        "Training", [_training_text(figures)], [Picture(curve, "Learning curve.", _curve_caption(figures["epochs"]))]
    )


def _figures_text(figures: dict[str, Any]) -> str:
    pca, gain = figures["pca"], figures["gain_over_pca"]
    return (
        f"A picture costs {figures['bits_per_dimension_weighted']:.2f} bits a pixel by the VAE and "
        f"{pca['bits_per_dimension']:.2f} by PCA with as many dimensions, a difference of {_signed(gain)} nats a "
        "picture. Everything here is of the held-out digits."
    )


def _curve_caption(epochs: int) -> str:
    beyond = "; the first epochs are off the scale" if epochs >= 10 else ""
    return (
        f"The loss, and the two terms that it is made of, after each epoch{beyond}. The two lines stay together as "
        "long as what is learned holds for other digits too. Training works with dropout, which is off for the "
        "held-out digits."
    )


def _training_text(figures: dict[str, Any]) -> str:
    return (
        f"The loss is the negative ELBO: what a picture costs, given its code, plus what the code costs. After "
        f"{figures['epochs']} epochs the held-out pictures cost {_signed(-figures['reconstruction'])} and "
        f"{figures['kl']:.1f} nats: an ELBO of {_signed(figures['elbo'])} ± {figures['elbo_standard_error']:.1f} "
        "(standard error). Costs can be negative, since densities can be above one."
    )


def _meaning(figures: dict[str, Any]) -> list[str]:
    gain, error = figures["gain_over_pca"], figures["gain_over_pca_standard_error"]
    verdict = "above" if gain > 0 else "below"
    return [
        "Log-densities are natural logarithms, of a density per unit of [0, 1] for each of the 64 pixels, where 1 is "
        "full ink. A pixel has one of 17 grey levels k/16, so uniform noise one level wide (1/16) is added to every "
        "pixel, in training and in judging: a density cannot then be driven up by spikes on the levels, and it bounds "
        "the probability of the grey levels themselves.",
        "Bits per pixel = −(nats / 64) / log 2 + log₂ 16. A lossless code that is built on the model needs at most so "
        "many bits for a pixel, on average over the held-out pictures; storing its level plainly takes log₂ 17 = 4.09.",
        "PCA is taken as a probability distribution, a normal one (probabilistic PCA), and learned from the same rows "
        f"with the same noise. The log-likelihood of the VAE is {abs(gain):.1f} ± {error:.1f} nats a picture {verdict} "
        "that of PCA with as many components (mean and standard error of the differences). PCA has one noise level for "
        "all pixels, the VAE one for each pixel of each picture: that makes a difference too, not the code alone.",
        "The ELBO and the importance-weighted bound are, on average over draws, at most the true log-likelihood of the "
        "VAE, so it is not flattered. Its settings were chosen by digits of the training part alone, so those held out "
        "had no part in the choice.",
    ]


def _print(figures: dict[str, Any]) -> None:
    (what, *columns), rows = _comparison(figures)
    headings = [(what, *(name.split(",")[0] for name in columns)), ("", *(name.split(", ")[1] for name in columns))]
    cells = [[cell.replace(_ABSENT, "-") for cell in row] for row in rows]
    table = aligned([*headings, *cells], right=(1, 2, 3))
    print(f"\n{table}\n\nreport  {figures['report']}\nmodel   {figures['model']}")
    print(f"{figures['seconds']:.0f} seconds in all")
