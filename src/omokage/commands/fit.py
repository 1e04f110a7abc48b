"""`omokage fit`: learn from rows, and save the model."""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from omokage.commands.arguments import AS_USUAL, NONE, Data, Own, Reading, flags, given, whole
from omokage.errors import FileFormatError, ParameterError
from omokage.paths import location
from omokage.settings import (
    AutoEncoderSettings,
    CommonSettings,
    DetectorSettings,
    VAESettings,
    check,
    not_of_the_command_line,
)

_MODELS: dict[str, type[CommonSettings]] = {"vae": VAESettings, "autoencoder": AutoEncoderSettings}
_OF_MODELS = dict.fromkeys([*VAESettings.model_fields, *AutoEncoderSettings.model_fields])
_OF_DETECTORS = [name for name in DetectorSettings.model_fields if name not in _OF_MODELS]
_ModelFlags: Any = flags("_ModelFlags", [name for name in _OF_MODELS if name not in ("warm_start", "verbose")])
_DetectorFlags: Any = flags("_DetectorFlags", _OF_DETECTORS)
_KIND = Group("Kind of data", sort_key=0)


@Parameter(name="*", group=_KIND)
@dataclass(frozen=True)
class KindFlags:
    """Settings of a kind of data: `omokage.data.Columns`, `Sequences` or `Images`."""

    columns: Annotated[
        Path | None,
        Parameter(help='TOML file that says what columns of a table hold: lines such as lot = "category".'),
    ] = None
    series: Annotated[str | None, Parameter(help="Column of a table that tells series apart.")] = None
    time: Annotated[str | None, Parameter(help="Column by which the rows of a series ascend.")] = None
    layout: Annotated[str | None, Parameter(help="Axes of arrays of series: NTC or NCT.")] = None
    window: Annotated[
        int | None, Parameter(converter=whole, help="Steps of the windows that long series are cut into.")
    ] = None
    stride: Annotated[
        int | None, Parameter(converter=whole, help="Steps from one window to the next; a quarter of a window.")
    ] = None
    size: Annotated[str | None, Parameter(help="HEIGHTxWIDTH to which pictures are resized.")] = None
    colours: Annotated[str | None, Parameter(help="Of pictures: auto, grey or rgb.")] = None

    def applied(self, chosen: Any) -> Any:
        """Return the kind of data that was chosen, with what the flags say of how it is read."""
        from omokage.data import Columns, Images, Sequences

        said = {name: value for name, value in vars(self).items() if value is not None}
        if not said:
            return chosen
        of_kinds: dict[str, Any] = {"size": Images, "colours": Images, "columns": Columns}
        kinds = {of_kinds.get(name, Sequences) for name in said}
        shown = " and ".join(f"--{name}" for name in said)
        if len(kinds) > 1:
            raise ParameterError(f"{shown}: are for tables, sequences or pictures; give those of one kind.")
        if "columns" in said:
            said = _read_columns(said["columns"])
        if "size" in said:
            sides = said["size"].lower().replace("×", "x").split("x")
            if len(sides) != 2 or not all(side.strip().isdecimal() for side in sides):
                raise ParameterError(f"--size: expected HEIGHTxWIDTH, such as 64x64; got {said['size']!r}.")
            said["size"] = tuple(int(side) for side in sides)
        kind: Any = kinds.pop()
        if isinstance(chosen, kind):
            return replace(chosen, **said)
        if chosen not in ("auto", kind.name):
            raise ParameterError(f"{shown}: for data={kind.name!r}, and data is {chosen!r}.")
        return kind(**said)


def _read_columns(path: Path) -> dict[str, Any]:
    """Return the settings of `omokage.data.Columns` in a file: what columns hold, by name, or a table `types` of it."""
    given = read_config(path)
    return given if isinstance(given.get("types"), dict) else {"types": given}


def fit(
    data: Data,
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the model.")],
    model: Annotated[Literal["vae", "autoencoder"], Parameter(help="Kind of model.")] = "vae",
    task: Annotated[
        Literal["learn", "detect"], Parameter(help="detect: an ensemble of models that judges rows; see score.")
    ] = "learn",
    config: Annotated[Path | None, Parameter(help="TOML file of settings; flags override it.")] = None,
    valid: Annotated[str | None, Parameter(help="Rows to validate on, as the data.")] = None,
    reading: Reading = AS_USUAL,
    checkpoint: Annotated[Path | None, Parameter(help="Folder that keeps the state of training.")] = None,
    checkpoint_every: Annotated[int, Parameter(converter=whole, help="Epochs between checkpoints.")] = 1,
    resume: Annotated[bool, Parameter(help="Go on with an interrupted run.", negative="")] = False,
    quiet: Annotated[bool, Parameter(help="Show no progress.", negative="")] = False,
    kind: KindFlags = KindFlags(),
    detector: Annotated[
        _DetectorFlags, Parameter(name="*", group=Group("With --task detect", sort_key=1), show_default=False)
    ] = _DetectorFlags(),  # noqa: B008
    settings: Annotated[
        _ModelFlags, Parameter(name="*", group=Group("Settings", sort_key=2), show_default=False)
    ] = _ModelFlags(),  # noqa: B008
    own: Own = NONE,
) -> None:
    """Learn from the rows of a file, or the pictures of a folder, and save the model."""
    values = (read_config(config) if config else {}) | given(settings)
    in_settings = _names(values.pop("context", ()))
    unused = {"valid": valid, "checkpoint": checkpoint, "resume": resume or None}
    judging = _judging(task, values, given(detector), [name for name, value in unused.items() if value is not None])
    check(_MODELS[model], values, not_of_the_command_line(values))
    quiet = values.pop("verbose", 1) == 0 or quiet
    if checkpoint is not None and location(checkpoint, "--checkpoint") == location(out, "--out"):
        raise ParameterError(f"--checkpoint and --out both name {out}: the model needs a folder of its own.")

    from omokage.commands.context import chosen_context
    from omokage.commands.outputs import check_apart
    from omokage.estimators import VAE, AutoEncoder
    from omokage.names import from_table
    from omokage.progress import is_in_nats, raw_history
    from omokage.saving import FILES
    from omokage.storage import check_target

    check_apart(data, out)
    data_kind = values.get("data", "auto")
    values["data"] = kind.applied(from_table("data", data_kind) if isinstance(data_kind, dict) else data_kind)
    how = chosen_context(reading.source(data), reading.context or in_settings, values["data"])
    rows, context = how.read()
    check_target(out, FILES)
    silent: Any = {"verbose": 0} if quiet else {}
    made = {"vae": VAE, "autoencoder": AutoEncoder}[model]
    if task == "detect":
        # Settings of a VAE are differences from the small one that detectors take.
        inner = made(**values) if model == "autoencoder" else {} if values == {"data": "auto"} else values
        _fit_detector(inner or None, rows, context, out, judging | silent, quiet, reading)
        return
    estimator: Any = made(**values, **silent)
    checked, context_valid = (None, None) if valid is None else _validation(how.like(valid, rows), rows)
    run: Any = {"checkpoint": checkpoint, "checkpoint_every": checkpoint_every, "resume": resume}
    estimator.fit(rows, X_valid=checked, context=context, context_valid=context_valid, **run)
    remember(estimator, reading)
    estimator.save(out)
    if not quiet:
        last = raw_history(estimator)[-1]
        shown = {name: value for name, value in last.items() if name.endswith(("loss", "kl"))}
        terms = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items())
        unit = " (nats per row)" if is_in_nats(last) else ""
        print(f"{out}: {estimator.schema_.described} to {estimator.latent_dim}{_told(estimator)}; {terms}{unit}")


def _told(estimator: Any) -> str:
    return "" if estimator.context_schema_ is None else f", given {estimator.context_schema_}"


def _names(value: Any) -> tuple[str, ...]:
    """Return the columns that a configuration file names as context."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ParameterError(f"context: expected names of columns; got {value!r}.")
    return tuple(names)


def _fit_detector(
    model: Any, rows: Any, context: Any, out: Path, settings: dict[str, Any], quiet: bool, reading: Reading
) -> None:
    """Fit a detector and save it."""
    from omokage.estimators import AnomalyDetector

    judge = AnomalyDetector(model, **settings).fit(rows, context=context)
    remember(judge, reading)
    judge.save(out)
    if not quiet:
        by, count = ", ".join(judge.judge_.names), judge.calibration_.count
        what = f"{judge.schema_.described}{_told(judge)}"
        print(f"{out}: {what}; {judge.ensemble} models judge by {by}; {count:,} rows calibrate")


def remember(estimator: Any, reading: Reading) -> None:
    """Let an estimator remember how its file was read, so that the next ones are read so too."""
    estimator.fitted_ = replace(estimator.fitted_, reading=reading.remembered(estimator.fitted_.options.notation))


def _validation(how: Any, rows: Any) -> tuple[Any, Any]:
    """Return rows to validate on, of a table the columns that the training rows have, and their context."""
    from omokage.commands.sources import known_columns

    checked, context = how.read()
    if getattr(checked, "names", None) is None:
        return checked, context
    return known_columns(how.source.data, checked.read(), getattr(rows, "names", None)), context


def _judging(task: str, values: dict[str, Any], said: dict[str, Any], unused: list[str]) -> dict[str, Any]:
    """Return the settings of a detector, those among `values` and those that were `said`, and leave the others."""
    judging = {name: values.pop(name) for name in _OF_DETECTORS if name in values} | said
    if task != "detect" and judging:
        raise ParameterError(f"--{next(iter(judging)).replace('_', '-')}: only with --task detect.")
    if task == "detect":
        if unused:
            raise ParameterError(f"--{unused[0]}: not with --task detect, which holds out rows of its own.")
        judging |= {"random_state": values.pop("random_state")} if "random_state" in values else {}
        check(DetectorSettings, judging)
    return judging


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings of a TOML file; raises FileFormatError if it is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFormatError(f"{path}: not sound TOML: {error}") from None
