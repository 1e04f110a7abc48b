"""Where compiled programs are kept between processes, and how many of them within one."""

import gc
import itertools
import os
import sys
from pathlib import Path

_MAPS, _CALLS = Path("/proc/self/maps"), itertools.count(1)
_CHECK_EVERY = 8  # calls, since counting takes milliseconds
# Of the 65,530 memory maps that Linux gives a process. A fit takes some 500 of them for its programs.
_MOST_MAPS = 40_000


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
    """Let go of compiled programs where there are so many that there would soon be no room for another.

    JAX keeps every program that it has compiled. In a search over hundreds of models Linux then runs out of memory maps
    for the process, and XLA ends it without a word. Programs that are needed again come from the persistent cache.
    """
    if next(_CALLS) % _CHECK_EVERY or not _MAPS.exists():
        return
    with _MAPS.open("rb") as maps:
        many = sum(1 for _ in maps) > _MOST_MAPS
    if many:
        import jax

        jax.clear_caches()
        gc.collect()
