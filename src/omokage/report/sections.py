"""What there is to show of a fitted estimator: vectors, images and sequences, with or without a density of z.

Everything is asked of the model side in one form: a batch of at most 2,000 rows. So it does not matter here how X came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from omokage import inference, plots
from omokage.batch import Batch
from omokage.estimators.fitting import opened_rows
from omokage.plots.mosaic import grey_limits
from omokage.posteriors import PointMass
from omokage.progress import is_in_nats, raw_history
from omokage.report.page import Cloud, Picture, Section, Table

_ROWS = 2000  # that are looked at, at most
_PICTURES, _DRAWS = 10, 2
_SERIES = 3
_JITTERING, _JITTER_DRAWS = 5, 20
_FEWEST = 20  # rows from which on a model can be judged
_SAMPLES = 48

Labels = Sequence[Any] | NDArray[Any] | None


def model_sections(
    estimator: Any,
    X: Any = None,
    *,
    shape: Sequence[int] | None = None,
    labels: Labels = None,
    context: Any = None,
) -> list[Section]:
    """Return what there is to show of a fitted estimator: pictures first, then what they amount to.

    Args:
        estimator: A fitted `VAE` or `AutoEncoder`.
        X: Rows to show it on, as the estimator takes them, best such as it has not learned from; without them only
            samples, training and layers are shown. 2,000 of them are looked at, at most.
        shape: (height, width) or (height, width, 3) where rows of vectors are pictures; images have theirs.
        labels: One for each row of X, for the colours of codes.
        context: What the rows are conditioned on, where the model is, as `estimator.transform` takes it; samples are
            drawn given the context of some of the rows. Without X it is that of the samples, one value or row for all.

    Raises:
        DataError: If X or the context cannot be used, or there is not one label for each row.
    """
    shape = _picture_shape(estimator, shape)
    sections: list[Section] = []
    rows = None
    if X is not None:
        rows = _looked_at(estimator, X, labels, context)
        sections += [_reconstruction_section(rows, shape), _codes_section(rows)]
        sections += [] if rows.point else [_certainty(rows)]
    sections += _samples_sections(estimator, shape, context if rows is None else rows.context_of)
    if rows is not None and len(rows.batch.x) >= _FEWEST:
        sections.append(_diagnosis(rows))
    return [*sections, _training_section(estimator), _layers_section(estimator)]


def diagnosis_section(estimator: Any, X: Any, *, context: Any = None) -> Section:
    """Return what `estimator.diagnose` finds, as a table with verdicts, and for a VAE whether z is normal, drawn.

    Args:
        estimator: A fitted `VAE` or `AutoEncoder`.
        X: Rows, 20 at least, of which 2,000 are looked at, at most.
        context: What the rows are conditioned on, where the model is.

    Raises:
        DataError: If X or the context cannot be used, or there are fewer.
    """
    return _diagnosis(_looked_at(estimator, X, context=context))


def certainty_section(estimator: Any, X: Any, labels: Labels = None, *, context: Any = None) -> Section:
    """Return how far z moves for one x, and how much each latent dimension says.

    Args:
        estimator: A fitted `VAE`.
        X: Rows, of which 2,000 are looked at, at most.
        labels: One for each row; the first row of each is drawn.
        context: What the rows are conditioned on, where the model is.
    """
    return _certainty(_looked_at(estimator, X, labels, context))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows, and what the model makes of them; in raw units and the model's own shapes, padded, NaN where missing.

    Attributes:
        estimator: The model.
        X: The rows as the estimator takes them.
        batch: The same as the model takes them, (n, ...).
        originals, made: The rows and their reconstructions through the posterior means, like `batch.x`.
        errors: The mean squared error of a row over its entries, standardised, (n,).
        Z: Codes, (n, L).
        labels: One for each row, or none.
        context: What the model is told of them, as it takes it, or none.
        series: Where rows are windows, which series each was cut from, (n,): there is one context for each of these.
    """

    estimator: Any
    X: Any
    batch: Batch
    originals: NDArray[np.float64]
    made: NDArray[np.float64]
    errors: NDArray[np.float64]
    Z: NDArray[np.float32]
    labels: NDArray[Any] | None
    context: Any
    series: NDArray[np.int64] | None = None

    @property
    def point(self) -> bool:
        """Whether a row has one code, without a density."""
        return isinstance(self.estimator.recipe_.posterior, PointMass)

    def some(self, count: int) -> NDArray[np.int64]:
        """Return the numbers of so many rows: the first of each label, or at even distances."""
        if self.labels is not None:
            kinds, first = np.unique(self.labels, return_index=True)
            if count <= len(kinds) <= 2 * count:
                return np.asarray(first[:count])
        return np.unique(np.linspace(0, len(self.Z) - 1, count).astype(np.int64))

    def context_of(self, count: int) -> Any:
        """Return the context of so many rows at even distances among all contexts in their order."""
        if self.batch.context is None:
            return None
        order = np.lexsort(-self.batch.context.T[::-1])  # labels in their order, quantities from the largest
        chosen = order[np.linspace(0, len(order) - 1, count).astype(np.int64)]
        if self.series is not None:
            return _of_rows(self.context, int(self.series.max()) + 1, self.series[chosen])
        return _of_rows(self.context, len(order), chosen)

    def part(self, chosen: NDArray[np.int64]) -> Batch:
        """Return some of the rows for the model."""
        return self.batch.map(lambda array: array[chosen])


def _looked_at(estimator: Any, X: Any, labels: Labels = None, context: Any = None) -> _Rows:
    schema, model = estimator.schema_, estimator.model_
    X, total = _first(X, estimator)
    if total > _ROWS:
        context = _of_rows(context, total, np.arange(_ROWS))
    rows = estimator._asked(X, context)[1]
    batch = rows.whole
    x, made = batch.x, inference.reconstruct(model, batch)
    seen = np.broadcast_to(True if batch.observed is None else batch.observed, x.shape)
    entries = tuple(range(1, x.ndim))
    squares = np.square(np.where(seen, x - made, 0), dtype=np.float64).sum(entries)
    return _Rows(
        estimator,
        X,
        batch,
        np.where(seen, _raw(schema, x), np.nan),
        _raw(schema, made),
        squares / np.maximum(seen.sum(entries), 1),
        inference.encode(model, batch),
        None if labels is None else np.asarray(labels)[: len(x)],
        context,
        None if rows.windows is None else rows.windows.series,
    )


def _first(X: Any, estimator: Any) -> tuple[Any, int]:
    """Return the first rows of X, and how many it has; of a folder, or of a long table of series, all, and 0."""
    X = opened_rows(estimator.fitted_, X)
    whole = isinstance(X, str | Path) or len(estimator.schema_.key_columns) > 0
    return (X, 0) if whole else (X[:_ROWS], len(X))


def _of_rows(context: Any, total: int, chosen: NDArray[np.int64]) -> Any:
    """Return the context of the chosen ones of so many rows; one that stands for all rows stays as it is."""
    if isinstance(context, Mapping):
        return {name: _of_rows(column, total, chosen) for name, column in context.items()}
    frame = nw.from_native(context, pass_through=True, allow_series=True)
    if isinstance(context, str) or not hasattr(frame, "__len__") or len(frame) != total:
        return context
    if isinstance(frame, nw.DataFrame | nw.Series):
        return frame[chosen.tolist()].to_native()
    return frame[chosen] if isinstance(frame, np.ndarray) else [frame[row] for row in chosen.tolist()]


def _raw(schema: Any, x: NDArray[Any]) -> NDArray[np.float64]:
    """Return standardised x in raw units, of the same shape."""
    columns = schema.columns
    raw: NDArray[np.float64] = columns.decode(x.reshape(len(x), -1, columns.features)).reshape(x.shape)
    return raw


def _picture_shape(estimator: Any, shape: Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the shape of pictures, where rows are such."""
    drawing = estimator.schema_.drawing
    return drawing.shape if shape is None or drawing.style == "pictures" else tuple(shape)


def _pictures(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return pictures of that shape, (n, D)."""
    if values.ndim > 2 and values.shape[1:3] == shape[:2]:
        values = values.reshape(len(values), *shape[:2], -1)[..., : (*shape, 1)[2]]
    return values.reshape(len(values), -1)


def _limits(estimator: Any) -> tuple[float, float]:
    """Return the values that are black and white in all pictures of a report: by the training pictures."""
    columns = estimator.schema_.columns
    return grey_limits(None, columns.low, columns.high)


def _reconstruction_section(rows: _Rows, shape: tuple[int, ...] | None) -> Section:
    if shape is not None:
        return _reconstructed_pictures(rows, shape)
    is_series = rows.estimator.schema_.drawing.style == "series"
    return _reconstructed_series(rows) if is_series else _reconstructed_columns(rows)


def _reconstructed_pictures(rows: _Rows, shape: tuple[int, ...]) -> Section:
    schema, model, limits = rows.estimator.schema_, rows.estimator.model_, _limits(rows.estimator)
    originals, made = _pictures(rows.originals, shape), _pictures(rows.made, shape)
    chosen = rows.some(_PICTURES)
    draws = None
    text = "Above what was given, below what is left of it after passing through the code"
    if not rows.point:
        part = rows.part(chosen)
        drawn = [_raw(schema, inference.reconstruct(model, part, seed)) for seed in range(_DRAWS)]
        draws = np.stack([_pictures(pictures, shape) for pictures in drawn])
        text += (
            ": through the mean of q(z|x), then through draws from it. What differs between them, the code leaves open"
        )
    figure = plots.reconstructions(originals[chosen], made[chosen], shape, draws=draws, limits=limits)
    pictures = [Picture(figure, "Pictures above their reconstructions.", f"{text}.")]
    if len(originals) > 1:
        figure = plots.best_and_worst(originals, made, shape, limits=limits)
        text = f"Of {len(originals):,} pictures the best reconstructed and the worst, the worst first. Do these have "
        text += "something in common, the model has seen too little of it, or it is out of place in the data."
        pictures.append(Picture(figure, "The best and the worst reconstructed pictures.", text))
    text = "What comes back from a code shows what the code holds: what is blurred or changed, it does not."
    return Section("Reconstruction", [text], pictures)


def _reconstructed_series(rows: _Rows) -> Section:
    order = np.argsort(rows.errors, kind="stable")
    channels = rows.batch.x.shape[2]
    count = min(_SERIES if channels == 1 else _SERIES - 1, len(order) // 2)
    text = (
        "The strip below each shows how strange the model finds a step, by its density in nats: dark is strange. So it "
        "can be dark where the two lines are near, if the model was sure there."
    )
    pictures = [Picture(_drawn_series(rows, rows.some(_SERIES)), "Series and their reconstructions.", text)]
    if count:
        chosen = np.concatenate([order[:count], order[::-1][:count]])
        names = [
            f"{kind}: {rows.errors[row]:.2g}"
            for row, kind in zip(chosen, ["best"] * count + ["worst"] * count, strict=True)
        ]
        text = f"Of {len(order):,} series the best reconstructed and the worst, the worst first, with the mean squared "
        text += "error in standardised units: at 1 no more is right than the mean of the channel."
        pictures.append(
            Picture(_drawn_series(rows, chosen, names), "The best and the worst reconstructed series.", text)
        )
    return Section("Reconstruction", ["What comes back from a code shows what the code holds of a series."], pictures)


def _drawn_series(rows: _Rows, chosen: NDArray[np.int64], names: Sequence[str] | None = None) -> Any:
    """Return series, each of its own length, with their reconstructions and a strip of how strange a step is."""
    part = rows.part(chosen)
    seen = ~np.isnan(rows.originals[chosen])
    densities = inference.entries(rows.estimator.model_, part, 16) - np.log(rows.estimator.schema_.columns.scale)
    strange = np.where(seen.any(2), -np.where(seen, densities, 0).sum(2), np.nan)
    steps = np.full(len(chosen), part.x.shape[1]) if part.lengths is None else part.lengths
    kept = [slice(0, int(length)) for length in steps]
    return plots.sequences(
        [rows.originals[row, place] for row, place in zip(chosen, kept, strict=True)],
        [rows.made[row, place] for row, place in zip(chosen, kept, strict=True)],
        scores=[scores[place] for scores, place in zip(strange, kept, strict=True)],
        names=rows.estimator.schema_.names,
        sequence_names=[f"series {row}" for row in chosen] if names is None else names,
    )


def _reconstructed_columns(rows: _Rows) -> Section:
    originals, names = rows.originals, rows.estimator.schema_.names
    spread = originals.var(0)
    errors = np.square(originals - rows.made).mean(0) / np.where(spread > 0, spread, 1.0)
    names = names or [f"column {j}" for j in range(len(errors))]
    figure = plots.column_errors(names, errors, unit="mean squared error / variance")
    text = (
        "What reconstructions lose of each column, as a share of its variance: "
        "at 0 it is all there, at 1 no more than the column's mean is."
    )
    picture = Picture(figure, f"Bar chart. The code loses most of {names[int(errors.argmax())]}.", text)
    whole = f"{errors.mean():.0%} of the variance of a column is lost on average, {errors.max():.0%} at most."
    return Section("Reconstruction", [whole], [picture])


def _codes_section(rows: _Rows) -> Section:
    text = "Each point is the code of a row. Points that lie together stand for rows that the model takes to be alike."
    codes = Picture(plots.latent_scatter(rows.Z, rows.labels), "Scatter plot of codes.", text)
    clouds = []
    if rows.Z.shape[1] >= 3:
        words = "The same codes in three dimensions."
        clouds.append(Cloud(rows.Z, words, words, rows.labels))
    seen = "Groups that stand apart are kinds of rows that differ; nobody told the model of any."
    return Section("Codes", [seen], [codes], clouds=clouds)


def _certainty(rows: _Rows) -> Section:
    model = rows.estimator.model_
    pictures = []
    if rows.Z.shape[1] >= 2:
        chosen = rows.some(_JITTERING)
        part = rows.part(chosen)
        called = [] if rows.labels is None else [str(rows.labels[row]) for row in chosen]
        names = called if called and len(set(called)) == len(called) else [f"row {row}" for row in chosen]
        figure = plots.posterior_jitter(
            rows.Z,
            inference.deviations(model, rows.batch),
            chosen.tolist(),
            draws=np.stack([inference.codes(model, part, seed) for seed in range(_JITTER_DRAWS)]),
            names=names,
        )
        text = (
            "Grey are the codes of all rows, in colour a few of them with draws from q(z|x); the ellipses hold most of "
            "what z can be. Where they are small beside the grey cloud, z tells rows apart; where they are as large as "
            "the cloud, it tells nothing."
        )
        pictures.append(Picture(figure, "How far z moves for a few rows, beside the codes of all.", text))
    kl = inference.kl_by_dimension(model, rows.batch)
    if kl is not None:
        text = (
            "What each latent dimension costs, about what it says of a row: the divergence of q(z|x) from the prior. "
            "A grey dimension says nothing: training has found that it does not pay."
        )
        pictures.append(Picture(plots.kl_per_dimension(kl), "Bar chart of the KL divergence of each dimension.", text))
    seen = "A row has no single code but a distribution, q(z|x). Its width is what the model does not know."
    return Section("What codes leave open", [seen], pictures)


def _samples_sections(estimator: Any, shape: tuple[int, ...] | None, context: Any) -> list[Section]:
    """Return samples; `context` is theirs, or a function from their number to it."""

    def draw(count: int, mean: bool = True) -> Any:
        return estimator.sample(count, mean=mean, context=context(count) if callable(context) else context)

    if shape is not None:
        limits = _limits(estimator)
        drawn = _pictures(np.asarray(draw(_SAMPLES)), shape)
        figure = plots.grid(drawn, shape, columns=12, limits=limits)
        picture = Picture(figure, f"A grid of {_SAMPLES} generated pictures.", "Means of p(x|z), without its noise.")
    elif estimator.schema_.drawing.style == "series":
        count = 2 * _SERIES if estimator.schema_.features == 1 else _SERIES
        drawn, means = (draw(count, mean) for mean in (False, True))
        by_entry = estimator.schema_.by_entry
        figure = plots.sequences(list(by_entry(drawn)), list(by_entry(means)), names=estimator.schema_.names)
        for words, name in zip(figure.legends[0].get_texts(), ("draw of x", "its mean"), strict=True):
            words.set_text(name)
        picture = Picture(figure, "Generated series.", "Draws from p(x|z), and their means at the same z.")
    else:
        return []
    prior = "a density of the codes" if isinstance(estimator.recipe_.posterior, PointMass) else "the prior"
    given = ""
    if estimator.context_schema_ is not None:
        given = ", given the context of one of the rows" if callable(context) else ", given the same context"
    text = f"Nobody has made these: each is decoded from a z drawn from {prior}{given}. None is picked out."
    return [Section("Samples", [text], [picture])]


def _diagnosis(rows: _Rows) -> Section:
    diagnosis = rows.estimator.diagnose(rows.X, context=rows.context)
    verdicts = [finding.verdict for finding in diagnosis.findings]
    counts = [(verdicts.count(verdict), verdict) for verdict in ("good", "warning", "problem")]
    found = ", ".join(
        f"{count} {verdict}{'s' * (count > 1 and verdict != 'good')}" for count, verdict in counts if count
    )
    text = f"What the model itself shows over {diagnosis.rows:,} rows: {found}."
    pictures = []
    whole = diagnosis.aggregate
    if whole is not None and whole.mean_kl is not None:
        caption = (
            "Is z really normal? Quantiles of z, drawn once for each row, against those of the standard normal prior. "
            "On the diagonal they agree; the grey band is what chance would do. Where a line is steeper than the "
            "diagonal, z is thinner there than the prior; where it is flatter, denser."
        )
        pictures.append(Picture(plots.normality(whole.draws), "Quantiles of z against those of the prior.", caption))
    return Section("Diagnosis", [text], pictures, findings=diagnosis.findings)


def _training_section(estimator: Any) -> Section:
    history: Sequence[Mapping[str, Any]] = raw_history(estimator)
    last, unit = history[-1], " nats per row" if is_in_nats(history[0]) else ""
    ends = f"After {len(history)} epochs the training loss is {last['loss']:.4g}{unit}"
    if "validation_loss" in last:
        ends += f", the validation loss {last['validation_loss']:.4g}"
    caption = "The loss and its terms, epoch by epoch. " + (
        "Where the validation line turns away from the training line, the model has begun to learn rows by heart."
        if "validation_loss" in last
        else "There was no validation, so these are of the rows that it learned from."
    )
    picture = Picture(plots.learning_curve(history), f"Learning curve. {ends}.", caption)
    return Section("Training", [f"{ends}."], [picture])


def _layers_section(estimator: Any) -> Section:
    layers = estimator.summary()
    rows = [(layer.name, layer.kind, " × ".join(map(str, layer.shape)), f"{layer.parameters:,}") for layer in layers]
    rows.append(("total", "", "", f"{layers.total:,}"))
    return Section("Layers", [], [], Table(["layer", "kind", "output", "parameters"], rows))
