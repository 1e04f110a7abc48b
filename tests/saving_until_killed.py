"""A program that saves again and again until it is killed; `test_storage.py` kills it.

    python saving_until_killed.py FOLDER                  folders of a few files
    python saving_until_killed.py FOLDER EVEN ODD         two saved models, in turn

It reads lines "STALL GENERATION" and forks a process for each, which saves that generation, the next one, and so
on. STALL is a place in the second save where it stops and waits for its end, or "-" for none. Every step is told on
standard output, past all buffers.
"""

import dataclasses
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from omokage import storage

SIZE = 300_000


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def content(generation: int) -> tuple[dict, dict]:
    """Return the index and the files of a generation, all of which tell its number."""
    number = str(generation).encode()
    return {"format": 1, "generation": generation}, {
        "a.json": b"[%s]" % number,
        "weights": number.ljust(10) * (SIZE // 10),
    }


def stalling(place: str) -> None:
    """Make the process stop for good at a place: "half FILE", "fsync N", "before rename N", "after rename N"."""
    calls = {"fsync": 0, "rename": 0}
    real = SimpleNamespace(fsync=os.fsync, rename=Path.rename, write_file=storage._write_file)

    def stop(here: str) -> None:
        if here == place:
            tell("stalled")
            time.sleep(600)

    def fsync(descriptor: int) -> None:
        calls["fsync"] += 1
        stop(f"fsync {calls['fsync']}")
        real.fsync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        calls["rename"] += 1
        number = calls["rename"]
        stop(f"before rename {number}")
        result = real.rename(self, target)
        stop(f"after rename {number}")
        return result

    def write_file(path: Path, data: bytes) -> None:
        if place == f"half {path.name}":
            path.write_bytes(data[: len(data) // 2])
            stop(place)
        real.write_file(path, data)

    os.fsync, Path.rename, storage._write_file = fsync, rename, write_file  # type: ignore[method-assign, assignment]


def models(paths: list[str]) -> list:
    """Return estimators whose arrays are NumPy's, so that JAX starts no threads, which do not survive a fork."""
    import omokage
    from omokage import saving
    from omokage.fitted import Fitted

    found = []
    for path in paths:
        saved = saving.load(path, {})
        estimator = omokage.VAE(**saved.parameters)
        fields = {field.name: getattr(saved, field.name) for field in dataclasses.fields(Fitted)}
        estimator.fitted_ = Fitted(**fields)
        found.append(estimator)
    return found


def main(folder: str, *paths: str) -> None:
    estimators = models(list(paths))
    tell("ready")
    for line in sys.stdin:
        stall, generation = line.rsplit(maxsplit=1)
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            tell("over")
            continue
        try:
            tell("pid", os.getpid())
            for number, current in enumerate(range(int(generation), 10**9)):
                if number == 1 and stall != "-":
                    stalling(stall)
                tell("saving", current)
                if estimators:
                    estimators[current % 2].save(folder)
                else:
                    storage.write_folder(folder, *content(current))
                tell("saved", current)
        except BaseException as error:
            tell("failed", repr(error))
        os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
