"""Parts of log-densities that stay exact in float32 where differences of log Γ do not.

log Γ(x) grows like x log x, and float32 keeps seven digits. So of log Γ(x + ½) - log Γ(x) nothing is right from
x = 10⁷ on, though the difference is a small number. Here the growing part is taken out by hand,

    log Γ(x) = x log x - x + remainder(x),         log x! = x log x - x + factorial_remainder(x)

and what the growing parts of several terms add up to is a sum of

    deviance(x, m) = x log (x / m) - x + m         half the deviance of a Poisson count x of mean m, at least 0
    excess(t, 1+t) = t - log (1 + t)               at least 0, about t²/2

which are computed without a difference of large numbers.

Source: Loader, "Fast and Accurate Computation of Binomial Probabilities", 2000.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_LARGE = 4.0  # from here on four terms of Stirling's series are exact in float32


def _series(x: Array) -> Array:
    """Return 1/12x - 1/360x³ + 1/1260x⁵ - 1/1680x⁷, what Stirling's formula lacks."""
    inverse = 1 / x
    square = inverse * inverse
    return inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))


def remainder(x: Any) -> Array:
    """Return log Γ(x) - x log x + x for x above 0; for large x it is about ½ log (2π / x).

    Example:
        >>> round(float(remainder(4.0)), 4)  # log 6 - 4 log 4 + 4
        0.2466
    """
    x = jnp.asarray(x, jnp.result_type(float))
    large, small = jnp.where(x < _LARGE, _LARGE, x), jnp.where(x < _LARGE, x, 1.0)
    by_series = _HALF_LOG_TWO_PI - 0.5 * jnp.log(large) + _series(large)
    # Below 1, log Γ(x) = log Γ(x + 1) - log x.
    directly = jax.lax.lgamma(small + 1) - (small + 1) * jnp.log(small) + small
    return jnp.where(x < _LARGE, directly, by_series)


def slope(x: Array) -> Array:
    """Return the derivative of `remainder`, which is that of log Γ without log x; about -1/2x for large x.

    Example:
        >>> round(float(slope(jnp.float32(1.0))), 4)  # minus Euler's constant
        -0.5772
    """
    large, small = jnp.where(x < _LARGE, _LARGE, x), jnp.where(x < _LARGE, x, 1.0)
    inverse = 1 / large
    square = inverse * inverse
    by_series = -0.5 * inverse - square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    directly = jax.scipy.special.digamma(small + 1) - 1 / small - jnp.log(small)
    return jnp.where(x < _LARGE, directly, by_series)


def factorial_remainder(x: Any) -> Array:
    """Return log x! - x log x + x for x of at least 0, whole or not.

    Example:
        >>> float(factorial_remainder(0.0)), round(float(factorial_remainder(1.0)), 4)
        (0.0, 1.0)
    """
    x = jnp.asarray(x, jnp.result_type(float))
    large, small = jnp.where(x < _LARGE, _LARGE, x), jnp.where((x > 0) & (x < _LARGE), x, 1.0)
    by_series = _HALF_LOG_TWO_PI + 0.5 * jnp.log(large) + _series(large)
    directly = jnp.where(x > 0, jax.lax.lgamma(small + 1) - small * jnp.log(small) + small, 0.0)
    return jnp.where(x < _LARGE, directly, by_series)


@jax.custom_jvp
def excess(t: Array, ratio: Array) -> Array:
    """Return t - log (1 + t) for t above -1; `ratio` is 1 + t, without the rounding of that sum where t is near -1.

    Example:
        >>> f"{float(excess(jnp.float32(1e-4), jnp.float32(1.0001))):.4g}"
        '5e-09'
    """
    near = jnp.abs(t) < 0.3
    safe = jnp.where(near, t, 0.0)
    # log (1 + t) = 2 artanh(s) with s = t / (2 + t), and t - 2 s = s t.
    s = safe / (2 + safe)
    square = s * s
    series = 2 * s * square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square * (1 / 9 + square / 11))))
    return jnp.where(near, s * safe - series, t - jnp.log(ratio))


@excess.defjvp
def _excess_jvp(values: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (t, ratio), (along, _) = values, tangents
    return excess(t, ratio), t / ratio * along


@jax.custom_jvp
def deviance(x: Array, mean: Array) -> Array:
    """Return x log (x / m) - x + m, at least 0, for x of at least 0 and a mean m above 0; both of one shape.

    Example:
        >>> round(float(deviance(jnp.float32(0), jnp.float32(3))), 4), float(deviance(jnp.float32(3), jnp.float32(3)))
        (3.0, 0.0)
    """
    apart = x - mean
    s = apart / (x + mean)  # x / m = (1 + s) / (1 - s)
    near = jnp.abs(s) < 0.1
    safe = jnp.where(near, s, 0.0)
    square = safe * safe
    series = 2 * x * safe * square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square / 9)))
    ratio = jnp.where(x > 0, x, mean) / mean
    return jnp.where(near, apart * safe + series, x * jnp.log(ratio) - apart)


@deviance.defjvp
def _deviance_jvp(values: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, mean), (along_x, along_mean) = values, tangents
    slope_x = jnp.log(jnp.where(x > 0, x, mean) / mean)
    return deviance(x, mean), slope_x * along_x - (x - mean) / mean * along_mean
