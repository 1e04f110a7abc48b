"""What every benchmark here shares: fresh processes, medians, Markdown tables and the line about the machine.

A figure counts only together with where and when it was measured, so each table carries its date, processor
and versions. Times are compared within one run, and a ratio is taken inside a round (all contenders run one
after the other, in an order that rotates), so that a slow minute of the machine hits numerator and
denominator alike.
"""

import argparse
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def parser(docstring: str | None, timed: bool = False) -> argparse.ArgumentParser:
    """An argument parser whose help is the script's own docstring, with `--out FILE`; a timed one waits on wish."""
    result = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--out", type=Path, metavar="FILE", help="also write the tables to this Markdown file")
    if timed:
        result.add_argument(
            "--patience",
            type=float,
            default=0.0,
            metavar="SECONDS",
            help="wait until the machine is idle before a timed process, this long in all (Linux)",
        )
    return result


def run_fresh(script: Path, arguments: Sequence[object]) -> dict[str, Any]:
    """Run a script in a fresh Python process and return the JSON object on its last line of output.

    Its compilation cache is empty, so that neither time nor memory depends on what ran before.

    Args:
        script: the Python file.
        arguments: its command-line arguments; each is turned into text.

    Returns:
        The decoded JSON object.

    Raises:
        RuntimeError: when the process failed; the message ends with what it wrote to standard error.
    """
    command = [sys.executable, str(script), *map(str, arguments)]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "OMOKAGE_CACHE": cache}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        told = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise RuntimeError(f"{' '.join(command[1:])} ended with code {done.returncode}:\n{told}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def run_rounds(
    script: Path, contenders: Mapping[str, Sequence[object]], rounds: int, patience: float
) -> dict[str, list[dict[str, Any]]]:
    """Run every contender once a round in a fresh process, in an order that turns round, on an idle machine.

    Args:
        script: the Python file.
        contenders: name to the arguments of `script`.
        rounds: how often.
        patience: the most seconds to wait for an idle machine, in all.

    Returns:
        Name to what each process reported.
    """
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: 1 if number % 2 else -1]:
            patience -= wait_until_idle(patience)
            progress(f"round {number + 1} of {rounds}: {name}")
            results[name].append(run_fresh(script, contenders[name]))
    return results


def side_by_side(function: Callable[[Any], Any], jobs: Sequence[Any], processes: int) -> Iterator[Any]:
    """Yield `function(job)` of each job as it is ready, in so many processes; with one, in this process."""
    if processes == 1:
        yield from map(function, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(function, jobs)


def wait_until_idle(limit: float, busy_share: float = 0.15) -> float:
    """Wait until the machine's cores are idle, so that a neighbour's work does not end up in our times.

    Args:
        limit: the most seconds to wait; 0 does not look at all.
        busy_share: the share of core time over two seconds up to which the machine counts as idle.

    Returns:
        The seconds waited. Only Linux tells (/proc/stat); elsewhere it does not wait.
    """

    def counters() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return fields[3] + fields[4], sum(fields[:8])

    begin = time.monotonic()
    while time.monotonic() - begin < limit and Path("/proc/stat").exists():
        idle, total = counters()
        time.sleep(2)
        idle_later, total_later = counters()
        if 1 - (idle_later - idle) / max(1, total_later - total) <= busy_share:
            break
    return time.monotonic() - begin


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Median with the least and the greatest value: `0.48 (0.45-0.52)`."""
    ordered = sorted(values)
    middle, low, high = statistics.median(ordered), ordered[0], ordered[-1]
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def verdict(value: float, target: float) -> str:
    """Whether a value that should be small keeps to its target: `≤ 0.9: met`."""
    return f"≤ {target:g}: {'met' if value <= target else 'missed'}"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column is left-aligned, all others right-aligned."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def processor() -> str:
    """The processor's name and how many cores this process may use."""
    name = platform.processor()
    information = Path("/proc/cpuinfo")
    if information.exists():
        fields = (line.partition(":") for line in information.read_text().splitlines())
        name = next((value.strip() for key, _, value in fields if key.strip() == "model name"), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name or platform.machine()}, {cores} cores"


def machine_line(packages: Sequence[str]) -> str:
    """One line of provenance: date, processor, load of the machine, Python and the versions of `packages`."""
    versions = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} absent")
    load = f"; load average {os.getloadavg()[1]:.1f} over the last 5 minutes" if hasattr(os, "getloadavg") else ""
    return f"Measured {datetime.date.today():%Y-%m-%d} on {processor()}{load}; {', '.join(versions)}."


def publish(title: str, sections: Sequence[str], packages: Sequence[str], out: Path | None) -> None:
    """Print the report as Markdown and, when `out` is given, write it there too."""
    text = "\n\n".join([f"# {title}", machine_line(packages), *sections]) + "\n"
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        print(f"written to {out}", file=sys.stderr)


def progress(message: str) -> None:
    """Say on standard error what is going on; standard output is for the report."""
    print(message, file=sys.stderr, flush=True)
