"""A simple loss that collapses, and the ELBO, with one network: 784-256-128-20 and its mirror; then other priors.

The simple loss is mean (x - x̂)² + mean μ² + mean (1 - σ²)². Its latent terms weigh so much that the encoder says
nothing and the decoder gives the mean picture, whatever comes in; the loss is then the variance of a pixel.

With the ELBO the distribution of the latent variable is free. Each prior is trained with a posterior that lives where
it does.
"""

from typing import Any

import numpy as np
import numpyro.distributions as dist

from omokage import plots
from omokage.estimators import VAE
from omokage.experiments.results import Results
from omokage.objectives import ELBO, MomentMatching
from omokage.posteriors import LogisticNormal
from omokage.progress import raw_history

# Name, prior, posterior.
PRIORS: tuple[tuple[str, Any, Any], ...] = (
    ("normal", "normal", "diagonal"),
    ("Laplace", dist.Laplace(0.0, 1.0), dist.Laplace),
    ("Student-t", dist.StudentT(5.0, 0.0, 1.0), "diagonal"),
    ("uniform", dist.Uniform(-2.0, 2.0), LogisticNormal(-2.0, 2.0)),
    ("gamma", dist.Gamma(2.0, 1.0), dist.Gamma),
)


def run(results: Results) -> None:
    """Train with both losses, measure how much the outputs vary, and let the diagnosis speak; then try other priors."""
    train, test = results.mnist("train"), results.mnist("test")
    mean = train.X.mean(0, dtype=np.float64)
    variance = np.square(train.X - mean).mean()
    results.add("variance of a pixel: the error of the mean picture", "", f"{variance:.4f}")
    for name, what, objective in (
        ("simple", "simple loss", MomentMatching()),
        ("elbo", "ELBO", ELBO()),
    ):
        vae = results.fit(VAE, "network", train.X, objective=objective)
        history, rebuilt = raw_history(vae), vae.reconstruct(test.X, sample=True, seed=results.seed)
        if name == "simple":
            results.add(f"{what}: training loss", "0.065 to 0.069", f"{history[-1]['loss']:.4f}", history)
        error = np.square(rebuilt - test.X).mean()
        share = np.square(rebuilt - rebuilt.mean(0)).mean() / np.square(test.X - test.X.mean(0)).mean()
        diagnosis = vae.diagnose(test.X)
        results.add(f"{what}: squared error through a draw, a pixel, test", "", f"{error:.4f}", history)
        results.add(f"{what}: variance of the outputs, as a share of the pictures'", "", f"{share:.4f}", history)
        results.add(f"{what}: KL, nats a picture, test", "", f"{vae.terms(test.X)['kl'].mean():.3f}", history)
        results.add(f"{what}: active latent dimensions", "", f"{diagnosis.active_units} of {vae.latent_dim}", history)
        results.add(f"{what}: diagnosis of collapse", "", diagnosis["collapse"].verdict, history)
        shape, levels = (28, 28), (0.0, 1.0)
        pictures = [
            results.picture(
                f"{name}-learning-curve", plots.learning_curve(history), "The loss and its terms, epoch by epoch."
            ),
            results.picture(
                f"{name}-reconstructions",
                plots.reconstructions(test.X[:10], rebuilt[:10], shape, limits=levels),
                "Test pictures above what is made of them, through a draw of z.",
            ),
            results.picture(
                f"{name}-samples",
                plots.grid(vae.sample(20, mean=True, seed=results.seed), shape, columns=10, limits=levels),
                "Decoder means at draws of z from the prior.",
            ),
        ]
        results.section(what, [str(finding) for finding in diagnosis.findings], pictures)
    _priors(results, train.X, test.X)


def _priors(results: Results, train: Any, test: Any) -> None:
    """Train with each prior and a posterior that goes with it, and show codes and samples."""
    for name, prior, posterior in PRIORS:
        vae = results.fit(VAE, "network", train, objective=ELBO(), prior=prior, posterior=posterior)
        history, parts, what = raw_history(vae), vae.terms(test), f"prior {name}, posterior {_called(posterior)}"
        results.add(f"{what}: bound, nats a picture, test", "", f"{parts['elbo'].mean():.2f}", history)
        results.add(f"{what}: KL, nats, test ({vae.kl_form_})", "", f"{parts['kl'].mean():.2f}", history)
        drawn = vae.sample(20, mean=True, seed=results.seed)
        pictures = [
            results.picture(
                f"prior-{name.lower()}-samples",
                plots.grid(drawn, (28, 28), columns=10, limits=(0.0, 1.0)),
                f"Decoder means at draws of z from the {name} prior.",
            )
        ]
        results.section(what, [], pictures)


def _called(family: Any) -> str:
    return family if isinstance(family, str) else getattr(family, "__name__", repr(family))
