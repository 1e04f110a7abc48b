"""The report: one HTML file with everything in it, which can be mailed, kept and read anywhere.

    Table, Picture, Cloud, Section      what a report is made of: plain values
    write_report                        values → a file, in one step
    model_sections                      a fitted estimator and rows → values, for any data

Text is escaped by Jinja2 wherever it comes from; column names are what users make of them. Pictures are SVG in the
page, so their text can be searched, read aloud and shown in the reader's fonts, and they follow a dark page.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from omokage import __version__, plots
from omokage.errors import ParameterError
from omokage.plots.files import write_file
from omokage.plots.latent import as_labels, kinds_of
from omokage.plots.space import in_box

_ROWS = 2000  # of which the pictures of a report are made at most
# What the figures are drawn with, and the page's own colours, which change with its ground.
_COLOURS = {
    plots.INK: "var(--ink)",
    plots.MUTED: "var(--muted)",
    plots.RULE: "var(--rule)",
    plots.PAPER: "var(--paper)",
    plots.TRAINING: "var(--training)",
    plots.VALIDATION: "var(--validation)",
}


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its heading.

    Attributes:
        columns: Headings of all columns, that of the rows' headings among them.
        rows: Cells, as they shall be shown.
        caption: What stands below.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure with words.

    Attributes:
        figure: Of matplotlib, as `omokage.plots` makes them.
        alternative: What is read to someone who cannot see it.
        caption: What one sees, in a sentence.
    """

    figure: Figure
    alternative: str
    caption: str


@dataclass(frozen=True)
class Cloud:
    """Codes in three dimensions, which the reader can turn and draw nearer, with words.

    Attributes:
        Z: Codes, (n, L) with L of at least 3: as they are, or the first three principal components of more. Of many,
            2,000 at even distances are drawn.
        alternative: What is read to someone who cannot see it.
        caption: What one sees, in a sentence.
        labels: One for each row, (n,), or none; drawn as `plots.latent_scatter_3d` draws them.
    """

    Z: ArrayLike
    alternative: str
    caption: str
    labels: ArrayLike | None = None


@dataclass(frozen=True)
class Section:
    """A part of a report: a heading, then text, pictures, points to turn, and a table."""

    heading: str
    paragraphs: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    table: Table | None = None
    clouds: Sequence[Cloud] = ()


def write_report(
    path: str | os.PathLike[str],
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    key_figures: Table | None = None,
    lang: str = "en",
) -> Path:
    """Write a report as one HTML file that refers to nothing outside itself.

    The file is written beside and then put in its place, so there is never half of one.

    Args:
        path: The file; one that is there is replaced.
        title: Of the page.
        sections: What stands in it.
        lead: A sentence or two below the title.
        key_figures: A table above everything else.
        lang: The language of the text, as a BCP 47 tag.

    Returns:
        The absolute path.

    Raises:
        ParameterError: If a row of a table does not have as many cells as there are columns.
        DataError: If the codes of a cloud are not a finite matrix of at least two rows and three dimensions, or there
            is not one label for each.
        FileFormatError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(f"{folder}/report.html", "Title", [Section("One", ["Text."])]).name
        'report.html'
    """
    for table in filter(None, [key_figures, *(section.table for section in sections)]):
        if wrong := [row for row in table.rows if len(row) != len(table.columns)]:
            raise ParameterError(f"Table: expected {len(table.columns)} cells in each row; got {list(wrong[0])!r}.")
    numbers = iter(range(1, 1 + sum(len(section.pictures) for section in sections)))
    shown = [
        {
            "heading": section.heading,
            "paragraphs": section.paragraphs,
            "table": section.table,
            "pictures": [
                {"source": _inline(picture, f"figure-{next(numbers)}"), "caption": picture.caption}
                for picture in section.pictures
            ],
            "clouds": [_turnable(cloud) for cloud in section.clouds],
        }
        for section in sections
    ]
    environment = Environment(loader=PackageLoader("omokage"), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("report.html.jinja").render(
        title=title, lead=lead, key_figures=key_figures, sections=shown, lang=lang, version=__version__
    )
    return write_file(path, page.encode("utf-8", "replace"))


def model_sections(
    estimator: Any,
    X: Any = None,
    *,
    shape: Sequence[int] | None = None,
    labels: Sequence[Any] | NDArray[Any] | None = None,
) -> list[Section]:
    """Return what there is to show of a fitted estimator.

    Args:
        estimator: A fitted `VAE` or `AutoEncoder`.
        X: Rows to show it on, (n, D), best such as it has not learned from; without them only the training, samples
            and layers are shown. Pictures are made of 2,000 of them at most.
        shape: (height, width) or (height, width, 3) where rows are pictures.
        labels: One for each row of X, for the colours of codes.
    """
    sections = [_training_section(estimator)]
    if X is not None:
        sections += _row_sections(estimator, X, shape, labels)
    if shape is not None and hasattr(estimator, "sample"):
        samples = plots.grid(estimator.sample(48, mean=True), shape, columns=12)
        caption = "Means of p(x|z) at 48 draws of z from the prior: pictures that nobody has made."
        sections.append(Section("Samples", [], [Picture(samples, "A grid of 48 generated pictures.", caption)]))
    layers = estimator.summary()
    rows = [(layer.name, layer.kind, " × ".join(map(str, layer.shape)), f"{layer.parameters:,}") for layer in layers]
    rows.append(("total", "", "", f"{layers.total:,}"))
    sections.append(Section("Layers", [], [], Table(["layer", "kind", "output", "parameters"], rows)))
    return sections


def raw_history(estimator: Any) -> list[dict[str, Any]]:
    """Return `history_` with the loss and its reconstruction in nats of raw data, as the scores are.

    A density of standardised data differs from one of raw data by a constant, the Jacobian of standardising.
    """
    shift = {"loss": -estimator.schema_.log_jacobian, "reconstruction": estimator.schema_.log_jacobian}
    return [
        {name: value + shift.get(name.removeprefix("validation_"), 0.0) for name, value in record.items()}
        for record in estimator.history_
    ]


def _training_section(estimator: Any) -> Section:
    history: Sequence[Mapping[str, Any]] = raw_history(estimator)
    last = history[-1]
    ends = f"After {len(history)} epochs the training loss is {last['loss']:.4g} nats per row"
    if "validation_loss" in last:
        ends += f", the validation loss {last['validation_loss']:.4g}"
    caption = "The loss and its terms, epoch by epoch. " + (
        "Where the validation line turns away from the training line, the model has begun to learn rows by heart."
        if "validation_loss" in last
        else "There was no validation, so these are of the rows that it learned from."
    )
    picture = Picture(plots.learning_curve(history), f"Learning curve. {ends}.", caption)
    return Section("Training", [f"{ends}."], [picture])


def _row_sections(
    estimator: Any, X: Any, shape: Sequence[int] | None, labels: Sequence[Any] | NDArray[Any] | None
) -> list[Section]:
    X = X[:_ROWS]
    originals, reconstructed = np.asarray(X, np.float64), np.asarray(estimator.reconstruct(X))
    if shape is not None:
        figure = plots.reconstructions(originals[:12], reconstructed[:12], shape)
        text = "Above what was given, below what is left of it after passing through the code."
        picture = Picture(figure, "Pictures above their reconstructions.", text)
    else:
        spread = originals.var(0)
        errors = np.square(originals - reconstructed).mean(0) / np.where(spread > 0, spread, 1.0)
        names = estimator.schema_.names or [f"column {j}" for j in range(len(errors))]
        figure = plots.column_errors(names, errors, unit="mean squared error / variance")
        text = (
            "What reconstructions lose of each column, as a share of its variance: "
            "at 0 it is all there, at 1 no more than the column's mean is."
        )
        picture = Picture(figure, f"Bar chart. The code loses most of {names[int(errors.argmax())]}.", text)
    Z = estimator.transform(X)
    kinds = None if labels is None else np.asarray(labels)[: len(originals)]
    text = "Each point is the code of a row. Points that lie together stand for rows that the model takes to be alike."
    codes = Picture(plots.latent_scatter(Z, kinds), "Scatter plot of codes.", text)
    clouds = []
    if Z.shape[1] >= 3:
        clouds.append(Cloud(Z, "The same codes in three dimensions.", "The same codes in three dimensions.", kinds))
    return [Section("Reconstruction", [], [picture]), Section("Codes", [], [codes], clouds=clouds)]


def _turnable(cloud: Cloud) -> dict[str, Any]:
    """Return what the page says of a cloud, and what its script draws: whole numbers, thousandths of the box."""
    box = in_box(cloud.Z)
    kinds = kinds_of(as_labels(cloud.labels, len(box.points)), len(box.points))
    number = np.zeros(len(box.points), int)
    for j, kind in enumerate(kinds):
        number[kind.members] = j
    few = min(len(box.points), _ROWS)
    chosen = np.linspace(0, len(box.points) - 1, few).astype(int)
    named = bool(kinds[0].name)
    data = {
        "points": np.round(1000 * box.points[chosen]).astype(int).ravel().tolist(),
        "kinds": number[chosen].tolist(),
        "colours": [kind.colour if named else "" for kind in kinds],
        "axes": box.axes,
    }
    part = f" {few:,} of {len(box.points):,} points are drawn." if few < len(box.points) else ""
    return {
        "data": json.dumps(data, separators=(",", ":"), ensure_ascii=False),
        "alternative": cloud.alternative,
        "caption": f"{cloud.caption} {box.title[0].upper()}{box.title[1:]}; {box.scale}.{part}",
        "kinds": kinds if named else [],
    }


def _inline(picture: Picture, name: str) -> Markup:
    """Return a figure as an `svg` element for a page with others: ids of its own, and the page's colours."""
    source = plots.svg(picture.figure)
    opening, rest = source[source.index("<svg") :].split(">", 1)
    size = re.search(r'viewBox="[^"]*"', opening)

    def adapted(tag: re.Match[str]) -> str:
        text = re.sub(r'\bid="', f'id="{name}-', tag[0])
        text = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", text)
        return re.sub("#[0-9a-f]{6}", lambda colour: _COLOURS.get(colour[0], colour[0]), text)

    rest = re.sub(r"<[^>]*>", adapted, rest.rstrip())  # tags only: text is the user's
    return Markup('<svg {} role="img" aria-label="{}">{}').format(
        Markup(size[0] if size else ""), picture.alternative, Markup(rest)
    )
