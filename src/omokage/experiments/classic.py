"""The VAE class for Chainer: its sample on MNIST, and the questions that its author left open.

Which Gaussian decoders diverge is seen with `Unbounded`, the documented one: two outputs, of which one is the
logarithm of the variance, with nothing that keeps the variance from 0. Pictures are standardised by the mean and the
deviation of all pixels for it.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.typing import NDArray

from omokage import classic, plots
from omokage.batch import Event
from omokage.classic.models import ACTIVATIONS
from omokage.classic.optimizers import together
from omokage.data.datasets import Dataset
from omokage.density import Output, Parameters
from omokage.errors import TrainingError
from omokage.estimators import VAE
from omokage.experiments.results import Results
from omokage.likelihoods import Gaussian

_SHAPE = (28, 28)


@dataclass(frozen=True)
class Unbounded:
    """p(x|z) = N(x; f(h), exp(g(v))) of two outputs h and v, with f and g of `classic.models.ACTIVATIONS`."""

    mean: str
    variance: str

    def parameters(self, event: Event) -> Parameters:
        """Return the two outputs."""
        return {"mean": Output(event.shape), "log_variance": Output(event.shape)}

    def distribution(self, mean: Array, log_variance: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        return dist.Normal(ACTIVATIONS[self.mean](mean), jnp.exp(0.5 * ACTIVATIONS[self.variance](log_variance)))


def run(results: Results) -> None:
    """Train the class, its Gaussian decoders and ours, and one optimizer beside two."""
    train, test = results.mnist("train"), results.mnist("test")
    _sample(results, train, test)
    _decoders(results, train, test)
    _optimizers(results, train.X)


def _sample(results: Results, train: Dataset, test: Dataset) -> None:
    settings, few = results.settings, results.settings["shown_rows"]
    vae = classic.VAE(784, settings["hidden"], seed=results.seed, folder=results.folder / "model")
    vae.train(train.X, settings["epochs"], settings["batch"], gpu_num=-1)
    what, history = "VAE(784, [128, 2]), Bernoulli", vae.history
    results.add(f"{what}: training loss, nats a picture", "", f"{history[-1]['loss']:.2f}", history)
    results.add(f"{what}: mean squared error, test", "", f"{vae.reconst(test.X)[2].mean():.4f}", history)
    decoded = vae.featuremap_to_image(plots.range_grid(20, -3, 3))
    pictures = [
        results.picture(
            "codes",
            plots.latent_scatter(vae.reconst(train.X[:few])[0], train.y[:few]),
            f"Posterior means of {few:,} training pictures, by digit.",
        ),
        results.picture(
            "grid",
            plots.grid(decoded, _SHAPE, columns=20, limits=(0.0, 1.0)),
            "Decoded z: the first from -3 to 3 to the right, the second upwards.",
        ),
    ]
    results.section("The class and its sample", [], pictures)


def _decoders(results: Results, train: Dataset, test: Dataset) -> None:
    centre, spread = float(train.X.mean(dtype=np.float64)), float(train.X.std(dtype=np.float64))
    x, x_test = ((data.X - centre) / spread for data in (train, test))
    blank = np.square(x_test - x.mean(0)).mean()
    results.add("Gaussian: squared error of the mean picture, standardised, test", "", f"{blank:.4f}")
    described = [*results.settings["decoders"], {"name": "learned, with a floor (ours)", "document": ""}]
    for number, decoder in enumerate(described):
        ours = decoder is described[-1]
        likelihood: Any = Gaussian("full", floor=results.settings["floor"]) if ours else None
        likelihood = likelihood or Unbounded(decoder["mean"], decoder["variance"])
        vae = results.make(VAE, "network", likelihood=likelihood)
        try:
            vae.fit(x)
            ended = "finite"
        except TrainingError:
            ended = f"not finite in epoch {len(vae.history_) + 1}"
        what, history = decoder["name"], vae.history_
        loss = f"{history[-1]['loss']:.5g}" if history else "none"
        results.add(f"{what}: training loss, nats a picture", decoder["document"], f"{loss}, {ended}", history)
        mean, variance = _outputs(vae, x_test)
        results.add(f"{what}: squared error of the mean, test", "", f"{np.square(mean - x_test).mean():.4f}", history)
        with np.errstate(over="ignore"):  # of one that diverged
            error = np.square(variance - x_test, dtype=np.float64).mean()
        results.add(f"{what}: squared error of exp(v) as the picture", "", f"{error:.4g}", history)
        shown = [x_test[:10], mean[:10], variance[:10]]
        names = ("original", "mean", "exp(v)")
        limits = (float(x.min()), float(x.max()))
        pictures = [
            results.picture(
                f"decoder-{number}-outputs",
                plots.picture_rows(shown, _SHAPE, row_labels=names, limits=limits),
                "Which output is the reconstruction: test pictures, the mean, and the variance as a picture.",
            ),
        ]
        codes = vae.transform(x_test[:3000])
        if np.isfinite(codes).all():
            drawn = plots.latent_scatter(codes, test.y[:3000])
            pictures.append(
                results.picture(f"decoder-{number}-codes", drawn, "Posterior means of test pictures, by digit.")
            )
        results.section(f"Gaussian decoder: {what}", [f"Training ended {ended}."], pictures)


def _outputs(vae: VAE, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean and variance of p(x|z) at the posterior means, (n, D) each."""
    given: Any = vae.model_.decode(jnp.asarray(vae.transform(x)))
    return np.asarray(given.mean), np.asarray(given.variance)


def _optimizers(results: Results, x: NDArray[Any]) -> None:
    """Train with one Adam for the model, and with one for each part, as `VAE_ED` does; with clipping and without."""
    for clip in results.settings["clips"]:
        trained = []
        for parts in (("model",), ("encoder", "decoder")):
            one = classic.Adam(clip=clip or None).transformation
            settings: dict[str, Any] = {"optimizer": together(tuple((part, one) for part in parts))}
            settings |= {"learning_rate": "auto", "schedule": "auto"}  # the optimizer has its own
            settings |= {"likelihood": "bernoulli", "epochs": results.settings["optimizer_epochs"]}
            trained.append(results.fit(VAE, "network", x, **settings))
        pairs = zip(*(jax.tree.leaves(vae.model_) for vae in trained), strict=True)
        apart = max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)
        losses = [vae.history_[-1]["loss"] for vae in trained]
        what = f"two optimizers, {'clipping' if clip else 'no clipping'}"
        history = trained[-1].history_
        results.add(f"{what}: largest difference of a weight", "may differ", f"{apart:.2g}", history)
        results.add(f"{what}: training loss with one, with two", "", "{:.4f}, {:.4f}".format(*losses), history)
