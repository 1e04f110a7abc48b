"""What a report is made of, and the file: text, tables, pictures, points to turn, findings.

Text is escaped by Jinja2 wherever it comes from; column names are what users make of them. Pictures are SVG in the
page, so their text can be searched, read aloud and shown in the reader's fonts, and they follow a dark page.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from omokage import __version__, plots
from omokage.diagnostics import Finding
from omokage.errors import ParameterError
from omokage.plots.latent import as_labels, kinds_of
from omokage.plots.space import in_box
from omokage.storage import replace_file

_POINTS = 2000  # of a cloud at most
_CONTENTS = 4  # sections from which on a list of them stands at the top
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
    """A part of a report: a heading, then text, pictures, points to turn, findings and a table.

    Attributes:
        heading: Of the part.
        paragraphs: What one is to see, before one sees it.
        pictures: Figures with words.
        table: Below the pictures.
        clouds: Points to turn.
        findings: Of a diagnosis, as a table of questions, verdicts and answers.
    """

    heading: str
    paragraphs: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    table: Table | None = None
    clouds: Sequence[Cloud] = ()
    findings: Sequence[Finding] = ()


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
            "findings": section.findings,
        }
        for section in sections
    ]
    environment = Environment(loader=PackageLoader("omokage"), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("report.html.jinja").render(
        title=title,
        lead=lead,
        key_figures=key_figures,
        sections=shown,
        lang=lang,
        version=__version__,
        contents=len(shown) >= _CONTENTS,
    )
    return replace_file(path, page.encode("utf-8", "replace"))


def _turnable(cloud: Cloud) -> dict[str, Any]:
    """Return what the page says of a cloud, and what its script draws: whole numbers, thousandths of the box."""
    box = in_box(cloud.Z)
    kinds = kinds_of(as_labels(cloud.labels, len(box.points)), len(box.points))
    number = np.zeros(len(box.points), int)
    for j, kind in enumerate(kinds):
        number[kind.members] = j
    few = min(len(box.points), _POINTS)
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
