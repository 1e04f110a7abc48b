"""What the class is made of: layers as Chainer has them, and a decoder of one output or of two.

Bernoulli, one output ℓ: p(x|z) = λ^x (1-λ)^(1-x) with λ = sigmoid(ℓ), and out_func(ℓ) is shown.
Gaussian, two outputs μ and h: p(x|z) = N(x; μ, floor² + exp(v)) with v = out_func(h), the log-variance.

At z = the posterior mean the loss of a row falls into three terms, L = D + A + M, in nats (Tachibana, Matsubara and
Uehara, JSAI 2018, 2A1-03; Matsubara et al., "Deep Generative Model using Unregularized Score for Anomaly Detection
with Heterogeneous Complexity", 2018):

    D   KL(q‖p)
    A   what a perfect reconstruction would cost: -log p(x) where the mean is x itself
    M   the rest, half the deviance; 0 where the mean is x
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import xlogy
from numpy.typing import NDArray

from omokage.batch import Batch, Event
from omokage.density import Density, Output, Parameters
from omokage.distributions import BernoulliLogits
from omokage.model import Model, divergence
from omokage.nets import layers
from omokage.nets.layers import Initializer
from omokage.nets.mlp import MLP
from omokage.posteriors import DiagonalNormal
from omokage.priors import StandardNormal

Function = Callable[[Array], Array]

_ROWS = 256


def leaky(x: Array) -> Array:
    """Return x where it is positive, else 0.2 x, as Chainer's leaky_relu."""
    return jax.nn.leaky_relu(x, 0.2)


ACTIVATIONS: dict[str, Function] = {
    **{name: layers.ACTIVATIONS[name] for name in ("sigmoid", "tanh", "softplus", "relu", "elu", "identity")},
    "leaky": leaky,
}
INITIALIZERS: dict[str, Initializer] = {
    "xavier": layers.INITIALIZERS["glorot_uniform"],
    "henormal": layers.INITIALIZERS["he_normal"],
}


@dataclass(frozen=True)
class BernoulliDecoder:
    """A likelihood family: see the module's text."""

    out_func: Function

    def parameters(self, event: Event) -> Parameters:
        """Return a logit for each feature."""
        return {"logits": Output(event.shape)}

    def distribution(self, logits: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        return ShownLogits(logits, self.out_func)

    def parts(self, x: Array, given: dist.Distribution) -> tuple[Array, Array]:
        """Return A and M of each entry, like x: the entropy of x, and KL(Bernoulli(x)‖Bernoulli(λ))."""
        entropy = -xlogy(x, x) - xlogy(1 - x, 1 - x)
        return entropy, jnp.maximum(-given.log_prob(x) - entropy, 0.0)  # rounding can leave less than 0


class ShownLogits(BernoulliLogits):
    """A Bernoulli that gives `out_func` of its logits as its mean, which it is for the sigmoid."""

    def __init__(self, logits: Array, out_func: Function):
        super().__init__(logits)
        self._out_func = out_func

    @property
    def mean(self) -> Array:
        """What is shown as the reconstruction."""
        return self._out_func(self.logits)


@dataclass(frozen=True)
class GaussianDecoder:
    """A likelihood family: see the module's text."""

    out_func: Function
    floor: float

    def parameters(self, event: Event) -> Parameters:
        """Return a mean and a log-variance, before `out_func`, for each feature."""
        return {"mean": Output(event.shape), "log_variance": Output(event.shape)}

    def distribution(self, mean: Array, log_variance: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        v = jnp.minimum(self.out_func(log_variance), 60.0)  # exp(60), and a square over it, are within float32
        return dist.Normal(mean, jnp.sqrt(self.floor**2 + jnp.exp(v)))

    def parts(self, x: Array, given: dist.Normal) -> tuple[Array, Array]:
        """Return A and M of each entry, like x: ½ log 2πσ², and ½ (x - μ)²/σ²."""
        return jnp.log(given.scale) + 0.5 * np.log(2 * np.pi), 0.5 * jnp.square((x - given.mean) / given.scale)


class ChainerBatchNorm(layers.BatchNorm):
    """Batch normalisation with Chainer's epsilon."""

    def __init__(self, features: int, name: str):
        super().__init__(features, name)
        self.epsilon = 2e-5


def _as_chainers(layer: Any) -> Any:
    """Return Chainer's batch normalisation in the place of ours; anything else comes back as it is."""
    return ChainerBatchNorm(len(layer.gain), layer.name) if isinstance(layer, layers.BatchNorm) else layer


def make(
    input_shape: int,
    hidden: Sequence[int],
    act_func: Function,
    decoder: BernoulliDecoder | GaussianDecoder,
    use_BN: bool,
    initializer: Initializer,
    random: np.random.Generator,
) -> Model:
    """Return a model with first weights; `hidden` ends with the latent dimension, and the decoder mirrors it."""
    *widths, latent_dim = hidden

    def network(inputs: int, widths: Sequence[int], name: str) -> MLP:
        normalization = "batch" if use_BN else None
        settings: Any = {"activation": act_func, "normalization": normalization, "initializer": initializer}
        mlp = MLP(inputs, widths, random=random, name=name, **settings)
        return jax.tree.map(_as_chainers, mlp, is_leaf=lambda leaf: isinstance(leaf, layers.BatchNorm))

    def density(family: Any, event: Event, network: Any) -> Density:
        return Density(family, event, network, initializer=initializer, random=random)

    latent = Event.plain(latent_dim)
    return Model(
        posterior=density(DiagonalNormal(), latent, network(input_shape, widths, "encoder")),
        likelihood=density(decoder, Event.plain(input_shape), network(latent_dim, widths[::-1], "decoder")),
        prior=density(StandardNormal(), latent, None),
    )


def terms(model: Model, x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return D (n,), and A and M entry by entry, (n, D), in nats; see the module's text."""
    padded = np.zeros((-(-len(x) // _ROWS) * _ROWS, *x.shape[1:]), np.float32)
    padded[: len(x)] = x
    # Blocks of one size, so that a row's result does not depend on how many come with it.
    blocks = [_terms(model, padded[start : start + _ROWS]) for start in range(0, len(padded), _ROWS)]
    return {name: np.concatenate([block[name] for block in blocks])[: len(x)] for name in blocks[0]}


@eqx.filter_jit
def _terms(model: Model, x: Any) -> dict[str, Any]:
    batch = Batch(x)
    posterior = model.encode(batch)
    attainable, rest = model.likelihood.family.parts(x, model.decode(posterior.mean, batch))
    return {"D": divergence(posterior, model.latent(batch)), "A": attainable, "M": rest}
