"""The pictures: each function returns a matplotlib `Figure` of its own.

No pyplot and no settings of matplotlib's are touched, and every colour, size and font is given where it is used, so a
figure looks the same whatever style the caller has set, and figures can be made in threads. `figure.savefig(path)`
writes one to a file; `svg(figure)` gives its source, with text that stays text.

Rows of pictures are (n, D) with D = height × width (× 3 or 4 for colours), as the estimators take and give them.
"""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal
from unicodedata import east_asian_width

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from omokage.errors import DataError

INK, MUTED, RULE, PAPER = "#1f2328", "#667079", "#d3d7db", "#fefefe"
TRAINING, VALIDATION = "#2a78c2", "#d9610f"
# Ten colours that stay apart in the common kinds of colour blindness, on light and on dark paper.
CLASSES = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip

# For drawings and writing: 1 is ink and 0 nothing, so what is behind shows; a report turns the ink white on dark paper.
INK_ON_PAPER = LinearSegmentedColormap.from_list("ink", [(0, 0, 0, 0), (0, 0, 0, 1)])

WIDTH = 5.4  # inches; wide enough for a column of text, narrow enough for a telephone
_TEXT, _SMALL = 9.0, 8.0  # points
_BARS = 30
_POINTS = 3000  # more become a bitmap inside an SVG
_TITLES = {"kl": "KL divergence"}
_NOT_TERMS = {"epoch", "learning_rate", "seconds", "rows_per_second"}
_CJK = (
    "Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "IPAexGothic", "IPAGothic", "IPAPGothic", "TakaoPGothic",
    "TakaoGothic", "VL PGothic", "VL Gothic", "Hiragino Sans", "Hiragino Kaku Gothic ProN", "Hiragino Maru Gothic Pro",
    "Yu Gothic", "Meiryo", "MS Gothic", "BIZ UDGothic", "Noto Serif CJK JP", "IPAexMincho", "IPAMincho",
    "Arial Unicode MS",
)  # fmt: skip


def learning_curve(history: Sequence[Mapping[str, Any]], *, validation: str = "validation") -> Figure:
    """Draw the loss and its terms, epoch by epoch, training beside validation.

    The first epochs may run out at the top: the scale is chosen for what comes after the first tenth.

    Args:
        history: `history_` of an estimator, or records like it; nats per row.
        validation: What the second line is called.

    Returns:
        A figure with one panel for the loss and one for each term, with one or two lines each.

    Raises:
        DataError: If there is no record.

    Example:
        >>> len(learning_curve([{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}]).axes)
        1
    """
    if not history:
        raise DataError("history: expected at least one record, such as those of `history_` after `fit`; got none.")
    names = [name for name in history[0] if name not in _NOT_TERMS and not name.startswith("validation_")]
    names.sort(key=lambda name: name != "loss")
    rows = 1 + math.ceil((len(names) - 1) / 2)
    figure = _figure(1.0 + 1.75 * rows)
    cells = figure.add_gridspec(rows, 2)
    for number, name in enumerate(names):
        place = cells[0, :] if number == 0 else cells[(number + 1) // 2, (number + 1) % 2]
        axes = _plain_axes(figure.add_subplot(place))
        shown = []
        for key, label, colour in ((name, "training", TRAINING), (f"validation_{name}", validation, VALIDATION)):
            points = [(record["epoch"], record[key]) for record in history if key in record]
            if points:
                epochs, values = zip(*points, strict=True)
                marker = "o" if len(points) < 3 else ""
                style: dict[str, Any] = {"linewidth": 1.6, "linestyle": "-", "solid_capstyle": "butt", "marker": marker}
                axes.plot(epochs, values, color=colour, label=label, **style)
                shown.append(np.array(values, float))
        axes.set_xlim(1, max(len(history), 2))
        axes.set_ylim(*_settled_limits(shown))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _titles(axes, title=_TITLES.get(name, name.replace("_", " ")), x="epoch", y="nats per row")
        if number == 0 and len(shown) > 1:
            _legend(
                axes, axes.get_lines(), ["training", validation], loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2
            )
    return figure


def reconstructions(
    originals: ArrayLike,
    reconstructed: ArrayLike,
    shape: Sequence[int],
    *,
    limits: tuple[float, float] | None = None,
    colours: str | Colormap = "gray",
) -> Figure:
    """Draw pictures above what a model makes of them.

    Args:
        originals: (n, D); a dozen can be told apart.
        reconstructed: Like `originals`.
        shape: (height, width) or (height, width, 3 or 4).
        limits: The values that are black and white; by default the extremes of the originals.
        colours: A colour map of matplotlib's, or `INK_ON_PAPER`, for pictures without colours of their own.

    Raises:
        DataError: If the numbers of rows differ, or rows do not have that shape.
    """
    first, second = _pictures(originals, shape, "originals"), _pictures(reconstructed, shape, "reconstructed")
    if len(first) != len(second):
        raise DataError(f"reconstructed: expected {len(first)} rows, as many as originals; got {len(second)}.")
    limits = limits or (float(first.min()), float(first.max()))
    return _mosaic(np.stack([first, second]), limits, colours, row_labels=["original", "reconstruction"])


def grid(
    pictures: ArrayLike,
    shape: Sequence[int],
    *,
    columns: int | None = None,
    limits: tuple[float, float] | None = None,
    colours: str | Colormap = "gray",
) -> Figure:
    """Draw pictures side by side, row by row: samples, for example.

    Args:
        pictures: (n, D).
        shape: (height, width) or (height, width, 3 or 4).
        columns: How many stand beside each other; by default a square, at most 12.
        limits: The values that are black and white; by default the extremes of the pictures.
        colours: A colour map of matplotlib's, or `INK_ON_PAPER`, for pictures without colours of their own.

    Raises:
        DataError: If rows do not have that shape.
    """
    all_ = _pictures(pictures, shape, "pictures")
    columns = min(columns or min(12, math.ceil(math.sqrt(len(all_)))), len(all_))
    limits = limits or (float(all_.min()), float(all_.max()))
    missing = -len(all_) % columns
    padded = np.concatenate([all_, np.full((missing, *all_.shape[1:]), np.nan)])
    return _mosaic(padded.reshape(-1, columns, *all_.shape[1:]), limits, colours)


def interpolation(
    vae: Any,
    x_a: ArrayLike,
    x_b: ArrayLike,
    shape: Sequence[int],
    *,
    steps: int = 10,
    limits: tuple[float, float] | None = None,
    colours: str | Colormap = "gray",
) -> Figure:
    """Draw what lies on the straight line between the codes of two rows, one pair in each row of the figure.

    Args:
        vae: A fitted estimator with `transform` and `inverse_transform`.
        x_a: Where lines begin, (pairs, D).
        x_b: Where they end, (pairs, D).
        shape: (height, width) or (height, width, 3 or 4).
        steps: Pictures on each line, its ends among them.
        limits: The values that are black and white; by default the extremes of `x_a` and `x_b`.
        colours: A colour map of matplotlib's, or `INK_ON_PAPER`, for pictures without colours of their own.

    Raises:
        DataError: If the numbers of rows differ, or rows do not have that shape.
    """
    ends = [_pictures(x_a, shape, "x_a"), _pictures(x_b, shape, "x_b")]
    if len(ends[0]) != len(ends[1]):
        raise DataError(f"x_b: expected {len(ends[0])} rows, as many as x_a; got {len(ends[1])}.")
    limits = limits or (float(min(end.min() for end in ends)), float(max(end.max() for end in ends)))
    z_a, z_b = (np.asarray(vae.transform(np.asarray(x))) for x in (x_a, x_b))
    share = np.linspace(0, 1, steps)[:, None]
    z = (1 - share) * z_a[:, None] + share * z_b[:, None]  # (pairs, steps, L)
    decoded = np.asarray(vae.inverse_transform(z.reshape(-1, z.shape[-1])))
    pictures = _pictures(decoded, shape, "inverse_transform").reshape(len(z), steps, *shape)
    labels = ["A", *[""] * (steps - 2), "B"]
    return _mosaic(pictures, limits, colours, column_labels=labels)


def latent_scatter(Z: ArrayLike, labels: ArrayLike | None = None) -> Figure:
    """Draw codes as points: as they are if they have two dimensions, else their first two principal components.

    Codes of one dimension are drawn against the share of rows below them.

    Args:
        Z: (n, L).
        labels: One for each row, (n,): up to ten kinds get colours and names (the rarest beyond nine are "other"), and
            fractional numbers a colour scale.

    Raises:
        DataError: If Z is not a matrix with at least two rows, or there is not one label for each row.
    """
    Z = np.asarray(Z, np.float64)
    if Z.ndim != 2 or len(Z) < 2:
        raise DataError(f"Z: expected codes of shape (n, latent_dim) with n of at least 2; got shape {Z.shape}.")
    points, titles = _plane(Z)
    figure = _figure(4.4)
    axes = _plain_axes(figure.add_subplot())
    _titles(axes, **titles)
    style: dict[str, Any] = {"s": 11, "linewidths": 0, "alpha": 0.85, "rasterized": len(Z) > _POINTS}
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], color=TRAINING, **style)
        return figure
    kinds = np.asarray(labels)
    if kinds.shape != (len(Z),):
        raise DataError(f"labels: expected one for each of the {len(Z)} rows; got shape {kinds.shape}.")
    if kinds.dtype.kind == "f" and not np.equal(np.mod(kinds, 1), 0).all():
        drawn = axes.scatter(points[:, 0], points[:, 1], c=kinds, cmap="viridis", **style)
        bar = figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.grid(False)
        bar.ax.set_facecolor("none")
        bar.ax.tick_params(colors=MUTED, labelsize=_SMALL, labelfontfamily=_fonts(), length=0, pad=4)
        return figure
    _draw_kinds(axes, points, kinds, style)
    return figure


def column_errors(
    names: Sequence[object], errors: ArrayLike, *, unit: str = "mean squared error, standardised"
) -> Figure:
    """Draw how badly each column is reconstructed, the worst on top; of many columns the worst thirty.

    Args:
        names: Column names, in any script; Japanese is drawn with a font of the system's that has it.
        errors: One for each column, (D,).
        unit: What an error is, for the axis.

    Raises:
        DataError: If there is not one error for each name.
    """
    values = np.asarray(errors, np.float64)
    if values.shape != (len(names),) or not len(names):
        raise DataError(f"errors: expected one for each of the {len(names)} names; got shape {values.shape}.")
    order = np.argsort(-values, kind="stable")[:_BARS]
    shown = [_shortened(str(names[j])) for j in order]
    figure = _figure(0.75 + 0.21 * len(order))
    axes = _plain_axes(figure.add_subplot())
    places = np.arange(len(order))
    axes.barh(places, values[order], height=0.62, color=TRAINING, linewidth=0)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(0, max(float(values.max()) * 1.12, 1e-12))
    axes.set_yticks(places, shown, parse_math=False, color=INK, fontfamily=_fonts(*shown), fontsize=_SMALL)
    for place, value in zip(places, values[order], strict=True):
        text: dict[str, Any] = {"color": MUTED, "fontsize": _SMALL, "fontfamily": _fonts(), "va": "center"}
        axes.annotate(f"{value:.3g}", (value, place), (3, 0), textcoords="offset points", **text)
    axes.grid(False)
    axes.spines["left"].set_visible(True)
    _titles(axes, x=unit, title=f"the worst {_BARS} of {len(names)} columns" if len(names) > _BARS else "")
    return figure


def svg(figure: Figure) -> str:
    """Return the SVG source of a figure, on a transparent ground, with text as text: the reader's fonts show it.

    The same figure gives the same source.
    """
    output = io.StringIO()
    # The SVG writer takes these from settings alone; the context puts them back.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "omokage"}), warnings.catch_warnings():
        # Whether a glyph is in a font of this machine says nothing about the reader's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        about = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(output, format="svg", facecolor="none", dpi=200, metadata=about)
    return output.getvalue()


@cache
def _cjk_font() -> str | None:
    """Return a Japanese font of this machine's, if there is one."""
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in _CJK if name in there), None)


def _fonts(*texts: str) -> list[str]:
    """Return the fonts for texts; glyphs that the first lacks are taken from the second."""
    latin = all(ord(letter) < 0x2E80 for text in texts for letter in text)
    return ["DejaVu Sans"] if latin or _cjk_font() is None else ["DejaVu Sans", str(_cjk_font())]


def _figure(height: float, layout: Literal["constrained", "none"] = "constrained") -> Figure:
    figure = Figure(figsize=(WIDTH, height), dpi=100, facecolor=PAPER, edgecolor="none", frameon=True)
    figure.set_layout_engine(layout)
    return figure


def _plain_axes(axes: Axes) -> Axes:
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set(visible=side == "bottom", color=RULE, linewidth=0.8)
    lines: dict[str, Any] = {"color": RULE, "linewidth": 0.5, "linestyle": "-", "alpha": 1.0, "solid_capstyle": "butt"}
    axes.grid(visible=True, which="major", axis="both", **lines)
    ticks: dict[str, Any] = {"colors": MUTED, "labelsize": _SMALL, "labelfontfamily": _fonts(), "length": 0, "pad": 4}
    axes.tick_params(axis="both", which="both", **ticks)
    return axes


def _titles(axes: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    text: dict[str, Any] = {"fontsize": _SMALL, "color": MUTED, "fontweight": "normal"}
    axes.set_xlabel(x, fontfamily=_fonts(x), labelpad=4, loc="center", **text)
    axes.set_ylabel(y, fontfamily=_fonts(y), labelpad=7, loc="center", **text)
    if title:
        text |= {"fontsize": _TEXT, "color": INK}
        axes.set_title(title, loc="left", y=1.0, pad=6, fontfamily=_fonts(title), **text)


def _shortened(text: str, most: int = 28) -> str:
    """Return the start of a text that is wider than so many Latin letters; Japanese ones are two wide."""
    widths = np.cumsum([1 + (east_asian_width(letter) in "WF") for letter in text])
    if not len(widths) or widths[-1] <= most:
        return text
    return text[: int((widths < most).sum())] + "…"


def _legend(axes: Axes, handles: Sequence[Line2D], names: Sequence[str], **place: Any) -> None:
    numbers = [str(number) for number in range(len(names))]
    fonts = {"family": _fonts(*names), "size": _SMALL}
    look: dict[str, Any] = {
        "frameon": False,
        "prop": fonts,
        "labelcolor": INK,
        "handlelength": 1.2,
        "borderaxespad": 0.2,
    }
    texts = axes.legend(handles, numbers, **look, **place).get_texts()
    # Set afterwards: a legend drops names that begin with "_", and takes "$" for mathematics.
    for text, name in zip(texts, names, strict=True):
        text.set(parse_math=False, text=_shortened(name))


def _settled_limits(lines: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Return limits for what comes after the first tenth of each line."""
    late = np.concatenate([line[len(line) // 10 :] for line in lines])
    late = late[np.isfinite(late)] if np.isfinite(late).any() else np.zeros(1)
    margin = 0.08 * (late.max() - late.min()) or 0.5
    return float(late.min() - margin), float(late.max() + margin)


def _plane(Z: NDArray[np.float64]) -> tuple[NDArray[np.float64], dict[str, str]]:
    """Return where codes are drawn, (n, 2), and the titles."""
    if Z.shape[1] == 1:
        below = np.empty(len(Z))
        below[np.argsort(Z[:, 0], kind="stable")] = np.linspace(0, 1, len(Z))
        return np.column_stack([Z[:, 0], below]), {"x": "z", "y": "share of rows below", "title": "posterior means"}
    if Z.shape[1] == 2:
        return Z, {"x": "z, first dimension", "y": "z, second dimension", "title": "posterior means"}
    centred = Z - Z.mean(0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    # Singular vectors come with either sign.
    directions = directions[:2] * np.sign(directions[:2].sum(1, keepdims=True) + 1e-300)
    share = np.square(lengths[:2]).sum() / max(np.square(lengths).sum(), 1e-300)
    title = f"first two principal components of {Z.shape[1]} dimensions, {share:.0%} of the variance"
    return centred @ directions.T, {"x": "first component", "y": "second component", "title": title}


def _draw_kinds(axes: Axes, points: NDArray[np.float64], labels: NDArray[Any], style: dict[str, Any]) -> None:
    kinds, counts = np.unique(labels, return_counts=True)
    if len(kinds) > len(CLASSES):
        common = kinds[np.sort(np.argsort(-counts, kind="stable")[: len(CLASSES) - 1])]
        groups = [(str(kind), labels == kind) for kind in common] + [("other", ~np.isin(labels, common))]
    else:
        groups = [(str(kind), labels == kind) for kind in kinds]
    handles = []
    spots = _apart(np.array([np.median(points[members], 0) for _, members in groups]), np.ptp(points, 0) * [0.06, 0.05])
    for (name, members), colour, spot in zip(groups, CLASSES, spots, strict=False):
        axes.scatter(points[members, 0], points[members, 1], color=colour, **style)
        handles.append(Line2D([], [], linestyle="", marker="o", markersize=5, markeredgewidth=0, color=colour))
        # A name where its points are, so that nobody has to go by colour alone.
        box = {"boxstyle": "round,pad=0.2", "facecolor": PAPER, "edgecolor": colour, "linewidth": 1.4, "alpha": 0.92}
        text: dict[str, Any] = {"fontsize": _TEXT, "fontfamily": _fonts(name), "color": INK, "bbox": box}
        axes.text(
            spot[0], spot[1], _shortened(name, 12), ha="center", va="center", parse_math=False, in_layout=False, **text
        )
    _legend(axes, handles, [name for name, _ in groups], loc="center left", bbox_to_anchor=(1.0, 0.5))


def _apart(spots: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return spots, (n, 2), moved just so far that boxes of that size around them do not cover one another."""
    if not (size > 0).all():
        return spots
    spots = spots / size
    for _ in range(100):
        away = spots[:, None] - spots[None]
        order = np.sign(np.arange(len(spots))[:, None] - np.arange(len(spots)))  # for spots in one place
        overlap = np.maximum(1 - np.abs(away).max(2), 0) * (order != 0)
        if not overlap.any():
            break
        upwards = np.where(away[..., 1] != 0, np.sign(away[..., 1]), order)
        spots = spots + 0.25 * (overlap * upwards).sum(1)[:, None] * [0, 1]
    return spots * size


def _pictures(rows: ArrayLike, shape: Sequence[int], name: str) -> NDArray[np.float64]:
    """Return rows as pictures, (n, *shape)."""
    values = np.asarray(rows, np.float64)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise DataError(f"shape: expected (height, width) or (height, width, 1, 3 or 4); got {tuple(shape)}.")
    if values.ndim < 2 or not len(values) or values[0].size != math.prod(shape):
        raise DataError(
            f"{name}: expected at least one row of {math.prod(shape)} values, for pictures of "
            f"{' × '.join(map(str, shape))}; got shape {values.shape}."
        )
    return values.reshape(len(values), *shape)


def _mosaic(
    pictures: NDArray[np.float64],
    limits: tuple[float, float],
    colours: str | Colormap,
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
) -> Figure:
    """Draw pictures of shape (rows, columns, height, width[, channels]) as one image; NaN is left empty."""
    rows, columns, h, w = pictures.shape[:4]
    gap = max(1, round(min(h, w) / 12))
    canvas = np.zeros((rows * (h + gap) - gap, columns * (w + gap) - gap, 4))
    for i in range(rows):
        for j in range(columns):
            y, x = i * (h + gap), j * (w + gap)
            canvas[y : y + h, x : x + w] = _painted(pictures[i, j], limits, colours)
    left = 1.05 if row_labels else 0.0  # inches
    above = 0.25 if any(column_labels) else 0.0
    height = (WIDTH - left) * canvas.shape[0] / canvas.shape[1] + above
    figure = _figure(height, layout="none")
    axes = figure.add_axes((left / WIDTH, 0, 1 - left / WIDTH, 1 - above / height))
    image = axes.imshow(canvas, interpolation="none", aspect="equal", origin="upper")
    if colours is INK_ON_PAPER:
        image.set_gid("ink")
    axes.set_facecolor("none")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    centres = [np.arange(count) * (size + gap) + (size - 1) / 2 for count, size in ((columns, w), (rows, h))]
    axes.set_xticks(centres[0][: len(column_labels)], column_labels)
    axes.set_yticks(centres[1][: len(row_labels)], row_labels)
    look: dict[str, Any] = {"colors": MUTED, "labelsize": _SMALL, "labelfontfamily": _fonts(), "length": 0, "pad": 4}
    axes.tick_params(axis="both", labeltop=True, labelbottom=False, **look)
    return figure


def _painted(picture: NDArray[np.float64], limits: tuple[float, float], colours: str | Colormap) -> NDArray[np.float64]:
    """Return the colours of one picture, (height, width, 4)."""
    low, high = limits
    scaled = np.clip((picture - low) / ((high - low) or 1.0), 0, 1)
    if np.isnan(scaled).all():
        return np.zeros((*picture.shape[:2], 4))
    if scaled.ndim == 3 and scaled.shape[2] > 1:
        return np.concatenate([scaled, np.ones((*scaled.shape[:2], 4 - scaled.shape[2]))], 2)
    return np.asarray(matplotlib.colormaps.get_cmap(colours)(scaled.reshape(picture.shape[:2])))
