"""A model: posterior q(z|x), likelihood p(x|z) and prior p(z), and the handling of draws; nothing else.

A model owns no loss. Draws have a leading dimension K: z is (K, B, L) and log-densities are (K, B), in nats,
summed over features. Networks see plain batches, so K and B are folded into one on the way through them.
"""

import dataclasses
import math
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from numpyro.distributions import Delta, Distribution, Independent

from omokage.batch import Batch
from omokage.codec import Codec, Decoded
from omokage.density import Density
from omokage.errors import ParameterError
from omokage.kl import exact
from omokage.nets.layers import TrainingPass
from omokage.supports import support_of

Tree = TypeVar("Tree")
_DRAWS = 100  # for a deviation that has no closed form


@dataclasses.dataclass(frozen=True, eq=False)
class Centre:
    """The mean of each entry of x over the training rows; compared by value, so that compiled programs are shared."""

    values: NDArray[np.float32]

    def __hash__(self) -> int:
        return hash(self.values.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Centre) and np.array_equal(self.values, other.values)


class Model(eqx.Module):
    """The three parts; `view` is what the encoder sees of x, and `bounds` how far out.

    `training` is set only inside a training step.

    `centre` is there where x is not standardised and the objective has to know its middle.

    A `codec` says in which units the model was trained, where rows come in others; x is then what it makes of them, and
    all that is said of rows is in their own units.
    """

    posterior: Density
    likelihood: Density
    prior: Density
    view: Any = None
    bounds: Any = None
    codec: Codec | None = None
    training: TrainingPass | None = eqx.field(static=True, default=None)
    centre: Centre | None = eqx.field(static=True, default=None)

    def in_training(self, training: TrainingPass) -> "Model":
        """Return the model with dropout on and batch statistics from the batch."""
        return dataclasses.replace(self, training=training)

    def opened(self, batch: Batch) -> tuple["Model", Batch]:
        """Return the model without its codec, and the rows in its own units."""
        if self.codec is None:
            return self, batch
        return dataclasses.replace(self, codec=None), self.codec.encode(batch)

    def told(self, batch: Batch) -> Batch:
        """Return the rows with their context in the model's own units."""
        return batch if self.codec is None else self.codec.told(batch)

    def posterior_outputs(self, batch: Batch) -> dict[str, Array]:
        """Return what the encoder gives of the parameters of q(z|x), by name, (B, ...) each; as in inference."""
        return self.posterior.outputs(self.seen(batch), self._shown(batch))

    def encode(self, batch: Batch) -> Distribution:
        """Return q(z|x), batch shape (B,), event shape (L,)."""
        posterior = self.posterior(self.seen(batch), self._shown(batch), self.training)
        if len(posterior.event_shape) != 1:
            raise ParameterError(
                f"posterior: expected a distribution of z, event shape (L,); {self.posterior.family} gives one of "
                f"event shape {posterior.event_shape}. End it with .to_event(1)."
            )
        return posterior

    def seen(self, batch: Batch) -> Array:
        """Return what the encoder sees of the rows: `inputs` where given, else the view of x, 0 where nothing was."""
        if self.codec is not None:
            batch = self.codec.encode(batch)
        seen = batch.seen if batch.inputs is not None or self.view is None else self.view(batch.x)
        if self.bounds is not None:
            seen = self.bounds(seen)
        there = self.visible(batch)
        return seen if batch.inputs is not None or there is None else jnp.where(there, seen, 0)

    def visible(self, batch: Batch) -> Array | None:
        """Return which entries of what the encoder sees were observed, like it or (B, T, 1); `None`: all."""
        observed = shown(batch)
        if observed is None or self.view is None or observed.shape != batch.x.shape:
            return observed
        widened: Array = self.view.widened(observed)
        return widened

    def _shown(self, batch: Batch) -> Batch:
        """Return the rows as networks are told of them: their context, and which entries are there and known."""
        told = self.told(batch)
        if batch.hidden is not None and told.mask is not None:
            told = told._replace(mask=shown(batch))
        if self.view is None or not getattr(self.posterior.network, "missing", 0):
            return told
        known = self.view.known(told.x)
        if known is None:
            return told
        seen = shown(told)
        return told._replace(mask=known if seen is None else known & seen)

    def decode(self, z: Array, batch: Batch | None = None) -> Distribution:
        """Return p(x|z) for z of shape (..., L): batch shape (rows of z, *event), leading dimensions folded.

        `batch` says how many steps there are, where rows are sequences, and what the rows are conditioned on.
        """
        folded = z.reshape(-1, z.shape[-1])
        copies = math.prod(z.shape[:-2])
        if batch is not None and copies > 1:
            batch = batch.map(lambda a: jnp.broadcast_to(a, (copies, *a.shape)).reshape(-1, *a.shape[1:]))
        given = self.likelihood(folded, None if batch is None else self.told(batch), self.training)
        return given if self.codec is None else self.codec.decoded(given)

    def latent(self, batch: Batch | None = None) -> Distribution:
        """Return p(z), event shape (L,); where it depends on the context, batch shape (B,)."""
        if self.prior.network is None:
            return self.prior(encoder=self._encode_rows)
        assert batch is not None  # every question of such a model brings its context
        return self.prior(self.told(batch).context, training=self.training)

    def _encode_rows(self, rows: Array) -> Distribution:
        """Return the posterior of rows that a prior holds; as in inference, since they are no sample of the data."""
        return self.posterior(rows, Batch(rows))

    def log_likelihoods(self, z: Array, batch: Batch) -> Array:
        """Return log p(x|z) of every entry, (K, B, *event), for z of shape (K, B, L); unobserved entries are 0."""
        given = self.decode(z, batch)
        if given.event_shape:
            raise ParameterError(
                f"likelihood: expected a distribution of each entry of x; {self.likelihood.family} gives one of event "
                f"shape {given.event_shape}, which has no density for single entries."
            )
        folded = given.batch_shape[0] == z.shape[0] * z.shape[1]
        x, observed = self._filled(batch), batch.observed
        if folded and z.shape[0] > 1:
            x = jnp.broadcast_to(x, (z.shape[0], *x.shape)).reshape(-1, *x.shape[1:])
        densities = given.log_prob(x).reshape(*z.shape[:2], *batch.x.shape[1:])
        return densities if observed is None else jnp.where(observed, densities, 0)

    def deviances(self, z: Array, batch: Batch) -> tuple[Array, Array]:
        """Return M and A of every entry, (B, *event) each, for z of shape (B, L); those of unobserved ones are 0.

        A is the least that -log p(x|·) can be at the width that the likelihood has, and M, at least 0, how far
        -log p(x|z) is above it: half the deviance of generalised linear models. For a Gaussian A is ½ log 2πσ² and M is
        (x-μ)²/2σ². In nats of rows.
        """
        if self.codec is not None:
            own, rows = self.opened(batch)
            deviance, normaliser = own.deviances(z, rows)
            normaliser = normaliser + self.codec.log_scales()
            return deviance, normaliser if batch.observed is None else jnp.where(batch.observed, normaliser, 0)
        outputs, x, observed = self.likelihood.outputs(z, batch, self.training), self._filled(batch), batch.observed
        normaliser = -self.likelihood.saturated(outputs, x).log_prob(x)
        deviance = jnp.maximum(-self.likelihood.given(outputs).log_prob(x) - normaliser, 0)
        if observed is None:
            return deviance, normaliser
        return jnp.where(observed, deviance, 0), jnp.where(observed, normaliser, 0)

    def _filled(self, batch: Batch) -> Array:
        """Return x with a value of the support where nothing was observed: a density of it has a finite gradient.

        A family that `takes_holes`, since an entry's density depends on others, is told by NaN.
        """
        if batch.observed is None:
            return batch.x
        family = self.likelihood.family
        return jnp.where(batch.observed, batch.x, jnp.nan if takes_holes(family) else support_of(family).inside)

    def log_likelihood(self, z: Array, batch: Batch) -> Array:
        """Return log p(x|z) of every row, (K, B), for z of shape (K, B, L)."""
        densities = self.log_likelihoods(z, batch)
        return densities.sum(tuple(range(2, densities.ndim)))


def takes_holes(family: Any) -> bool:
    """Say whether entries depend on one another given z, so that densities of some are asked for with NaN for others.

    Its distribution then has `within` and `masses`, by which rows are drawn whose other entries are known.
    """
    return getattr(family, "takes_holes", False)


def shown(batch: Batch) -> Array | None:
    """Return which entries of x the encoder sees, like `Batch.observed`; `None`: all."""
    if batch.hidden is None:
        return batch.observed
    return ~batch.hidden if batch.observed is None else batch.observed & ~batch.hidden


def repeated(model: Model) -> Model:
    """Return a model whose next forward pass in training has the same dropout as that of `model`."""
    return model if model.training is None else model.in_training(model.training.repeated())


def stopped(tree: Tree) -> Tree:
    """Return a model or a distribution whose arrays pass no gradient on."""
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, tree)


def is_point_mass(posterior: Distribution) -> bool:
    """Say whether a posterior has no density, as a plain autoencoder's."""
    return isinstance(posterior, Delta)


def centre(distribution: Distribution) -> Array:
    """Return the mean of a distribution; of one pushed through a map, where that is not known, the base's, mapped."""
    try:
        return distribution.mean
    except NotImplementedError:
        return _mapped_centre(distribution)


def check_moment(density: Density, part: str, moment: str) -> None:
    """Check that a part's distribution has a moment, "mean" or "variance", as a Cauchy distribution has none.

    Raises:
        ParameterError: If its family says that it is `undefined`.
    """
    if moment in getattr(density.family, "undefined", ()):
        raise ParameterError(_lacking(density, part, moment))


def check_defined(values: Any, density: Density, part: str, moment: str) -> None:
    """Check that a moment came out as numbers, (n, ...); it may be undefined for some parameters only.

    Raises:
        ParameterError: If one is not a number, or one entry is infinite in all rows.
    """
    wrong = np.isnan(values) | np.isinf(values).all(0)
    if wrong.any():
        raise ParameterError(_lacking(density, part, moment) + f" (First at row {np.argwhere(wrong)[0][0]}.)")


def _lacking(density: Density, part: str, moment: str) -> str:
    family = density.family
    remedy = {
        "posterior": "Take posterior='diagonal', or what needs no features: sample, score_samples, log_likelihood",
        "likelihood": "Take a likelihood with one, such as 'student_t' for heavy tails, or what needs none: sample, "
        "score_samples, log_likelihood",
    }[part]
    return (
        f"{part}: {getattr(family, 'name', type(family).__name__)} has no finite {moment} here, which is what is asked "
        f"for. {remedy}."
    )


def expected_of(density: Density, given: Distribution) -> Array:
    """Return what may be averaged over draws and models, (B, *places): the mean, and of classes their probabilities.

    Of members of an ensemble it is in the units of the rows. `usual` makes rows of averages.

    Raises:
        ParameterError: If there is no mean.
    """
    check_moment(density, "likelihood", "mean")
    if not hasattr(density.family, "usual"):
        return given.mean
    if not isinstance(given, Decoded):
        expected: Array = given.expected
        return expected
    places = density.family.places(given.base.batch_shape[-1])
    return given.base.expected * given.scale[..., places] + given.location[..., places]


def variance_of(density: Density, given: Distribution) -> Array:
    """Return the variance of each of `expected_of`, (B, *places), given z; NaN where it is not known."""
    base, scale = (given.base, given.scale) if isinstance(given, Decoded) else (given, 1.0)
    try:
        variance = base.expected_variance if hasattr(density.family, "usual") else base.variance
    except NotImplementedError:
        shape = jax.eval_shape(lambda: expected_of(density, given)).shape
        return jnp.full(shape, jnp.nan)
    if isinstance(given, Decoded):
        scale = given.scale[..., places_of(density, given.base.batch_shape[-1])]
    return jnp.broadcast_to(variance * jnp.square(scale), expected_of(density, given).shape)


def places_of(density: Density, entries: int) -> NDArray[np.int64]:
    """Return which of so many entries, on the last axis, each of `expected_of` is of."""
    found: NDArray[np.int64] = (
        density.family.places(entries) if hasattr(density.family, "usual") else np.arange(entries)
    )
    return found


def usual(density: Density, expected: Array) -> Array:
    """Return rows, (B, *event), from averages of what `expected_of` gives: of classes the most likely ones."""
    return density.family.usual(expected) if hasattr(density.family, "usual") else expected


def mean_of(density: Density, given: Distribution) -> Array:
    """Return the mean of the likelihood, (B, *event); raises ParameterError where it has none."""
    check_moment(density, "likelihood", "mean")
    return given.mean


def width(distribution: Distribution) -> Array:
    """Return the deviation of each entry; where it is infinite, half the range of the middle two thirds of draws."""
    deviation = spread(distribution)
    low, high = jnp.quantile(distribution.sample(jax.random.key(0), (_DRAWS,)), jnp.array([1 / 6, 5 / 6]), axis=0)
    return jnp.where(jnp.isfinite(deviation), deviation, (high - low) / 2)


def spread(distribution: Distribution) -> Array:
    """Return the deviation of each entry; of one pushed through a map, where that is not known, from draws."""
    try:
        return jnp.sqrt(distribution.variance)
    except NotImplementedError:
        return distribution.sample(jax.random.key(0), (_DRAWS,)).std(0)


def _mapped_centre(distribution: Any) -> Array:
    if isinstance(distribution, Independent):
        return _mapped_centre(distribution.base_dist)
    value = centre(distribution.base_dist)
    for transform in distribution.transforms:
        value = transform(value)
    return value


def divergence(posterior: Distribution, prior: Distribution) -> Array | None:
    """Return KL(q‖p) of each row in closed form, (B,), or `None` where no exact one is known; see `omokage.kl`."""
    return exact(posterior, prior)


def kl_form(model: Model) -> str:
    """Return how KL(q‖p) of a model is found: "closed form", "draws", or "none" for a point mass."""

    def blank(density: Density, rows: int = 1) -> dict[str, Array]:
        return {name: jnp.zeros((rows, *head.shape)) for name, head in density.heads.items()}

    def found() -> Array | None:
        posterior = model.posterior.given(blank(model.posterior))
        encoder = lambda rows: model.posterior.given(blank(model.posterior, len(rows)))  # noqa: E731
        return divergence(posterior, model.prior.given(blank(model.prior), encoder))

    if isinstance(jax.eval_shape(lambda: model.posterior.given(blank(model.posterior))), Delta):
        return "none"
    return "draws" if jax.eval_shape(found) is None else "closed form"


def divergences(posterior: Distribution, prior: Distribution) -> Array | None:
    """Return KL(q‖p) of each row and latent dimension, (B, L), or `None` where they do not factorise."""
    if not (isinstance(posterior, Independent) and isinstance(prior, Independent)):
        return None
    parts = posterior.base_dist, prior.base_dist
    return None if any(part.event_shape for part in parts) else divergence(*parts)
