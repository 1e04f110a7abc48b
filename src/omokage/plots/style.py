"""What all pictures share: colours, sizes, fonts, axes that look alike, and how a notebook shows them."""

import io
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal
from unicodedata import east_asian_width

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.legend import Legend

INK, MUTED, RULE, PAPER = "#1f2328", "#667079", "#d3d7db", "#fefefe"
TRAINING, VALIDATION = "#2a78c2", "#d9610f"
# Ten colours that stay apart in the common kinds of colour blindness, on light and on dark paper; none is grey, which
# stands for all rows, or for what is missing.
CLASSES = (
    "#3f90da", "#ffa90e", "#bd1f01", "#0f6b73", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#d66ba0", "#92dadd",
)  # fmt: skip

# For drawings and writing: 1 is ink and 0 nothing, so what is behind shows; a report turns the ink white on dark paper.
INK_ON_PAPER = LinearSegmentedColormap.from_list("ink", [(0, 0, 0, 0), (0, 0, 0, 1)])
# From below zero over nothing at zero to above, on light and on dark paper.
SIGNED = LinearSegmentedColormap.from_list(
    "signed", [(0.0, TRAINING), (0.5, f"{TRAINING}00"), (0.5, f"{VALIDATION}00"), (1.0, VALIDATION)]
)
# From nothing to much.
HEAT = LinearSegmentedColormap.from_list("heat", [f"{VALIDATION}10", VALIDATION, "#8a1c00"])

WIDTH = 5.4  # inches; wide enough for a column of text, narrow enough for a telephone
TEXT, SMALL = 9.0, 8.0  # points
POINTS = 3000  # more become a bitmap inside an SVG
_CJK = (
    "Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "IPAexGothic", "IPAGothic", "IPAPGothic", "TakaoPGothic",
    "TakaoGothic", "VL PGothic", "VL Gothic", "Hiragino Sans", "Hiragino Kaku Gothic ProN", "Hiragino Maru Gothic Pro",
    "Yu Gothic", "Meiryo", "MS Gothic", "BIZ UDGothic", "Noto Serif CJK JP", "IPAexMincho", "IPAMincho",
    "Arial Unicode MS",
)  # fmt: skip


class NotebookFigure(Figure):
    """A figure that a notebook shows where it is the last line of a cell, without pyplot.

    Where `%matplotlib inline` is on, its formatters come first, as for any figure.
    """

    def _repr_png_(self) -> bytes:
        return self._png(self.dpi)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, bytes], dict[str, dict[str, int]]]:
        """Return twice as many pixels as are shown, for fine screens, with the size in CSS pixels."""
        width, height = (round(side * self.dpi) for side in self.get_size_inches())
        return {"image/png": self._png(2 * self.dpi)}, {"image/png": {"width": width, "height": height}}

    def _png(self, dpi: float) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=dpi)
        return content.getvalue()


@cache
def cjk_font() -> str | None:
    """Return a Japanese font of this machine's, if there is one."""
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in _CJK if name in there), None)


def fonts(*texts: str) -> list[str]:
    """Return the fonts for texts; glyphs that the first lacks are taken from the second."""
    latin = all(ord(letter) < 0x2E80 for text in texts for letter in text)
    return ["DejaVu Sans"] if latin or cjk_font() is None else ["DejaVu Sans", str(cjk_font())]


def blank_figure(height: float, layout: Literal["constrained", "none"] = "constrained") -> Figure:
    """Return a figure of the common width, and so many inches high."""
    figure = NotebookFigure(figsize=(WIDTH, height), dpi=100, facecolor=PAPER, edgecolor="none", frameon=True)
    figure.set_layout_engine(layout)
    return figure


def plain_axes(axes: Axes) -> Axes:
    """Give axes the common look."""
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set(visible=side == "bottom", color=RULE, linewidth=0.8)
    lines: dict[str, Any] = {"color": RULE, "linewidth": 0.5, "linestyle": "-", "alpha": 1.0, "solid_capstyle": "butt"}
    axes.grid(visible=True, which="major", axis="both", **lines)
    plain_ticks(axes)
    return axes


def plain_ticks(axes: Axes) -> None:
    """Give the numbers along axes the common look."""
    ticks: dict[str, Any] = {"colors": MUTED, "labelsize": SMALL, "labelfontfamily": fonts(), "length": 0, "pad": 4}
    axes.tick_params(axis="both", which="both", **ticks)


def bare_axes(axes: Axes) -> Axes:
    """Give axes no lines and no numbers, for pictures."""
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes


def titles(axes: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Write the title of axes, and what is along them; dollar signs are dollar signs."""
    text: dict[str, Any] = {"fontsize": SMALL, "color": MUTED, "fontweight": "normal", "parse_math": False}
    axes.set_xlabel(x, fontfamily=fonts(x), labelpad=4, loc="center", **text)
    axes.set_ylabel(y, fontfamily=fonts(y), labelpad=7, loc="center", **text)
    if title:
        text |= {"fontsize": TEXT, "color": INK}
        axes.set_title(title, loc="left", y=1.0, pad=6, fontfamily=fonts(title), **text)


def shortened(text: str, most: int = 28) -> str:
    """Return the start of a text that is wider than so many Latin letters; Japanese ones are two wide."""
    widths = np.cumsum([1 + (east_asian_width(letter) in "WF") for letter in text])
    if not len(widths) or widths[-1] <= most:
        return text
    return text[: int((widths < most).sum())] + "…"


def legend(owner: Axes | Figure, handles: Sequence[Artist], names: Sequence[str], **place: Any) -> Legend:
    """Write a legend, whatever names look like."""
    numbers = [str(number) for number in range(len(names))]
    look: dict[str, Any] = {
        "frameon": False,
        "prop": {"family": fonts(*names), "size": SMALL},
        "labelcolor": INK,
        "handlelength": 1.2,
        "borderaxespad": 0.2,
    }
    drawn = owner.legend(handles, numbers, **look, **place)
    # Set afterwards: a legend drops names that begin with "_", and takes "$" for mathematics.
    for text, name in zip(drawn.get_texts(), names, strict=True):
        text.set(parse_math=False, text=shortened(name))
    return drawn


def plain_bar(bar: Colorbar) -> None:
    """Give a scale of colours the common look."""
    bar.outline.set_visible(False)
    bar.ax.grid(False)
    bar.ax.set_axisbelow(True)
    bar.ax.set_facecolor("none")
    bar.ax.tick_params(colors=MUTED, labelsize=SMALL, labelfontfamily=fonts(), length=0, pad=4)


def short_number(value: float) -> str:
    """Return a number in at most three digits or as a whole one, with a true minus.

    Example:
        >>> short_number(0.01234), short_number(-12345.6)
        ('0.0123', '−12,346')
    """
    return (f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}").replace("-", "−")
