"""From text in UTF-8 to whole records, many at a time; a line feed within quotation marks does not end one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omokage.errors import FileFormatError
from omokage.files.contents import Content
from omokage.files.encodings import utf8

_LONGEST = 64 * 2**20  # bytes of one record; beyond it, a quotation mark was left open


def records(content: Content, encoding: str, separator: str = ",") -> Iterator[bytes]:
    """Yield whole records, many at a time, in UTF-8; each ends in a line feed.

    Where the separator is a space, runs of spaces and tabs become one, and those at the ends of lines none.

    Raises:
        FileFormatError: If the text does not decode, or a quotation mark is never closed.
    """
    for block in _whole(content, encoding):
        yield spaced_once(block) if separator == " " else block


def _whole(content: Content, encoding: str) -> Iterator[bytes]:
    rest, line, whole = b"", 1, b""
    for block in utf8(content, encoding):
        rest += block
        cut = rest.rfind(b"\n") + 1
        quoted = rest.count(b'"', 0, cut) % 2
        while quoted and cut:  # this line feed stands within a cell: go back to the one before
            before = rest.rfind(b"\n", 0, cut - 1) + 1
            quoted = (quoted + rest.count(b'"', before, cut)) % 2
            cut = before
        if cut:
            if whole:
                yield whole
            whole = rest[:cut]  # until more is known, so that a last line without an end comes with the others
            line += rest.count(b"\n", 0, cut)
            rest = rest[cut:]
        elif len(rest) > _LONGEST:
            break
    if rest.count(b'"') % 2 or len(rest) > _LONGEST:
        raise FileFormatError(_endless(content.path, line, b'"' in rest))
    if whole or rest:
        yield whole + rest + b"\n" * bool(rest)


def _endless(path: Path, line: int, quoted: bool) -> str:
    if not quoted:
        return f"{path}, line {line}: a line of more than {_LONGEST // 2**20} MiB. It may not be a table of text."
    return (
        f"{path}, line {line}: a quotation mark opens there or later and is never closed. Close it; one "
        'within a cell is doubled, as in "5"" pipe".'
    )


def layout(body: bytes, separator: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the place of each record's last byte and the number of its cells; quoted marks do not count.

    Example:
        >>> [values.tolist() for values in layout(b'1,2\\n"a,b",3,4\\n', ",")]
        [[3, 13], [2, 3]]
    """
    codes = np.frombuffer(body, np.uint8)
    outside = _outside(codes)
    ends = np.flatnonzero((codes == ord("\n")) & outside)
    separators = np.flatnonzero((codes == ord(separator)) & outside)
    return ends, np.diff(np.searchsorted(separators, ends), prepend=0) + 1


def line_of(body: bytes, ends: NDArray[np.int64], record: int, line: int) -> int:
    """Return the line on which a record starts, where `line` is that of the first."""
    return line + (body.count(b"\n", 0, int(ends[record - 1]) + 1) if record else 0)


def spaced_once(body: bytes) -> bytes:
    """Return records with one space where there are several, or tabs, and none at the ends of lines.

    Example:
        >>> spaced_once(b'  a   "b  c"  \\n')
        b'a "b  c"\\n'
    """
    codes = np.frombuffer(body, np.uint8)
    outside = _outside(codes)
    blank = ((codes == ord(" ")) | (codes == ord("\t"))) & outside
    codes = np.where(blank, np.uint8(ord(" ")), codes)
    before = np.concatenate([[ord("\n")], codes[:-1]])
    kept = ~(blank & (np.concatenate([[False], blank[:-1]]) | (before == ord("\n"))))
    codes, blank = codes[kept], blank[kept]
    kept = ~(blank & (np.concatenate([codes[1:], [ord("\n")]]) == ord("\n")))
    return codes[kept].tobytes()


def _outside(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which bytes stand outside of quotation marks."""
    outside: NDArray[np.bool_] = np.cumsum(codes == ord('"'), dtype=np.uint8) & 1 == 0  # wraps at 256: parity stays
    return outside
