"""Where compiled programs are kept between processes."""

import os
import sys
from pathlib import Path


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
