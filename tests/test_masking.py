"""Entries hidden from the encoder in training: `objectives.Masking`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import omokage as om
from omokage.batch import Batch
from omokage.errors import ParameterError
from omokage.objectives import ELBO, Masking

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def vae():
    X = np.random.default_rng(0).normal(size=(64, 4))
    X[::5, 1] = np.nan
    return om.VAE(2, hidden=(4,), epochs=1, verbose=0, data=om.data.Vectors(missing="mask")).fit(X)


def rows(seed=1):
    x = np.random.default_rng(seed).normal(size=(200, 4)).astype(np.float32)
    return Batch(jnp.asarray(x), mask=jnp.ones(x.shape, bool))


def test_where_nothing_is_hidden_it_is_the_objective_inside(vae):
    masked = Masking(0.0, ELBO())(vae.model_, rows(), KEY, jnp.float32(1))
    plain = ELBO()(vae.model_, rows(), jax.random.split(KEY, 3)[0], jnp.float32(1))
    np.testing.assert_array_equal(masked["loss"], plain["loss"])


def test_the_encoder_sees_nothing_of_a_hidden_entry_and_the_likelihood_counts_it(vae):
    batch = rows()._replace(hidden=jnp.zeros((200, 4), bool).at[:, 2].set(True))
    other = batch._replace(x=batch.x.at[:, 2].add(5.0))
    codes = [vae.model_.encode(one).mean for one in (batch, other)]
    np.testing.assert_array_equal(*codes)
    densities = [vae.model_.log_likelihoods(codes[0][None], one) for one in (batch, other)]
    changed = np.asarray(densities[0] != densities[1])
    assert changed[..., 2].all() and not changed[..., [0, 1, 3]].any()


def test_the_encoder_is_told_which_are_hidden(vae):
    batch = rows()._replace(x=jnp.zeros((200, 4)))  # 0 as an entry, and 0 for one that is hidden
    hidden = batch._replace(hidden=jnp.ones((200, 4), bool))
    assert (vae.model_.encode(batch).mean != vae.model_.encode(hidden).mean).any()


def test_the_mean_share_is_hidden(vae):
    seen = []

    def objective(model, batch, key, epoch):
        seen.append(np.asarray(batch.hidden))
        return {"loss": jnp.zeros(len(batch.x))}

    Masking(0.3, objective)(vae.model_, rows(), KEY, jnp.float32(1))
    assert seen[0].mean() == pytest.approx(0.3, abs=0.06)
    assert seen[0].mean(1).std() > 0.2  # of unlike rows unlike shares


@pytest.mark.parametrize("amount", [-0.1, 1.5, "much"])
def test_the_share_is_checked(amount):
    with pytest.raises(ParameterError, match="amount"):
        Masking(amount)
