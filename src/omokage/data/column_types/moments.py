"""Dates and times of a column."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import polars as pl

from omokage.data.conditions import Between, Entry, ExpectedNumber, no_set, read_one, rounded_to, summary, wrong
from omokage.data.splines import Values
from omokage.errors import DataError
from omokage.files.times import times


@dataclass(frozen=True)
class Time:
    """Dates and times, as seconds since the first of the fit.

    Attributes:
        first: It, in ISO 8601.
        dates: Whether they are dates without a time of day.
        zone: Whether they have a time zone; they are then written back in UTC.
        text: Whether they came as text.
    """

    first: str
    dates: bool = False
    zone: bool = False
    text: bool = False
    name: ClassVar[str] = "time"
    classes: ClassVar[tuple[int | None, ...]] = (None,)

    @staticmethod
    def of(column: pl.Series) -> "Time":
        """Return what fits a column of times, or of text of times."""
        moments = _moments(column)
        zone = getattr(moments.dtype, "time_zone", None) is not None
        whole = bool((moments.drop_nulls().dt.time() == datetime.time()).all()) and not zone
        return Time(moments.min().isoformat(), whole, zone, column.dtype == pl.String)  # type: ignore[union-attr]

    @cached_property
    def _first(self) -> datetime.datetime:
        return datetime.datetime.fromisoformat(self.first)

    def log_slope(self, entries: Values) -> Values:
        """Return 0 for each entry: densities are those of seconds."""
        return np.zeros(entries.shape)

    def read(self, column: pl.Series, name: str = "X") -> Values:
        """Return seconds, (n, 1), NaN where a cell is missing.

        Raises:
            DataError: If a cell is no time.
        """
        if column.null_count() == len(column):
            return np.full((len(column), 1), np.nan)
        try:
            moments = _moments(column)
        except DataError as error:
            raise DataError(f"{name}: column {error}") from None
        if (getattr(moments.dtype, "time_zone", None) is not None) != self.zone:
            has = ("no time zone", "a time zone")
            raise DataError(f"{name}: column {column.name!r}: expected times with {has[self.zone]}, as at fit.")
        since = (moments - pl.Series([self._first], dtype=moments.dtype)).dt.total_microseconds()
        return since.cast(pl.Float64).fill_null(float("nan")).to_numpy()[:, None] / 1e6

    def condition(self, wanted: Any, column: str) -> tuple[Entry, ...]:
        """Return what a time, or an interval of times, asks of seconds."""
        expected = "a date, such as '2024-01-31'" if self.dates else "a time, such as '2024-01-31T23:00:00'"
        no_set(wanted, column, f"{expected}, or an interval of two")

        def second(value: Any) -> float:
            return float(read_one(self.read, value, column, expected)[0])

        if not isinstance(wanted, Between):
            return (Entry((second(wanted),)),)
        low, high = rounded_to(wanted.read(second, column), self._step)
        if low > high:
            raise wrong(column, f"an interval with a {'date' if self.dates else 'whole second'} in it", wanted)
        return (Entry(low=low, high=high),)

    def expected(self, entries: Values, weight: Values, effective: float, column: str) -> ExpectedNumber:
        """Return what weighted seconds, (n, 1), say of a time; the deviation is a duration."""
        mean, deviation, quantiles = summary(entries[:, 0], weight)
        times = self.write(np.array([[mean], *([value] for value in quantiles.values())])).to_list()
        spread = datetime.timedelta(seconds=round(deviation))
        return ExpectedNumber(column, effective, times[0], spread, dict(zip(quantiles, times[1:], strict=True)))

    @property
    def _step(self) -> float:
        """To how many seconds they are rounded where they are written."""
        return 86_400.0 if self.dates else 1.0

    def write(self, entries: Values) -> pl.Series:
        """Return times; null where an entry is NaN."""
        values = entries[:, 0]
        seconds = np.clip(np.round(np.nan_to_num(values) / self._step) * self._step, -1e11, 1e11)
        first = self._first if not self.zone else self._first.astimezone(datetime.UTC).replace(tzinfo=None)
        since = pl.Series((seconds * 1e6).astype(np.int64)).cast(pl.Duration("us"))
        moments = pl.Series([first], dtype=pl.Datetime("us")) + since
        moments = moments.set(pl.Series(np.isnan(values)), None)
        if self.dates:
            moments = moments.dt.date()
        elif self.zone:
            moments = moments.dt.replace_time_zone("UTC")
        return moments.dt.to_string("iso:strict") if self.text else moments

    @property
    def described(self) -> str:
        """What the column holds, in words."""
        return f"{'dates' if self.dates else 'times'} from {self.first}"

    def to_json(self) -> dict[str, Any]:
        """Return the type as a JSON object."""
        return {"type": self.name, "first": self.first, "dates": self.dates, "zone": self.zone, "text": self.text}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Time":
        """Return the type that `to_json` wrote."""
        flags = tuple(value[name] for name in ("dates", "zone", "text"))
        if not all(type(flag) is bool for flag in flags):
            raise ValueError(f"flags {flags!r}")
        found = Time(value["first"], *flags)
        if (found._first.tzinfo is not None) != found.zone:
            raise ValueError(f"first {found.first!r}, zone {found.zone!r}")
        return found


def _moments(column: pl.Series) -> pl.Series:
    """Return times as moments in microseconds."""
    found = times(column)
    if not isinstance(found.dtype, pl.Date | pl.Datetime):
        raise DataError(f"{column.name!r}: expected dates or times; got {found.dtype}.")
    return found.cast(pl.Datetime("us", getattr(found.dtype, "time_zone", None)))
