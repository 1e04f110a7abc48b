"""How much memory there is, arrays that take none, and the refusal of what would need more.

Sizes are known before anything is made: shapes multiply as whole numbers of any length. So settings that ask for more
than the machine has are refused in a line, before the system would end the process.
"""

import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.errors import ParameterError

_GROUPS = Path("/sys/fs/cgroup")
_MOST = 2**60  # numbers in an array, of which NumPy can still write down the bytes


def filled(shape: tuple[int, ...], value: float = 0.0, dtype: Any = np.float32) -> NDArray[Any]:
    """Return an array of one value that takes no memory, whatever its shape; it cannot be written to.

    Raises:
        MemoryError: If no machine could hold such an array.
    """
    count = prod(int(size) for size in shape)
    if count >= _MOST:
        raise MemoryError(f"an array of {number(count)} numbers")
    return np.broadcast_to(np.asarray(value, dtype), shape)


def limit() -> int | None:
    """Return how many bytes this process may have: of the machine, or of the container; `None` where unknown."""
    found = [_of_machine(), *_of_groups(), _of_process()]
    return min((size for size in found if size is not None), default=None)


def check(sizes: Mapping[str, int], total: int, what: str, remedy: str) -> None:
    """Check that the machine has as many bytes as something needs.

    Args:
        sizes: How many numbers each part has, by what it is called; for the message.
        total: Bytes that are needed at least.
        what: Of what the parts are, for the message.
        remedy: What to do.

    Raises:
        ParameterError: With the number of parameters, their bytes, and how much memory there is.
    """
    there = limit()
    if there is None or total <= there:
        return
    count = sum(sizes.values())
    parts = ", ".join(f"{name} {number(size)}" for name, size in sizes.items() if size)
    raise ParameterError(
        f"{what}: {number(count)} parameters ({parts}), {in_words(4 * count)}; it takes {in_words(total)} at least, "
        f"and there are {in_words(there)} of memory. {remedy}"
    )


def check_room(numbers: int, what: str, remedy: str) -> None:
    """Check that the machine has memory for so many numbers in float32, before they are made.

    Raises:
        ParameterError: With how much they need, and how much memory there is.
    """
    there = limit()
    if there is not None and 4 * numbers > there:
        raise ParameterError(
            f"{what}: needs {in_words(4 * numbers)}, and there are {in_words(there)} of memory. {remedy}"
        )


def number(count: int) -> str:
    """Return a whole number as a person reads it.

    Example:
        >>> number(1234567), number(10**30)
        ('1,234,567', '1.0e+30')
    """
    return f"{count:,}" if count < 10**15 else f"{float(count):.1e}" if count < 10**300 else "more than 1e+300"


def in_words(size: int) -> str:
    """Return a number of bytes in words.

    Example:
        >>> in_words(999), in_words(12_600_000), in_words(2**80)
        ('999 bytes', '12.6 MB', '1208925819614 TB')
    """
    if size < 1000:
        return f"{size} bytes"
    for unit, name in ((10**3, "kB"), (10**6, "MB"), (10**9, "GB")):
        if size < 1000 * unit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 10**12:.1f} TB" if size < 10**18 else f"{number(size // 10**12)} TB".replace(",", "")


def _of_machine() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no such call
        return None


def _of_groups() -> list[int]:
    """Return the limits of the control groups that this process is in, of Linux: containers are such."""
    found = []
    for line in _lines_of_groups():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        old = "memory" in controllers.split(",")
        if controllers and not old:
            continue
        root, file = (_GROUPS / "memory", "memory.limit_in_bytes") if old else (_GROUPS, "memory.max")
        # Of a container the path may be that outside of it, so what lies at the root counts in any case.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):
            try:
                found.append(int(root.joinpath(*parts[:depth], file).read_text()))
            except (OSError, ValueError):  # there is none, or "max"
                continue
    return found


def _lines_of_groups() -> list[str]:
    """Return which control groups this process is in, a line each; none of other systems than Linux."""
    try:
        return Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []


def _of_process() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    size = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if size == resource.RLIM_INFINITY else size
