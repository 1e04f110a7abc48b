"""What several commands take: where rows are and how they are read, the saved model, and its settings as flags."""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token, convert
from pydantic import create_model

from omokage.errors import ParameterError
from omokage.settings import from_text, hint

if TYPE_CHECKING:
    from omokage.commands.sources import Source


def whole(kind: Any, tokens: Sequence[Token]) -> Any:
    """Return a whole number; one with a fraction is refused, and not rounded as the library does."""
    for token in tokens:
        if "." in token.value:
            raise ValueError(f"expected a whole number; got {token.value!r}.")  # behind the name of the argument
    return convert(kind, tokens)


DATA_HELP = "CSV, Excel, Parquet, Arrow, .npy, .npz or IDX file; a folder of pictures; or digits, mnist, fashion_mnist."
Data = Annotated[str, Parameter(help=DATA_HELP)]
Out = Annotated[Path, Parameter(help="File to write: .csv or .parquet.")]
OutLike = Annotated[Path, Parameter(help="File to write: .csv, .parquet, or .npy; of images a folder, or .npy.")]
Folder = Annotated[Path, Parameter(help="A saved model.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        id: Columns to pass through, not to use.
        context: Columns of which the model is told; see `omokage.commands.context`.
        separator, decimal, thousands, encoding, header, array, missing, index, units, skip, sheet, empty: As
            `omokage.files.options.Options` has them.
    """

    id: Annotated[
        tuple[str, ...],
        Parameter(name="--id", negative="", show_default=False, help="Columns to pass through, not to use."),
    ] = ()
    context: Annotated[
        tuple[str, ...],
        Parameter(
            name="--context",
            negative="",
            show_default=False,
            help="Columns of which a conditional model is told, as lot,temperature; a model knows those of its fit.",
        ),
    ] = ()
    separator: Annotated[str | None, Parameter(help="Between cells of text; found where there is no doubt.")] = None
    decimal: Annotated[str | None, Parameter(help="The mark before decimals, . or ,; found likewise.")] = None
    thousands: Annotated[str | None, Parameter(help="The mark between groups of three digits.")] = None
    encoding: Annotated[str | None, Parameter(help="Of text, such as cp932; found likewise.")] = None
    header: Annotated[
        bool | None, Parameter(negative="--no-header", help="Whether the first line of text has the names of columns.")
    ] = None
    missing: Annotated[
        tuple[str, ...] | None,
        Parameter(negative="", show_default=False, help="Cells of text that stand for a missing value."),
    ] = None
    index: Annotated[
        Literal["auto", "keep", "drop"], Parameter(help="Row numbers beside the columns, as pandas writes them.")
    ] = "auto"
    array: Annotated[str | None, Parameter(help="Which array of an .npz file.")] = None
    sheet: Annotated[str | None, Parameter(help="Which sheet of an Excel file.")] = None
    units: Annotated[
        bool | None,
        Parameter(negative="--no-units", help="Whether the line under the names of columns holds their units."),
    ] = None
    skip: Annotated[
        int | None, Parameter(converter=whole, help="How many lines above the names of columns to leave out.")
    ] = None
    empty: Annotated[
        Literal["auto", "keep"],
        Parameter(help="Rows at the end without a value, and columns without a name and a value."),
    ] = "auto"

    def source(self, data: str, estimator: Any = None) -> "Source":
        """Return where rows come from, and how they are read: as is said, else as at the fit of an estimator."""
        from omokage.commands.context import known_context
        from omokage.commands.sources import Source, known_ids
        from omokage.files.options import Options
        from omokage.paths import as_path

        as_path(data, "data")
        said = {
            name: value
            for name, value in vars(self).items()
            if name not in ("id", "context") and value not in (None, "auto")
        }
        if estimator is None:
            return Source(data, self.id, Options(**said))
        fit = estimator.fitted_
        options = replace(fit.options, **said)
        ids = self.id or known_ids(data, options, fit.ids)
        return known_context(Source(data, ids, options, optional=not self.id), fit.context, self.context)

    def remembered(self, notation: tuple[str, str] | None) -> dict[str, Any]:
        """Return what a model is to remember of it, and of how numbers were found to be written."""
        options = replace(self.source("-").options, notation=notation).to_json()
        return ({"options": options} if options else {}) | ({"ids": list(self.id)} if self.id else {})


AS_USUAL = Reading()


@Parameter(name="*")
@dataclass(frozen=True)
class Own:
    """Classes of one's own that a saved model was made with."""

    custom: Annotated[
        tuple[str, ...],
        Parameter(
            negative="", show_default=False, help="MODULE:CLASS of one's own that the model was made with; it is run."
        ),
    ] = ()

    def load(self, folder: Path) -> Any:
        """Return a saved model or detector."""
        from omokage.estimators import load

        return load(folder, custom=dict(map(_imported, self.custom)))

    def model(self, folder: Path) -> Any:
        """Return a saved model that is no detector."""
        from omokage.estimators import AnomalyDetector

        estimator = self.load(folder)
        if isinstance(estimator, AnomalyDetector):
            raise ParameterError(f"{folder}: a detector, which scores rows and does nothing else; see omokage score.")
        return estimator


NONE = Own()


def _imported(text: str) -> tuple[str, type]:
    """Return the name and the class that MODULE:CLASS names; modules of the current folder are found too."""
    module, _, name = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a stranger's module raises
        raise ParameterError(f"--custom: expected MODULE:CLASS that can be imported; got {text!r} ({error}).") from None
    if not isinstance(found, type):
        raise ParameterError(f"--custom: expected a class; {text} is {found!r}.")
    return f"{found.__module__}.{found.__qualname__}", found


def flags(name: str, settings: list[str]) -> Any:
    """Return a flag for each of these settings, as text, so that what was not given can be told from what was."""
    fields: Any = {
        setting: (Annotated[str | None, Parameter(help=hint(setting), show_default=False)], None)
        for setting in settings
    }
    return create_model(name, **fields)


def given(flags: Any) -> dict[str, Any]:
    """Return what was given of some flags."""
    texts = {name: text for name, text in vars(flags).items() if text is not None}
    return {name: from_text(name, text) for name, text in texts.items()}
