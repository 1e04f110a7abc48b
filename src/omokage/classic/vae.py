"""The classes `VAE` and `VAE_ED`: arguments, files and printing of the documented program over omokage's engine."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
import optax
from numpy.typing import ArrayLike, NDArray

from omokage import inference, training
from omokage.batch import Batch
from omokage.checkpoints import CHECKPOINT_FILES, read_checkpoint, write_checkpoint
from omokage.classic import arguments, chainer_files, models
from omokage.classic.optimizers import Adam, Optimizer, part_of, together
from omokage.classic.pictures import png, weight_plot
from omokage.compilation import keep_compiled, make_room
from omokage.data.rows import MemoryRows
from omokage.errors import FileFormatError, ParameterError
from omokage.model import Model
from omokage.objectives import ELBO
from omokage.optimizers import constant
from omokage.plots import learning_curve
from omokage.storage import INDEX, check_target, read_json, replace_file
from omokage.training import Plan, Record, Snapshot

AnyPath = str | os.PathLike[str]

_EVERY = 10  # epochs from one line, one file, one picture to the next


class VAE:
    """A VAE of vectors with the documented arguments, files and printing.

    Its optimizer is Adam, with the gradient clipped to a global norm of 1.

    Args:
        input_shape: Numbers in a row of the data, D.
        hidden: Units of the layers, [h1, ..., hn]; hn is the number of latent dimensions, L, and the decoder mirrors
            the encoder.
        act_func: "sigmoid", "tanh", "softplus", "relu", "leaky", "elu", "identity", or a function of JAX arrays;
            behind each hidden layer, and behind its batch normalisation.
        out_func: The same, behind the output; with a Gaussian decoder behind the log-variance alone.
        use_BN: Whether hidden layers are batch-normalised.
        init_method: "xavier", "henormal", or a function (generator, outputs, inputs) → weights (outputs, inputs).
        folder: Files are written under `<folder>/[D, h1, ..., hn]`.
        is_gauss_dist: Whether the decoder is Gaussian, with two outputs; else it is Bernoulli, for data in [0, 1].
        seed: Of first weights, the order of rows and all draws.
        floor: The least deviation of a Gaussian decoder, in units of the data.

    Attributes:
        path: Where files are written.
        history: A dict for each epoch so far: terms in nats per row, and "MSE" and "valid" where they were printed.

    Raises:
        ParameterError: Naming all arguments that cannot be used.

    Example:
        >>> VAE(784, [128, 2], folder="model").path.as_posix()
        'model/[784, 128, 2]'
    """

    # The parts that have an optimizer and a file each, and what the keys of their arrays begin with.
    _parts: ClassVar[dict[str, str]] = {"model": ""}
    _state: ClassVar[str] = "training"  # the folder with what it takes to go on

    def __init__(
        self,
        input_shape: int,
        hidden: list[int],
        act_func: str | models.Function = "tanh",
        out_func: str | models.Function = "sigmoid",
        use_BN: bool = True,
        init_method: str | Callable[..., Any] = "xavier",
        folder: AnyPath = "model",
        is_gauss_dist: bool = False,
        *,
        seed: int = 0,
        floor: float = 0.1,
    ):
        self._first = arguments.of_model(locals())
        self.input_shape, self.hidden, self.is_gauss_dist, self.seed = input_shape, list(hidden), is_gauss_dist, seed
        self.path = Path(folder) / str([int(size) for size in (input_shape, *hidden)])
        self.history: list[Record] = []
        self._snapshot: Snapshot | None = None
        self._judged_by = ""  # the validation rows and the loss by which the best weights were chosen
        self._optimizers: dict[str, Optimizer] = {name: Adam() for name in self._parts}
        self._device: Any = None

    @property
    def model(self) -> Model:
        """The model as it is now."""
        if self._snapshot is None:
            return self._first
        return eqx.combine(self._snapshot.state.parameters, self._snapshot.state.frozen)

    def train(
        self,
        train: ArrayLike,
        epoch: int,
        batch: int,
        C: float = 1.0,
        k: int = 1,
        gpu_num: int = 0,
        valid: ArrayLike | None = None,
        is_plot_weight: bool = False,
    ) -> None:
        """Train from where the weights, the optimizer and the error curve are, and write the files.

        Prints, for the first and each tenth epoch, loss = C · latent + reconst in nats per row, and the mean squared
        error of the training and of the validation rows.

        Args:
            train: (n, D); from 0 to 1 unless the decoder is Gaussian.
            epoch: How many more epochs.
            batch: Rows of a minibatch.
            C: The weight of the latent loss.
            k: How many z are drawn for the reconstruction loss of a row.
            gpu_num: The number of the GPU; -1: the CPU.
            valid: Like `train`. The weights with the least loss on these rows go to the folder `best_valid`.
            is_plot_weight: Whether to draw the weights, in the first and each tenth epoch.

        Raises:
            ParameterError, DataError: Naming the argument that cannot be used.
            FileFormatError: If the files cannot be written.
            TrainingError: If the loss stopped being finite; the weights of the last whole epoch are kept.
        """
        arguments.check_training(epoch, batch, C, k, gpu_num, is_plot_weight)
        x = self._rows("train", train)
        tried = None if valid is None else MemoryRows(Batch(self._rows("valid", valid)))
        check_target(self.path / self._state, CHECKPOINT_FILES)
        self._device = arguments.device(gpu_num)
        first, last = len(self.history) + 1, len(self.history) + epoch

        def keep(snapshot: Snapshot) -> None:
            number = len(snapshot.history)
            record = {name: value for name, value in snapshot.history[-1].items() if name != "learning_rate"}
            self._snapshot = snapshot
            if shown := number == first or number % _EVERY == 0:
                record["MSE"] = self._error(x)
                if tried is not None:
                    record["valid"] = self._error(tried.rows.x)
                _print_row(record)
                if is_plot_weight:
                    _plot_weights(self.path, self.model, number)
            self.history.append(record)
            if shown or number == last:
                self._write_state()

        with self._on_device():
            plan = self._plan(last, batch)
            start = self._start(plan)
            if tried is not None:
                judged_by = f"{tried.digest} C={float(C)} k={k}"
                start = start._replace(best=start.best if judged_by == self._judged_by else None)
                self._judged_by = judged_by
            _print_row(None)
            objective = ELBO(beta=float(C), samples=int(k))
            result = training.train(start, objective, MemoryRows(Batch(x)), plan, validation=tried, keep=keep)
            self._finish(is_plot_weight)
        if result.problem is not None:
            raise result.problem
        if result.interrupted:
            warnings.warn(f"Interrupted after {len(self.history)} epochs: the weights so far are kept.", stacklevel=2)

    def reconst(
        self, data: ArrayLike, unregular: bool = False, *, draw: bool = False, seed: int = 0
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return features, reconstructions and errors of rows.

        Args:
            data: (n, D).
            unregular: Return M, entry by entry, in place of the mean squared error; see `terms`.
            draw: Take a z drawn from the posterior in place of its mean.
            seed: Of that draw.

        Returns:
            The features z, (n, L); the reconstructions, (n, D), of a Gaussian decoder its means; and the mean squared
            error of each row, (n,), or M at the posterior mean in nats, (n, D).
        """
        x = self._rows("data", data)
        with self._on_device():
            z = inference.encode(self._used(), Batch(x))
            if draw:
                noise = np.random.default_rng(seed).standard_normal(z.shape, np.float32)
                z = z + inference.deviations(self.model, Batch(x)) * noise
            shown = inference.decode(self.model, z)
            error = models.terms(self.model, x)["M"] if unregular else np.square(shown - x).mean(1)
        return z, shown, error

    def terms(self, data: ArrayLike) -> dict[str, NDArray[np.float32]]:
        """Return the three terms of the loss at z = the posterior mean, L = D + A + M.

        Args:
            data: (n, D).

        Returns:
            In nats per row, (n,) each: "D", the KL from posterior to prior; "A", what a perfect reconstruction would
            cost; "M", what is lost beyond that, which is the score for anomalies.
        """
        x = self._rows("data", data)
        with self._on_device():
            parts = models.terms(self._used(), x)
        return {"D": parts["D"], "A": parts["A"].sum(1), "M": parts["M"].sum(1)}

    def featuremap_to_image(self, z: ArrayLike) -> NDArray[np.float32]:
        """Return what the decoder makes of features, (n, D), for z of shape (n, L); of a Gaussian one its means."""
        rows = arguments.rows("z", z, self.hidden[-1], unit_interval=False)
        with self._on_device():
            return inference.decode(self._used(), rows)

    def load(self, path: AnyPath | None = None) -> None:
        """Load a trained model, ours or Chainer's.

        Where the folder has the state of the training that wrote the weights, `train` goes on from there; else with
        an optimizer and an error curve that are new.

        Args:
            path: The folder of `model.npz`; `None`: that of this object.

        Raises:
            FileFormatError: If a file is missing, damaged, or of another model.
        """
        folder = self.path if path is None else Path(path)
        arrays = chainer_files.arrays(self._first)
        for name, prefix in self._parts.items():
            expected = {key: array for key, array in arrays.items() if key.startswith(prefix)}
            arrays |= chainer_files.read(folder / f"{name}.npz", expected)
        with self._on_device():
            fresh = training.begin(chainer_files.with_arrays(self._first, arrays), self._plan(1, 1))
            self._snapshot, self._judged_by = self._resumed(folder / self._state, fresh)
        self.history = list(self._snapshot.history)

    def _rows(self, name: str, data: ArrayLike) -> NDArray[np.float32]:
        return arguments.rows(name, data, self.input_shape, unit_interval=not self.is_gauss_dist)

    def _used(self) -> Model:
        """Return the model, with a warning where it has its first weights."""
        if self._snapshot is None:
            warnings.warn("The VAE was neither trained nor loaded: its weights are random.", stacklevel=3)
        return self.model

    def _error(self, x: NDArray[np.float32]) -> float:
        """Return the mean squared error of reconstructions."""
        shown = inference.reconstruct(self.model, Batch(x))
        return float(np.square(shown - x).mean(dtype=np.float64))

    @contextlib.contextmanager
    def _on_device(self) -> Iterator[None]:
        keep_compiled()
        make_room()
        with contextlib.nullcontext() if self._device is None else jax.default_device(self._device):
            yield

    def _plan(self, epochs: int, batch: int) -> Plan:
        """Return how to train to this number of epochs; the learning rates are the optimizers' own."""
        optimizer = together(tuple((name, one.transformation) for name, one in self._optimizers.items()))
        return Plan(epochs, batch, None, optimizer, constant, None, self.seed)

    def _start(self, plan: Plan) -> Snapshot:
        """Return where training goes on; with the records of `history`, which say more than the engine's."""
        snapshot = training.begin(self._first, plan) if self._snapshot is None else self._snapshot
        return snapshot._replace(history=self.history)

    def _finish(self, is_plot_weight: bool) -> None:
        """Write the files after training, if there was a whole epoch."""
        if self._snapshot is None:
            return
        self._write_state()
        _write_curve(self.path, self.history)
        best = self._snapshot.best
        if best is not None:
            folder, model = self.path / "best_valid", eqx.combine(best.parameters, best.frozen)
            self._write(folder, model)
            _write_curve(folder, self.history[: best.epoch])
            if is_plot_weight:
                _plot_weights(folder, model, best.epoch)

    def _write(self, folder: Path, model: Model) -> None:
        arrays = chainer_files.arrays(model)
        for name, prefix in self._parts.items():
            part = {key: array for key, array in arrays.items() if key.startswith(prefix)}
            replace_file(folder / f"{name}.npz", chainer_files.to_bytes(part))

    def _write_state(self) -> None:
        """Write the weights, and beside them what it takes to go on."""
        assert self._snapshot is not None
        self._write(self.path, self.model)
        snapshot = self._snapshot._replace(history=self.history)
        write_checkpoint(self.path / self._state, snapshot, {"judged_by": self._judged_by})

    def _resumed(self, state: Path, fresh: Snapshot) -> tuple[Snapshot, str]:
        """Return where the training was that ended in the weights of `fresh`, and how its best ones were chosen."""
        if not state.exists():
            return fresh, ""
        try:
            index = read_json(state / INDEX)
            settings = index["settings"] if isinstance(index.get("settings"), dict) else {}
            found = read_checkpoint(state, fresh, settings) or fresh
            problem = "" if _same(found.state[:2], fresh.state[:2]) else "of other weights than those beside it"
        except (FileFormatError, ParameterError):
            problem = "damaged, or of other optimizers than those that are assigned"
        if problem:
            warnings.warn(
                f"{state}: {problem}. The weights are loaded; training will go on with new optimizers and a new error "
                "curve.",
                stacklevel=3,
            )
            return fresh, ""
        return found, str(settings.get("judged_by", ""))


class VAE_ED(VAE):  # noqa: N801 - the documented name
    """A `VAE` whose encoder and decoder have an optimizer each, and a file each: encoder.npz and decoder.npz.

    The optimizers are Adam, as that of `VAE`, but gradients are clipped to a norm of 1 for each part. Another one is
    assigned, an Optax transformation or `classic.Adam(alpha, clip)`, and begins anew:

        vae.enc_opt = optax.sgd(0.01)
        vae.enc_opt.setup(vae.encoder)
    """

    _parts: ClassVar[dict[str, str]] = {"encoder": "enc", "decoder": "dec"}
    _state: ClassVar[str] = "training_ed"

    @property
    def encoder(self) -> "Part":
        """What `vae.enc_opt.setup` takes."""
        return Part(self, "encoder")

    @property
    def decoder(self) -> "Part":
        """What `vae.dec_opt.setup` takes."""
        return Part(self, "decoder")

    @property
    def enc_opt(self) -> Optimizer:
        """The optimizer of the encoder."""
        return self._optimizers["encoder"]

    @enc_opt.setter
    def enc_opt(self, optimizer: Optimizer | optax.GradientTransformation) -> None:
        self._assign("encoder", optimizer)

    @property
    def dec_opt(self) -> Optimizer:
        """The optimizer of the decoder."""
        return self._optimizers["decoder"]

    @dec_opt.setter
    def dec_opt(self, optimizer: Optimizer | optax.GradientTransformation) -> None:
        self._assign("decoder", optimizer)

    def _assign(self, name: str, optimizer: Any) -> None:
        self._optimizers[name] = optimizer if isinstance(optimizer, Optimizer) else Optimizer(optimizer)
        Part(self, name).restart(self._optimizers[name])


class Part:
    """The encoder or the decoder of a `VAE_ED`, as an optimizer is set up for it."""

    def __init__(self, vae: VAE_ED, name: str):
        self._vae, self._name = vae, name

    def restart(self, optimizer: Optimizer) -> None:
        """Begin the optimizer's state anew.

        Raises:
            ParameterError: If it is not the optimizer of this part.
        """
        vae, name = self._vae, self._name
        if vae._optimizers[name] is not optimizer:
            raise ParameterError(f"setup: not the optimizer of the {name}; assign it to vae.{name[:3]}_opt first.")
        if vae._snapshot is not None:
            state = vae._snapshot.state
            begun = optimizer.transformation.init(part_of(state.parameters, name))
            vae._snapshot = vae._snapshot._replace(state=state._replace(optimizer={**state.optimizer, name: begun}))


def _same(one: Any, other: Any) -> bool:
    """Say whether two trees of arrays are equal."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def _print_row(record: Record | None) -> None:
    """Print the record of an epoch under the names of its columns, or the names."""
    if record is None:
        cells = ["loss", "latent", "reconst", "MSE", "valid"]
    else:
        values = [record["loss"], record["kl"], -record["reconstruction"], record["MSE"], record.get("valid")]
        cells = ["-" if value is None else f"{value:.6g}" for value in values]
    first = "epoch" if record is None else str(record["epoch"])
    print(f"{first:>6}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def _write_curve(folder: Path, history: list[Record]) -> None:
    names = ("epoch", "loss", "reconstruction", "kl")
    kept = [
        {key: value for key, value in record.items() if key.removeprefix("validation_") in names} for record in history
    ]
    replace_file(folder / "error_curve.png", png(learning_curve(kept)))


def _plot_weights(folder: Path, model: Model, epoch: int) -> None:
    figure = weight_plot(chainer_files.arrays(model), epoch)
    replace_file(folder / "weight_plot" / f"epoch_{epoch}.png", png(figure))
