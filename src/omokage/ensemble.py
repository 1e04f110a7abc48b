"""Models of one structure side by side: trained at once in one compiled program, asked at once.

An `Ensemble` is to the training loop a model like any other, and `Together` an objective like any other: each member
gets the same minibatches, noise of its own, and no gradient from the rows of its fold, which it leaves out. Since no
weight is shared, a step on the sum of the losses is a step of each member on its own. Members whose rows differ have
units of their own, which each carries as its codec.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from omokage.batch import Batch
from omokage.model import Model
from omokage.nets.layers import TrainingPass
from omokage.objectives import Objective, Terms


class Ensemble(eqx.Module):
    """M models as one: each array has the members along its first axis, (M, ...)."""

    models: Model
    training: TrainingPass | None = eqx.field(static=True, default=None)

    @staticmethod
    def of(models: Sequence[Model]) -> "Ensemble":
        """Return models that differ in their arrays alone as an ensemble."""
        return Ensemble(jax.tree.map(lambda *leaves: np.stack(leaves), *models))

    def __len__(self) -> int:
        return len(jax.tree.leaves(self.models)[0])

    @property
    def first(self) -> Model:
        """The first of the models."""
        return self.member(0)

    def member(self, number: int) -> Model:
        """Return one of the models."""
        return jax.tree.map(lambda leaf: leaf[number], self.models)

    def in_training(self, training: TrainingPass) -> "Ensemble":
        """Return the ensemble with dropout on and batch statistics from the batch."""
        return replace(self, training=training)


@dataclass(frozen=True)
class Together:
    """An objective for every member of an ensemble; member m leaves out the rows of fold m."""

    objective: Objective

    @property
    def of_each(self) -> Objective:
        """That of a single model."""
        return self.objective

    def __call__(self, model: Ensemble, batch: Batch, key: Array, epoch: Array) -> Terms:
        """Return the mean of each term over the members, (B,); the gradient of "loss" is that of the sum."""
        members = jnp.arange(len(model))
        shares = jnp.ones((len(members), len(batch.x)))
        if batch.fold is not None:  # as many as members, so that this makes the mean of the weights 1
            shares = (members[:, None] != batch.fold) * (len(members) / (len(members) - 1))
        given = jnp.ones(len(batch.x)) if batch.weight is None else batch.weight
        pass_key = None if model.training is None else model.training.key()

        def one(member: Model, number: Array, share: Array) -> tuple[Terms, dict[str, Any]]:
            training, weight = None, given * share
            if pass_key is not None:
                training = TrainingPass(jax.random.fold_in(pass_key, number), weight)
                member = member.in_training(training)
            member, rows = member.opened(batch)
            # A member may have no row in this minibatch: all have weight 0. A mean over no rows would be NaN. So
            # all rows get weight 1 here, and below the member's terms are set to 0.
            empty = weight.sum() == 0
            rows = rows._replace(weight=jnp.where(empty, 1.0, weight), fold=None)
            terms = self.objective(member, rows, jax.random.fold_in(key, number), epoch)
            counts = (share > 0) & ~empty
            kept = {name: jnp.where(counts, share * term, 0) for name, term in terms.items()}
            return kept, {} if training is None else training.statistics

        terms, statistics = jax.vmap(one)(model.models, members, shares)
        if model.training is not None:
            model.training.statistics.update(statistics)
        means = {name: values.mean(0) for name, values in terms.items()}
        total = terms["loss"].sum(0)
        return {**means, "loss": jax.lax.stop_gradient(means["loss"] - total) + total}


@functools.lru_cache(maxsize=64)
def each_apart(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Return an optimizer that treats every member as if it were alone, so that gradients are clipped one by one."""

    def update(gradients: Any, state: Any, parameters: Any = None) -> Any:
        return jax.vmap(optimizer.update)(gradients, state, parameters)

    return optax.GradientTransformation(jax.vmap(optimizer.init), update)


@functools.lru_cache(maxsize=64)
def of_each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what asks every member: from `function(model, batch, *arguments)` to arrays (B, M, ...)."""

    def ask(ensemble: Ensemble, batch: Any, *arguments: Any) -> Any:
        return jax.vmap(lambda model: function(model, batch, *arguments), out_axes=1)(ensemble.models)

    return ask
