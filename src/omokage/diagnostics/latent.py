"""The posteriors of some rows beside the prior that the model has, whatever their families are.

For normals with independent entries and the prior N(0, I) means and deviations say all (see `aggregate`). Elsewhere
densities are asked of the model itself: log q(z_s|x_n) of every draw under every row's posterior, and log p(z) under
the prior. Of a prior that depends on the context, p(z) is the mean of p(z|c) over the rows.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.density import is_diagonal_normal
from omokage.model import Model, divergence, divergences
from omokage.priors import StandardNormal

Floats = NDArray[np.float64]

ROWS = 1000  # at most: every draw is judged by the posterior of every row
_DRAWS = 16  # of a KL that has no closed form


@dataclass(frozen=True, eq=False)
class Latent:
    """What a model says of z, for m rows; nats.

    Attributes:
        prior: What texts call the prior.
        conditional: Whether the prior depends on the context of a row.
        z: A draw of each row's posterior, (m, L).
        draws: As many of the prior, (m, L).
        posterior_of_z: log q(z_s|x_n), (m, m); its diagonal is that of the row which z came from.
        posterior_of_draws: The same of the prior's draws.
        prior_of_z: log p(z), (m,).
        prior_of_draws: The same of the prior's draws.
        mean_kl: Mean KL(q(z|x) ‖ p(z)), or ‖ p(z|c).
        kl: The same for each latent dimension, (L,); `None` where it does not fall into such parts.
    """

    prior: str
    conditional: bool
    z: Floats
    draws: Floats
    posterior_of_z: Floats
    posterior_of_draws: Floats
    prior_of_z: Floats
    prior_of_draws: Floats
    mean_kl: float
    kl: Floats | None

    @property
    def middle(self) -> Floats:
        """The mean of the prior's draws, (L,)."""
        return np.asarray(self.draws.mean(0))

    @property
    def width(self) -> Floats:
        """The deviation of the prior's draws, (L,)."""
        return np.maximum(self.draws.std(0), np.finfo(float).tiny)


def is_standard(model: Model) -> bool:
    """Say whether z has normals with independent entries for posteriors, and the prior N(0, I)."""
    row = {name: jax.ShapeDtypeStruct((1, *head.shape), jnp.float32) for name, head in model.posterior.heads.items()}
    posterior = jax.eval_shape(model.posterior.given, row)
    return isinstance(model.prior.family, StandardNormal) and is_diagonal_normal(posterior)


def latent_of(model: Model, batch: Batch, seed: int = 0) -> Latent:
    """Return what a model with densities says of z, for at most 1,000 rows of a batch."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(batch.x))[:ROWS])
    found = _asked(model, batch.map(lambda array: np.asarray(array)[chosen]), jax.random.key(seed))
    arrays = {name: None if value is None else np.asarray(value, np.float64) for name, value in found.items()}
    conditional = model.prior.network is not None
    family = model.prior.family
    name = "N(0, I)" if isinstance(family, StandardNormal) else f"{family}"
    return Latent(prior=name, conditional=conditional, mean_kl=float(arrays.pop("mean_kl")), **arrays)  # type: ignore[arg-type]


@eqx.filter_jit
def _asked(model: Model, batch: Batch, key: Array) -> dict[str, Any]:
    first, second, third = jax.random.split(key, 3)
    posterior, prior = model.encode(batch), model.latent(batch)
    count, each = len(batch.x), bool(prior.batch_shape)
    z = posterior.sample(first)
    draws = prior.sample(second, () if each else (count,))

    def under(distribution: Any, points: Array) -> Array:
        """Return log-densities of every point under every row's distribution, (points, rows)."""
        return jax.lax.map(distribution.log_prob, points)

    def under_prior(points: Array) -> Array:
        return jax.nn.logsumexp(under(prior, points), 1) - jnp.log(count) if each else prior.log_prob(points)

    kl = divergence(posterior, prior)
    if kl is None:
        more = posterior.sample(third, (_DRAWS,))
        kl = (posterior.log_prob(more) - prior.log_prob(more)).mean(0)
    parts = divergences(posterior, prior)
    return {
        "z": z,
        "draws": draws,
        "posterior_of_z": under(posterior, z),
        "posterior_of_draws": under(posterior, draws),
        "prior_of_z": under_prior(z),
        "prior_of_draws": under_prior(draws),
        "mean_kl": kl.mean(),
        "kl": None if parts is None else jnp.broadcast_to(parts, z.shape).mean(0),
    }
