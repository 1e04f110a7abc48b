"""The command line: `omokage demo | fit | encode | reconstruct | score | sample | info`.

The flags of `fit` are made from `omokage.settings`. Everything else is loaded when a command runs, so that
`omokage --help` needs neither JAX nor Polars.
"""

import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter
from pydantic import create_model

from omokage import __version__
from omokage.errors import DataError, FileFormatError, OmokageError, ParameterError, listing
from omokage.settings import AutoEncoderSettings, CommonSettings, VAESettings, check, from_text, hint

app = App(
    name="omokage",
    version=__version__,
    help="Autoencoders and variational autoencoders for your own data.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)

_KINDS: dict[str, type[CommonSettings]] = {"vae": VAESettings, "autoencoder": AutoEncoderSettings}
_Id = Annotated[
    tuple[str, ...],
    Parameter(name="--id", negative="", show_default=False, help="Columns to pass through, not to use."),
]
_Encoding = Annotated[str, Parameter(help="Of CSV files, such as cp932.")]
_Array = Annotated[str | None, Parameter(help="Which array of an .npz file.")]
_Out = Annotated[Path, Parameter(help="File to write: .csv or .parquet.")]
_Folder = Annotated[Path, Parameter(help="A saved model.")]
_Data = Annotated[str, Parameter(help="CSV, Parquet, .npy, .npz or IDX file; or digits, mnist, fashion_mnist.")]

# A flag for each setting, as text, so that what was not given can be told from what was.
_FIELDS: dict[str, Any] = {
    name: (Annotated[str | None, Parameter(help=hint(name), show_default=False)], None)
    for name in dict.fromkeys([*VAESettings.model_fields, *AutoEncoderSettings.model_fields])
    if name not in ("warm_start", "verbose")
}
_Flags: Any = create_model("_Flags", **_FIELDS)
_UNSET = _Flags()


@app.command
def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for the report and the model.")] = Path("omokage-demo"),
    seed: Annotated[int, Parameter(help="Of everything random.")] = 0,
) -> None:
    """Train a VAE on real handwritten digits and write a report of what it learned."""
    from omokage.demo import run_demo

    run_demo(out, seed=seed)


@app.command
def fit(
    data: _Data,
    *,
    out: Annotated[Path, Parameter(help="Folder for the model.")],
    model: Annotated[Literal["vae", "autoencoder"], Parameter(help="Kind of model.")] = "vae",
    config: Annotated[Path | None, Parameter(help="TOML file of settings; flags override it.")] = None,
    valid: Annotated[str | None, Parameter(help="File of rows to validate on.")] = None,
    id: _Id = (),
    encoding: _Encoding = "utf-8",
    array: _Array = None,
    checkpoint: Annotated[Path | None, Parameter(help="Folder that keeps the state of training.")] = None,
    checkpoint_every: Annotated[int, Parameter(help="Epochs between checkpoints.")] = 1,
    resume: Annotated[bool, Parameter(help="Go on with an interrupted run.", negative="")] = False,
    quiet: Annotated[bool, Parameter(help="Show no progress.", negative="")] = False,
    settings: Annotated[_Flags, Parameter(name="*", group=Group("Settings", sort_key=1), show_default=False)] = _UNSET,
) -> None:
    """Learn from the rows of a file and save the model."""
    kind = _KINDS[model]
    values = _read_config(config) if config else {}
    texts = {name: text for name, text in vars(settings).items() if text is not None}
    values |= {name: from_text(kind, name, text) for name, text in texts.items()}
    check(kind, values)
    if checkpoint is not None and checkpoint.resolve() == out.resolve():
        raise ParameterError(f"--checkpoint and --out both name {out}: the model needs a folder of its own.")
    rows = _opened(data, encoding, array, id)

    from omokage.build import from_table
    from omokage.estimators import VAE, AutoEncoder
    from omokage.saving import FILES
    from omokage.storage import check_target

    check_target(out, FILES)
    values = {name: from_table(name, value) if isinstance(value, dict) else value for name, value in values.items()}
    values |= {"verbose": 0} if quiet else {}
    estimator: Any = {"vae": VAE, "autoencoder": AutoEncoder}[model](**values)
    checked = None
    if valid is not None:
        source = _opened(valid, encoding, array, id)
        checked = _columns(valid, source.read() if hasattr(source, "read") else source, getattr(rows, "names", None))
    estimator.fit(rows, X_valid=checked, checkpoint=checkpoint, checkpoint_every=checkpoint_every, resume=resume)
    estimator.save(out)
    if not quiet:
        last = {name: value for name, value in estimator.history_[-1].items() if name.endswith(("loss", "kl"))}
        terms = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in last.items())
        print(f"{out}: {estimator.n_features_in_} columns to {estimator.latent_dim}; {terms} (nats per row)")


@app.command
def encode(
    model: _Folder, data: _Data, *, out: _Out, id: _Id = (), encoding: _Encoding = "utf-8", array: _Array = None
) -> None:
    """Write the features of rows: the posterior means."""

    def features(estimator: Any, rows: Any) -> dict[str, Any]:
        return dict(zip(estimator.get_feature_names_out(), estimator.transform(rows).T, strict=True))

    _map_rows(features, model, data, out, id, encoding, array)


@app.command
def reconstruct(
    model: _Folder, data: _Data, *, out: _Out, id: _Id = (), encoding: _Encoding = "utf-8", array: _Array = None
) -> None:
    """Write what the model makes of rows, in their own units."""

    def rebuilt(estimator: Any, rows: Any) -> dict[str, Any]:
        return dict(zip(_names(estimator), estimator.reconstruct(rows).T, strict=True))

    _map_rows(rebuilt, model, data, out, id, encoding, array)


@app.command
def score(
    model: _Folder, data: _Data, *, out: _Out, id: _Id = (), encoding: _Encoding = "utf-8", array: _Array = None
) -> None:
    """Write an anomaly score for every row (higher is stranger) and the terms that it is made of, in nats."""

    def scores(estimator: Any, rows: Any) -> dict[str, Any]:
        terms = estimator.terms(rows)
        anomaly = terms["squared_error"] if "squared_error" in terms else -terms.get("elbo", terms["reconstruction"])
        return {"anomaly_score": anomaly, **terms}

    _map_rows(scores, model, data, out, id, encoding, array)


@app.command
def sample(
    model: _Folder,
    *,
    out: _Out,
    n: Annotated[int, Parameter(name=["-n", "--rows"], help="How many rows.")] = 100,
    mean: Annotated[bool, Parameter(help="Decoder means, without noise.", negative="")] = False,
    seed: Annotated[int, Parameter(help="Of the draws.")] = 0,
) -> None:
    """Write rows drawn from the model."""
    from omokage.data.reading import write_table
    from omokage.estimators import load

    estimator = load(model)
    if not hasattr(estimator, "sample"):
        raise ParameterError(f"{model}: a {type(estimator).__name__} has no density to draw from; fit a VAE.")
    write_table(out, dict(zip(_names(estimator), estimator.sample(n, mean=mean, seed=seed).T, strict=True)))
    print(f"{out}: {n} rows")


@app.command
def info(model: _Folder) -> None:
    """Show what a saved model is made of."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from omokage.estimators import load

    estimator, console = load(model), Console()
    print(f"{type(estimator).__name__} of {estimator.n_features_in_} columns, in {model}")
    parts = Table(show_header=False, box=None)
    for name, part in vars(estimator.recipe_).items():
        parts.add_row(name, Text(repr(part)))
    console.print(parts)
    print(estimator.summary())
    columns = Table("column", "kind", "location", "scale", "low", "high", box=None)
    schema = estimator.schema_
    for j, name in list(enumerate(_names(estimator)))[:50]:
        figures = (schema.location[j], schema.scale[j], schema.low[j], schema.high[j])
        # As text, since names such as "speed [m]" would be taken for markup.
        columns.add_row(Text(name, overflow="fold"), schema.kinds[j], *(f"{figure:.6g}" for figure in figures))
    console.print(columns)
    if schema.features > 50:
        print(f"and {schema.features - 50} more columns")
    for name, value in estimator.history_[-1].items() if estimator.history_ else ():
        print(f"{name.replace('_', ' ')}: {value:.6g}")


def main() -> None:
    """Run the command line; what a user can do wrong ends in one line on standard error and exit status 1."""
    warnings.formatwarning = lambda message, *_, **__: f"omokage: warning: {message}\n"
    try:
        app(exit_on_error=False, print_error=False)
    except (OmokageError, CycloptsError) as error:
        print(f"omokage: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("omokage: interrupted", file=sys.stderr)
        sys.exit(130)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: not sound TOML: {error}") from None


def _opened(data: str, encoding: str, array: str | None, ids: tuple[str, ...], *, passed: bool = False) -> Any:
    """Return an open file without its id columns, or with them if `passed`; or the rows of a known data set."""
    import polars as pl

    from omokage.data import datasets
    from omokage.data.reading import TableFile, open_table

    if data in datasets.NAMES and not Path(data).exists():
        if ids:
            raise DataError(f"--id: the columns of {data} have no names.")
        return datasets.load(data, "train").X
    types = dict.fromkeys(ids, pl.String)  # so that 007 stays 007
    file: TableFile = open_table(data, encoding=encoding, array=array, types=types)
    names = file.names or ()
    if missing := [name for name in ids if name not in names]:
        raise DataError(f"--id: no column {listing(missing)} in {data}; it has {listing(names, 20) or 'no names'}.")
    if passed or not ids:
        return file
    columns = [name for name in names if name not in ids]
    return open_table(data, encoding=encoding, array=array, columns=columns)


def _columns(data: str, batch: Any, names: tuple[str, ...] | None, ids: tuple[str, ...] = ()) -> Any:
    """Return the columns of a batch that a model of columns `names` knows, in its order."""
    import polars as pl

    from omokage.data.schema import check_names

    if not isinstance(batch, pl.DataFrame):
        return batch
    rows = batch.drop(ids)
    if names is None:
        return rows
    try:
        check_names(names, rows.columns)
    except DataError as error:
        raise DataError(f"{data}: {error}") from None
    return rows.select(names)


def _names(estimator: Any) -> list[str]:
    names = estimator.schema_.names
    return list(names) if names else [f"column_{j + 1}" for j in range(estimator.n_features_in_)]


def _map_rows(
    function: Callable[[Any, Any], dict[str, Any]],
    model: Path,
    data: str,
    out: Path,
    ids: tuple[str, ...],
    encoding: str,
    array: str | None,
) -> None:
    """Write `function(estimator, rows)` for all rows, in order, a batch at a time, behind the id columns."""
    if out.resolve() == Path(data).resolve():
        raise ParameterError(f"--out: {out} is the file that is read; name another.")
    source = _opened(data, encoding, array, ids, passed=True)

    import polars as pl

    from omokage.data.reading import write_table
    from omokage.data.vectors import to_matrix
    from omokage.estimators import load

    estimator = load(model)

    def results() -> Iterator[pl.DataFrame]:
        first_row = 0
        for batch in [source] if not hasattr(source, "batches") else source.batches():
            passed = batch.select(ids) if isinstance(batch, pl.DataFrame) else pl.DataFrame()
            rows = _columns(data, batch, estimator.schema_.names, ids)
            try:
                values = function(estimator, rows)
            except ValueError as error:
                try:
                    to_matrix(rows, first_row=first_row)  # says which row of the whole file it is
                except DataError as counted:
                    raise DataError(f"{data}: {counted}") from None
                raise DataError(f"{data}: {error}") from None
            first_row += len(batch)
            yield pl.DataFrame([*passed.get_columns(), *(pl.Series(name, values[name]) for name in values)])

    write_table(out, results())
    print(f"{out}: written", file=sys.stderr)
