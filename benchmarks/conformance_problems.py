"""Problems whose answers are known, for `conformance.py`: above all a latent-variable model in closed form.

    z ~ N(0, I),   x | z ~ N(W z + b, I),   so   p(x) = N(x; b, C) with C = W Wᵀ + I,
    and   p(z | x) = N(z; S Wᵀ(x - b), S) with S = (I + WᵀW)⁻¹

The columns of W are orthogonal, so S is diagonal, and an encoder with a variance for each latent dimension could be
exact. Ours, q(z|x) = N(z; A x + a, diag v), is not: the bound then lies below log p(x) by a known distance. The rows
are not drawn from the model either, so that the gradient of log p(x) is not zero. D features, L latent dimensions, n
rows.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = dict[str, float]  # what a contender got, each number with its label


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """The decoder's W (D, L) and b (D,), the encoder's A (L, D), a (L,) and v (L,), and rows X (n, D)."""

    W: Array
    b: Array
    A: Array
    a: Array
    v: Array
    X: NDArray[np.float32]

    @property
    def means(self) -> Array:
        """The encoder's means, A x + a, (n, L)."""
        return np.asarray(self.X @ self.A.T + self.a)

    @property
    def exact_variances(self) -> Array:
        """The diagonal of S, the covariance of p(z|x), (L,)."""
        return np.asarray(1 / (1 + (self.W**2).sum(0)))

    @property
    def exact_means(self) -> Array:
        """The means of p(z|x), (n, L)."""
        return np.asarray((self.X - self.b) @ self.W * self.exact_variances)

    def log_densities(self) -> Array:
        """Return log p(x) of each row in nats, (n,)."""
        covariance = self.W @ self.W.T + np.eye(len(self.W))
        centred = self.X - self.b
        squares = np.einsum("nd,de,ne->n", centred, np.linalg.inv(covariance), centred)
        return np.asarray(-0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1]))

    def divergences(self) -> Array:
        """Return KL(q(z|x) ‖ p(z)) of each row in nats, (n,)."""
        return np.asarray(0.5 * (self.means**2 + self.v - 1 - np.log(self.v)).sum(1))

    def bounds(self) -> Array:
        """Return the ELBO of each row in nats, (n,): E_q log p(x|z) - KL(q(z|x) ‖ p(z))."""
        error = self.X - self.b - self.means @ self.W.T
        squares = (error**2).sum(1) + (self.W**2).sum(0) @ self.v
        return np.asarray(-0.5 * squares - 0.5 * error.shape[1] * np.log(2 * np.pi) - self.divergences())

    def weight_variances(self) -> Array:
        """Return the variance of one importance weight p(x, z) / q(z|x) / p(x), z drawn from q, for each row, (n,)."""
        s, v = self.exact_variances, self.v
        room = 2 * v - s
        shift = (self.means - self.exact_means) ** 2
        return np.asarray((v / np.sqrt(s * room) * np.exp(shift / room)).prod(1) - 1)

    def likelihood_gradient(self) -> Array:
        """Return the gradient of the mean of -log p(x) by W and b, as one vector, (D·L + D,)."""
        precision = np.linalg.inv(self.W @ self.W.T + np.eye(len(self.W)))
        centred = self.X - self.b
        scatter = centred.T @ centred / len(centred)
        by_weights = (precision - precision @ scatter @ precision) @ self.W
        return np.concatenate([by_weights.ravel(), -precision @ centred.mean(0)])

    def bound_gradient(self) -> Array:
        """Return the gradient of the mean of -ELBO by W and b, as one vector, (D·L + D,)."""
        error = self.X - self.b - self.means @ self.W.T
        by_weights = -error.T @ self.means / len(error) + self.W * self.v
        return np.concatenate([by_weights.ravel(), -error.mean(0)])

    def bound_gradient_of_encoder(self) -> Array:
        """Return the gradient of the mean of -ELBO by A and a, as one vector, (L·D + L,)."""
        by_means = self.means - (self.X - self.b - self.means @ self.W.T) @ self.W
        return np.concatenate([(by_means.T @ self.X / len(self.X)).ravel(), by_means.mean(0)])


def make(features: int = 6, rows: int = 200) -> LinearGaussian:
    """Return the model that the checks share; it is the same every time.

    Args:
        features: D, at least 2.
        rows: n.

    Returns:
        A model with two latent dimensions whose ELBO lies some tenths of a nat below log p(x).

    Example:
        >>> model = make()
        >>> bool((model.bounds() < model.log_densities()).all())
        True
    """
    random = np.random.default_rng(0)
    W = np.linalg.qr(random.normal(size=(features, 2)))[0] * np.array([2.0, 1.2])
    b = random.normal(size=features)
    X = random.normal(size=(rows, 2)) @ W.T + b + 0.5 + random.normal(size=(rows, features))
    s = 1 / (1 + (W**2).sum(0))
    A = 0.9 * W.T * s[:, None]
    return LinearGaussian(W, b, A, 0.2 - A @ b, 1.4 * s, X.astype(np.float32))


TRUTH = make()
# Two models whose decoder ignores z, so they reconstruct alike; the encoders' KL is 0 and ½(3² + 4²) nats.
_SILENT = dataclasses.replace(TRUTH, W=0 * TRUTH.W, A=0 * TRUTH.A, v=np.ones(2))
NO_KL = dataclasses.replace(_SILENT, a=np.zeros(2))
MUCH_KL = dataclasses.replace(_SILENT, a=np.array([3.0, 4.0]))


def standardised() -> NDArray[np.float32]:
    """Return two correlated columns of mean 0 and deviation 1, (500, 2)."""
    X = np.random.default_rng(0).normal(size=(500, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    return np.asarray((X - X.mean(0)) / X.std(0), np.float32)


def apart(one: Array, other: Array) -> float:
    """Return the distance of two vectors, as a share of the second one's length."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def draws_behind(bounds: Array, row: int = 0) -> float:
    """Return how many draws a bound was made of, judged by how it varies.

    The mean of n importance weights has the variance of one weight divided by n, and that of one is known.

    Args:
        bounds: Repeated bounds on log p(x) of one row of `TRUTH`, in nats.
        row: Which.

    Returns:
        An estimate of n; its error is about 4 % for 1,000 bounds.
    """
    means = np.exp(bounds - TRUTH.log_densities()[row])
    return float(TRUTH.weight_variances()[row] / means.var())


def same_strangest(one: Array, other: Array, count: int = 20) -> Numbers:
    """Return how far two sets of anomaly scores differ, in deviations, and how many of the highest are in both."""
    strangest = [set(np.argsort(scores)[-count:].tolist()) for scores in (one, other)]
    difference = float(np.abs(one - other).max() / one.std())
    return {"difference": difference, f"of {count}": len(strangest[0] & strangest[1])}


def generator_moved(action: Callable[[], object]) -> float:
    """Return how far the next number of NumPy's global generator is from what it would be without `action`."""
    kept = np.random.get_state()  # noqa: NPY002 - the global generator is what this is about
    try:
        np.random.seed(1)  # noqa: NPY002
        expected = np.random.random()  # noqa: NPY002
        np.random.seed(1)  # noqa: NPY002
        action()
        return abs(np.random.random() - expected)  # noqa: NPY002
    finally:
        np.random.set_state(kept)  # noqa: NPY002


def linear_layer(weight: Array, bias: Array) -> Any:
    """A layer of PyTorch with these weights, (outputs, inputs) and (outputs,)."""
    import torch  # here, since omokage's answers do without

    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
