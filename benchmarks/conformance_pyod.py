"""What PyOD answers to the questions of `conformance.py`: one function each, whose text says which call was made.

`pyod.models.vae.VAE` is an anomaly detector: it offers a training loss, a score and reconstructions, no likelihoods.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from conformance_problems import (
    MUCH_KL,
    NO_KL,
    TRUTH,
    LinearGaussian,
    Numbers,
    generator_moved,
    linear_layer,
    same_strangest,
    standardised,
)
from pyod.models.vae import VAE

ROWS = torch.from_numpy(TRUTH.X)


class Network(torch.nn.Module):
    """What PyOD expects of `detector.model`: (reconstruction at a drawn z, mean, log-variance)."""

    def __init__(self, truth: LinearGaussian) -> None:
        super().__init__()
        self.mean, self.log_variance = linear_layer(truth.A, truth.a), linear_layer(0 * truth.A, np.log(truth.v))
        self.decoder = linear_layer(truth.W, truth.b)

    def forward(self, x: Any) -> Any:
        mean, log_variance = self.mean(x), self.log_variance(x)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.decoder(z), mean, log_variance


def built(**settings: Any) -> Any:
    """A detector whose construction leaves NumPy's global generator alone; see `global_generator`."""
    kept = np.random.get_state()  # noqa: NPY002
    detector = VAE(verbose=0, device=torch.device("cpu"), **settings)
    np.random.set_state(kept)  # noqa: NPY002
    return detector


def place(truth: LinearGaussian = TRUTH, **settings: Any) -> Any:
    """Return a detector with the weights of `truth`."""
    detector = built(epoch_num=1, latent_dim=2, preprocessing=False, **settings).fit(TRUTH.X)
    detector.model = Network(truth)
    return detector


def elbo(calls: int = 400) -> Numbers:
    """`VAE(beta=2 / D, capacity=inf)`; `-training_forward(X) · D / 2` minus ½ D log 2π, the mean over 400 calls."""
    D = TRUTH.X.shape[1]
    detector = place(beta=2 / D, capacity=math.inf)
    losses = [detector.training_forward(ROWS) for _ in range(calls)]
    return {"": -float(np.mean(losses)) * D / 2 - 0.5 * D * math.log(2 * math.pi)}


def kl_counts() -> Numbers:
    """`VAE().training_forward(X)`, the default loss: `beta=1.0`, `capacity=0.0`."""
    return {"": place(MUCH_KL).training_forward(ROWS) - place(NO_KL).training_forward(ROWS)}


def kl_slope() -> Numbers:
    """The gradient that `VAE().training_forward(X)`, the default loss, leaves."""
    detector = place(MUCH_KL)
    detector.training_forward(ROWS)
    slope = detector.model.mean.bias.grad.numpy().astype(np.float64)
    return {"": float(slope @ MUCH_KL.a / (MUCH_KL.a @ MUCH_KL.a))}


def score_twice() -> Numbers:
    """`VAE().fit(X).decision_function(X)`, twice."""
    detector = built().fit(TRUTH.X)
    return same_strangest(detector.decision_function(TRUTH.X), detector.decision_function(TRUTH.X))


def output_range() -> Numbers:
    """`VAE().fit(X)`, then `detector.model(X)` in evaluation mode; X is already as `fit` standardises it."""
    X = standardised()
    detector = built().fit(X)
    with torch.no_grad():
        outputs = detector.model.eval()(torch.from_numpy(X))[0]
    return {"least": float(outputs.min()), "greatest": float(outputs.max())}


def global_generator() -> Numbers:
    """`VAE(epoch_num=1).fit(X)`."""
    return {"": generator_moved(lambda: VAE(epoch_num=1, verbose=0).fit(TRUTH.X))}


ANSWERS: dict[str, Callable[[], Numbers]] = {
    function.__name__: function for function in (elbo, kl_counts, kl_slope, score_twice, output_range, global_generator)
}
