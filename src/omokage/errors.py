"""The errors that a user can meet, and how a message is put together.

A message names the parameter or the place, what was expected, what came, and what to do. Where
several things are wrong at once, all of them are listed.
"""

import math
import re
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral, Rational, Real

import numpy as np

_MOST = 1000  # letters of a line
_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_SURROGATE = re.compile("[\ud800-\udfff]")


class OmokageError(Exception):
    """Base of every error that omokage raises on purpose; its text is one line, or one for each thing that is wrong.

    Args:
        text: What is wrong. What came may be in it as Python shows it: several lines of it are put into one, and of a
            very long text beginning and end are kept.
        problems: Where several things are wrong, a line for each, below the text.
    """

    def __init__(self, text: object = "", *problems: str) -> None:
        super().__init__(text, *problems)

    def __str__(self) -> str:
        return "\n  ".join(one_line(str(line)) for line in self.args)


class ParameterError(OmokageError, ValueError):
    """A setting has a value that it cannot have."""


class DataError(OmokageError, ValueError):
    """The data cannot be used as they are."""


class DataTypeError(DataError, TypeError):
    """Data that are no numbers, where scikit-learn's contract asks for a TypeError."""


class FileFormatError(OmokageError, ValueError):
    """A file is missing, damaged, of another format, or not what it claims to be."""


class ForkError(OmokageError, RuntimeError):
    """A process made by fork was asked to compute, which it never could."""


class TrainingError(OmokageError, RuntimeError):
    """Training could not go on; the last good weights are kept where a model is at hand."""


def one_line(text: str) -> str:
    """Return a text as one line, of which every letter can be printed; beginning and end where it is very long.

    Example:
        >>> one_line("got array([[1],\\n       [2]]) and \\x1b")
        'got array([[1], [2]]) and \\\\x1b'
    """
    if len(text) > _MOST:
        text = f"{text[: 2 * _MOST // 3]} ... {text[-_MOST // 3 :]}"
    text = _BREAKS.sub(" ", text)
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def in_unicode(text: str) -> str:
    """Return text with bytes of another encoding, which Python has as lone surrogates, written as %E9.

    Example:
        >>> in_unicode("caf\\udce9.png")
        'caf%E9.png'
    """
    return _SURROGATE.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", text)


def check_unicode(text: str, name: str, where: str = "") -> None:
    """Check that text is in Unicode, without lone surrogates, so that it can be written to files.

    Raises:
        DataError: Naming it, and the way out.
    """
    if in_unicode(text) != text:
        raise DataError(
            f"{name}: expected text in Unicode; got {text!r}{where}, with bytes of another encoding. Read it with "
            "the right one, such as encoding='cp1252'."
        )


def shown(value: object) -> str:
    """Return a value as Python shows it, also one that Python cannot show.

    Example:
        >>> shown("a"), shown(10**9999)
        ("'a'", 'an int')
    """
    try:
        return repr(value)
    except Exception:  # whatever a stranger's object raises; a whole number may have too many digits
        kind = type(value).__name__
        return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii") if letter != "\u3000" else letter


def suggest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known name, or an empty string.

    Example:
        >>> suggest("gausian", ["gaussian", "bernoulli"])
        " Did you mean 'gaussian'?"
    """
    near = get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def listing(names: Iterable[object], limit: int = 5) -> str:
    """Return the first names, quoted, and how many more there are.

    Example:
        >>> listing(["a", "b", "c"], limit=2)
        "'a', 'b' and 1 more"
    """
    names = list(names)
    shown = ", ".join(repr(str(name)) for name in names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def is_count(value: object, least: int = 1) -> bool:
    """Say whether a value is a whole number, of at least 1 or so many.

    Example:
        >>> is_count(3), is_count(True), is_count(2.0), is_count(0, least=0)
        (True, False, False, True)
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def is_number(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Say whether a value is a finite number, from one end to another; flags and text are none.

    Example:
        >>> is_number(3), is_number(0.5, low=1.0), is_number(True), is_number("3"), is_number(float("inf"))
        (True, False, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    if isinstance(value, Rational) and not isinstance(value, Integral):  # a Fraction, which arrays do not take
        return False
    try:
        number = float(value)
    except OverflowError:  # a whole number of too many digits
        return False
    return math.isfinite(number) and low <= number <= high


def check_numbers(settings: object, *names: str, low: float = -math.inf, high: float = math.inf) -> None:
    """Check that attributes of an object are finite numbers, from one end to another.

    Raises:
        ParameterError: Naming class, attribute and value.
    """
    for name in names:
        value = getattr(settings, name)
        if not is_number(value, low, high):
            ends = (
                f" from {low:g} to {high:g}" if high < math.inf else f" of at least {low:g}" if low > -math.inf else ""
            )
            raise ParameterError(f"{type(settings).__name__}({name}={shown(value)}): expected a number{ends}.")


def check_flags(settings: object, *names: str) -> None:
    """Check that attributes of an object are True or False.

    Raises:
        ParameterError: Naming class, attribute and value.
    """
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, bool | np.bool_):
            raise ParameterError(f"{type(settings).__name__}({name}={shown(value)}): expected True or False.")


def check_counts(settings: object, *names: str) -> None:
    """Check that attributes of an object are whole numbers of at least 1.

    Raises:
        ParameterError: Naming class, attribute and value.
    """
    for name in names:
        value = getattr(settings, name)
        if not is_count(value):
            kind = type(settings).__name__
            raise ParameterError(f"{kind}({name}={value!r}): expected a whole number of at least 1.")


def check_choice(settings: object, name: str, choices: Iterable[str]) -> None:
    """Check that an attribute of an object is one of some names.

    Raises:
        ParameterError: Naming class, attribute and value, and the nearest name.
    """
    value, choices = getattr(settings, name), tuple(choices)
    if value not in choices:
        kind = type(settings).__name__
        raise ParameterError(
            f"{kind}({name}={value!r}): expected one of {', '.join(choices)}." + suggest(str(value), choices)
        )
