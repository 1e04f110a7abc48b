"""`omokage synthesize`: made rows like those of a table, and how good they are."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from omokage.commands.arguments import AS_USUAL, Data, Out, Reading, flags, given, whole
from omokage.commands.fit import read_config
from omokage.errors import DataError, ParameterError
from omokage.settings import VAESettings, check, not_of_the_command_line

_FLAGS = [name for name in VAESettings.model_fields if name not in ("data", "network", "random_state", "warm_start")]
_ModelFlags: Any = flags("_ModelFlags", [name for name in _FLAGS if name != "verbose"])


def synthesize(
    data: Data,
    /,
    *,
    out: Out,
    rows: Annotated[int, Parameter(converter=whole, name=["-n", "--rows"], help="How many rows to make.")],
    report: Annotated[
        Path | None, Parameter(help="Page to write, .html: how good they are, by rows held out from training.")
    ] = None,
    target: Annotated[
        str | None, Parameter(help="With --report: column to predict from the others; by default the last.")
    ] = None,
    seed: Annotated[int, Parameter(converter=whole, help="Of training and of the draws.")] = 0,
    density: Annotated[
        str | None, Parameter(help="Of codes, as flow_matching; else normal.", show_default=False)
    ] = None,
    config: Annotated[Path | None, Parameter(help="TOML file of settings; flags override it.")] = None,
    reading: Reading = AS_USUAL,
    quiet: Annotated[bool, Parameter(help="Show no progress.", negative="")] = False,
    settings: Annotated[
        _ModelFlags, Parameter(name="*", group=Group("Settings", sort_key=2), show_default=False)
    ] = _ModelFlags(),  # noqa: B008
) -> None:
    """Write made rows like those of a table: numbers, categories, times and holes; keys are made anew.

    Columns of --id are no input: keys are made anew, and all else in them is left empty.
    """
    values = (read_config(config) if config else {}) | given(settings)
    check(VAESettings, values, not_of_the_command_line(values))
    if reading.context:
        raise ParameterError("--context: made rows are drawn for no context. Leave it out.")
    quiet = values.pop("verbose", 1) == 0 or quiet
    silent: dict[str, Any] = {"verbose": 0} if quiet else {}

    import polars as pl

    from omokage.commands.outputs import check_apart, check_table
    from omokage.commands.sources import named, open_rows
    from omokage.data.kinds.tables import Columns
    from omokage.files.writing import write_table
    from omokage.names import from_table
    from omokage.synthetic import synthesize as synthesized

    check_table(out)
    check_apart(data, out)
    kind = values.pop("data", "auto")
    kind = from_table("data", kind) if isinstance(kind, dict) else kind
    source = reading.source(data)
    file = open_rows(source, passed=True)
    frame = file.read() if hasattr(file, "batches") else None
    if not isinstance(frame, pl.DataFrame):
        raise DataError(f"{data}: expected a table whose columns have names, such as a CSV or Parquet file.")
    if source.ids:
        asked = kind if isinstance(kind, Columns) else Columns()
        kind = replace(asked, types=asked.asked | dict.fromkeys(source.ids, "ignore"))
    with named(data):
        made = synthesized(
            frame,
            rows,
            seed=seed,
            report=report,
            target=target,
            density=density,
            data=kind,
            **values,
            **silent,
        )
    write_table(out, made)
    if not quiet:
        print(f"{out}: {rows:,} rows" + (f"; {report}: how good they are" if report is not None else ""))
