"""The training loop: it knows neither the model nor the objective, only that one gives named terms for the other.

Rows reach the device in chunks of minibatches, (steps, batch, ...), of one shape whatever the number of rows, or of a
few shapes where sequences are of unlike lengths; a compiled program runs the steps of a chunk, while the next chunk is
gathered. Keys and orders are derived from the seed and the number of the step or epoch, so a run can be taken up again
at any epoch as if it had not stopped.
"""

import contextlib
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.data.rows import RowSource
from omokage.errors import TrainingError
from omokage.nets.layers import TrainingPass, trainable, with_statistics
from omokage.objectives import Objective
from omokage.optimizers import Schedule
from omokage.rehearsal import blamed, check_memory, check_terms, not_working, room

Record = dict[str, Any]

_CHUNK_BYTES = 16 * 2**20
_MOST_STEPS = 128


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes:
        epochs: Passes over the rows.
        batch_size: Rows of a step; not more than there are.
        learning_rate: The factor of the schedule; `None`: the optimizer has a learning rate of its own.
        optimizer: From gradients to steps.
        schedule: From the share of the training that is over to a factor of the learning rate.
        patience: Epochs without a better validation loss after which training stops and the best weights come
            back; `None`: it goes on to the end and keeps the last.
        seed: Of everything random.
    """

    epochs: int
    batch_size: int
    learning_rate: float | None
    optimizer: optax.GradientTransformation
    schedule: Schedule
    patience: int | None
    seed: int


class State(NamedTuple):
    """All that changes in training, as arrays."""

    parameters: Any
    frozen: Any
    optimizer: Any
    step: Any


class Best(NamedTuple):
    """The best weights by validation, and since when they have been."""

    parameters: Any
    frozen: Any
    loss: float
    epoch: int


class Snapshot(NamedTuple):
    """Where a run is, after a whole number of epochs."""

    state: State
    best: Best | None
    history: list[Record]


@dataclass(frozen=True)
class Result:
    """What came of a run; `problem` says why it stopped early where something was wrong."""

    model: Any
    history: list[Record]
    interrupted: bool = False
    problem: TrainingError | None = None


def begin(model: Any, plan: Plan) -> Snapshot:
    """Return where a run of a model starts."""
    parameters, frozen = eqx.partition(model, trainable(model))
    parameters, frozen = jax.device_put((parameters, frozen))
    try:
        kept = jax.jit(plan.optimizer.init)(parameters)
    except Exception as error:  # whatever a stranger's transformation raises
        raise not_working("optimizer", plan.optimizer, "on the parameters of this model", error) from error
    return Snapshot(State(parameters, frozen, kept, jnp.int32(0)), None, [])


def train(
    snapshot: Snapshot,
    objective: Objective,
    rows: RowSource,
    plan: Plan,
    *,
    validation: RowSource | None = None,
    column: Callable[[int], str] = str,
    on_epoch: Callable[[Record], object] | None = None,
    on_progress: Callable[[int, float], object] | None = None,
    keep: Callable[[Snapshot], object] | None = None,
) -> Result:
    """Train from where `snapshot` is to the end of the plan.

    Args:
        snapshot: From `begin`, or from an interrupted run.
        objective: The loss to minimise.
        rows: What to train on.
        plan: How.
        validation: Rows on which the objective is reported after each epoch.
        column: What messages call a column.
        on_epoch: Called with the record of each epoch.
        on_progress: Called after each chunk with the epoch and the share of it that is done.
        keep: Called with where the run is after each epoch.

    Returns:
        The trained model and its history. Ctrl-C and a loss that is not finite end the run early; then the model is
        the best or the last good one.
    """
    state, best, history = snapshot
    shape = _chunk_shape(rows, plan.batch_size)
    run = _Run(objective, plan, state, rows.steps(shape[1]))
    tried = []
    if validation is not None:
        blocks = validation.epoch(np.random.default_rng(plan.seed), shape[0] * shape[1])
        tried = list(_chunks(blocks, shape))
    interrupted, problem = False, None
    try:
        with _ctrl_c_between_chunks() as stop_if_asked:
            for epoch in range(len(history) + 1, plan.epochs + 1):
                if plan.patience is not None and best is not None and epoch - best.epoch > plan.patience:
                    break
                began = time.perf_counter()
                blocks = rows.epoch(np.random.default_rng([plan.seed, epoch]), shape[0] * shape[1])
                record: Record = {"epoch": epoch}
                for chunk in _chunks(blocks, shape):
                    done = run.advance(epoch, chunk, column)
                    if on_progress is not None:
                        on_progress(epoch, done)
                    stop_if_asked()
                record |= run.finish(epoch, column)
                if tried:
                    record |= {f"validation_{name}": value for name, value in run.evaluate(tried).items()}
                    if not np.isfinite(record["validation_loss"]):
                        raise TrainingError(
                            f"Training stopped in epoch {epoch}: the validation loss is not finite. {_kept(epoch)} "
                            "Look for extreme values among the validation rows."
                        )
                    if best is None or record["validation_loss"] < best.loss:
                        best = Best(run.state.parameters, run.state.frozen, record["validation_loss"], epoch)
                seconds = time.perf_counter() - began
                record |= {"seconds": seconds, "rows_per_second": rows.count / seconds}
                history = [*history, record]
                if keep is not None:
                    keep(Snapshot(run.state, best, history))
                if on_epoch is not None:
                    on_epoch(dict(record))
                stop_if_asked()
    except KeyboardInterrupt:
        interrupted = True
    except TrainingError as error:
        problem = error
    last: State | Best = run.good
    if best is not None and (plan.patience is not None or interrupted or problem):
        last = best
    return Result(eqx.combine(last.parameters, last.frozen), history, interrupted, problem)


@contextlib.contextmanager
def _ctrl_c_between_chunks() -> Iterator[Callable[[], None]]:
    """Turn Ctrl-C into a `KeyboardInterrupt` at the next call of what this gives; a second one is raised at once.

    Raised just anywhere, it can get lost in a callback of the garbage collector, and training would go on.
    """
    asked = False

    def note(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def stop_if_asked() -> None:
        if asked:
            raise KeyboardInterrupt

    usual = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if usual:
        signal.signal(signal.SIGINT, note)
    try:
        yield stop_if_asked
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class _Chunk(NamedTuple):
    """Minibatches of one shape; only the first `steps` are filled."""

    rows: Batch  # of NumPy arrays, (S, B, ...)
    steps: int


def _chunk_shape(rows: RowSource, batch_size: int) -> tuple[int, int]:
    """Return steps and rows a step; the number of rows matters only where they are few."""
    batch_size = min(batch_size, rows.count)
    steps = max(1, min(_MOST_STEPS, _CHUNK_BYTES // (4 * batch_size * rows.entries)))
    return (min(16, steps) if rows.count <= 16 * batch_size else steps), batch_size


def _chunks(blocks: Iterator[Batch], shape: tuple[int, int]) -> Iterator[_Chunk]:
    """Cut blocks of rows to chunks; the last minibatch is filled up with other rows, of weight 0."""
    steps, size = shape
    for block in blocks:
        weight = np.ones(len(block.x), np.float32) if block.weight is None else block.weight
        for start in range(0, len(block.x), steps * size):
            here = slice(start, start + steps * size)
            filled = functools.partial(_filled, here=here, shape=shape)
            weights = np.zeros(steps * size, np.float32)
            weights[: len(weight[here])] = weight[here]
            rows = block._replace(weight=None).map(filled)._replace(weight=weights.reshape(shape))
            yield _Chunk(rows, -(-len(weight[here]) // size))


def _filled(rows: NDArray[Any], here: slice, shape: tuple[int, int]) -> NDArray[Any]:
    """Return the rows `here` as minibatches, (S, B, ...), the last of them filled up, and zeros after it."""
    chosen, (steps, size) = rows[here], shape
    chunk = np.zeros((steps * size, *rows.shape[1:]), rows.dtype)
    chunk[: len(chosen)] = chosen
    rest = -len(chosen) % size
    chunk[len(chosen) : len(chosen) + rest] = np.resize(rows, (rest, *rows.shape[1:]))
    return chunk.reshape(*shape, *rows.shape[1:])


class _Sums(NamedTuple):
    """What came of a chunk; on the device until it is asked for."""

    totals: dict[str, Array]  # weighted sum of each term over the rows
    finite: Array
    last: dict[str, Array]  # the same of the last minibatch alone
    at: Array  # the number of that minibatch
    learning_rate: Array  # of that minibatch


class _Run:
    """One plan and objective bound to the compiled programs; `good` is the newest state known to be finite."""

    def __init__(self, objective: Objective, plan: Plan, state: State, steps_per_epoch: int):
        self.objective, self.plan, self.steps_per_epoch = objective, plan, steps_per_epoch
        self.state = self.good = state
        self.running: tuple[_Chunk, _Sums] | None = None
        self.totals: dict[str, float] = {}  # of this epoch
        self.weight, self.steps = 0.0, 0
        self.rehearsed = False
        self.key = jax.random.key(plan.seed)
        self.clock = {
            "steps_per_epoch": np.float32(steps_per_epoch),
            "total": np.float32(steps_per_epoch * plan.epochs),
            "learning_rate": np.float32(1.0 if plan.learning_rate is None else plan.learning_rate),
        }

    def advance(self, epoch: int, chunk: _Chunk, column: Callable[[int], str]) -> float:
        """Start the steps of a chunk, once the one before is known to be good; return the share of the epoch so far."""
        self._wait(epoch, column)
        steps = np.int32(chunk.steps)
        arguments = (
            self.objective, self.plan.optimizer, self.plan.schedule,
            self.state, chunk.rows, steps, self.key, self.clock,
        )  # fmt: skip
        if not self.rehearsed:
            self._rehearse(arguments, chunk)
        with room():
            self.state, sums = _advance(*arguments)
        self.running, self.steps = (chunk, sums), self.steps + chunk.steps
        return self.steps / self.steps_per_epoch

    def _rehearse(self, arguments: tuple[Any, ...], chunk: _Chunk) -> None:
        """Trace the first step, which the call after it does not do again; errors name the part that is to blame."""
        try:
            traced = _advance.trace(*arguments)
        except Exception as error:
            model = eqx.combine(self.state.parameters, self.state.frozen)
            batch = chunk.rows.map(lambda array: array[0])
            one, objective = getattr(model, "first", model), getattr(self.objective, "of_each", self.objective)
            rule = (self.plan.optimizer, self.state.parameters, self.state.optimizer)
            raise blamed(error, one, objective, batch, rule) from error
        check_memory(traced, sum(leaf.nbytes for leaf in jax.tree.leaves(self.state)))
        self.rehearsed = True

    def finish(self, epoch: int, column: Callable[[int], str]) -> dict[str, float]:
        """Wait for the last chunk of an epoch; return the mean of each term, and the learning rate."""
        rate = self._wait(epoch, column)
        means = {name: total / self.weight for name, total in self.totals.items()}
        self.totals, self.weight, self.steps = {}, 0.0, 0
        return {**means, "learning_rate": rate}

    def _wait(self, epoch: int, column: Callable[[int], str]) -> float:
        """Wait for the chunk before; note its state as good, or raise the error that says what went wrong."""
        if self.running is None:
            return 0.0
        (chunk, sums), self.running = self.running, None
        with room():
            sums = jax.device_get(sums)  # all at once
        if not sums.finite:
            raise _diverged(epoch, sums, chunk, column)
        self.good = self.state
        self.totals = {name: self.totals.get(name, 0.0) + float(total) for name, total in sums.totals.items()}
        self.weight += float(chunk.rows.weight.sum(dtype=np.float64))
        return float(sums.learning_rate)

    def evaluate(self, chunks: list[_Chunk]) -> dict[str, float]:
        """Return the mean of each term over validation rows, outside training."""
        total: dict[str, float] = {}
        for number, chunk in enumerate(chunks):
            key = jax.random.fold_in(jax.random.fold_in(self.key, 2**31 - 1), number)  # the same in each epoch
            state = self.state
            terms = _evaluate(self.objective, state.parameters, state.frozen, chunk.rows, key)
            total = {name: total.get(name, 0.0) + float(value) for name, value in terms.items()}
        weight = sum(float(chunk.rows.weight.sum()) for chunk in chunks)
        return {name: value / weight for name, value in total.items()}


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _advance(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    state: State,
    rows: Batch,
    steps: Array,
    key: Array,
    clock: Mapping[str, Array],
) -> tuple[State, _Sums]:
    """Run the steps of a chunk, up to the first whose loss is not finite."""

    @jax.jit  # so that it is traced once, for the names of its terms and for the gradient
    def loss(parameters: Any, frozen: Any, batch: Batch, key: Array, epoch: Array) -> tuple[Array, Any]:
        pass_key, key = jax.random.split(key)
        training = TrainingPass(pass_key, batch.weight)
        model = eqx.combine(parameters, frozen)
        terms = objective(model.in_training(training), batch, key, epoch)
        check_terms(objective, terms, len(batch.weight))
        sums = {name: (batch.weight * term).sum() for name, term in terms.items()}
        _, frozen = eqx.partition(with_statistics(model, training.statistics), trainable(model))
        # Weights have a mean of 1 over the rows, not over this batch: dividing by their sum here would undo them.
        return sums["loss"] / (batch.weight > 0).sum(), (sums, frozen)

    def one(carry: Any) -> Any:
        i, state, totals, _, _ = carry
        batch = rows.map(lambda array: array[i])
        (value, (sums, frozen)), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.parameters,
            state.frozen,
            batch,
            jax.random.fold_in(key, state.step),
            state.step / clock["steps_per_epoch"],
        )
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.parameters)
        rate = learning_rate(state.step)
        parameters = jax.tree.map(lambda p, u: p + rate * u, state.parameters, updates)
        totals = {name: totals[name] + sums[name] for name in totals}
        state = State(parameters, frozen, optimizer_state, state.step + 1)
        return i + 1, state, totals, sums, jnp.isfinite(value)

    def learning_rate(step: Array) -> Array:
        return clock["learning_rate"] * schedule(step / clock["total"])

    batch = rows.map(lambda array: array[0])
    sums = jax.eval_shape(loss, state.parameters, state.frozen, batch, key, jnp.float32(0))[1][0]
    zeros = {name: jnp.zeros((), value.dtype) for name, value in sums.items()}
    start = (jnp.int32(0), state, zeros, zeros, jnp.bool_(True))
    i, state, totals, last, ok = jax.lax.while_loop(lambda carry: (carry[0] < steps) & carry[4], one, start)
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.parameters)]
    ok = functools.reduce(jnp.logical_and, finite, ok)
    return state, _Sums(totals, ok, last, i - 1, learning_rate(state.step - 1))


@functools.partial(jax.jit, static_argnums=0)
def _evaluate(objective: Objective, parameters: Any, frozen: Any, rows: Batch, key: Array) -> dict[str, Array]:
    """Return the weighted sum of each term over the minibatches of a chunk, outside training."""
    model = eqx.combine(parameters, frozen)

    def one(number: Array, batch: Batch) -> dict[str, Array]:
        terms = objective(model, batch, jax.random.fold_in(key, number), jnp.float32(jnp.inf))
        return {name: jnp.where(batch.weight > 0, batch.weight * term, 0).sum() for name, term in terms.items()}

    terms = jax.lax.map(lambda args: one(*args), (jnp.arange(len(rows.x)), rows))
    return {name: values.sum() for name, values in terms.items()}


def _kept(epoch: int) -> str:
    """Say what is left of a run that stopped in this epoch."""
    return "The last good weights are kept." if epoch > 1 else "No epoch was over, so nothing of this fit is kept."


def _diverged(epoch: int, sums: _Sums, chunk: _Chunk, column: Callable[[int], str]) -> TrainingError:
    """Return the error that says where a loss stopped being finite, and what to try."""
    names = [name for name, value in sums.last.items() if not np.isfinite(value) and name != "loss"]
    what = f"the term {' and '.join(repr(name) for name in names)}" if names else "the loss or its gradient"
    x = np.abs(chunk.rows.x[: chunk.steps])
    x = x.reshape(-1, x.shape[-1]) if x.ndim == 4 else x.reshape(-1, int(np.prod(x.shape[2:])))
    order = np.argsort(-x.max(0))[:3]
    columns = ", ".join(f"{column(int(j))} ({x[:, j].max():.3g})" for j in order)
    return TrainingError(
        f"Training stopped in epoch {epoch}, step {int(sums.at) + 1} of a chunk: {what} is not finite. The largest "
        f"standardised values of its rows are in columns {columns}. {_kept(epoch)} Try a lower "
        "learning_rate, gradient_clip=1.0, or clip or transform columns with extreme values."
    )
