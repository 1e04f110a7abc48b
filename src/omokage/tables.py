"""Results as tables: in columns of text for a terminal, and as HTML for a notebook."""

from collections.abc import Sequence
from html import escape
from unicodedata import east_asian_width

# Middle tones, which can be read on light and on dark ground; everything else takes the notebook's own colours.
_COLOURS = {"good": "#2a9455", "warning": "#b7791f", "problem": "#dc4a3d"}
_CELL = "text-align: left; vertical-align: top; white-space: normal; padding: 0.3em 0.8em 0.3em 0"


def aligned(lines: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return cells in columns, those numbered in `right` flush right; nothing is cut, however narrow the terminal is.

    Japanese letters are two wide.

    Example:
        >>> print(aligned([("column", "scale"), ("温度", "2.5")], right=(1,)))
        column scale
        温度     2.5
    """
    widths = [max(_width(line[j]) for line in lines) for j in range(len(lines[0]))] if lines else []

    def padded(cell: str, j: int) -> str:
        gap = " " * (widths[j] - _width(cell))
        return gap + cell if j in right else cell + gap

    return "\n".join(" ".join(padded(cell, j) for j, cell in enumerate(line)).rstrip() for line in lines)


def html_table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """Return a table as HTML; all text is escaped, and a cell that is a verdict has its colour.

    Args:
        heading: Above the table.
        columns: Headings of the columns; the first cell of a row is that of the row.
        rows: Cells.
        caption: Below it, or nothing.

    Example:
        >>> "<b>" in html_table("<b>", ["a"], [["<b>"]])
        False
    """
    head = "".join(f'<th style="{_CELL}; font-weight: normal">{escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{_first(row[0])}{''.join(map(_cell, row[1:]))}</tr>" for row in rows)
    below = f"<div>{escape(caption)}</div>" if caption else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div><div><strong>{escape(heading)}</strong></div>{table}{below}</div>"


def _first(text: str) -> str:
    return f'<th scope="row" style="{_CELL}">{escape(text)}</th>'


def _cell(text: str) -> str:
    colour = f"; font-weight: bold; color: {_COLOURS[text]}" if text in _COLOURS else ""
    return f'<td style="{_CELL}{colour}">{escape(text)}</td>'


def _width(text: str) -> int:
    return sum(1 + (east_asian_width(letter) in "WF") for letter in text)
