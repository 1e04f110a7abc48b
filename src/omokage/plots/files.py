"""Figures as files: their SVG source, and files that are whole or not there."""

import io
import os
import secrets
import warnings
from contextlib import suppress
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from omokage.errors import FileFormatError


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


def write_file(path: str | os.PathLike[str], content: bytes) -> Path:
    """Put a file in its place when it is whole and on the disk, and return its absolute path.

    Raises:
        FileFormatError: If it cannot be written; what was there is as before.
    """
    target = Path(path).resolve()
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
    except OSError as error:
        raise FileFormatError(f"{target}: cannot be written ({error.strerror or error}). Name another file.") from None
    return target
