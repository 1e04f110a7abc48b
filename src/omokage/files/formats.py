"""Which files are read and written, and what is common to them."""

FORMATS = (
    "CSV (.csv, .txt, .tsv, also .gz), Parquet (.parquet, .pq), .npy, .npz, and IDX (train-images-idx3-ubyte, also .gz)"
)
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
SEPARATORS = {".csv": ",", ".txt": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class."""
    return next(iter(str(error).splitlines()), type(error).__name__)
