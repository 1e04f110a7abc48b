"""Which files are read and written, and what is common to them."""

FORMATS = (
    "CSV (.csv, .txt, .tsv, .dat, .data), Parquet (.parquet, .pq), .npy, .npz, and IDX (train-images-idx3-ubyte); but "
    "for Parquet also packed (.gz, .bz2, .xz, .zip)"
)
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
SEPARATORS = {".csv": ",", ".txt": ",", ".tsv": "\t"}  # of tables that are written
TEXT = {**SEPARATORS, ".tab": "\t", ".dat": ",", ".data": ",", ".asc": ","}  # and read, where nothing else is found
PARQUET = (".parquet", ".pq")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class."""
    return next(iter(str(error).splitlines()), type(error).__name__)
