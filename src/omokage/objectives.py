"""Objectives: what training makes small, side by side.

An objective is a frozen value that is called with (model, batch, key, epoch) and returns named terms, one number
for each row (B,), in nats; "loss" is the one that is made small, the others are reported. It owns no parameters,
and it does not average: the training loop does. `epoch` is the time in epochs as a real number, for what changes
in the course of training. At its end (validation, scoring) it is infinite.

    AE          loss = -log p(x|z),  z = the code
    denoising   the same, the code of a corrupted x
    ELBO        loss = -E_q log p(x|z) + β KL(q‖p)
    moments     loss = mean (x - x̂)² + mean μ² + mean (1 - σ²)²,  not in nats
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from omokage.batch import Batch
from omokage.errors import ParameterError, suggest
from omokage.model import Model, divergence, divergences, is_point_mass

Terms = dict[str, Array]


class Objective(Protocol):
    """What a model is trained for; see the module's text."""

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return one number for each row under each name, "loss" among them."""
        ...


@dataclass(frozen=True)
class Reconstruction:
    """-log p(x|z) at one z from the posterior: the loss of a plain autoencoder.

    With a Gaussian of fixed scale it is the squared error but for constants, with a Bernoulli the cross-entropy.
    """

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss" and "reconstruction"; see the module's text."""
        reconstruction = model.log_likelihood(model.encode(batch).sample(key)[None], batch)[0]
        return {"loss": -reconstruction, "reconstruction": reconstruction}


@dataclass(frozen=True)
class Denoising:
    """Any objective, with the posterior looking at a corrupted x; the clean x is what counts.

    Source: Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", 2008.

    Attributes:
        corruption: "gaussian" adds noise of deviation `amount` (standardised units), "masking" sets a share `amount`
            of the entries to the column's centre, "salt-and-pepper" sets it to the batch's extremes.
        amount: See there.
        objective: What is made small.
    """

    corruption: Literal["gaussian", "masking", "salt-and-pepper"] = "gaussian"
    amount: float = 0.3
    objective: Objective = field(default_factory=Reconstruction)

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        names = ("gaussian", "masking", "salt-and-pepper")
        if self.corruption not in names:
            raise ParameterError(
                f"Denoising(corruption={self.corruption!r}): expected one of {', '.join(names)}."
                + suggest(str(self.corruption), names)
            )
        if not (self.amount >= 0 and (self.corruption == "gaussian" or self.amount <= 1)):
            limits = "at least 0" if self.corruption == "gaussian" else "from 0 to 1"
            raise ParameterError(f"Denoising(amount={self.amount!r}): expected a number {limits}.")

    def corrupted(self, x: Array, key: Array) -> Array:
        """Return x with noise, like x."""
        key, sides = jax.random.split(key)
        if self.corruption == "gaussian":
            return x + self.amount * jax.random.normal(key, x.shape)
        hit = jax.random.bernoulli(key, self.amount, x.shape)
        if self.corruption == "masking":
            return jnp.where(hit, 0.0, x)
        return jnp.where(hit, jnp.where(jax.random.bernoulli(sides, 0.5, x.shape), x.max(0), x.min(0)), x)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return the terms of `objective`."""
        key, noise = jax.random.split(key)
        corrupted = self.corrupted(batch.seen, noise)
        if batch.observed is not None:  # what was not observed stays 0
            corrupted = jnp.where(batch.observed, corrupted, batch.seen)
        return self.objective(model, batch._replace(inputs=corrupted), key, epoch)


@dataclass(frozen=True)
class ELBO:
    """The evidence lower bound, E_q log p(x|z) - KL(q‖p), and what changes the weight of its KL.

    Sources: Kingma and Welling, "Auto-Encoding Variational Bayes", 2014. `beta`: Higgins et al., "β-VAE", 2017.
    `warmup`: Bowman et al., "Generating Sentences from a Continuous Space", 2016. `free_bits`: Kingma et al.,
    "Improved Variational Inference with Inverse Autoregressive Flow", 2016. `capacity`: Burgess et al.,
    "Understanding disentangling in β-VAE", 2018.

    Attributes:
        beta: The weight of the KL.
        samples: K, how many z are drawn for each row.
        warmup: Epochs in which `beta` (or `capacity`, where given) rises from 0, in a straight line.
        free_bits: Nats of each latent dimension that cost nothing; below them its KL counts as this constant.
        capacity: Nats at which the KL is held: the penalty is `beta` · |KL - capacity|.
    """

    beta: float = 1.0
    samples: int = 1
    warmup: float = 0.0
    free_bits: float = 0.0
    capacity: float | None = None

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        for name in ("beta", "warmup", "free_bits", "capacity"):
            value = getattr(self, name)
            if not (name == "capacity" and value is None) and not value >= 0:
                raise ParameterError(f"ELBO({name}={value!r}): expected a number of at least 0.")
        if not (isinstance(self.samples, int) and self.samples >= 1):
            raise ParameterError(f"ELBO(samples={self.samples!r}): expected a whole number of at least 1.")
        if self.free_bits and self.capacity is not None:
            raise ParameterError("ELBO: free_bits and capacity both hold the KL up; give one of them.")

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss", "reconstruction" (E_q log p(x|z)) and "kl"; see the module's text."""
        posterior, prior = model.encode(batch), model.latent(batch)
        z = posterior.sample(key, (self.samples,))
        reconstruction = model.log_likelihood(z, batch).mean(0)
        kl = divergence(posterior, prior)
        if kl is None:  # the same draws serve
            kl = (posterior.log_prob(z) - prior.log_prob(z)).mean(0)
        ramp = jnp.minimum(1.0, epoch / self.warmup) if self.warmup else 1.0
        if self.capacity is not None:
            penalty = self.beta * jnp.abs(kl - ramp * self.capacity)
        elif self.free_bits:
            penalty = ramp * self.beta * self._free(kl, divergences(posterior, prior), batch, z.shape[-1])
        else:
            penalty = ramp * self.beta * kl
        return {"loss": penalty - reconstruction, "reconstruction": reconstruction, "kl": kl}

    def _free(self, kl: Array, parts: Array | None, batch: Batch, latent_dim: int) -> Array:
        """Return the KL of each row where dimensions whose mean KL is below `free_bits` count as that, (B,)."""
        if parts is None:  # does not factorise: one group, with the allowance of all dimensions
            parts, floor = kl[:, None], self.free_bits * latent_dim
        else:
            floor = self.free_bits
        mean = jnp.average(parts, axis=0, weights=batch.weight)
        return jnp.where(mean > floor, parts, floor).sum(-1)


@dataclass(frozen=True)
class MomentMatching:
    """The simple loss that comes to mind first: squared error, and posteriors of mean 0 and variance 1. Not in nats.

        loss = mean over entries of (x - x̂)²  +  moments · mean over latent dimensions of (μ² + (1 - σ²)²)

    x̂ is the mean of p(x|z) at one drawn z. It is here to be compared with: with `moments=1` most models collapse, and
    every output is the mean row. Both parts are means, over D entries and over L dimensions; multiplied by D/2 the loss
    is that of a Gaussian of deviation 1 with latent terms that count D/L times, 39 times for 784 pixels and 20
    dimensions. A latent dimension then pays only along a direction in which rows vary by more than `moments` · D/L, and
    no direction of MNIST has a variance above 6. `moments` of L/D gives both parts the weights of sums.

    The scale of a likelihood that learns one is not trained by it, since only the mean is looked at; log-densities of
    such a model mean little.

    Attributes:
        moments: The weight of the latent terms.
    """

    moments: float = 1.0

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        if not 0 <= self.moments < float("inf"):
            raise ParameterError(f"MomentMatching(moments={self.moments!r}): expected a number of at least 0.")

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss", "squared_error", "means" and "variances"; see the class's text."""
        posterior = model.encode(batch)
        if is_point_mass(posterior):
            raise ParameterError(
                "objective: MomentMatching needs a posterior with a variance, and a point mass has none. Take "
                "posterior='diagonal'."
            )
        outputs = model.decode(posterior.sample(key), batch).mean
        seen = jnp.broadcast_to(True if batch.observed is None else batch.observed, batch.x.shape)
        entries = tuple(range(1, batch.x.ndim))
        squares = jnp.where(seen, jnp.square(batch.x - outputs), 0).sum(entries) / seen.sum(entries).clip(1)
        means, variances = jnp.square(posterior.mean).mean(-1), jnp.square(1 - posterior.variance).mean(-1)
        loss = squares + self.moments * (means + variances)
        return {"loss": loss, "squared_error": squares, "means": means, "variances": variances}
