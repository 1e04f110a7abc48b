"""Where compiled programs are kept between processes, and how many of them within one."""

import gc
import itertools
import os
import sys
from pathlib import Path

from omokage.errors import ForkError

_MAPS, _SIZE, _CALLS = Path("/proc/self/maps"), Path("/proc/self/statm"), itertools.count(1)
_CHECK_EVERY = 8  # calls, since counting takes milliseconds
# Of the 65,530 memory maps that Linux gives a process. A fit takes some 500 of them, and 25 MB, for its programs.
_MOST_MAPS = 40_000
# What programs may take: a process that has grown by so much, and has so many more maps, has grown by programs.
_MOST_BYTES, _MANY_MAPS = 512 * 2**20, 4_000
_least: dict[str, int] = {}  # bytes and maps of this process, at the least since programs were let go of


_process: list[int] = []  # the process that has computed


def check_process() -> None:
    """Check that this process is not a copy of one that has computed.

    JAX computes in threads, and fork copies none of them: a program would wait for them for ever.

    Raises:
        ForkError: If it is one.
    """
    here = os.getpid()
    if not _process:
        _process.append(here)
    if _process[0] != here:
        raise ForkError(
            "This process was made by fork from one in which omokage had computed, and would wait for ever. Start "
            "processes by spawn: multiprocessing.get_context('spawn'), or joblib's 'loky'."
        )


def cache_folder() -> Path:
    """Return omokage's cache folder: `$OMOKAGE_CACHE`, or `omokage` in the platform's user cache folder."""
    if chosen := os.environ.get("OMOKAGE_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "omokage"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "omokage"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omokage"


def keep_compiled() -> None:
    """Turn on JAX's persistent compilation cache, unless the user has set one up.

    Compiling takes longer than loading what was compiled, and a fit of a small table is mostly that.
    """
    import jax

    settings = jax.config.values
    if settings["jax_compilation_cache_dir"] is not None or not settings["jax_enable_compilation_cache"]:
        return
    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def make_room() -> None:
    """Let go of compiled programs where they take half a gigabyte, or so many maps that there is no room for more.

    JAX keeps every program that it has compiled, also of models that are gone. In a search over hundreds of models the
    memory would grow without end, and Linux then runs out of memory maps for the process, and XLA ends it without a
    word. Programs that are needed again come from the persistent cache.
    """
    if next(_CALLS) % _CHECK_EVERY or not _MAPS.exists():
        return
    size, maps = _bytes(), _maps()
    _least["bytes"], _least["maps"] = min(size, _least.get("bytes", size)), min(maps, _least.get("maps", maps))
    grown = size - _least["bytes"] > _MOST_BYTES and maps - _least["maps"] > _MANY_MAPS
    if grown or maps > _MOST_MAPS:
        import jax

        jax.clear_caches()
        gc.collect()
        _least.update(bytes=_bytes(), maps=_maps())


def _bytes() -> int:
    """Return how much memory this process has."""
    return int(_SIZE.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _maps() -> int:
    with _MAPS.open("rb") as maps:
        return sum(1 for _ in maps)
