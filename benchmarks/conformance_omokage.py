"""What omokage answers to the questions of `conformance.py`: one function each, whose text says which call was made."""

import copy
import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from conformance_problems import (
    MUCH_KL,
    NO_KL,
    TRUTH,
    Array,
    LinearGaussian,
    Numbers,
    apart,
    draws_behind,
    generator_moved,
    same_strangest,
    standardised,
)

import omokage as om
from omokage.batch import Batch

NOW = jnp.float32(jnp.inf)  # the time at which no warm-up is left


@dataclass(frozen=True)
class Disguised:
    """The prior N(0, I) as a mixture of one component: there is no closed form for the KL to a mixture."""

    def parameters(self, event: Any) -> dict[str, Any]:
        """Return none."""
        return {}

    def distribution(self) -> dist.Distribution:
        """Return a distribution of event shape (2,)."""
        return dist.MixtureSameFamily(dist.Categorical(jnp.ones(1)), dist.Normal(jnp.zeros((1, 2)), 1.0).to_event(1))


@functools.cache
def trained(prior: Any) -> om.VAE:
    """A linear VAE of the right shapes, hardly trained."""
    return om.VAE(
        latent_dim=2,
        hidden=(),
        likelihood=om.likelihoods.Gaussian(scale=1.0),
        prior=prior,
        standardize=False,
        epochs=1,
        verbose=0,
    ).fit(TRUTH.X)


def place(truth: LinearGaussian = TRUTH, prior: Any = "normal") -> om.VAE:
    """Return a linear VAE with the weights of `truth`."""

    def heads(model: Any) -> tuple[Any, ...]:
        found = (model.likelihood.heads["mean"], *(model.posterior.heads[name] for name in ("mean", "log_variance")))
        return tuple(leaf for head in found for leaf in (head.weight, head.bias))

    vae = copy.copy(trained(prior))
    weights = (truth.W, truth.b, truth.A, truth.a, np.zeros_like(truth.A), np.log(truth.v))
    model = eqx.tree_at(
        heads,
        jax.tree.map(jnp.asarray, vae.model_),
        tuple(jnp.asarray(array, jnp.float32) for array in weights),
    )
    vae.fitted_ = dataclasses.replace(vae.fitted_, model=model)
    return vae


@eqx.filter_jit
def loss(model: Any, objective: Any, x: Any, key: Any) -> Any:
    """The mean of an objective's loss over the rows x."""
    return objective(model, Batch(x, weight=jnp.ones(len(x))), key, NOW)["loss"].mean()


def mean_loss(objective: Any, calls: int, truth: LinearGaussian = TRUTH) -> float:
    """The mean of the loss over calls with unlike keys."""
    model, x = place(truth).model_, jnp.asarray(truth.X)
    return float(np.mean([loss(model, objective, x, jax.random.key(seed)) for seed in range(calls)]))


def gradient(objective: Any, truth: LinearGaussian = TRUTH) -> tuple[Array, Array]:
    """The gradient of the mean loss by the decoder's W and b, and by the encoder's A and a, a vector each."""
    slopes = eqx.filter_grad(loss)(place(truth).model_, objective, jnp.asarray(truth.X), jax.random.key(0))
    decoder, encoder = (
        np.concatenate([np.ravel(np.float64(leaf)) for leaf in (head.weight, head.bias)])
        for head in (slopes.likelihood.heads["mean"], slopes.posterior.heads["mean"])
    )
    return decoder, encoder


def sign() -> Numbers:
    """`vae.log_likelihood(X, samples=5000).mean()`."""
    return {"": float(place().log_likelihood(TRUTH.X, samples=5000).mean())}


def size() -> Numbers:
    """`abs(vae.log_likelihood(X, samples=5000).mean())`."""
    return {"": abs(sign()[""])}


def draws(repeats: int = 1000) -> Numbers:
    """`vae.log_likelihood(X[:1], samples=n, seed=...)`, with 1,000 seeds for each n."""
    vae = place()

    def bounds(n: int) -> Array:
        return np.concatenate([vae.log_likelihood(TRUTH.X[:1], samples=n, seed=seed) for seed in range(repeats)])

    return {str(n): draws_behind(bounds(n)) for n in (1, 7, 250)}


def rising(repeats: int = 1000) -> Numbers:
    """`vae.log_likelihood(X, samples=K, seed=...)`, the mean over 1,000 seeds for each K."""
    vae = place()

    def bound(K: int) -> float:
        return float(np.mean([vae.log_likelihood(TRUTH.X, samples=K, seed=seed).mean() for seed in range(repeats)]))

    return {f"K = {K}": bound(K) for K in (1, 8, 64, 512)}


def elbo() -> Numbers:
    """`-ELBO()(model, batch, key, epoch)["loss"]`, the mean over 400 keys."""
    return {"": -mean_loss(om.objectives.ELBO(), 400)}


def kl_counts() -> Numbers:
    """`ELBO()(model, batch, key, epoch)["loss"]`, with the same key for both encoders."""
    return {"": mean_loss(om.objectives.ELBO(), 1, MUCH_KL) - mean_loss(om.objectives.ELBO(), 1, NO_KL)}


def kl_slope() -> Numbers:
    """The gradient of the mean of `ELBO()(model, batch, key, epoch)["loss"]`."""
    slope = gradient(om.objectives.ELBO(), MUCH_KL)[1][-2:]
    return {"": float(slope @ MUCH_KL.a / (MUCH_KL.a @ MUCH_KL.a))}


def kl_by_draws() -> Numbers:
    """`vae.terms(X, samples=20000)["kl"]`; the prior N(0, I) is given as a mixture of one component."""
    return {"": float(place(prior=Disguised()).terms(TRUTH.X, samples=20_000)["kl"].mean())}


def iwae_value() -> Numbers:
    """`IWAE(samples=50)(model, batch, key, epoch)["loss"]`, the mean over 50 keys."""
    return {"": mean_loss(om.objectives.IWAE(samples=50), 50)}


def iwae_gradient() -> Numbers:
    """The gradient of the mean of `IWAE(samples=2000)(model, batch, key, epoch)["loss"]`."""
    return {"": apart(gradient(om.objectives.IWAE(samples=2000))[0], TRUTH.likelihood_gradient())}


def miwae() -> Numbers:
    """Gradients of the means of `MIWAE(outer=M, samples=K)(model, batch, key, epoch)["loss"]`."""
    inner, outer = (gradient(om.objectives.MIWAE(outer=M, samples=K))[0] for M, K in ((1, 2000), (2000, 1)))
    return {
        "1 × 2000": apart(inner, TRUTH.likelihood_gradient()),
        "2000 × 1": apart(outer, TRUTH.bound_gradient()),
    }


def piwae() -> Numbers:
    """Gradients of the means of `PIWAE(outer=M, samples=K)(model, batch, key, epoch)["loss"]`."""
    inner, outer = (gradient(om.objectives.PIWAE(outer=M, samples=K)) for M, K in ((1, 2000), (2000, 1)))
    of_elbo = TRUTH.bound_gradient_of_encoder()
    return {
        "decoder, 2000 × 1": apart(outer[0], TRUTH.likelihood_gradient()),
        "encoder, 1 × 2000": apart(inner[1] + of_elbo, of_elbo),
        "encoder, 2000 × 1": apart(outer[1], of_elbo),
    }


def ciwae() -> Numbers:
    """Gradients of the means of `CIWAE(samples=2000, beta=β)(model, batch, key, epoch)["loss"]`."""
    iwae_end, elbo_end = (gradient(om.objectives.CIWAE(samples=2000, beta=beta))[0] for beta in (0.0, 1.0))
    return {
        "β = 0": apart(iwae_end, TRUTH.likelihood_gradient()),
        "β = 1": apart(elbo_end, TRUTH.bound_gradient()),
    }


def embed_twice() -> Numbers:
    """`vae.transform(X)` and `vae.reconstruct(X)`, twice each."""
    vae = place()
    return {
        "embedding": float(np.abs(vae.transform(TRUTH.X) - vae.transform(TRUTH.X)).max()),
        "reconstruction": float(np.abs(vae.reconstruct(TRUTH.X) - vae.reconstruct(TRUTH.X)).max()),
    }


def posterior_means() -> Numbers:
    """`vae.transform(X)`, and the same with the rows in another order."""
    vae, order = place(), np.random.default_rng(0).permutation(len(TRUTH.X))
    Z = vae.transform(TRUTH.X)
    return {
        "error": float(np.abs(Z - TRUTH.means).max()),
        "shuffled": float(np.abs(vae.transform(TRUTH.X[order]) - Z[order]).max()),
    }


def rows_kept() -> Numbers:
    """`len(vae.transform(X[:5]))`; one estimator serves all objectives."""
    return {"VAE": len(place().transform(TRUTH.X[:5]))}


def score_twice() -> Numbers:
    """`-vae.score_samples(X)` of `vae = VAE(latent_dim=2, verbose=0).fit(X)`, twice."""
    vae = om.VAE(latent_dim=2, verbose=0).fit(TRUTH.X)
    return same_strangest(-vae.score_samples(TRUTH.X), -vae.score_samples(TRUTH.X))


def output_range() -> Numbers:
    """`VAE(latent_dim=2, verbose=0).fit(X).reconstruct(X)`, everything else at its default."""
    X = standardised()
    outputs = om.VAE(latent_dim=2, verbose=0).fit(X).reconstruct(X)
    return {"least": float(outputs.min()), "greatest": float(outputs.max())}


def global_generator() -> Numbers:
    """`VAE(latent_dim=2, epochs=1, verbose=0).fit(X)`."""
    return {"": generator_moved(lambda: om.VAE(latent_dim=2, epochs=1, verbose=0).fit(TRUTH.X))}


ANSWERS: dict[str, Callable[[], Numbers]] = {
    function.__name__: function
    for function in (
        sign, size, draws, rising, elbo, kl_counts, kl_slope, kl_by_draws, iwae_value, iwae_gradient, miwae, piwae,
        ciwae, embed_twice, posterior_means, rows_kept, score_twice, output_range, global_generator,
    )
}  # fmt: skip
