"""Objectives: the losses that training minimises, side by side.

An objective is a frozen value that is called with (model, batch, key, epoch) and returns named terms, one number
for each row (B,), in nats; "loss" is minimised, the others are reported. It owns no parameters,
and it does not average: the training loop does. `epoch` is the time in epochs as a real number, for what changes
in the course of training. At its end (validation, scoring) it is infinite.

    AE          loss = -log p(x|z),  z = the code
    denoising   the same, the code of a corrupted x; masking: of a part of its entries
    ELBO        loss = -E_q log p(x|z) + β KL(q‖p); STL: the same with a gradient of less noise
    IWAE        loss = -log mean w,  w = p(x,z) / q(z|x); DReG, MIWAE, PIWAE, CIWAE: its relatives
    WAE, InfoVAE, TCVAE, DIPVAE: a term on all the codes of a batch is added or put in the place of the KL
    RAE         loss = -log p(x|z) + ½‖z‖² + a penalty of the decoder,  z = the code
    moments     loss = mean (x - x̂)² + mean μ² + mean (1 - σ²)²,  not in nats
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from omokage import bounds
from omokage.batch import Batch
from omokage.bounds import Meaning as Meaning
from omokage.bounds import Terms, meaning_of
from omokage.bounds import discrepancy as discrepancy
from omokage.errors import ParameterError, check_choice, check_counts, check_numbers
from omokage.model import Model, centre, divergences, is_point_mass, kl_form, repeated, spread, stopped
from omokage.nets.layers import layer_weights


class Objective(Protocol):
    """What a model is trained for; see the module's text."""

    def __call__(self, model: Any, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return one number for each row under each name, "loss" among them."""
        ...


class _Drawing:
    """What objectives have in common that weigh draws by a density of q."""

    needs_density: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the numbers of draws, which are used long after."""
        check_counts(self, *(name for name in ("outer", "samples") if hasattr(self, name)))


class Wrapping:
    """What objectives have in common that change the rows for another."""

    objective: Any

    def __post_init__(self) -> None:
        """Check that there is another."""
        if isinstance(self.objective, type) or not (callable(self.objective) or self.objective is None):
            raise ParameterError(
                f"{type(self).__name__}(objective={self.objective!r}): expected an objective, such as "
                "objectives.ELBO()."
            )

    @property
    def needs_density(self) -> bool:
        """Whether a point mass will not do."""
        return getattr(self.objective, "needs_density", False)

    def settled(self, point: bool) -> Any:
        """Return the same with the objective that `None` stands for; `point`: the posterior is a point mass."""
        inner = self.objective
        if inner is None:
            inner = Reconstruction() if point else ELBO()
        elif isinstance(inner, Wrapping):
            inner = inner.settled(point)
        changed: Any = dataclasses.replace(cast(Any, self), objective=inner)
        return changed


@dataclass(frozen=True)
class Reconstruction:
    """-log p(x|z) at one z from the posterior: the loss of a plain autoencoder.

    With a Gaussian of fixed scale it is the squared error but for constants, with a Bernoulli the cross-entropy.
    """

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        return Meaning(None)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss" and "reconstruction"; see the module's text."""
        reconstruction = bounds.reconstruction(model, batch, key)[1]
        return {"loss": -reconstruction, "reconstruction": reconstruction}


@dataclass(frozen=True)
class Denoising(Wrapping):
    """Any objective, with the posterior looking at a corrupted x; the clean x is what counts.

    Source: Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", 2008.

    Attributes:
        corruption: "gaussian" adds noise of deviation `amount` (standardised units), "masking" sets a share `amount`
            of the entries to the column's centre, "salt-and-pepper" sets it to the batch's extremes.
        amount: See there.
        objective: The loss inside; `None`: the ELBO, or for a point mass the reconstruction.
    """

    corruption: Literal["gaussian", "masking", "salt-and-pepper"] = "gaussian"
    amount: float = 0.3
    objective: Objective | None = None

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        super().__post_init__()
        check_choice(self, "corruption", ("gaussian", "masking", "salt-and-pepper"))
        check_numbers(self, "amount", low=0.0, high=float("inf") if self.corruption == "gaussian" else 1.0)

    @property
    def meaning(self) -> Meaning | None:
        """That of the objective, for posteriors of corrupted rows."""
        inner = None if self.objective is None else meaning_of(self.objective)
        rows = "It is that with the posteriors of corrupted rows, and so not the one that `terms` gives."
        return None if inner is None else dataclasses.replace(inner, rows=rows if inner.bound else "")

    def corrupted(self, x: Array, key: Array, centre: Any = 0.0, weight: Array | None = None) -> Array:
        """Return x with noise, like x.

        Args:
            x: What the encoder would see of the rows.
            key: Of the noise.
            centre: The mean of each entry of x over the training rows; 0 where it is standardised.
            weight: How much each row counts: extremes are of those that do.
        """
        key, sides = jax.random.split(key)
        if self.corruption == "gaussian":
            return x + self.amount * jax.random.normal(key, x.shape)
        hit = jax.random.bernoulli(key, self.amount, x.shape)
        if self.corruption == "masking":
            return jnp.where(hit, centre, x)
        counts = True if weight is None else (weight > 0).reshape(-1, *[1] * (x.ndim - 1))
        high, low = jnp.where(counts, x, -jnp.inf).max(0), jnp.where(counts, x, jnp.inf).min(0)
        return jnp.where(hit, jnp.where(jax.random.bernoulli(sides, 0.5, x.shape), high, low), x)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return the terms of `objective`."""
        key, noise = jax.random.split(key)
        seen = model.seen(batch)
        corrupted = self.corrupted(seen, noise, 0.0 if model.centre is None else model.centre.values, batch.weight)
        if (visible := model.visible(batch)) is not None:  # what was not observed stays 0
            corrupted = jnp.where(visible, corrupted, seen)
        objective = self.objective or self.settled(kl_form(model) == "none").objective
        return objective(model, batch._replace(inputs=corrupted), key, epoch)


@dataclass(frozen=True)
class Masking(Wrapping):
    """Any objective, with a share of the entries hidden from the encoder in each step; all that are there count.

    So the encoder learns to say what is likely from any part of a row, and the decoder what the hidden part then is:
    for `impute`. An encoder that is told which entries are missing is told of the hidden ones as well.

    Source: Collier, Nazabal and Williams, "VAEs in the Presence of Missing Data", 2020.

    Attributes:
        amount: The mean share; that of each row is drawn from 0 to twice this, or to 1.
        objective: The loss inside; `None`: the ELBO, or for a point mass the reconstruction.
    """

    amount: float = 0.3
    objective: Objective | None = None

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        super().__post_init__()
        check_numbers(self, "amount", low=0.0, high=1.0)

    @property
    def meaning(self) -> Meaning | None:
        """That of the objective, for posteriors of rows with holes."""
        inner = None if self.objective is None else meaning_of(self.objective)
        rows = "It is that with the posteriors of rows with hidden entries, and so not the one that `terms` gives."
        return None if inner is None else dataclasses.replace(inner, rows=rows if inner.bound else "")

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return the terms of `objective`."""
        key, shares, noise = jax.random.split(key, 3)
        most = min(2 * self.amount, 1.0)
        share = jax.random.uniform(shares, (len(batch.x), *[1] * (batch.x.ndim - 1)), maxval=most)
        objective = self.objective or self.settled(kl_form(model) == "none").objective
        return objective(model, batch._replace(hidden=jax.random.bernoulli(noise, share, batch.x.shape)), key, epoch)


@dataclass(frozen=True)
class Binarizing(Wrapping):
    """Any objective, with grey values in [0, 1] drawn anew as zeros and ones in every step.

    It is the "dynamic binarisation" of the literature, which hardly overfits. What is asked of the trained model is
    asked of the rows as they are: give it binary ones.

    Source: Salakhutdinov and Murray, "On the Quantitative Analysis of Deep Belief Networks", 2008.

    Attributes:
        objective: The loss inside.
    """

    objective: Objective

    @property
    def meaning(self) -> Meaning | None:
        """That of the objective, for rows of zeros and ones."""
        inner = meaning_of(self.objective)
        rows = "It is that of rows drawn as zeros and ones, not of the grey ones."
        return None if inner is None else dataclasses.replace(inner, rows=rows if inner.bound else "")

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return the terms of `objective`."""
        key, noise = jax.random.split(key)
        x = jax.random.bernoulli(noise, jnp.clip(batch.x, 0.0, 1.0)).astype(batch.x.dtype)
        return self.objective(model, batch._replace(x=x), key, epoch)


@dataclass(frozen=True)
class ELBO(_Drawing):
    """The evidence lower bound, E_q log p(x|z) - KL(q‖p), and what changes the weight of its KL.

    Sources: Kingma and Welling, "Auto-Encoding Variational Bayes", 2014. `beta`: Higgins et al., "β-VAE", 2017.
    `warmup`: Bowman et al., "Generating Sentences from a Continuous Space", 2016. `cycle`: Fu et al., "Cyclical
    Annealing Schedule", 2019. `free_bits`: Kingma et al., "Improved Variational Inference with Inverse Autoregressive
    Flow", 2016. `capacity`: Burgess et al., "Understanding disentangling in β-VAE", 2018.

    Attributes:
        beta: The weight of the KL.
        samples: K, how many z are drawn for each row.
        warmup: Epochs in which `beta` (or `capacity`, where given) rises from 0, in a straight line.
        free_bits: Nats of each latent dimension that cost nothing; below them its KL counts as this constant.
        capacity: Nats at which the KL is held: the penalty is `beta` · |KL - capacity|.
        cycle: Epochs after which the warm-up starts again; `None`: never.
    """

    beta: float = 1.0
    samples: int = 1
    warmup: float = 0.0
    free_bits: float = 0.0
    capacity: float | None = None
    cycle: float | None = None

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        optional = [name for name in ("capacity", "cycle") if getattr(self, name) is not None]
        check_numbers(self, "beta", "warmup", "free_bits", *optional, low=0.0)
        super().__post_init__()
        if self.cycle is not None and not 0 < self.warmup <= self.cycle:
            raise ParameterError(
                f"ELBO(warmup={self.warmup!r}, cycle={self.cycle!r}): expected a warmup above 0 and at most the cycle."
            )
        if self.free_bits and self.capacity is not None:
            raise ParameterError("ELBO: free_bits and capacity both hold the KL up; give one of them.")

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        beta = self.beta
        if self.capacity and beta:
            text = (
                f"The KL is held at {self.capacity:g} nats: its distance from there has a weight of {beta:g}. The loss "
                "is no bound on -log p(x), and can lie below it."
            )
            return Meaning(None, "", text)
        if self.free_bits and beta:
            bound = "The loss is a bound on -log p(x), looser than that of the ELBO" if beta >= 1 else "It is no bound"
            text = (
                f"The first {self.free_bits:g} nats of each latent dimension cost nothing: only dimensions whose KL is "
                f"above are pressed, with a weight of {beta:g}. {bound}."
            )
            return Meaning(None, "looser" if beta >= 1 else "", text)
        return Meaning(beta, "elbo" if beta == 1 else "looser" if beta > 1 else "")

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss", "reconstruction" (E_q log p(x|z)) and "kl"; see the module's text."""
        posterior = model.encode(batch)
        reconstruction, kl, z = bounds.bound(model, posterior, batch, key, self.samples)
        ramp = bounds.ramp(epoch, self.warmup, self.cycle)
        if self.capacity is not None:
            penalty = self.beta * jnp.abs(kl - ramp * self.capacity)
        elif self.free_bits:
            penalty = ramp * self.beta * self._free(kl, divergences(posterior, model.latent(batch)), batch, z.shape[-1])
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
class IWAE(_Drawing):
    """The importance-weighted bound, log (1/K) Σ_k p(x, z_k) / q(z_k|x).

    It is tighter than the ELBO and rises with K towards log p(x), while the gradient for the encoder gets noisier
    (Rainforth et al., 2018); `DReG` and `PIWAE` mend that.

    Source: Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.

    Attributes:
        samples: K.
        warmup: Epochs in which the weight of log p(z) - log q(z|x) rises from 0, in a straight line.
    """

    samples: int = 5
    warmup: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        super().__post_init__()
        check_numbers(self, "warmup", low=0.0)

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        return bounds.meaning_of_draws(self.samples)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss", "elbo" (of the same draws) and "effective_samples" (1 to K, not in nats)."""
        z, log_q = bounds.draws(model, batch, key, self.samples)
        share = bounds.ramp(epoch, self.warmup)
        weights = model.log_likelihood(z, batch) + share * (model.latent(batch).log_prob(z) - log_q)
        return bounds.weighted(bounds.log_mean(weights), weights)


@dataclass(frozen=True)
class STL(_Drawing):
    """The ELBO with the "sticking the landing" gradient: q's own parameters are held still in log q(z|x).

    What is left out is zero in expectation; where q is the true posterior the gradient has no noise at all.

    Source: Roeder, Wu and Duvenaud, "Sticking the Landing", 2017.

    Attributes:
        samples: K, how many z are drawn for each row.
    """

    samples: int = 1

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        return Meaning(1.0, "elbo")

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss"."""
        posterior = model.encode(batch)
        z = posterior.sample(key, (self.samples,))
        bound = bounds.log_weights(model, batch, z, stopped(posterior).log_prob(z)).mean(0)
        return {"loss": -bound}


@dataclass(frozen=True)
class DReG(_Drawing):
    """The importance-weighted bound with a doubly reparameterised gradient for the encoder, which stays clear with K.

    Source: Tucker et al., "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives", 2019.

    Attributes:
        samples: K.
    """

    samples: int = 5

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        return bounds.meaning_of_draws(self.samples)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return the terms of `IWAE`; the gradient differs, and is right in expectation."""
        posterior = model.encode(batch)
        z = posterior.sample(key, (self.samples,))
        log_q = stopped(posterior).log_prob(z)
        weights = stopped(bounds.log_weights(repeated(model), batch, z, log_q))
        shares = jax.nn.softmax(weights, axis=0)
        pull = bounds.pull(model, batch, z, log_q, shares, jnp.square(shares))
        return bounds.weighted(bounds.log_mean(weights) + pull, weights)


@dataclass(frozen=True)
class MIWAE(_Drawing):
    """The mean of M importance-weighted bounds of K draws each: M = 1 is `IWAE`, K = 1 the ELBO with M draws.

    Source: Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better", 2018.

    Attributes:
        outer: M.
        samples: K.
    """

    outer: int = 2
    samples: int = 5

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        return bounds.meaning_of_draws(self.samples)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return the terms of `IWAE`."""
        weights = bounds.log_weights(model, batch, *bounds.draws(model, batch, key, self.outer * self.samples))
        return bounds.weighted(bounds.log_mean(weights.reshape(self.outer, self.samples, -1), 1).mean(0), weights)


@dataclass(frozen=True)
class PIWAE(_Drawing):
    """The decoder and the prior learn from `IWAE` with M·K draws, the encoder from `MIWAE` with M bounds of K.

    Source: Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better", 2018.

    Attributes:
        outer: M.
        samples: K.
    """

    outer: int = 2
    samples: int = 5

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        encoder = f" The encoder follows bounds of {self.samples} draws each."
        return bounds.meaning_of_draws(self.outer * self.samples, encoder if self.outer * self.samples > 1 else "")

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return the terms of `IWAE` with M·K draws; the gradient for the encoder is that of `MIWAE`."""
        z, log_q = bounds.draws(model, batch, key, self.outer * self.samples)
        weights = stopped(bounds.log_weights(repeated(model), batch, z, log_q))
        grouped = jax.nn.softmax(weights.reshape(self.outer, self.samples, -1), axis=1) / self.outer
        pull = bounds.pull(model, batch, z, log_q, jax.nn.softmax(weights, axis=0), grouped.reshape(weights.shape))
        return bounds.weighted(bounds.log_mean(weights) + pull, weights)


@dataclass(frozen=True)
class CIWAE(_Drawing):
    """A mixture of the ELBO and the importance-weighted bound of the same draws: β · ELBO + (1 - β) · IWAE.

    Source: Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better", 2018.

    Attributes:
        samples: K.
        beta: The share of the ELBO.
    """

    samples: int = 5
    beta: float = 0.5

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        super().__post_init__()
        check_numbers(self, "beta", low=0.0, high=1.0)

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        if self.samples == 1 or self.beta == 1:
            return Meaning(1.0, "elbo")
        text = (
            f"The loss is the negative of {self.beta:g} parts of the ELBO and {1 - self.beta:g} parts of an "
            f"importance-weighted bound of {self.samples} draws, which is a bound on log p(x) and tighter than the "
            f"ELBO; {self.beta:g} is no weight of the KL, which counts in full."
        )
        return Meaning(1.0, "tighter", text)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return the terms of `IWAE`."""
        weights = bounds.log_weights(model, batch, *bounds.draws(model, batch, key, self.samples))
        return bounds.weighted(self.beta * weights.mean(0) + (1 - self.beta) * bounds.log_mean(weights), weights)


@dataclass(frozen=True)
class WAE:
    """-log p(x|z), and the distance of all the codes of a batch from the prior: a Wasserstein autoencoder.

    It takes any posterior, a point mass among them. The distance is the squared maximum mean discrepancy with a sum of
    inverse multiquadratic kernels. It is of the batch, so it needs batches of some hundred rows.

    Source: Tolstikhin et al., "Wasserstein Auto-Encoders", 2018.

    Attributes:
        penalty: The weight of the discrepancy, in nats a row; the more nats a row has, the larger it must be.
    """

    penalty: float = 1000.0

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_numbers(self, "penalty", low=0.0)

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        text = (
            f"There is no KL: all the codes of a batch together are drawn to the prior, with a weight of "
            f"{self.penalty:g} on their distance, which is not in nats. The loss is no bound on -log p(x)."
        )
        return Meaning(None, "", text)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss", "reconstruction" and "discrepancy" (of the batch, not in nats)."""
        here, there = jax.random.split(key)
        z, reconstruction = bounds.reconstruction(model, batch, here)
        distance = jnp.full(len(z), bounds.from_prior(model, batch, z, there))
        return {
            "loss": self.penalty * distance - reconstruction,
            "reconstruction": reconstruction,
            "discrepancy": distance,
        }


@dataclass(frozen=True)
class InfoVAE:
    """The ELBO with less of the KL of each row, and a distance of all the codes of a batch from the prior instead.

        loss = -E_q log p(x|z) + (1 - α) KL(q‖p) + (α + λ - 1) · discrepancy

    Source: Zhao, Song and Ermon, "InfoVAE: Balancing Learning and Inference in Variational Autoencoders", 2019.

    Attributes:
        alpha: α; 0 is a VAE, 1 leaves no KL (MMD-VAE).
        scale: λ; the paper takes 1,000 for MNIST.
    """

    alpha: float = 1.0
    scale: float = 1000.0
    needs_density: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_numbers(self, "alpha", "scale")
        if not (self.alpha <= 1 and 0 <= self.alpha + self.scale - 1 < float("inf")):
            raise ParameterError(
                f"InfoVAE(alpha={self.alpha!r}, scale={self.scale!r}): expected alpha of at most 1 and alpha + scale "
                "of at least 1."
            )

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        weight = self.alpha + self.scale - 1
        if not weight:
            return ELBO(beta=1 - self.alpha).meaning
        text = (
            f"The KL of each row has a weight of {1 - self.alpha:g}. The distance of all the codes of a batch from the "
            f"prior, which is not in nats, has one of {weight:g}, so the loss is no bound to compare with log p(x)."
        )
        return Meaning(1 - self.alpha, "", text)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss", "reconstruction", "kl" and "discrepancy" (of the batch, not in nats)."""
        here, there = jax.random.split(key)
        reconstruction, kl, z = bounds.bound(model, model.encode(batch), batch, here, 1)
        distance = jnp.full(len(kl), bounds.from_prior(model, batch, z[0], there))
        loss = (1 - self.alpha) * kl + (self.alpha + self.scale - 1) * distance - reconstruction
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl, "discrepancy": distance}


@dataclass(frozen=True)
class TCVAE:
    """The ELBO with its KL in three parts, each with a weight: β-TC-VAE.

        KL = I(x; z)  +  KL(q(z) ‖ Π q(z_j))  +  Σ KL(q(z_j) ‖ p(z_j))
             information   total correlation       by dimension

    q(z), the mean of the posteriors, is taken over the batch. So the information is at most the logarithm of the number
    of its rows, and what is missing there shows up in the total correlation: compare numbers of equal batches only. No
    adversary is needed, as in FactorVAE, which penalises the same total correlation.

    Source: Chen et al., "Isolating Sources of Disentanglement in Variational Autoencoders", 2018.

    Attributes:
        beta: The weight of the total correlation.
        information: The weight of the first part.
        dimensions: The weight of the third part.
    """

    beta: float = 6.0
    information: float = 1.0
    dimensions: float = 1.0
    needs_density: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_numbers(self, "beta", "information", "dimensions", low=0.0)

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        weights = (self.information, self.beta, self.dimensions)
        if len(set(weights)) == 1:
            return ELBO(beta=self.beta).meaning
        looser = min(weights) >= 1
        text = (
            f"The KL has no single weight: {weights[0]:g} on the information, {weights[1]:g} on the total correlation, "
            f"{weights[2]:g} on what dimensions lie off the prior one by one. The loss is "
            + ("a bound on -log p(x), looser than that of the ELBO." if looser else "no bound on -log p(x).")
        )
        return Meaning(None, "looser" if looser else "", text)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss", "reconstruction", "information", "total_correlation" and "dimensions"."""
        posterior, prior = model.encode(batch), model.latent(batch)
        if divergences(posterior, prior) is None:
            raise ParameterError(
                "objective: TCVAE needs a posterior and a prior whose latent dimensions are independent. Take "
                "posterior='diagonal' and prior='normal'."
            )
        z = posterior.sample(key)
        reconstruction = model.log_likelihood(z[None], batch)[0]
        share = bounds.row_weights(batch)
        log_share = jnp.log(share / share.sum())
        densities = posterior.base_dist.log_prob(z[:, None])  # (B, B, L)
        joint = jax.nn.logsumexp(densities.sum(-1) + log_share, 1)
        marginals = jax.nn.logsumexp(densities + log_share[:, None], 1)  # (B, L)
        information = posterior.log_prob(z) - joint
        correlation = joint - marginals.sum(-1)
        dimensions = (marginals - prior.base_dist.log_prob(z)).sum(-1)
        loss = self.information * information + self.beta * correlation + self.dimensions * dimensions
        return {
            "loss": loss - reconstruction,
            "reconstruction": reconstruction,
            "information": information,
            "total_correlation": correlation,
            "dimensions": dimensions,
        }


@dataclass(frozen=True)
class DIPVAE:
    """The ELBO, and a covariance of the codes that is pulled to the identity.

    Source: Kumar, Sattigeri and Balakrishnan, "Variational Inference of Disentangled Latent Concepts from Unlabeled
    Observations", 2018.

    Attributes:
        off_diagonal: The weight of the squared covariances.
        diagonal: The weight of (variance - 1)²; the paper takes ten times the other for kind 1, and the same for 2.
        kind: 1: the covariance of the posterior means; 2: that of z, with the posteriors' own variance.
    """

    off_diagonal: float = 10.0
    diagonal: float = 10.0
    kind: Literal[1, 2] = 2
    needs_density: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_numbers(self, "off_diagonal", "diagonal", low=0.0)
        if self.kind not in (1, 2):
            raise ParameterError(f"DIPVAE(kind={self.kind!r}): expected 1 or 2.")

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        text = (
            "The KL has a weight of 1; a penalty of the codes' covariance, which is not in nats, is added to it. The "
            "loss is a bound on -log p(x), looser than that of the ELBO by the penalty."
        )
        return Meaning(1.0, "looser", text)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss", "reconstruction", "kl" and "covariance" (of the batch, not in nats)."""
        posterior = model.encode(batch)
        reconstruction, kl, _ = bounds.bound(model, posterior, batch, key, 1)
        means, share = centre(posterior), bounds.row_weights(batch)
        apart = means - jnp.average(means, axis=0, weights=share)
        covariance = (apart * (share / share.sum())[:, None]).T @ apart
        if self.kind == 2:
            own = getattr(posterior, "covariance_matrix", None)
            own = own if own is not None else jax.vmap(jnp.diag)(jnp.square(spread(posterior)))
            covariance += jnp.average(own, axis=0, weights=share)
        diagonal = jnp.diagonal(covariance)
        penalty = self.off_diagonal * (jnp.square(covariance).sum() - jnp.square(diagonal).sum())
        penalty = jnp.full(len(kl), penalty + self.diagonal * jnp.square(diagonal - 1).sum())
        return {
            "loss": kl - reconstruction + penalty,
            "reconstruction": reconstruction,
            "kl": kl,
            "covariance": penalty,
        }


@dataclass(frozen=True)
class RAE:
    """A plain autoencoder whose codes are kept small and whose decoder is kept smooth, to be sampled from afterwards.

        loss = -log p(x|z) + codes · ½‖z‖² + decoder · R,   z = the code

    R is the sum of the decoder's squared weights ("l2"), or the squared norm of the gradient of the decoder's means
    with respect to z ("gradient"), estimated along one random direction. A density fitted to the codes makes it a
    generator: see `fit_density`.

    Source: Ghosh et al., "From Variational to Deterministic Autoencoders", 2020.

    Attributes:
        codes: The weight of ½‖z‖².
        decoder: The weight of R.
        penalty: "l2" or "gradient".
    """

    codes: float = 0.1
    decoder: float = 1e-3
    penalty: Literal["l2", "gradient"] = "l2"

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_numbers(self, "codes", "decoder", low=0.0)
        if self.penalty not in ("l2", "gradient"):
            raise ParameterError(f"RAE(penalty={self.penalty!r}): expected 'l2' or 'gradient'.")

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        text = (
            f"There is no KL: ½‖z‖² has a weight of {self.codes:g}, the decoder's penalty one of {self.decoder:g}. The "
            "loss is no bound on -log p(x)."
        )
        return Meaning(None, "", text)

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return "loss", "reconstruction", "codes" (½‖z‖²) and "decoder" (R)."""
        here, there = jax.random.split(key)
        z, reconstruction = bounds.reconstruction(model, batch, here)
        if self.penalty == "l2":
            decoder = (model.likelihood.network, model.likelihood.heads)
            weights = jax.tree.leaves(eqx.filter(decoder, layer_weights(decoder)))
            smooth = jnp.full(len(z), sum(jnp.square(weight).sum() for weight in weights))
        else:
            apart = repeated(model)
            if apart.training is not None:  # what is differentiated here must not get out by the batch statistics
                apart.training.statistics = {}
            made, back = jax.vjp(lambda z: apart.decode(z, batch).mean, z)
            direction = jax.random.normal(there, made.shape)
            if batch.weight is not None:  # rows of weight 0 have no say by the batch's mean either
                direction = jnp.where(batch.weight.reshape(-1, *[1] * (made.ndim - 1)) > 0, direction, 0.0)
            smooth = jnp.square(back(direction)[0]).sum(-1)
        codes = 0.5 * jnp.square(z).sum(-1)
        loss = self.codes * codes + self.decoder * smooth - reconstruction
        return {"loss": loss, "reconstruction": reconstruction, "codes": codes, "decoder": smooth}


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
        check_numbers(self, "moments", low=0.0)

    @property
    def meaning(self) -> Meaning:
        """What the loss is."""
        return Meaning(None, "", "The terms are means, and none is a KL: the loss is no bound, and not in nats.")

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
        means = jnp.square(centre(posterior)).mean(-1)
        variances = jnp.square(1 - jnp.square(spread(posterior))).mean(-1)
        loss = squares + self.moments * (means + variances)
        return {"loss": loss, "squared_error": squares, "means": means, "variances": variances}
