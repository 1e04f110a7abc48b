"""From a table to rows like its own, in one call."""

import os
import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import polars as pl

from omokage.data.containers import values
from omokage.data.kinds.tables import Columns, container_of
from omokage.errors import DataError, ParameterError, is_number, listing, suggest
from omokage.estimators import VAE
from omokage.estimators.fitting import count, flag, seeded
from omokage.likelihoods import Autoregressive
from omokage.paths import location
from omokage.settings import VAESettings
from omokage.synthetic import defaults
from omokage.synthetic.forms import Form, divided, frame_like, in_container

AnyPath = str | os.PathLike[str]
_NEEDED = 20  # rows
_REFUSED = ("context", "warm_start", "network")


def synthesize(
    X: Any,
    n: int,
    *,
    seed: int = 0,
    report: AnyPath | None = None,
    target: str | None = None,
    held_out: float = defaults.HELD_OUT,
    return_model: bool = False,
    density: Any = None,
    data: Any = "auto",
    **settings: Any,
) -> Any:
    """Return made rows like those of a table, drawn from a VAE that is fitted to it, whose decoder goes cell by cell.

    They have all columns of the table, in its order, in its types and its container: numbers within the range seen and
    with as many decimals, levels that were seen, missing cells where rows like them have some. Keys are made anew:
    whole numbers go on from the greatest, text has the same pattern. Free text, and columns that are to be ignored, are
    left empty; a warning says which.

    Parameters
    ----------
    X : data frame, array or path
        A table of n rows, at least 20, with numbers, categories, times and missing cells; a path names a CSV or Parquet
        file, of which a Polars frame comes back.
    n : int
        How many rows are made.
    seed : int
        Of training, of the draws, and of which rows are held out.
    report : path, optional
        An HTML page to write, which says how good made rows are, by real rows that are held out from training.
    target : str, optional
        With a report: the column that models predict, trained on made and on real rows; by default the last.
    held_out : float
        With a report: the share of rows that is held out; without one, all rows are trained on.
    return_model : bool
        Also return the fitted VAE. Its input are the columns that are no keys and no free text, and before each with
        missing cells one more, "... is there".
    density : str or prior, optional
        A density of codes, as `VAE.fit_density` takes it, such as "flow-matching"; by default they stay normal. Other
        likelihoods than the default, which need z for more, gain much by one.
    data : omokage.data.Columns, optional
        What columns hold, where their values do not say it: `Columns(types={"zip": "category"})`. What it leaves as it
        usually is, is as in `omokage.synthetic.COLUMNS`.
    settings : any
        Parameters of `omokage.VAE`, in place of those of `omokage.synthetic.settings_for`.

    Returns
    -------
    frame, or (frame, VAE)
        Made rows in the container of X.

    Raises
    ------
    ParameterError
        If a parameter has a value that it cannot have.
    DataError
        If the table cannot be used.
    FileFormatError
        If the table cannot be read, or the report cannot be written.

    Notes
    -----
    `omokage.likelihoods.Autoregressive` says what the decoder is. With another `likelihood` and
    `density="flow-matching"` this is the idea of Zhang et al., "Mixed-Type Tabular Data Synthesis with Score-based
    Diffusion in Latent Space" (TabSyn), 2024. Made rows are no proof of privacy: the report looks for signs of rows
    that were learned by heart, and differential privacy is not offered.

    Examples
    --------
    >>> import polars, omokage as om
    >>> parts = polars.DataFrame({"lot": ["A", "B", "A", "B"] * 10, "width": [1.5, None, 1.25, 2.0] * 10})
    >>> quick = {"epochs": 1, "hidden": (8,), "latent_dim": 2, "verbose": 0}
    >>> om.synthesize(parts, 3, **quick).schema == parts.schema
    True
    """
    n, seed, return_model = count("n", n), seeded(seed), flag("return_model", return_model)
    kind = _checked(data, settings, held_out)
    page = None if report is None else _checked_page(report)
    rows = values(X)
    if isinstance(rows, Path):
        raise DataError(f"X: {rows} is a folder; expected a table.")
    source, container = frame_like(rows), container_of(rows)
    if source.height < _NEEDED:
        raise DataError(f"X: expected at least {_NEEDED} rows; got {source.height}.")
    if target is not None and target not in source.columns:
        raise DataError(
            f"target: no column {target!r} in X; it has {listing(source.columns, 20)}.{suggest(target, source.columns)}"
        )
    training, apart = divided(source.height, 0.0 if page is None else held_out, seed)
    with warnings.catch_warnings():  # of columns that are left out: below
        warnings.filterwarnings("ignore", message="X: columns that are no input", category=UserWarning)
        form = Form.of(source[training], kind)
    if target is not None and target not in form.used:
        raise DataError(f"target: {target!r} is {form.types[target].described}; expected a column that is learned.")
    if form.left_out:
        warnings.warn(f"X: columns of which nothing is learned: {form.left_out}.", stacklevel=2)
    chosen = defaults.settings_for(len(training)) | settings
    if isinstance(chosen["likelihood"], Autoregressive):
        chosen["likelihood"] = chosen["likelihood"].of_cells(form.cells)
    parameters: dict[str, Any] = {"random_state": seed, **chosen, "data": form.asked}
    given = form.given(form.source)
    vae = VAE(**parameters).fit(given)
    if density is not None:
        vae.fit_density(given, density, seed=seed)
    looked_at = 0 if page is None else min(max(len(training), len(apart)), defaults.ROWS)
    made = form.finished(vae.sample(max(n, looked_at), seed=seed), seed, source)
    if page is not None:
        from omokage.synthetic.page import quality_page
        from omokage.synthetic.quality import evaluate

        rest = source[apart]
        densities = [
            vae.log_likelihood(form.given(_some(part, seed)), samples=defaults.DRAWS, seed=seed)
            for part in (form.source, rest)
        ]
        looked = made[: max(looked_at, 1)]
        quality = evaluate(
            form.source,
            looked,
            rest,
            types=form.types,
            target=target,
            densities=(densities[0], densities[1]),
            seed=seed,
        )
        quality_page(page, quality, form.source, looked, rest, types=form.types, title=_title(X))
    answer = in_container(made[:n], container, rows)
    return (answer, vae) if return_model else answer


def _some(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    return frame if frame.height <= defaults.TOLD else frame.sample(defaults.TOLD, seed=seed)


def _title(X: Any) -> str:
    return Path(X).name if isinstance(X, str | os.PathLike) else "a table"


def _checked_page(report: AnyPath) -> Path:
    page = Path(report)
    location(page, "report")
    if page.suffix.lower() not in (".html", ".htm"):
        raise ParameterError(f"report: {page} cannot be written; end it in .html.")
    if not page.resolve().parent.is_dir():
        raise ParameterError(f"report: the folder {page.parent} does not exist. Make it first.")
    return page


def _checked(data: Any, settings: dict[str, Any], held_out: float) -> Columns:
    """Return how the table is read; raises ParameterError if a setting is none."""
    known = [name for name in VAESettings.model_fields if name not in _REFUSED]
    if unknown := [name for name in settings if name not in known]:
        raise ParameterError(
            f"{unknown[0]}: no parameter of synthesize, or of the VAE that it fits.{suggest(unknown[0], known)}"
        )
    if not is_number(held_out, 0.01, 0.5):
        raise ParameterError(f"held_out: expected a share of the rows from 0.01 to 0.5; got {held_out!r}.")
    if data in ("auto", "table"):
        return defaults.COLUMNS
    if not isinstance(data, Columns):
        raise ParameterError(f"data: expected omokage.data.Columns, since rows of a table are made; got {data!r}.")
    usual = Columns()
    names = [field.name for field in fields(Columns)]
    said = {name: getattr(data, name) for name in names if getattr(data, name) != getattr(usual, name)}
    return replace(defaults.COLUMNS, **said)
