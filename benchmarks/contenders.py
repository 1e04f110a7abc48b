"""The contenders of `speed.py`: one function each, all doing the same work, each run in a process of its own.

The work: a multilayer VAE with ReLU, a diagonal normal posterior and a standard normal prior; the objective
½‖x − x̂‖² + KL in nats per row, meaned over the batch (Gaussian likelihood of unit variance, its constant
left out); Adam at 1e-3; the rows reshuffled every epoch. What differs is only how the loop is written.

A contender is called with (X, hidden, latent_dim, batch_size, epochs) and returns the times at which its
epochs ended, in seconds, and the training objective of the last epoch in nats per row: contenders that do
the same work agree on it to a few per cent, and `speed.py` prints it beside the times.

Run by `speed.py`; alone: `python benchmarks/contenders.py NAME DATA.npy --hidden 128,64,32 --latent 4`.
"""

import argparse
import contextlib
import io
import itertools
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Hidden = tuple[int, ...]
Result = tuple[list[float], float]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def omokage(X: np.ndarray, hidden: Hidden, latent_dim: int, batch_size: int, epochs: int) -> Result:
    """This library, through its public estimator."""
    import omokage as om

    ends: list[float] = []
    vae = om.VAE(
        latent_dim=latent_dim,
        hidden=hidden,
        activation="relu",
        likelihood=om.likelihoods.Gaussian(scale=1.0),
        objective="elbo",
        epochs=epochs,
        batch_size=batch_size,
        optimizer="adam",
        learning_rate=1e-3,
        schedule="constant",
        standardize=False,
        verbose=0,
    )
    vae.fit(X, on_epoch=lambda record: ends.append(time.perf_counter()))
    # Per-row loss of the last epoch; the library's nats include the constant of the normal density.
    return ends, vae.history_[-1]["loss"] - 0.5 * X.shape[1] * math.log(2 * math.pi)


def bare_jax(X: np.ndarray, hidden: Hidden, latent_dim: int, batch_size: int, epochs: int) -> Result:
    """The same epoch written by hand as one compiled `lax.scan`: what JAX costs without any library."""
    import jax
    import jax.numpy as jnp
    import optax

    sizes = [(X.shape[1], *hidden, 2 * latent_dim), (latent_dim, *reversed(hidden), X.shape[1])]
    generator = np.random.default_rng(0)
    parameters: Any = [
        [
            tuple(jnp.asarray(generator.uniform(-1, 1, shape) / math.sqrt(i), jnp.float32) for shape in ((i, o), o))
            for i, o in itertools.pairwise(widths)
        ]
        for widths in sizes
    ]

    def network(layers: Any, x: Any) -> Any:
        for weight, bias in layers[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        weight, bias = layers[-1]
        return x @ weight + bias

    def loss(parameters: Any, x: Any, key: Any) -> Any:
        mean, log_variance = jnp.split(network(parameters[0], x), 2, axis=-1)
        z = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
        error = 0.5 * jnp.sum((network(parameters[1], z) - x) ** 2, axis=-1)
        kl = 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance, axis=-1)
        return jnp.mean(error + kl)

    optimizer = optax.adam(1e-3)
    rows = jnp.asarray(X)

    @jax.jit
    def epoch(parameters: Any, state: Any, key: Any) -> Any:
        def step(carry: Any, inputs: Any) -> Any:
            parameters, state = carry
            index, key = inputs
            value, gradient = jax.value_and_grad(loss)(parameters, rows[index], key)
            update, state = optimizer.update(gradient, state)
            return (optax.apply_updates(parameters, update), state), value

        shuffle, noise = jax.random.split(key)
        batches = jax.random.permutation(shuffle, len(rows)).reshape(-1, batch_size)
        (parameters, state), losses = jax.lax.scan(
            step, (parameters, state), (batches, jax.random.split(noise, len(batches)))
        )
        return parameters, state, losses.mean()

    state, ends, value = optimizer.init(parameters), [], jnp.nan
    for key in jax.random.split(jax.random.key(0), epochs):
        parameters, state, value = epoch(parameters, state, key)
        value.block_until_ready()
        ends.append(time.perf_counter())
    return ends, float(value)


def torch_vae(features: int, hidden: Hidden, latent_dim: int) -> Any:
    """The network as a PyTorch module: forward gives (reconstruction, mean, log variance)."""
    import torch
    from torch import nn

    def layers(*widths: int) -> nn.Sequential:
        pairs = list(itertools.pairwise(widths))
        blocks = [module for i, o in pairs[:-1] for module in (nn.Linear(i, o), nn.ReLU())]
        return nn.Sequential(*blocks, nn.Linear(*pairs[-1]))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = layers(features, *hidden, 2 * latent_dim)
            self.decoder = layers(latent_dim, *reversed(hidden), features)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            mean, log_variance = self.encoder(x).chunk(2, dim=-1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            return self.decoder(z), mean, log_variance

    return Network()


def torch_objective(network: Any, x: Any) -> Any:
    """½‖x − x̂‖² + KL, meaned over the rows of the batch, in nats."""
    reconstruction, mean, log_variance = network(x)
    error = 0.5 * (reconstruction - x).square().sum()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return (error + kl) / len(x)


def torch_notebook(X: np.ndarray, hidden: Hidden, latent_dim: int, batch_size: int, epochs: int) -> Result:
    """PyTorch as notebooks write it: a Dataset converting each row, a DataLoader, `.item()` at each step."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Rows(Dataset):
        def __init__(self, rows: np.ndarray) -> None:
            self.rows = rows

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.tensor(self.rows[index], dtype=torch.float32)

    # A notebook divides integer pixels by 255 and so holds float64.
    loader = DataLoader(Rows(X.astype(np.float64)), batch_size=batch_size, shuffle=True)
    network = torch_vae(X.shape[1], hidden, latent_dim)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    ends, total = [], math.nan
    for _ in range(epochs):
        total = 0.0
        for x in loader:
            loss = torch_objective(network, x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        ends.append(time.perf_counter())
    return ends, total / len(X)


def torch_loop(X: np.ndarray, hidden: Hidden, latent_dim: int, batch_size: int, epochs: int, compiled: bool) -> Result:
    """A tuned PyTorch loop: one gather an epoch, fused Adam, gradients dropped, nothing fetched in a step."""
    import torch

    torch.set_num_threads(CORES)
    torch.set_flush_denormal(True)
    rows = torch.from_numpy(X)
    network = torch_vae(X.shape[1], hidden, latent_dim)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    objective = torch.compile(torch_objective) if compiled else torch_objective
    ends, total = [], torch.tensor(math.nan)
    for _ in range(epochs):
        total = torch.zeros(())
        for x in rows[torch.randperm(len(rows))].split(batch_size):
            loss = objective(network, x)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(x)
        ends.append(time.perf_counter())
    return ends, float(total) / len(rows)


def torch_eager(X: np.ndarray, hidden: Hidden, latent_dim: int, batch_size: int, epochs: int) -> Result:
    """The tuned PyTorch loop, eager."""
    return torch_loop(X, hidden, latent_dim, batch_size, epochs, compiled=False)


def torch_compiled(X: np.ndarray, hidden: Hidden, latent_dim: int, batch_size: int, epochs: int) -> Result:
    """The tuned PyTorch loop with the objective under `torch.compile`; it needs a C++ compiler."""
    return torch_loop(X, hidden, latent_dim, batch_size, epochs, compiled=True)


def pythae(X: np.ndarray, hidden: Hidden, latent_dim: int, batch_size: int, epochs: int) -> Result:
    """pythae's VAE and trainer, with our network handed in as its encoder and decoder."""
    import logging

    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    logging.disable(logging.CRITICAL)
    network = torch_vae(X.shape[1], hidden, latent_dim)
    ends: list[float] = []
    losses: list[float] = []

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = network.encoder

        def forward(self, x: Any) -> Any:
            mean, log_variance = self.layers(x).chunk(2, dim=-1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = network.decoder

        def forward(self, z: Any) -> Any:
            return ModelOutput(reconstruction=self.layers(z))

    class Clock(TrainingCallback):
        def on_epoch_end(self, training_config: Any, **_: Any) -> None:
            ends.append(time.perf_counter())

        def on_log(self, training_config: Any, logs: dict[str, float], **_: Any) -> None:
            losses.append(logs["train_epoch_loss"])

    import torch

    rows = torch.from_numpy(X)
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder, num_epochs=epochs, learning_rate=1e-3, per_device_train_batch_size=batch_size
        )
        configuration = VAEConfig(input_dim=(X.shape[1],), latent_dim=latent_dim, reconstruction_loss="mse")
        trainer = BaseTrainer(
            VAE(configuration, Encoder(), Decoder()),
            BaseDataset(rows, torch.ones(len(rows))),
            training_config=settings,
            callbacks=[Clock()],
        )
        trainer.train()
    return ends, losses[-1]


def pyod_loop(X: np.ndarray, hidden: Hidden, latent_dim: int, batch_size: int, epochs: int, **settings: Any) -> Result:
    """PyOD's VAE.

    Its loss is the squared error *averaged over features* plus beta times the KL clamped to `capacity`, which
    is 0 by default: the KL is then computed and thrown away. With beta = 2 / features and no clamp it is our
    objective times 2 / features, which Adam does not notice.
    """
    import torch
    from pyod.models.vae import VAE

    class Timed(VAE):
        def epoch_update(self) -> None:
            ends.append(time.perf_counter())

    ends: list[float] = []
    detector = Timed(
        lr=1e-3,
        epoch_num=epochs,
        batch_size=batch_size,
        verbose=0,
        beta=2 / X.shape[1],
        capacity=math.inf,
        encoder_neuron_list=list(hidden),
        decoder_neuron_list=list(reversed(hidden)),
        latent_dim=latent_dim,
        **settings,
    )
    detector.fit(X)
    if detector.preprocessing:
        # Standardised rows have other nats; no figure is better than one that cannot be compared.
        return ends, math.nan
    with torch.no_grad():
        x = torch.from_numpy(X)
        loss = detector.criterion(x, *detector.model(x), beta=detector.beta, capacity=detector.capacity)
    return ends, float(loss) * X.shape[1] / 2


def pyod(X: np.ndarray, hidden: Hidden, latent_dim: int, batch_size: int, epochs: int) -> Result:
    """PyOD's VAE with every extra off: no dropout, no weight decay, no preprocessing."""
    off = {"preprocessing": False, "dropout_rate": 0.0, "optimizer_params": {}}
    return pyod_loop(X, hidden, latent_dim, batch_size, epochs, **off)


def pyod_defaults(X: np.ndarray, hidden: Hidden, latent_dim: int, batch_size: int, epochs: int) -> Result:
    """PyOD's VAE as it comes: dropout 0.2, weight decay 1e-5, each row standardised each time it is read."""
    return pyod_loop(X, hidden, latent_dim, batch_size, epochs)


CONTENDERS: dict[str, Callable[[np.ndarray, Hidden, int, int, int], Result]] = {
    "omokage": omokage,
    "bare JAX": bare_jax,
    "PyTorch, notebook style": torch_notebook,
    "PyTorch, tuned": torch_eager,
    "PyTorch, tuned and compiled": torch_compiled,
    "pythae": pythae,
    "PyOD, extras off": pyod,
    "PyOD, as it comes": pyod_defaults,
}


def main() -> None:
    """Run one contender and print the seconds of its epochs (the first included) and its last objective."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("data", help="a float32 .npy file, rows × features")
    parser.add_argument("--hidden", default="128,64,32")
    parser.add_argument("--latent", type=int, default=4)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=6)
    chosen = parser.parse_args()
    X = np.load(chosen.data)
    hidden = tuple(int(width) for width in chosen.hidden.split(","))
    start = time.perf_counter()
    # pythae prints a progress bar and tables; only our own line may reach the reader.
    with contextlib.redirect_stdout(io.StringIO()):
        ends, objective = CONTENDERS[chosen.name](X, hidden, chosen.latent, chosen.batch, chosen.epochs)
    seconds = [end - begin for begin, end in zip([start, *ends], ends, strict=False)]
    print(json.dumps({"epoch_seconds": seconds, "objective": objective}))


if __name__ == "__main__":
    main()
