"""Missing entries are filled by their mean given the others, whatever the encoder was trained on."""

import equinox as eqx
import numpy as np
import pytest

import omokage as om
from omokage import inference
from omokage.batch import Batch
from omokage.testing import linear_gaussian


class Told(eqx.Module):
    """A network that says that it is told which entries are missing, and otherwise does what another does."""

    inner: eqx.Module
    missing: bool = eqx.field(static=True, default=True)

    def __call__(self, *given):
        return self.inner(*given)


@pytest.mark.parametrize("told", [False, True])
def test_what_is_filled_in_is_the_conditional_mean_of_a_linear_model(told):
    model, x, _ = linear_gaussian(1)
    if told:
        model = eqx.tree_at(lambda m: m.posterior.network, model, Told(model.posterior.network))
    wide = np.full(2, 0.5, np.float32)  # a posterior that knows little: of a narrow one few draws have all the weight
    model = eqx.tree_at(lambda m: m.posterior.heads["log_variance"].bias, model, wide)
    head = model.likelihood.heads["mean"]
    W, b = np.float64(head.weight), np.float64(head.bias)
    covariance = W @ W.T + 0.7**2 * np.eye(5)
    mask = np.random.default_rng(0).random(x.shape) < 0.6
    mask[0], mask[1] = True, [True, False, False, False, False]
    batch = Batch(np.where(mask, x, 0).astype(np.float32), mask=mask)
    runs = np.stack([inference.impute(model, batch, 5, 4000, seed) for seed in range(6)])
    for row, seen in enumerate(mask):
        gain = covariance[np.ix_(~seen, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
        expected = b[~seen] + gain @ (x[row, seen] - b[seen])
        assert np.array_equal(runs[:, row, seen], np.broadcast_to(x[row, seen], (6, seen.sum())))
        error = runs[:, row, ~seen].std(0) / np.sqrt(6) + 1e-3
        assert (np.abs(runs[:, row, ~seen].mean(0) - expected) < 6 * error + 0.01).all()


def waves(random, count=150, counts=False):
    times, phase = np.arange(24)[:, None], random.uniform(0, 6.3, (count, 1, 1))
    wave = np.concatenate([np.sin(times / 3 + phase), np.cos(times / 3 + phase)], -1)
    return random.poisson(np.exp(1.5 + wave)).astype(float) if counts else wave + 0.1 * random.normal(size=wave.shape)


@pytest.fixture(scope="module")
def fitted():
    """A model for each kind of data, trained with and without holes; series that it did not see, and their holes."""
    found = {}
    for counts in (False, True):
        random = np.random.default_rng(0)
        rows, new = waves(random, 400, counts), waves(random, 100, counts)
        holes = random.random(new.shape) < 0.4
        for torn in (False, True):
            train = np.where(torn & (random.random(rows.shape) < 0.4), np.nan, rows)
            likelihood = "poisson" if counts else "auto"
            settings = {"latent_dim": 3, "hidden": (32,), "epochs": 80, "learning_rate": 5e-3, "verbose": 0}
            vae = om.VAE(likelihood=likelihood, batch_size=50, data="sequences", **settings).fit(train)
            found[counts, torn] = vae, new, holes
    return found


@pytest.mark.parametrize("counts", [False, True], ids=["Gaussian", "Poisson"])
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_series_are_filled_better_than_by_the_mean_and_by_one_look(fitted, counts, torn):
    vae, new, holes = fitted[counts, torn]
    filled = vae.impute(np.where(holes, np.nan, new), samples=64)
    assert np.array_equal(filled[~holes], new[~holes])

    def error(values):
        return np.sqrt(np.square(values - new)[holes].mean())

    mean = np.broadcast_to(new.mean((0, 1)), new.shape)
    made = vae.reconstruct(np.where(holes, np.nan, new))
    print(f"RMSE {error(filled):.3f}; one look {error(made):.3f}; mean {error(mean):.3f}")
    assert error(filled) < 0.6 * error(mean) if not counts else error(filled) < 0.85 * error(mean)
    assert error(filled) < 1.02 * error(made)
    once = vae.impute(np.where(holes, np.nan, new), samples=64, rounds=1)
    if torn:  # the encoder is told of the holes: nothing is to be filled for it
        assert np.array_equal(once, filled)
    else:  # also where a view shows x
        assert not np.allclose(once, filled, atol=1e-3)
        assert error(filled) < error(once) + 0.01


def test_one_row_and_many_rows_are_filled_alike(fitted):
    vae, new, holes = fitted[True, False]
    torn = np.where(holes, np.nan, new)
    assert np.array_equal(vae.impute(torn[7:8]), vae.impute(torn)[7:8])
