"""The command line: `omokage demo | fit | encode | reconstruct | score | evaluate | sample | impute | info | ...`.

The flags of `fit` are made from `omokage.settings`. What comes from files and goes to them is in `omokage.row_files`.
Everything else is loaded when a command runs, so that `omokage --help` needs neither JAX nor Polars.
"""

import sys
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter
from pydantic import create_model

from omokage import __version__
from omokage.errors import FileFormatError, OmokageError, ParameterError
from omokage.settings import (
    AutoEncoderSettings,
    CommonSettings,
    DetectorSettings,
    VAESettings,
    check,
    from_text,
    hint,
    not_of_the_command_line,
)

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
_Like = Annotated[Path, Parameter(help="File to write: .csv, .parquet, or .npy; of images a folder, or .npy.")]
_Folder = Annotated[Path, Parameter(help="A saved model.")]
_DATA_HELP = "CSV, Parquet, .npy, .npz or IDX file; a folder of pictures; or digits, mnist, fashion_mnist."
_Data = Annotated[str, Parameter(help=_DATA_HELP)]
_KIND = Group("Kind of data", sort_key=0)


# A flag for each setting, as text, so that what was not given can be told from what was.
def _flags(name: str, settings: list[str]) -> Any:
    """Return the flags of these settings."""
    fields: Any = {
        setting: (Annotated[str | None, Parameter(help=hint(setting), show_default=False)], None)
        for setting in settings
    }
    return create_model(name, **fields)


_OF_MODELS = dict.fromkeys([*VAESettings.model_fields, *AutoEncoderSettings.model_fields])
_OF_DETECTORS = [name for name in DetectorSettings.model_fields if name not in _OF_MODELS]
_Flags: Any = _flags("_Flags", [name for name in _OF_MODELS if name not in ("warm_start", "verbose")])
_DetectorFlags: Any = _flags("_DetectorFlags", _OF_DETECTORS)
_UNSET, _NO_DETECTOR = _Flags(), _DetectorFlags()
_CALLED = {"vectors": "rows", "images": "pictures", "sequences": "series"}


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
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the model.")],
    model: Annotated[Literal["vae", "autoencoder"], Parameter(help="Kind of model.")] = "vae",
    task: Annotated[
        Literal["learn", "detect"], Parameter(help="detect: an ensemble of models that judges rows; see score.")
    ] = "learn",
    config: Annotated[Path | None, Parameter(help="TOML file of settings; flags override it.")] = None,
    valid: Annotated[str | None, Parameter(help="Rows to validate on, as the data.")] = None,
    id: _Id = (),
    encoding: _Encoding = "utf-8",
    array: _Array = None,
    checkpoint: Annotated[Path | None, Parameter(help="Folder that keeps the state of training.")] = None,
    checkpoint_every: Annotated[int, Parameter(help="Epochs between checkpoints.")] = 1,
    resume: Annotated[bool, Parameter(help="Go on with an interrupted run.", negative="")] = False,
    quiet: Annotated[bool, Parameter(help="Show no progress.", negative="")] = False,
    series: Annotated[str | None, Parameter(group=_KIND, help="Column of a table that tells series apart.")] = None,
    time: Annotated[str | None, Parameter(group=_KIND, help="Column by which the rows of a series ascend.")] = None,
    layout: Annotated[str | None, Parameter(group=_KIND, help="Axes of arrays of series: NTC or NCT.")] = None,
    window: Annotated[
        int | None, Parameter(group=_KIND, help="Steps of the windows that long series are cut into.")
    ] = None,
    stride: Annotated[
        int | None, Parameter(group=_KIND, help="Steps from one window to the next; a quarter of a window.")
    ] = None,
    size: Annotated[str | None, Parameter(group=_KIND, help="HEIGHTxWIDTH to which pictures are resized.")] = None,
    colours: Annotated[str | None, Parameter(group=_KIND, help="Of pictures: auto, grey or rgb.")] = None,
    detector: Annotated[
        _DetectorFlags, Parameter(name="*", group=Group("With --task detect", sort_key=1), show_default=False)
    ] = _NO_DETECTOR,
    settings: Annotated[_Flags, Parameter(name="*", group=Group("Settings", sort_key=2), show_default=False)] = _UNSET,
) -> None:
    """Learn from the rows of a file, or the pictures of a folder, and save the model."""
    values = (_read_config(config) if config else {}) | _given(settings)
    unused = {"valid": valid, "checkpoint": checkpoint, "resume": resume or None}
    judging = _judging(task, values, _given(detector), [name for name, value in unused.items() if value is not None])
    check(_KINDS[model], values, not_of_the_command_line(values))
    quiet = values.pop("verbose", 1) == 0 or quiet
    if checkpoint is not None and checkpoint.resolve() == out.resolve():
        raise ParameterError(f"--checkpoint and --out both name {out}: the model needs a folder of its own.")

    from omokage.data import Images
    from omokage.row_files import Source, check_apart, described, known_columns, open_rows

    check_apart(data, out)
    flags = {
        "series": series, "time": time, "layout": layout, "window": window, "stride": stride,
        "size": size, "colours": colours,
    }  # fmt: skip
    values["data"] = _kind_of_data(_made("data", values.get("data", "auto")), flags)
    pictures = values["data"] == "images" or isinstance(values["data"], Images)
    rows = open_rows(Source(data, id, encoding, array), pictures=pictures)

    from omokage.estimators import VAE, AnomalyDetector, AutoEncoder
    from omokage.saving import FILES
    from omokage.storage import check_target

    check_target(out, FILES)
    silent: Any = {"verbose": 0} if quiet else {}
    kind = {"vae": VAE, "autoencoder": AutoEncoder}[model]
    if task == "detect":
        # Settings of a VAE are differences from the small one that detectors take.
        given = kind(**values) if model == "autoencoder" else {} if values == {"data": "auto"} else values
        judge = AnomalyDetector(given or None, **judging, **silent).fit(rows)
        judge.save(out)
        by, count = ", ".join(judge.judge_.names), judge.calibration_.count
        if not quiet:
            print(f"{out}: {described(judge.schema_)}; {judge.ensemble} models judge by {by}; {count:,} rows calibrate")
        return
    estimator: Any = kind(**values, **silent)
    checked = None
    if valid is not None:
        checked = open_rows(Source(valid, id, encoding, array), pictures=pictures)
        if getattr(checked, "names", None) is not None:
            checked = known_columns(valid, checked.read(), getattr(rows, "names", None))
    estimator.fit(rows, X_valid=checked, checkpoint=checkpoint, checkpoint_every=checkpoint_every, resume=resume)
    estimator.save(out)
    if not quiet:
        last = {name: value for name, value in estimator.history_[-1].items() if name.endswith(("loss", "kl"))}
        terms = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in last.items())
        print(f"{out}: {described(estimator.schema_)} to {estimator.latent_dim}; {terms} (nats per row)")


@app.command
def encode(
    model: _Folder, data: _Data, *, out: _Out, id: _Id = (), encoding: _Encoding = "utf-8", array: _Array = None
) -> None:
    """Write the features of rows, series or pictures: the posterior means."""
    from omokage.row_files import Source, write_rows

    def features(estimator: Any, rows: Any) -> dict[str, Any]:
        return dict(zip(estimator.get_feature_names_out(), estimator.transform(rows).T, strict=True))

    write_rows(features, _model(model), Source(data, id, encoding, array), out)
    print(f"{out}: written", file=sys.stderr)


@app.command
def reconstruct(
    model: _Folder, data: _Data, *, out: _Like, id: _Id = (), encoding: _Encoding = "utf-8", array: _Array = None
) -> None:
    """Write what the model makes of rows, series or pictures, in their own units."""
    from omokage.row_files import Source, write_like

    def rebuilt(estimator: Any, rows: Any) -> Any:
        return estimator.reconstruct(rows)

    write_like(rebuilt, _model(model), Source(data, id, encoding, array), out)
    print(f"{out}: written", file=sys.stderr)


@app.command
def score(
    model: _Folder,
    data: Annotated[
        str,
        Parameter(
            help=_DATA_HELP + " - is lines from standard input, each answered at once.", allow_leading_hyphen=True
        ),
    ],
    *,
    out: Annotated[Path | None, Parameter(help="File to write: .csv or .parquet; of - standard output.")] = None,
    by_step: Annotated[bool, Parameter(help="Of series: a score for each step.", negative="")] = False,
    window: Annotated[
        int | None, Parameter(help="Of long series: a score for each step, by windows of so many.")
    ] = None,
    false_alarm_rate: Annotated[
        float | None, Parameter(help="Of a detector: flag rows whose p-value is at most this.")
    ] = None,
    explain: Annotated[int, Parameter(help="Of a detector: how many columns that are to blame to name.")] = 0,
    strict: Annotated[
        bool, Parameter(help="Stop at the first row that cannot be scored; else it is reported.", negative="")
    ] = False,
    id: _Id = (),
    encoding: _Encoding = "utf-8",
    array: _Array = None,
) -> None:
    """Write an anomaly score for every row (higher is stranger) and the terms that it is made of, in nats."""
    from omokage.data.kinds import name_of
    from omokage.estimators import load
    from omokage.row_files import Source, write_rows, write_steps
    from omokage.score_files import answer_lines, question_of, question_of_steps, write_scores

    estimator, source = load(model), Source(data, id, encoding, array)
    kind = name_of(estimator.schema_)
    by_step = by_step or window is not None or (kind == "sequences" and estimator.schema_.reading.window is not None)
    if by_step:
        asked, schema = question_of_steps(estimator, model, false_alarm_rate, explain, window)
    else:
        question = question_of(estimator, model, false_alarm_rate, explain)
    if data == "-" and out is None and kind == "vectors":

        def answer(text: str) -> None:
            print(text, end="", flush=True)

        answer_lines(question, estimator, sys.stdin, answer, ids=id, strict=strict)
        return
    if data == "-" or out is None:
        raise ParameterError("--out: expected a file to write; only of - and vectors answers go to standard output.")
    if by_step:
        write_steps(asked, schema, source, out)
    elif kind != "vectors":
        write_rows(question, estimator, source, out)
    else:
        settings = {"false_alarm_rate": false_alarm_rate, "explain": explain}
        bad = write_scores(question, estimator, source, out, model=model, settings=settings, strict=strict)
        if bad:
            print(f"{out}: {bad} rows have no score", file=sys.stderr)
    print(f"{out}: written", file=sys.stderr)


@app.command
def evaluate(
    model: _Folder,
    data: _Data,
    *,
    label_column: Annotated[str, Parameter(help="Column that is 1 for anomalies and 0 for normal rows.")],
    out: Annotated[Path | None, Parameter(help="Page to write, .html: figures, pictures, the rows to look at.")] = None,
    id: _Id = (),
    encoding: _Encoding = "utf-8",
) -> None:
    """Show how good scores are on labelled rows: AUROC, average precision, rates of detection and of false alarms.

    Of series the labels are those of steps, and events are counted too.
    """
    from omokage.estimators import evaluate_detector, load
    from omokage.row_files import Source
    from omokage.score_files import labelled_rows

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise ParameterError(f"--out: {out} cannot be written; end it in .html.")
    estimator = load(model)
    rows, labels, ids = labelled_rows(Source(data, id, encoding), label_column, estimator.schema_)
    print(found := evaluate_detector(estimator, rows, labels))
    if out is not None:
        from omokage.report import evaluation_page

        evaluation_page(out, estimator, rows, labels, found, data=data, ids=ids.rows() if id else ())
        print(f"{out}: written", file=sys.stderr)


@app.command
def impute(
    model: _Folder, data: _Data, *, out: _Like, id: _Id = (), encoding: _Encoding = "utf-8", array: _Array = None
) -> None:
    """Write series with their missing entries filled; what is there stays as it is."""
    from omokage.row_files import Source, described, write_like

    estimator = _model(model)
    if estimator.schema_.to_json()["kind"] != "sequences":
        raise ParameterError(f"{model}: a model of {described(estimator.schema_)}; only sequences can be imputed.")

    def filled(estimator: Any, rows: Any) -> Any:
        return estimator.impute(rows)

    count = write_like(filled, estimator, Source(data, id, encoding, array), out)
    print(f"{out}: {count} entries filled", file=sys.stderr)


@app.command
def sample(
    model: _Folder,
    *,
    out: _Like,
    n: Annotated[int, Parameter(name=["-n", "--rows"], help="How many rows, series or pictures.")] = 100,
    length: Annotated[int | None, Parameter(help="Steps of each series; by default as in training.")] = None,
    mean: Annotated[bool, Parameter(help="Decoder means, without noise; always of autoencoders.", negative="")] = False,
    seed: Annotated[int, Parameter(help="Of the draws.")] = 0,
) -> None:
    """Write rows, series or pictures drawn from the model."""
    from omokage.row_files import check_draws, write_draws

    estimator = _model(model)
    check_draws(estimator.schema_, out)
    how = {"seed": seed, "length": length} | ({"mean": True} if mean else {})  # each kind of model has its own default
    write_draws(estimator.sample(n, **how), estimator.schema_, out)
    print(f"{out}: {n} {_CALLED[estimator.schema_.to_json()['kind']]}")


@app.command
def info(model: _Folder) -> None:
    """Show what a saved model is made of."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from omokage.estimators import load
    from omokage.row_files import described, facts, names_of

    estimator, console = load(model), Console()
    schema = estimator.schema_
    print(f"{type(estimator).__name__} of {described(schema)}, in {model}")
    parts = Table(show_header=False, box=None)
    for name, part in (vars(estimator.recipe_) | facts(schema)).items():
        parts.add_row(name, Text(part if name in facts(schema) else repr(part)))
    console.print(parts)
    print(estimator.summary())
    if schema.to_json()["kind"] != "images":  # of which nobody wants to see each pixel
        columns = Table("column", "kind", "location", "scale", "low", "high", box=None)
        learned = schema.columns
        for j, name in list(enumerate(names_of(schema)))[:50]:
            figures = (learned.location[j], learned.scale[j], learned.low[j], learned.high[j])
            # As text, since names such as "speed [m]" would be taken for markup.
            columns.add_row(Text(name, overflow="fold"), learned.kinds[j], *(f"{figure:.6g}" for figure in figures))
        console.print(columns)
        if schema.features > 50:
            print(f"and {schema.features - 50} more columns")
    for name, value in estimator.history_[-1].items() if estimator.history_ else ():
        print(f"{name.replace('_', ' ')}: {value:.6g}")


@app.command
def reproduce(
    name: Annotated[str | None, Parameter(help="An experiment that --list shows.")] = None,
    *,
    out: Annotated[Path | None, Parameter(help="Folder to write. Default: omokage-reproduce/NAME.")] = None,
    seed: Annotated[int, Parameter(help="Of everything random.")] = 0,
    quick: Annotated[bool, Parameter(help="Few rows and epochs, in seconds.", negative="")] = False,
    show: Annotated[bool, Parameter(name="--list", help="Show the experiments.", negative="")] = False,
) -> None:
    """Run an experiment of a published document: write its pictures and a table, the document's figures beside ours."""
    from omokage import experiments

    if show:
        for known, document, question in experiments.listed():
            print(f"{known}\n    {document}\n    {question}")
    elif name is None:
        raise ParameterError(f"NAME: expected one of {', '.join(experiments.NAMES)}; got none. See --list.")
    else:
        experiments.reproduce(name, out, seed=seed, quick=quick)


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


def _judging(task: str, values: dict[str, Any], given: dict[str, Any], unused: list[str]) -> dict[str, Any]:
    """Return the settings of a detector, those among `values` and those that were `given`, and leave the others."""
    judging = {name: values.pop(name) for name in _OF_DETECTORS if name in values} | given
    if task != "detect" and judging:
        raise ParameterError(f"--{next(iter(judging)).replace('_', '-')}: only with --task detect.")
    if task == "detect":
        if unused:
            raise ParameterError(f"--{unused[0]}: not with --task detect, which holds out rows of its own.")
        judging |= {"random_state": values.pop("random_state")} if "random_state" in values else {}
        check(DetectorSettings, judging)
    return judging


def _model(folder: Path) -> Any:
    """Return a saved model that is no detector."""
    from omokage.estimators import AnomalyDetector, load

    estimator = load(folder)
    if isinstance(estimator, AnomalyDetector):
        raise ParameterError(f"{folder}: a detector, which scores rows and does nothing else; see omokage score.")
    return estimator


def _given(flags: Any) -> dict[str, Any]:
    """Return what was given of some flags."""
    texts = {name: text for name, text in vars(flags).items() if text is not None}
    return {name: from_text(name, text) for name, text in texts.items()}


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: not sound TOML: {error}") from None


def _made(name: str, value: Any) -> Any:
    """Return the object that a table of a configuration file describes, or another value as it is."""
    from omokage.build import from_table

    return from_table(name, value) if isinstance(value, dict) else value


def _kind_of_data(chosen: Any, flags: dict[str, Any]) -> Any:
    """Return the kind of data with what the flags say of how it is read."""
    from omokage.data import Images, Sequences

    given = {name: value for name, value in flags.items() if value is not None}
    if not given:
        return chosen
    if "size" in given:
        sides = given["size"].lower().replace("×", "x").split("x")
        if len(sides) != 2 or not all(side.strip().isdecimal() for side in sides):
            raise ParameterError(f"--size: expected HEIGHTxWIDTH, such as 64x64; got {given['size']!r}.")
        given["size"] = tuple(int(side) for side in sides)
    kinds = {Images if name in ("size", "colours") else Sequences for name in given}
    shown = " and ".join(f"--{name}" for name in given)
    if len(kinds) > 1:
        raise ParameterError(f"{shown}: some are for sequences and some for pictures; give those of one kind.")
    kind: Any = kinds.pop()
    if isinstance(chosen, kind):
        return replace(chosen, **given)
    if chosen not in ("auto", kind.__name__.lower()):
        raise ParameterError(f"{shown}: for data='{kind.__name__.lower()}', and data is {chosen!r}.")
    return kind(**given)
