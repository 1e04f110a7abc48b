"""Which files are read and written, and what is common to them."""

FORMATS = (
    "CSV (.csv, .txt, .tsv, .dat, .data), Excel (.xlsx, .xls, .ods), Parquet (.parquet, .pq), Arrow (.arrow, "
    ".feather), .npy, .npz, and IDX (train-images-idx3-ubyte); CSV, .npy and IDX also packed (.gz, .bz2, .xz, .zip)"
)
ERRORS = ("#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!")  # of formulas in spreadsheets
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?", *ERRORS)
SEPARATORS = {".csv": ",", ".txt": ",", ".tsv": "\t"}  # of tables that are written
TEXT = {**SEPARATORS, ".tab": "\t", ".dat": ",", ".data": ",", ".asc": ","}  # and read, where nothing else is found
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")
EXCEL = (".xlsx", ".xlsm", ".xls", ".ods")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class."""
    return next(iter(str(error).splitlines()), type(error).__name__)
