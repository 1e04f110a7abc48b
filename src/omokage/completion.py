"""Rows of which some entries are known: the others drawn from p(x|z), and how likely z makes what is known.

Where entries are independent given z, the others are drawn whatever is known, and the density of what is known is the
product of its entries'. Where they depend on one another (`model.takes_holes`), each entry is drawn given those before
it, known or drawn, and the product of the densities of the known ones is the weight of the whole row: then weighted
rows are draws from p(x|z) given what is known (likelihood weighting; Fung and Chang, "Weighing and Integrating Evidence
for Stochastic Simulation in Bayesian Networks", 1990).
"""

import jax
import jax.numpy as jnp
from jax import Array

from omokage.batch import Batch
from omokage.model import Model, takes_holes


def completed(model: Model, z: Array, rows: Batch | None, keys: Array, choices: Array) -> tuple[Array, Array]:
    """Return draws from p(x|z), those of entries with choices among these, and the logarithms of the choices' masses.

    Args:
        model: The model, in whose own units all is.
        z: Codes, (B, L).
        rows: What they are conditioned on; `None`: nothing.
        keys: Of the draws, (B,).
        choices: Values that entries may have, (E, M) or (B, E, M); NaN beyond them, and where entries are free.

    Returns:
        x, (B, E), and log p(an entry is one of its choices | z, entries before it), in nats, (B, E); 0 where there are
        none.
    """
    outputs = model.likelihood.outputs(z, rows)
    choices = jnp.broadcast_to(choices, (z.shape[0], *choices.shape[-2:]))
    if takes_holes(model.likelihood.family):
        x = jax.vmap(lambda row, key, own: model.likelihood.given(row).within(key, own))(outputs, keys, choices)
        return x, model.likelihood.given(outputs).masses(x, choices)
    free = model.likelihood.draw(outputs, keys)[0].astype(jnp.float32)
    given = model.likelihood.given(outputs)
    named = ~jnp.isnan(choices)

    def mass(choice: Array, is_one: Array) -> Array:
        return jnp.where(is_one, given.log_prob(jnp.where(is_one, choice, free)), -jnp.inf)

    each = jax.vmap(mass, -1, -1)(choices, named)  # (B, E, M)
    if each.shape[-1] > 1:
        noise = jax.vmap(lambda key: jax.random.gumbel(jax.random.fold_in(key, 1), each.shape[:0:-1]))(keys)
        best = jnp.argmax(each + jnp.swapaxes(noise, 1, 2), -1)
    else:
        best = jnp.zeros(each.shape[:-1], jnp.int32)
    chosen = jnp.take_along_axis(choices, best[..., None], -1)[..., 0]
    some = named.any(-1)
    return jnp.where(some, chosen, free), jnp.where(some, jax.nn.logsumexp(each, -1), 0)


def masses(model: Model, z: Array, rows: Batch | None, x: Array, choices: Array) -> Array:
    """Return the masses of choices as `completed` does, but of rows x, (B, E), whose other entries are as they are."""
    given = model.likelihood.given(model.likelihood.outputs(z, rows))
    found: Array = given.masses(x, jnp.broadcast_to(choices, (z.shape[0], *choices.shape[-2:])))
    return found
