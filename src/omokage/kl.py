"""KL(q‖p) of pairs of distributions where it is known exactly, in forms that stay exact in float32.

NumPyro registers more: that of a Kumaraswamy and a beta distribution is a series cut after ten terms. It lies below the
KL, so a bound made with it would lie above the true one. Such pairs are left to draws. `_EXACT` lists the exact pairs
by class and not by subclass, which may have another density. What a user registers with NumPyro's `kl_divergence` is
believed.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions.kl import kl_divergence

from omokage import distributions as own
from omokage.density import is_diagonal_normal
from omokage.special import deviance, excess, remainder, slope

_NUMPYRO = "numpyro."


def exact(q: Any, p: Any) -> Array | None:
    """Return KL(q‖p) in nats, of the batch shape of both, or `None` where no exact form is known.

    Example:
        >>> round(float(exact(dist.Gamma(2.0, 1.0), dist.Gamma(1.0, 1.0))), 4)  # 1 - Euler's constant
        0.4228
    """
    if isinstance(q, dist.ExpandedDistribution) or isinstance(p, dist.ExpandedDistribution):
        shape = jnp.broadcast_shapes(q.batch_shape, p.batch_shape)
        found = exact(*(one.base_dist if isinstance(one, dist.ExpandedDistribution) else one for one in (q, p)))
        return None if found is None else jnp.broadcast_to(found, shape)
    if isinstance(q, dist.Independent) and isinstance(p, dist.Independent):
        if q.reinterpreted_batch_ndims != p.reinterpreted_batch_ndims:
            return None
        found = exact(q.base_dist, p.base_dist)
        return None if found is None else found.sum(tuple(range(-q.reinterpreted_batch_ndims, 0)))
    if type(q) is dist.MultivariateNormal or type(p) is dist.MultivariateNormal:
        q, p = (_full(one) if is_diagonal_normal(one) else one for one in (q, p))
    form = _EXACT.get((_kind(q), _kind(p)))
    if form is not None:
        return form(q, p)
    registered = kl_divergence.dispatch(type(q), type(p))
    if registered is None or registered.__module__.startswith(_NUMPYRO):
        return None
    found = registered(q, p)
    return None if found is None else jnp.asarray(found)


def _full(normal: Any) -> dist.Distribution:
    """Return a normal with independent entries as one with a covariance."""
    base = normal.base_dist
    deviations = jnp.broadcast_to(base.scale, base.batch_shape)
    return dist.MultivariateNormal(
        base.loc, scale_tril=deviations[..., None] * jnp.eye(deviations.shape[-1]), validate_args=False
    )


def _normal(q: Any, p: Any) -> Array:
    ratio, apart = q.scale / p.scale, (q.loc - p.loc) / p.scale
    return 0.5 * (jnp.square(apart) + excess(jnp.square(ratio) - 1, jnp.square(ratio)))


def _laplace(q: Any, p: Any) -> Array:
    apart, ratio = jnp.abs(q.loc - p.loc), q.scale / p.scale
    near = apart / q.scale  # e^(-near) - 1 + near is excess(e^(-near) - 1), which loses nothing where they are near
    close = jnp.minimum(near, 1.0)
    beyond = jnp.where(near > 1, near + jnp.expm1(-near), excess(jnp.expm1(-close), jnp.exp(-close)))
    return ratio * beyond + excess(ratio - 1, ratio)


def _growth(y: Array, x: Array) -> Array:
    """Return remainder(y) less its tangent at x, at least 0."""
    return remainder(y) - remainder(x) - (y - x) * slope(x)


def _gamma(q: Any, p: Any) -> Array:
    a, alpha = q.concentration, p.concentration
    a, alpha, ratio = jnp.broadcast_arrays(a, alpha, p.rate / q.rate)
    return deviance(alpha, a * ratio) + _growth(alpha, a)


def _beta(q: Any, p: Any) -> Array:
    mine = jnp.stack(jnp.broadcast_arrays(q.concentration1, q.concentration0), -1)
    other = jnp.stack(jnp.broadcast_arrays(p.concentration1, p.concentration0), -1)
    return _of_concentrations(mine, other)


def _dirichlet(q: Any, p: Any) -> Array:
    return _of_concentrations(q.concentration, p.concentration)


def _of_concentrations(a: Array, alpha: Array) -> Array:
    """Return the KL of two Dirichlet distributions; with two concentrations, of beta distributions."""
    a, alpha = jnp.broadcast_arrays(a, alpha)
    sums = a.sum(-1), alpha.sum(-1)
    apart = deviance(alpha, a * (sums[1] / sums[0])[..., None])
    return (apart + _growth(alpha, a)).sum(-1) - _growth(sums[1], sums[0])


def _weibull_gamma(q: Any, p: Any) -> Array:
    k, scale, alpha, rate = jnp.broadcast_arrays(q.concentration, q.scale, p.concentration, p.rate)
    log_mean = jax.lax.lgamma(1 + 1 / k)  # of a Weibull of scale 1
    gap = deviance(alpha, scale * rate * jnp.exp(log_mean)) + remainder(alpha) + jnp.log(k)
    return gap + alpha * (log_mean + jnp.euler_gamma / k) - jnp.euler_gamma - 1


def _of_numpyro(q: Any, p: Any) -> Array:
    return jnp.asarray(kl_divergence(q, p))


_KINDS: dict[type, str] = {
    dist.Normal: "normal",
    dist.Laplace: "laplace",
    dist.MultivariateNormal: "full normal",
    **dict.fromkeys((dist.Gamma, dist.Chi2, own.Gamma, own.Chi2), "gamma"),
    **dict.fromkeys((dist.Beta, dist.BetaProportion, own.Beta, own.BetaProportion), "beta"),
    **dict.fromkeys((dist.Dirichlet, own.Dirichlet), "dirichlet"),
    **dict.fromkeys((dist.Weibull, own.Weibull), "weibull"),
    dist.CategoricalProbs: "categorical",
    dist.CirculantNormal: "circulant normal",
}
_EXACT: dict[tuple[str | None, str | None], Callable[[Any, Any], Array]] = {
    ("normal", "normal"): _normal,
    ("laplace", "laplace"): _laplace,
    ("full normal", "full normal"): _of_numpyro,
    ("gamma", "gamma"): _gamma,
    ("weibull", "gamma"): _weibull_gamma,
    ("beta", "beta"): _beta,
    ("dirichlet", "dirichlet"): _dirichlet,
    ("categorical", "categorical"): _of_numpyro,
    ("diagonal normal", "circulant normal"): _of_numpyro,
}


def _kind(distribution: Any) -> str | None:
    return "diagonal normal" if is_diagonal_normal(distribution) else _KINDS.get(type(distribution))
