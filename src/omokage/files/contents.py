"""What a file is, by its first bytes, and the stream of what is packed in it.

| packed with | read |
|---|---|
| gzip, bzip2, xz | whatever the name |
| zip | if it holds a single file, arrays (.npz), or a spreadsheet (.xlsx, .ods) |
| zstd, 7z, rar, tar | no; the message says which it is |
"""

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from omokage.errors import FileFormatError, listing
from omokage.files.formats import ARROW, EXCEL, FORMATS, PARQUET, first_line

# What a damaged packing makes its reader raise; a damaged zip may ask for methods that do not exist.
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError)

_OPENERS: dict[str, Callable[[Any], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_PACKED = (
    (b"\x1f\x8b", "gzip"),
    *((b"BZh%d1AY&SY" % level, "bzip2") for level in range(1, 10)),
    (b"\xfd7zXZ\0", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
_EXTENSIONS = {"gzip": (".gz", ".gzip"), "bzip2": (".bz2",), "xz": (".xz",), "zip": (".zip",)}
_SHEET = "Save the sheet as CSV (UTF-8) first."
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # of old Office documents, and of locked new ones
_LARGEST_OLE = 2**28  # bytes that are searched for what it is
LOCKED = "it is locked with a password. Open it in Excel, and save it without one."
FOREIGN = (  # first bytes, what it is, and what to do
    (b"(\xb5/\xfd", "packed with zstd", "Unpack it first (zstd -d)."),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it first."),
    (b"Rar!\x1a", "a RAR archive", "Unpack it first."),
    (_OLE, "an old Excel file or another Office document", _SHEET),
    (b"%PDF-", "a PDF document", "Get the table as CSV from where the document comes from."),
    (b"{\\rtf", "a rich text document", "Save it as plain text."),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (also netCDF and MATLAB 7.3)", "Write the rows as Parquet or .npy first."),
    *((b"CDF%c" % kind, "a netCDF file", "Write the rows as Parquet or .npy first.") for kind in (1, 2, 5)),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file", "Write the rows as CSV or .npy first."),
    (b"FEA1", "a Feather file of the old version 1", "Write it as Feather 2 (Arrow) or Parquet first."),
    (
        b"\xff\xff\xff\xff",
        "a stream of Arrow or another binary file",
        "Write the rows as an Arrow file or Parquet first.",
    ),
    (b"Obj\x01", "an Avro file", "Write the rows as Parquet first."),
    (b"SQLite format 3\0", "an SQLite database", "Write the rows as Parquet or CSV first."),
    (b"SIMPLE  =", "a FITS file", "Write the rows as Parquet or .npy first."),
    (b"$FL2", "an SPSS file", "Write the rows as CSV first."),
    (b"RDX3\n", "a file of R", "Write the rows with write.csv(x, row.names = FALSE) first."),
    *(
        (b"\x80%c" % protocol, "a pickle", "Unpickling can run code: save numbers with np.save.")
        for protocol in range(2, 6)
    ),
    *(
        (magic, f"a picture ({name})", "Name the folder of pictures, not one of them.")
        for magic, name in (
            (b"\x89PNG", "PNG"),
            (b"\xff\xd8\xff", "JPEG"),
            (b"GIF89a", "GIF"),
            (b"GIF87a", "GIF"),
            (b"II*\0", "TIFF"),
            (b"MM\0*", "TIFF"),
        )
    ),
)
_HEAD = 4096  # bytes by which content is told
_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head|body|table|\?xml|svg|!--)", re.IGNORECASE)
_TEXT = re.compile(rb"[^\x00-\x08\x0b\x0e-\x1f\x7f]*\n[^\x00-\x08\x0b\x0e-\x1f\x7f]*")
_JSON = re.compile(rb'(\xef\xbb\xbf)?\s*(\{\s*"[^"\n]*"\s*:|\[\s*[\[{])')


@dataclass(frozen=True)
class Content:
    """A file and what is packed in it.

    Attributes:
        path: The file.
        packing: With what it is packed: "gzip", "bzip2", "xz" or "zip"; `None` where it is not.
        member: Which file of a zip archive is meant.
        workbook: Whether it is an Excel file or another spreadsheet.
    """

    path: Path
    packing: str | None = None
    member: str | None = None
    workbook: bool = False

    def open(self) -> BinaryIO:
        """Return the stream of what is packed."""
        if self.packing is None:
            return self.path.open("rb")
        if self.packing == "zip":
            with zipfile.ZipFile(self.path) as archive:  # the member keeps the file open
                return cast(BinaryIO, archive.open(cast(str, self.member)))
        return cast(BinaryIO, _OPENERS[self.packing](self.path))

    @cached_property
    def head(self) -> bytes:
        """The first bytes of what is packed."""
        with self.open() as stream:
            return stream.read(_HEAD)

    @property
    def name(self) -> str:
        """What it is called without the packing, in lower case."""
        name = PurePosixPath(self.member).name.lower() if self.member else self.path.name.lower()
        endings = sum(_EXTENSIONS.values(), ())
        return next((name.removesuffix(ending) for ending in endings if name.endswith(ending)), name)

    @property
    def renamed(self) -> bool:
        """Whether it is text that is named as another format: lines without control characters."""
        named = PurePosixPath(self.name).suffix in (".npy", ".npz", *PARQUET, *ARROW, *EXCEL)
        return named and _TEXT.fullmatch(self.head) is not None

    @property
    def size(self) -> int | None:
        """Bytes of what is packed; `None` where only unpacking would tell."""
        return self.path.stat().st_size if self.packing is None else None

    def fits(self, limit: int) -> bool:
        """Say whether no more than `limit` bytes are packed; unpacks as far as it must to know."""
        if self.packing is None:
            return self.path.stat().st_size <= limit
        seen = 0
        with self.open() as stream:
            while seen <= limit and (piece := stream.read(2**20)):
                seen += len(piece)
        return seen <= limit

    @property
    def notes(self) -> tuple[str, ...]:
        """What the name does not say, a line each: that it is packed, and that it is text."""
        hidden = self.packing is not None and not self.path.name.lower().endswith(_EXTENSIONS[self.packing])
        packed = f"{self.path}: it is packed with {self.packing}, whatever its name says, and is unpacked."
        text = f"{self.path}: it is text, whatever its name says, and is read as a table of text."
        return (packed,) * hidden + (text,) * self.renamed


def content_of(path: Path) -> Content:
    """Return what is packed in a file, told by its first bytes.

    Raises:
        FileFormatError: If it is an archive of several files, or one that holds none that could be meant.
    """
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith(_OLE):
        return Content(path, workbook=_is_old_workbook(path))
    packing = next((name for magic, name in _PACKED if head.startswith(magic)), None)
    if packing != "zip":
        return Content(path, packing)
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        if path.suffix.lower() == ".npz":
            raise
        raise FileFormatError(
            f"{path}: starts as a zip archive, which an Excel file is too, and is damaged ({first_line(error)}). Get "
            f"the file again. omokage reads {FORMATS}."
        ) from None
    with archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        locked = any(info.flag_bits & 1 for info in archive.infolist())
        kind = _mimetype(archive) if "mimetype" in names else b""
    if any(name.endswith(".npy") for name in names):
        return Content(path)  # .npz, a format of its own
    if "xl/workbook.xml" in names or kind.startswith(b"application/vnd.oasis.opendocument.spreadsheet"):
        return Content(path, workbook=True)
    if "[Content_Types].xml" in names or "mimetype" in names:
        what = (
            "a binary Excel file" if "xl/workbook.bin" in names else "an Office document that is no .xlsx or .ods file"
        )
        raise FileFormatError(f"{path}: it is {what}. {_SHEET}")
    names = [
        name for name in names if not name.startswith("__MACOSX/") and not PurePosixPath(name).name.startswith(".")
    ]
    if path.suffix.lower() == ".npz":
        raise FileFormatError(f"{path}: a zip file without arrays. Write it with np.savez.")
    if len(names) != 1:
        held = f"{len(names)} files ({listing(names)})" if names else "no file"
        raise FileFormatError(f"{path}: a zip archive of {held}; expected a single one. Unpack it, and name a file.")
    if locked:
        raise FileFormatError(f"{path}: {names[0]!r} is locked with a password. Unpack it first.")
    return Content(path, "zip", names[0])


def _mimetype(archive: zipfile.ZipFile) -> bytes:
    with archive.open("mimetype") as stream:
        return stream.read(99)


def _is_old_workbook(path: Path) -> bool:
    """Return whether an old Office document is of Excel.

    Raises:
        FileFormatError: If it is a new one that is locked with a password.
    """
    with path.open("rb") as stream:
        content = stream.read(_LARGEST_OLE)
    if "EncryptedPackage".encode("utf-16-le") in content:
        raise FileFormatError(f"{path}: {LOCKED}")
    return any(name.encode("utf-16-le") in content for name in ("Workbook", "Book\0"))


def check_known(content: Content) -> None:
    """Check that what is packed is not of a format that is known and not read.

    Raises:
        FileFormatError: Saying what it is, and what to do.
    """
    if content.workbook:
        return
    head = content.head
    for magic, what, cure in FOREIGN:
        if head.startswith(magic):
            raise FileFormatError(f"{content.path}: it is {what}, which omokage does not read. {cure}")
    if head[257:262] == b"ustar":
        raise FileFormatError(f"{content.path}: it is a tar archive. Unpack it, and name a file.")
    for bytes_ in (b"PK\x03\x04", b"PAR1"):
        if content.packing and head.startswith(bytes_):
            raise FileFormatError(f"{content.path}: a packed file within a packed one. Unpack it once.")
    if _PAGE.match(head):
        raise FileFormatError(
            f"{content.path}: it is a web page or XML, not a table; a download that needs a login ends so. Get the "
            "file itself."
        )
    if _JSON.match(head):
        raise FileFormatError(f"{content.path}: it is JSON. Write the rows as CSV or Parquet first.")
