"""From bytes to text in UTF-8: which encoding a file has, and where it is not the one that was named."""

import codecs
import io
import re
from collections.abc import Iterator

from omokage.errors import FileFormatError, listing
from omokage.files.contents import Content

BLOCK = 8 * 2**20  # bytes of the file that are read at once

_WHOLE = 256 * 2**20  # bytes up to which the encoding is found by decoding everything; of longer files, the beginning
_OTHERS = ("euc_jp", "cp932", "cp1252")
_MARKS = (  # the longer ones first
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_RUN = re.compile(rb"[\x80-\xff]+")
_SIGNS = "€…‘’“”–—™"  # of cp1252, where Latin-1 has control characters


def encoding_of(content: Content) -> tuple[str, tuple[str, ...]]:
    """Return the encoding of a text, and a note where it is not UTF-8.

    A byte-order mark decides. Else it is UTF-8 if the text decodes as that; and else the only one of EUC-JP, cp932 and
    cp1252 as which all of it reads, and reads as text of a language that is written so.

    Raises:
        FileFormatError: If it is none of them, or could be several.
    """
    if marked := next((name for mark, name in _MARKS if content.head.startswith(mark)), None):
        note = f"{content.path}: read as {marked}, as its byte-order mark says."
        return marked, () if marked == "utf-8" else (note,)
    if content.head.count(b"\0") > len(content.head) // 5 or not content.fits(_WHOLE) or decodes(content, "utf-8"):
        return "utf-8", ()
    runs = _runs(content)
    found = [name for name in _OTHERS if decodes(content, name) and _likely(name, runs)]
    if len(found) == 1:
        why = f"{content.path}: read as {found[0]}, since it is not UTF-8"
        return found[0], (f"{why}; encoding= (--encoding) says otherwise.",)
    if found:
        raise FileFormatError(
            f"{content.path}: not UTF-8; it reads as {listing(found)}. Say which it is: encoding={found[0]!r} "
            f"(--encoding {found[0]})."
        )
    return "utf-8", ()  # reading says where it is not


def _runs(content: Content) -> set[bytes]:
    """Return the different runs of bytes beyond ASCII."""
    runs: set[bytes] = set()
    with content.open() as stream:
        while (raw := stream.read(BLOCK)) and len(runs) < 10_000:
            runs.update(_RUN.findall(raw))
    return runs


def _likely(encoding: str, runs: set[bytes]) -> bool:
    """Say whether runs of bytes beyond ASCII are usual ones of an encoding as which they decode.

    Letters with accents, degrees and the like stand alone or in pairs among ASCII letters; Japanese words are longer,
    and hardly without kana, full-width signs and the kanji of the first level. Half-width kana fill a range of bytes
    that EUC-JP uses for kanji, so a text within that range alone may be either.
    """
    every = b"".join(runs)
    half_width = all(0xA5 <= byte <= 0xDF for byte in every) and any(len(run) > 1 for run in runs)
    if encoding == "cp1252":
        longest = max(map(len, runs), default=0)
        signs = every.decode("cp1252", "replace")
        return longest < 4 and all(char in _SIGNS or 0xA0 <= ord(char) <= 0xFF for char in signs)
    if encoding == "euc_jp":
        first = {run[place] for run in runs for place in range(0, len(run) - 1, 2)}
        return any(byte == 0x8E or 0xA1 <= byte <= 0xCF for byte in first)
    return half_width or any(0x81 <= run[0] <= 0x9F for run in runs)


def utf8(content: Content, encoding: str) -> Iterator[bytes]:
    """Yield the text in UTF-8, without a byte-order mark and with line feeds only.

    Raises:
        FileFormatError: If it does not decode, naming the place, and as what it would.
    """
    path = content.path
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    seen, line, first, raw = 0, 1, True, b"-"
    with content.open() as stream:
        while raw:
            raw = stream.read(BLOCK)
            seen += len(raw)
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                place = seen - len(error.object) + error.start
                line += error.object[: error.start].count(b"\n")
                raise FileFormatError(_undecodable(content, encoding, place, line)) from None
            except UnicodeError as error:  # of encodings that are not for files, such as "idna"
                raise FileFormatError(f"{path}: is not text in {encoding} ({error}). Name another encoding.") from None
            if "\0" in text:
                raise FileFormatError(
                    f"{path}: holds NUL characters, so it is not text in {encoding}. If it is UTF-16, pass "
                    "encoding='utf-16' (--encoding utf-16); if not, its extension does not say what it is."
                )
            line += text.count("\n")
            if text:
                yield text.removeprefix("\ufeff" if first else "").encode(errors="replace")
                first = False


def _undecodable(content: Content, encoding: str, place: int, line: int) -> str:
    marked = content.head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if not marked and (zeros := [at % 2 for at, byte in enumerate(content.head) if byte == 0]):
        name = "utf-16-le" if sum(zeros) * 2 > len(zeros) else "utf-16-be"
        return (
            f"{content.path}: byte {place}, in line {line}, is not text in {encoding}. It has NUL characters: if it is "
            f"UTF-16, pass encoding={name!r} (--encoding {name}); if not, its extension does not say what it is."
        )
    known = ("utf-16",) * marked + ("utf-8", *_OTHERS)
    names = [name for name in known if codecs.lookup(name) != codecs.lookup(encoding)]
    found = next((name for name in names if decodes(content, name)), None)
    cure = (
        f"It reads as {found}: pass encoding={found!r} (--encoding {found})."
        if found
        else f"It does not read as {listing(names)} either: save it as UTF-8."
    )
    return f"{content.path}: byte {place}, in line {line}, is not text in {encoding}. {cure}"


def decodes(content: Content, encoding: str) -> bool:
    """Say whether all of a text decodes."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with content.open() as stream:
        try:
            while raw := stream.read(BLOCK):
                decoder.decode(raw)
            decoder.decode(b"", final=True)
        except UnicodeError:
            return False
    return True
