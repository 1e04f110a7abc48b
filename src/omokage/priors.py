"""Prior families p(z): frozen settings; see `omokage.density` for the two methods that each has.

A family with `fit` can also be fitted to codes after training: it returns the values of its learned parameters.
"""

import functools
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Event
from omokage.density import Encoded, Fixed, Learned, Output, Parameters, is_diagonal_normal
from omokage.errors import DataError, ParameterError, check_counts, check_flags, is_count, shown
from omokage.flow_matching import Carried, layer_weights, trained, velocity_weights
from omokage.flows import WEIGHTS, check_steps, flow, learned_weights
from omokage.memory import filled
from omokage.nets.layers import MOST_LAYERS
from omokage.posteriors import DiagonalNormal, FullNormal, NumPyro, factor_of, triangular
from omokage.supports import Support, support_of

__all__ = [
    "Conditional",
    "DiagonalNormal",
    "Flow",
    "FlowMatching",
    "FullNormal",
    "Mixture",
    "NumPyro",
    "StandardNormal",
    "TwoLayer",
    "Vamp",
]

_FLOOR = 1e-6  # of a fitted variance, as a share of the codes' own


@dataclass(frozen=True)
class StandardNormal:
    """p(z) = N(z; 0, I)."""

    def parameters(self, event: Event) -> Parameters:
        """Return the mean and the deviation, which stay."""
        shape = (event.size,)
        return {"mean": Fixed(filled(shape)), "scale": Fixed(filled(shape, 1.0))}

    def distribution(self, mean: Array, scale: Array) -> dist.Distribution:
        """Return a distribution of event shape (L,)."""
        return dist.Normal(mean, scale).to_event(1)


@dataclass(frozen=True)
class Mixture:
    """p(z) = Σ w_m N(z; m_m, S_m): a learned mixture of normals, each with its own covariance.

    Attributes:
        components: How many normals.
    """

    components: int = 10

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_counts(self, "components")

    def parameters(self, event: Event) -> Parameters:
        """Return weights as logits, (M,), means, (M, L), and factors, (M, L, L), their diagonals as logarithms."""
        shape = (self.components, event.size)
        return {
            "logits": Learned(filled(shape[:1])),
            # Apart at first, or all components would get the same gradient for ever.
            "means": Learned(lambda: np.random.default_rng(0).normal(size=shape), shape),
            "factors": Learned(filled((*shape, event.size))),
        }

    def distribution(self, logits: Array, means: Array, factors: Array) -> dist.Distribution:
        """Return a distribution of event shape (L,)."""
        components = dist.MultivariateNormal(means, scale_tril=triangular(factors), validate_args=False)
        return dist.MixtureSameFamily(dist.CategoricalLogits(logits), components)

    def fit(self, z: NDArray[np.floating], seed: int) -> dict[str, NDArray[np.floating]]:
        """Return parameters of great likelihood for codes, (n, L), by expectation maximisation."""
        z = np.asarray(z, np.float64)
        if len(z) < 2 * self.components:
            raise ParameterError(
                f"Mixture(components={self.components}): expected at least {2 * self.components} codes to fit to; got "
                f"{len(z)}. Take fewer components, or 'normal'."
            )
        mixture = fitted_mixture(z, self.components, _FLOOR * z.var(0).mean() + 1e-12, seed)
        return {
            "logits": np.log(np.maximum(mixture.weights_, 1e-12)),
            "means": mixture.means_,
            "factors": np.stack([factor_of(covariance) for covariance in mixture.covariances_]),
        }


def fitted_mixture(z: NDArray[np.floating], components: int, floor: float, seed: int) -> Any:
    """Return scikit-learn's mixture of normals fitted to rows, (n, L), on one thread.

    Its steps are products of small matrices. Shared among threads they take many times as long where other programs
    keep the processor busy, since each product ends with its slowest thread.

    Args:
        z: Rows.
        components: How many normals.
        floor: What is added to variances.
        seed: Of the first means.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1), warnings.catch_warnings():
        # Of rows of which few differ: the first means are then some of them several times over, which does no harm.
        warnings.filterwarnings("ignore", "Number of distinct clusters", ConvergenceWarning)
        return GaussianMixture(components, reg_covar=floor, random_state=seed).fit(z)


@dataclass(frozen=True)
class Vamp:
    """p(z) = 1/M Σ q(z|u_m): the mean of the posteriors of learned pseudo-inputs u.

    The encoder is the model's own; nothing of it is kept twice.

    Source: Tomczak and Welling, "VAE with a VampPrior", 2018.

    Attributes:
        components: M.
        widened: Give each component a learned width of its own, for posteriors that are points: codes of a plain
            autoencoder.
    """

    components: int = 500
    widened: bool = False

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_counts(self, "components")
        check_flags(self, "widened")

    def parameters(self, event: Event) -> Parameters:
        """Return the pseudo-inputs, (M, *event of x), and the logarithms of their widths, (M, L)."""
        width = {"log_width": Learned(filled((self.components, event.size), -1.0))} if self.widened else {}
        return {"components": Encoded(self.components), **width}

    def distribution(self, components: dist.Distribution, log_width: Array | None = None) -> dist.Distribution:
        """Return a distribution of event shape (L,)."""
        if isinstance(components, dist.Delta):
            if log_width is None:
                raise ParameterError(
                    "Vamp: the posterior is a point mass, and a mean of points is no density. Take "
                    "priors.Vamp(widened=True), 'mixture' or 'flow'."
                )
            return DiagonalMixture(components.v, jnp.exp(jnp.clip(log_width, -10.0, 10.0)))
        if is_diagonal_normal(components):
            return DiagonalMixture(components.base_dist.loc, components.base_dist.scale)
        return dist.MixtureSameFamily(dist.CategoricalLogits(jnp.zeros(self.components)), components)


@dataclass(frozen=True)
class Flow:
    """p(z): a normal with independent entries, bent by coupling layers, so that drawing is as fast as the density.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2017.

    Attributes:
        steps: How many maps follow one another.
        width: Units of each of the two hidden layers of a map.
    """

    steps: int = 8
    width: int = 128
    layer_weights: ClassVar[tuple[str, ...]] = WEIGHTS

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_counts(self, "width")
        check_steps(self)

    def parameters(self, event: Event) -> Parameters:
        """Return the weights of the maps, and mean and log-deviation of the normal that they bend, (L,)."""
        ends = {name: Learned(filled((event.size,))) for name in ("mean", "log_scale")}
        return {**ends, **learned_weights(event.size, self.steps, self.width)}

    def distribution(self, mean: Array, log_scale: Array, **weights: Array) -> dist.Distribution:
        """Return a distribution of event shape (L,)."""
        base = dist.Normal(mean, jnp.exp(jnp.clip(log_scale, -15.0, 10.0))).to_event(1)
        return dist.TransformedDistribution(base, flow("coupling", weights))


@dataclass(frozen=True)
class FlowMatching:
    """p(z): a normal that a learned velocity carries to the codes, fitted by flow matching; for `fit_density`.

    It takes any shape, and keeps clusters of codes apart. A draw solves a differential equation, and a density also
    sums up the trace of its Jacobian, exactly: some 40 and some 40 (L + 1) passes through the network. That is too slow
    for each step of training, so it is not a prior that a model can be trained with.

    Measured on 30,000 codes in 8 dimensions, from 30 thin normals of unlike weights: on new codes the log-density is
    0.31 nats below the truth. A `Flow` lies 1.92 nats below, `Mixture(10)` 3.61, and `Mixture(30)`, which has the true
    form, 0.24. A classifier by trees tells draws from codes with an AUROC of 0.53, 0.77, 0.88 and 0.56 (0.51 between
    two sets of codes). Training took 107 seconds of processor time.

    Source: Lipman et al., "Flow Matching for Generative Modeling", 2023; see `omokage.flow_matching`.

    Attributes:
        hidden: Widths of the network's hidden layers; where neighbours are as wide, one is added to the other.
        steps: How many steps of Runge and Kutta's method of fourth order solve the equation.
        updates: How many steps of Adam train the network, at most: held-out codes may end it earlier.

    Raises:
        ParameterError: If a setting has a value that it cannot have.

    Example:
        >>> z = np.random.default_rng(0).normal(3.0, 2.0, size=(50, 1))
        >>> family = FlowMatching(hidden=(8,), steps=2, updates=20)
        >>> fitted = family.distribution(**family.fit(z, seed=0))
        >>> fitted.log_prob(z).shape, fitted.sample(jax.random.key(0), (7,)).shape
        ((50,), (7, 1))
    """

    hidden: tuple[int, ...] = (256, 256, 256, 256)
    steps: int = 10
    updates: int = 6000
    after_training: ClassVar[bool] = True  # the only time when it can be fitted

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        object.__setattr__(self, "hidden", _widths(self, self.hidden))
        check_counts(self, "steps", "updates")

    @property
    def layer_weights(self) -> tuple[str, ...]:
        """Which parameters are weights of layers."""
        return layer_weights(len(self.hidden))

    def parameters(self, event: Event) -> Parameters:
        """Return mean, (L,), and factor, (L, L), its diagonal as logarithms, of all codes, and the network's weights.

        With the first weights it is a standard normal.
        """
        ends = {"mean": Learned(filled((event.size,))), "factor": Learned(filled((event.size, event.size)))}
        return {**ends, **velocity_weights(event.size, self.hidden)}

    def distribution(self, mean: Array, factor: Array, **weights: Array) -> dist.Distribution:
        """Return a distribution of event shape (L,)."""
        return Carried(mean, triangular(factor), weights, steps=self.steps)

    def fit(self, z: NDArray[np.floating], seed: int) -> dict[str, NDArray[np.floating]]:
        """Return parameters for codes, (n, L): the moments of the codes, and what regression makes of the network."""
        if len(z) < 2:
            raise DataError(f"X: expected at least 2 rows to fit a density to; got {len(z)}.")
        normal = FullNormal().fit(z, seed)
        factor = np.tril(normal["factor"], -1) + np.diag(np.exp(np.diagonal(normal["factor"])))
        white = np.linalg.solve(factor, (np.asarray(z, np.float64) - normal["mean"]).T).T
        return {**normal, **trained(white.astype(np.float32), self.hidden, self.updates, seed)}


@dataclass(frozen=True)
class TwoLayer:
    """p(z) = p(z₁|z₂) p(z₂): the last dimensions of z are a layer of their own, on which the others depend.

    p(z₂) is a standard normal, p(z₁|z₂) a normal whose mean and deviations a network with one hidden layer gives.

    Source: Sønderby et al., "Ladder Variational Autoencoders", 2016, for the model; Burda, Grosse and Salakhutdinov,
    "Importance Weighted Autoencoders", 2016, for two stochastic layers.

    Attributes:
        top: How many dimensions of z are z₂; `None`: a third, at least one.
        width: Units of the hidden layer.
    """

    top: int | None = None
    width: int = 100
    layer_weights: ClassVar[tuple[str, ...]] = ("hidden", "last")

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_counts(self, *(["width"] if self.top is None else ["top", "width"]))

    def parameters(self, event: Event) -> Parameters:
        """Return the weights of the network from z₂ to mean and log-deviation of z₁."""
        top = max(event.size // 3, 1) if self.top is None else self.top
        if top >= event.size:
            raise ParameterError(
                f"TwoLayer(top={self.top!r}): expected fewer dimensions than the {event.size} that z has, so that some "
                "are left for the first layer. Take a larger latent_dim."
            )
        bound, outputs = 1 / np.sqrt(top), 2 * (event.size - top)

        def first() -> NDArray[np.floating]:
            return np.random.default_rng(0).uniform(-bound, bound, (top, self.width))

        return {
            "hidden": Learned(first, (top, self.width)),
            "hidden_bias": Learned(filled((self.width,))),
            "last": Learned(filled((self.width, outputs))),
            "last_bias": Learned(filled((outputs,))),
        }

    def distribution(self, hidden: Array, hidden_bias: Array, last: Array, last_bias: Array) -> dist.Distribution:
        """Return a distribution of event shape (L,)."""
        return TwoLayerNormal(hidden, hidden_bias, last, last_bias)


class TwoLayerNormal(dist.Distribution):
    """A normal z₂ and a normal z₁ given z₂, as one distribution of z = (z₁, z₂); see `TwoLayer`."""

    support = dist.constraints.real_vector
    pytree_data_fields = ("hidden", "hidden_bias", "last", "last_bias")

    def __init__(self, hidden: Array, hidden_bias: Array, last: Array, last_bias: Array):
        self.hidden, self.hidden_bias, self.last, self.last_bias = hidden, hidden_bias, last, last_bias
        super().__init__(event_shape=(last.shape[-1] // 2 + len(hidden),))

    @property
    def sizes(self) -> tuple[int, int]:
        """How many dimensions z₁ and z₂ have."""
        return self.last.shape[-1] // 2, len(self.hidden)

    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each z, (...), for (..., L), in nats."""
        first, top = value[..., : self.sizes[0]], value[..., self.sizes[0] :]
        return self._first(top).log_prob(first) + dist.Normal().log_prob(top).sum(-1)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Return draws, (*sample_shape, L)."""
        above, below = jax.random.split(key)
        top = jax.random.normal(above, (*sample_shape, self.sizes[1]))
        return jnp.concatenate([self._first(top).sample(below), top], -1)

    def _first(self, top: Array) -> dist.Distribution:
        hidden = jnp.tanh(top @ self.hidden + self.hidden_bias)
        mean, log_scale = jnp.split(hidden @ self.last + self.last_bias, 2, -1)
        return dist.Normal(mean, jnp.exp(jnp.clip(log_scale, -10.0, 10.0))).to_event(1)


@dataclass(frozen=True)
class Conditional:
    """p(z|c): a family whose parameters a network gives from the context of each row; for models with `context=`.

    Attributes:
        family: One with parameters that a network can give: `DiagonalNormal()`, `FullNormal()`, `NumPyro("Laplace")`.
        hidden: Widths of the network's hidden layers.

    Example:
        >>> Conditional(DiagonalNormal())
        Conditional(family=DiagonalNormal(), hidden=(64,))
    """

    family: Any
    hidden: tuple[int, ...] = (64,)

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        object.__setattr__(self, "hidden", _widths(self, self.hidden))
        found: Parameters = getattr(self.family, "parameters", lambda event: {})(Event.plain(2))
        if not any(isinstance(parameter, Output) for parameter in found.values()):
            raise ParameterError(
                f"Conditional({self.family!r}): expected a family with parameters that a network can give, such as "
                "priors.DiagonalNormal()."
            )

    @property
    def support(self) -> Support:
        """That of the family."""
        return support_of(self.family)

    def parameters(self, event: Event) -> Parameters:
        """Return the parameters of the family."""
        found: Parameters = self.family.parameters(event)
        return found

    def distribution(self, **parameters: Array) -> dist.Distribution:
        """Return the distribution of the family, of batch shape (B,)."""
        return self.family.distribution(**parameters)


def _widths(settings: Any, given: Any) -> tuple[int, ...]:
    """Return the widths of hidden layers as a tuple, checked."""
    hidden, kind = tuple(given) if hasattr(given, "__iter__") else (given,), type(settings).__name__
    if not all(map(is_count, hidden)):
        raise ParameterError(f"{kind}(hidden={shown(given)}): expected whole numbers of at least 1.")
    if len(hidden) > MOST_LAYERS:
        raise ParameterError(f"{kind}: expected at most {MOST_LAYERS} hidden layers; got {len(hidden)}.")
    return hidden


class DiagonalMixture(dist.Distribution):
    """The mean of M normals with independent entries; NumPyro's mixture would make arrays of (K, B, M, L).

    The squared distances are products of matrices instead, which makes steps with hundreds of components some five
    times as fast. Digits cancel in them: log-densities are good to hundredths of a nat for deviations down to a
    fiftieth of the means' own.
    """

    support = dist.constraints.real_vector
    pytree_data_fields = ("means", "scales")

    def __init__(self, means: Array, scales: Array, *, validate_args: bool | None = None):
        self.means, self.scales = means, scales
        super().__init__(event_shape=(means.shape[-1],), validate_args=validate_args)

    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each z, (...), for (..., L), in nats."""
        # From the middle of all means, so that little cancels.
        middle = jax.lax.stop_gradient(self.means.mean(0))
        z, means, precisions = value - middle, self.means - middle, self.scales**-2
        # Large numbers cancel here: processors that multiply with fewer digits must not.
        product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
        squares = product(jnp.square(z), precisions.T) - 2 * product(z, (means * precisions).T)
        squares += (means**2 * precisions).sum(-1)
        constants = jnp.log(self.scales).sum(-1) + 0.5 * self.event_shape[0] * np.log(2 * np.pi)
        densities = -0.5 * jnp.maximum(squares, 0) - constants
        return jax.nn.logsumexp(densities, axis=-1) - np.log(len(self.means))

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Return draws, (*sample_shape, L)."""
        which, where = jax.random.split(key)
        chosen = jax.random.randint(which, sample_shape, 0, len(self.means))
        noise = jax.random.normal(where, (*sample_shape, *self.event_shape))
        return self.means[chosen] + self.scales[chosen] * noise

    @property
    def mean(self) -> Array:
        """The mean, (L,)."""
        return self.means.mean(0)

    @property
    def variance(self) -> Array:
        """The variance of each entry, (L,)."""
        return (jnp.square(self.scales) + jnp.square(self.means)).mean(0) - jnp.square(self.mean)
