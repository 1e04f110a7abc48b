"""New keys that look like those of a table, all different, none of which the table has."""

import numpy as np
import polars as pl

_KEYS = 0.95  # share of different cells, from which a column is one of keys
_ROUNDS = 8  # in which keys are drawn before more of them changes
_CLASSES = ("0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def are_keys(column: pl.Series) -> bool:
    """Say whether cells are whole numbers or words that tell rows apart.

    Example:
        >>> are_keys(pl.Series(["A-1", "A-2", "B-7"])), are_keys(pl.Series(["a b c", "a b d"]))
        (True, False)
    """
    filled = column.drop_nulls()
    if not len(filled) or not (column.dtype.is_integer() or column.dtype == pl.String):
        return False
    if filled.n_unique() < _KEYS * len(filled):
        return False
    return column.dtype != pl.String or not filled.str.strip_chars().str.contains(r"\s.*\s").any()


def new_keys(column: pl.Series, count: int, random: np.random.Generator) -> pl.Series:
    """Return new keys of the type of a column.

    Whole numbers go on from the greatest. In text, digits and Latin letters are drawn anew, from those that stand in
    the column, but for a place that has the same one in all keys of its length; all else stays. Where there are no more
    such keys, all digits of a key are drawn, from 0 to 9, and then more of them stand behind it.

    Args:
        column: Keys.
        count: How many are made.
        random: What draws them.

    Example:
        >>> random = np.random.default_rng(0)
        >>> new_keys(pl.Series([7, 9, 8]), 2, random).to_list()
        [10, 11]
        >>> made = new_keys(pl.Series(["A-001", "A-107", "A-923"]), 100, random)
        >>> made.n_unique(), bool(made.str.contains(r"^A-[012379]{3}$").all())
        (100, True)
    """
    filled = column.drop_nulls()
    if column.dtype.is_integer():
        first = int(filled.max()) + 1  # type: ignore[arg-type]
        return pl.Series([first + number for number in range(count)], dtype=pl.Int64).cast(column.dtype)
    known = filled.to_list()
    letters = set("".join(known))
    drawn_from = {
        letter: [other for other in alphabet if other in letters] for alphabet in _CLASSES for letter in alphabet
    }
    fixed = _fixed(known)
    taken, made, turn = set(known), list[str](), 0
    while len(made) < count:
        for pattern in random.integers(0, len(known), count - len(made)):
            key = known[pattern]
            stays = fixed[len(key)]
            if turn >= _ROUNDS:
                drawn_from |= {letter: list(_CLASSES[0]) for letter in _CLASSES[0]}
                stays = [keeps and letter not in _CLASSES[0] for keeps, letter in zip(stays, key, strict=True)]
            key = _drawn(key, stays, drawn_from, random)
            key += "".join(map(str, random.integers(0, 10, max(turn - 2 * _ROUNDS, 0))))
            if key not in taken:
                taken.add(key)
                made.append(key)
        turn += 1
    return pl.Series(made, dtype=pl.String)


def _fixed(known: list[str]) -> dict[int, list[bool]]:
    """Return for each length of keys which places have the same letter in all of them."""
    by_length: dict[int, list[str]] = {}
    for key in known:
        by_length.setdefault(len(key), []).append(key)
    return {
        length: [len(keys) > 1 and len(set(place)) == 1 for place in zip(*keys, strict=True)]
        for length, keys in by_length.items()
    }


def _drawn(key: str, fixed: list[bool], drawn_from: dict[str, list[str]], random: np.random.Generator) -> str:
    numbers = random.random(len(key))
    return "".join(
        letter if stays or letter not in drawn_from else drawn_from[letter][int(number * len(drawn_from[letter]))]
        for letter, stays, number in zip(key, fixed, numbers, strict=True)
    )
