"""What pythae answers to the questions of `conformance.py`: one function each, whose text says which call was made."""

import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from conformance_problems import (
    MUCH_KL,
    NO_KL,
    TRUTH,
    Array,
    LinearGaussian,
    Numbers,
    apart,
    draws_behind,
    generator_moved,
    linear_layer,
    standardised,
)
from pythae import models
from pythae.data.datasets import BaseDataset, DatasetOutput
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
from pythae.trainers import (
    BaseTrainer,
    BaseTrainerConfig,
    CoupledOptimizerAdversarialTrainer,
    CoupledOptimizerAdversarialTrainerConfig,
)

ROWS = torch.from_numpy(TRUTH.X)
CONSTANT = 0.5 * TRUTH.X.shape[1] * np.log(2 * np.pi)  # of a Gaussian of unit scale; pythae's losses leave it out


class Encoder(BaseEncoder):
    """q(z|x) = N(z; A x + a, diag v)."""

    def __init__(self, truth: LinearGaussian) -> None:
        BaseEncoder.__init__(self)
        self.mean, self.log_variance = linear_layer(truth.A, truth.a), linear_layer(0 * truth.A, np.log(truth.v))

    def forward(self, x: Any) -> Any:
        return ModelOutput(embedding=self.mean(x), log_covariance=self.log_variance(x))


class Decoder(BaseDecoder):
    """The means W z + b of p(x|z)."""

    def __init__(self, truth: LinearGaussian) -> None:
        BaseDecoder.__init__(self)
        self.layer = linear_layer(truth.W, truth.b)

    def forward(self, z: Any) -> Any:
        return ModelOutput(reconstruction=self.layer(z))


def place(name: str = "VAE", truth: LinearGaussian = TRUTH, **settings: Any) -> Any:
    """Return pythae's model of this name with the weights of `truth`."""
    configuration = getattr(models, f"{name}Config")(input_dim=(len(truth.b),), latent_dim=len(truth.a), **settings)
    return getattr(models, name)(configuration, Encoder(truth), Decoder(truth))


def output(model: Any) -> Any:
    """What the model returns in training for all rows, its losses among it."""
    return model(DatasetOutput(data=ROWS))


def seeded(action: Callable[[], Any], seed: int = 0) -> Any:
    """Return what `action` returns with PyTorch's generator at `seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return action()


def flat(gradients: Iterable[Any]) -> Array:
    """Return gradients as one vector."""
    return np.concatenate([gradient.numpy().astype(np.float64).ravel() for gradient in gradients])


def by_decoder(model: Any, name: str = "loss") -> Array:
    """Return the gradient of one of the losses by W and b."""
    layer = model.decoder.layer
    return flat(torch.autograd.grad(seeded(lambda: output(model))[name], [layer.weight, layer.bias]))


def by_encoder(model: Any, name: str = "loss") -> Array:
    """Return the gradient of one of the losses by A and a."""
    layer = model.encoder.mean
    return flat(torch.autograd.grad(seeded(lambda: output(model))[name], [layer.weight, layer.bias]))


def sign() -> Numbers:
    """`-VAE(...).get_nll(X, n_samples=5000)`: minus `nll`, the negative log-likelihood."""
    with torch.no_grad():
        return {"": -float(seeded(lambda: place().get_nll(ROWS, n_samples=5000)))}


def size() -> Numbers:
    """`abs(VAE(...).get_nll(X, n_samples=5000))`."""
    return {"": abs(sign()[""])}


def draws(repeats: int = 1000) -> Numbers:
    """`VAE(...).get_nll(X[:1], n_samples=n)`, 1,000 times for each n."""
    model = place()

    def bounds(n: int) -> Array:
        return np.array([model.get_nll(ROWS[:1], n_samples=n) for _ in range(repeats)])

    with torch.no_grad():
        return {str(n): draws_behind(seeded(lambda n=n: bounds(n))) for n in (1, 7, 250)}


def rising(repeats: int = 20) -> Numbers:
    """`VAE(...).get_nll(X, n_samples=K, batch_size=K)`, the mean over 20 calls for each K, with the sign corrected."""
    model = place()

    def bound(K: int) -> float:
        return float(np.mean([model.get_nll(ROWS, n_samples=K, batch_size=K) for _ in range(repeats)]))

    with torch.no_grad():
        return {f"K = {K}": seeded(lambda K=K: bound(K)) for K in (1, 8, 64, 512)}


def elbo() -> Numbers:
    """`-VAE(...)(inputs).loss`, the mean over 400 calls, minus ½ D log 2π, the constant that pythae leaves out."""
    return {"": -mean_loss(place(), 400)}


def mean_loss(model: Any, calls: int) -> float:
    """The mean of the loss over calls, with the constant of the Gaussian."""
    with torch.no_grad():
        return float(seeded(lambda: np.mean([float(output(model).loss) for _ in range(calls)])) + CONSTANT)


def kl_counts() -> Numbers:
    """`VAE(...)(inputs).loss`, with the same seed for both encoders."""
    return {"": mean_loss(place(truth=MUCH_KL), 1) - mean_loss(place(truth=NO_KL), 1)}


def kl_slope() -> Numbers:
    """The gradient of `VAE(...)(inputs).loss`."""
    slope = by_encoder(place(truth=MUCH_KL))[-2:]
    return {"": float(slope @ MUCH_KL.a / (MUCH_KL.a @ MUCH_KL.a))}


def kl_by_draws() -> Numbers:
    """`IWAE(...)(inputs).reg_loss`, `number_samples=2000`."""
    with torch.no_grad():
        return {"": float(seeded(lambda: output(place("IWAE", number_samples=2000))).reg_loss)}


def iwae_value() -> Numbers:
    """`IWAE(...)(inputs).loss`, `number_samples=50`, the mean over 50 calls, plus ½ D log 2π."""
    return {"": mean_loss(place("IWAE", number_samples=50), 50)}


def iwae_gradient() -> Numbers:
    """The gradient of `IWAE(...)(inputs).loss`, `number_samples=2000`."""
    return {"": apart(by_decoder(place("IWAE", number_samples=2000)), TRUTH.likelihood_gradient())}


def nested(name: str, outer: int, samples: int) -> Any:
    """MIWAE or PIWAE with M × K draws."""
    return place(name, number_gradient_estimates=outer, number_samples=samples)


def miwae() -> Numbers:
    """Gradients of `MIWAE(...)(inputs).loss`, `number_gradient_estimates=M, number_samples=K`."""
    return {
        "1 × 2000": apart(by_decoder(nested("MIWAE", 1, 2000)), TRUTH.likelihood_gradient()),
        "2000 × 1": apart(by_decoder(nested("MIWAE", 2000, 1)), TRUTH.bound_gradient()),
    }


def piwae() -> Numbers:
    """Gradients of `decoder_loss` and `encoder_loss` of `PIWAE(...)(inputs)`, settings as for MIWAE."""
    of_elbo = TRUTH.bound_gradient_of_encoder()
    outer = nested("PIWAE", 2000, 1)
    return {
        "decoder, 2000 × 1": apart(by_decoder(outer, "decoder_loss"), TRUTH.likelihood_gradient()),
        "encoder, 1 × 2000": apart(by_encoder(nested("PIWAE", 1, 2000), "encoder_loss") + of_elbo, of_elbo),
        "encoder, 2000 × 1": apart(by_encoder(outer, "encoder_loss"), of_elbo),
    }


def ciwae() -> Numbers:
    """Gradients of `CIWAE(...)(inputs).loss`, `number_samples=2000, beta=β`."""
    iwae_end, elbo_end = (by_decoder(place("CIWAE", number_samples=2000, beta=beta)) for beta in (0.0, 1.0))
    return {
        "β = 0": apart(iwae_end, TRUTH.likelihood_gradient()),
        "β = 1": apart(elbo_end, TRUTH.bound_gradient()),
    }


def embed_twice() -> Numbers:
    """`VAE(...).eval().embed(X)` and `.reconstruct(X)`, twice each."""
    model = place().eval()
    with torch.no_grad():
        return {
            "embedding": float((model.embed(ROWS) - model.embed(ROWS)).abs().max()),
            "reconstruction": float((model.reconstruct(ROWS) - model.reconstruct(ROWS)).abs().max()),
        }


def posterior_means() -> Numbers:
    """`VAE(...).eval().predict(X).embedding`, and the same with the rows in another order."""
    model, order = place().eval(), np.random.default_rng(0).permutation(len(ROWS))
    with torch.no_grad():
        Z = model.predict(ROWS).embedding
        return {
            "error": float(np.abs(Z.numpy() - TRUTH.means).max()),
            "shuffled": float((model.predict(ROWS[order]).embedding - Z[order]).abs().max()),
        }


def rows_kept() -> Numbers:
    """`len(model.eval().embed(X[:5]))` of three models."""
    with torch.no_grad():
        return {name: len(place(name).eval().embed(ROWS[:5])) for name in ("VAE", "IWAE", "FactorVAE")}


def train(model: Any, X: Any, epochs: int) -> None:
    """Train with `BaseTrainer`, Adam at 1e-3, batches of 100."""
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder, num_epochs=epochs, learning_rate=1e-3, per_device_train_batch_size=100, no_cuda=True
        )
        rows = torch.from_numpy(X)
        with torch.random.fork_rng():
            BaseTrainer(model, BaseDataset(rows, torch.ones(len(rows))), training_config=settings).train()


def output_range() -> Numbers:
    """`VAE(VAEConfig(input_dim=(2,), latent_dim=2))`, 40 epochs (200 steps) by `BaseTrainer`; then `reconstruct(X)`."""
    X = standardised()
    model = seeded(lambda: models.VAE(models.VAEConfig(input_dim=(2,), latent_dim=2)))
    kept = np.random.get_state()  # noqa: NPY002 - training seeds it; see `global_generator`
    train(model, X, 40)
    np.random.set_state(kept)  # noqa: NPY002
    with torch.no_grad():
        outputs = model.eval().reconstruct(torch.from_numpy(X))
    return {"least": float(outputs.min()), "greatest": float(outputs.max())}


def global_generator() -> Numbers:
    """`VAE(...)`, one epoch by `BaseTrainer`."""
    return {"": generator_moved(lambda: train(place(), TRUTH.X, 1))}


class Discriminator(BaseDiscriminator):
    """D(x) = σ(0.2 Σ (x - b)); the features that reconstructions are compared by are 0, so only D itself counts."""

    def __init__(self) -> None:
        BaseDiscriminator.__init__(self)
        self.depth = 2
        self.layer = linear_layer(np.full((1, len(TRUTH.b)), 0.2), np.array([-0.2 * TRUTH.b.sum()]))

    def forward(self, x: Any, output_layer_levels: Any = None) -> Any:
        return ModelOutput(embedding=torch.sigmoid(self.layer(x)), embedding_layer_1=0 * x)


def generator_step() -> Numbers:
    """`VAEGAN(...)`, one step of `CoupledOptimizerAdversarialTrainer`, SGD at 0.01. "decoder alone" is with
    `equilibrium=2`, at which the trainer leaves the discriminator out of this step.
    """
    return {"both updated": change_of_bias(), "decoder alone": change_of_bias(equilibrium=2.0)}


def change_of_bias(**settings: Any) -> float:
    """How a training step changes the sum of b."""
    configuration = models.VAEGANConfig(input_dim=(len(TRUTH.b),), latent_dim=2, reconstruction_layer=1, **settings)
    model = models.VAEGAN(configuration, Encoder(TRUTH), Decoder(TRUTH), Discriminator())
    before = model.decoder.layer.bias.detach().clone()
    sgd = {f"{part}_optimizer_cls": "SGD" for part in ("encoder", "decoder", "discriminator")}
    rates = {f"{part}_learning_rate": 0.01 for part in ("encoder", "decoder", "discriminator")}
    rows = ROWS - ROWS.mean(0) + torch.from_numpy(TRUTH.b).float()
    kept = np.random.get_state()  # noqa: NPY002
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
        trainer_settings = CoupledOptimizerAdversarialTrainerConfig(
            output_dir=folder, num_epochs=1, per_device_train_batch_size=len(rows), no_cuda=True, **sgd, **rates
        )
        data = BaseDataset(rows, torch.ones(len(rows)))
        CoupledOptimizerAdversarialTrainer(model, data, training_config=trainer_settings).train()
    np.random.set_state(kept)  # noqa: NPY002
    return float((model.decoder.layer.bias.detach() - before).sum())


ANSWERS: dict[str, Callable[[], Numbers]] = {
    function.__name__: function
    for function in (
        sign, size, draws, rising, elbo, kl_counts, kl_slope, kl_by_draws, iwae_value, iwae_gradient, miwae, piwae,
        ciwae, embed_twice, posterior_means, rows_kept, output_range, global_generator, generator_step,
    )
}  # fmt: skip
