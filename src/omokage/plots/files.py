"""Figures as SVG source."""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

import io
import warnings

import matplotlib
from matplotlib.figure import Figure


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
