"""Memory and time as rounds and populations grow: the peak over all processes, and the seconds of the run.

Memory is the sum of every process's proportional set size, which counts what processes share once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile

import psutil
from rich.console import Console
from rich.table import Table

from fedpers.experiments.benchmarks.measure import CORES, options
from fedpers.experiments.benchmarks.workload import Workload
from fedpers.settings import to_toml

_BETWEEN = 0.2  # seconds between two looks at the memory
_ONCE = 10_000  # devices in a round, or 500,000 people, from which a case is run once only


@dataclass(frozen=True)
class Size:
    """What one case took.

    Attributes:
        case: Which.
        clients: People there are.
        per_round: Devices in a round.
        rounds: Rounds.
        seconds: Median of the whole command's wall-clock time.
        peak_gigabytes: Median of the peak over all its processes.
        times: How often it was run.
    """

    case: str
    clients: int
    per_round: int
    rounds: int
    seconds: float
    peak_gigabytes: float
    times: int


def main() -> None:
    """Runs the benchmark and prints its table."""
    given = options(
        "Measure memory and time as rounds and populations grow.",
        ("--largest-round", 11_000, "devices in the largest round [11000]"),
        ("--largest-population", 1_000_000, "people in the largest population [1000000]"),
    )
    rounds = [n for n in (110, 1_100, 11_000) if n <= given.largest_round]
    populations = [n for n in (1_000, 100_000, 1_000_000) if n <= given.largest_population]
    sizes = [growing_round(max(rounds), n, 1 if n > _ONCE else given.times) for n in rounds]
    sizes += [population(n, 1 if n > 50 * _ONCE else given.times) for n in populations]
    if given.json:
        print(json.dumps({"benchmark": "growth", "cores": CORES, "sizes": [asdict(size) for size in sizes]}))
        return
    table = Table(box=None, title=f"growth, {CORES} cores", title_justify="left", padding=(0, 2, 0, 0))
    for column in ("case", "people", "a round", "rounds", "seconds", "peak GB"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for size in sizes:
        counts = (f"{number:,}" for number in (size.clients, size.per_round, size.rounds))
        table.add_row(size.case, *counts, f"{size.seconds:.1f}", f"{size.peak_gigabytes:.2f}")
    Console(highlight=False).print(table)


def growing_round(clients: int, per_round: int, times: int) -> Size:
    """Measures one round of so many devices with the benchmarks' BERT, 20 samples each, always K = 8."""
    work = Workload(clients=clients, per_round=per_round, samples=20)
    with work.model_folder() as folder, TemporaryDirectory() as scratch:
        few = {"rounds": 1, "clients_per_round": per_round, "strategy": "fedavg", "eval_clients": 100}
        engine = {"cohort_size": 8, "checkpoint_every": 0}
        config = Path(scratch) / "settings.toml"
        config.write_text(to_toml(work.settings(folder, federation=few, engine=engine)), encoding="utf-8")
        found = [measured(["--config", str(config)], Path(scratch) / str(k)) for k in range(times)]
    return _size("growing round", clients, per_round, 1, found)


def population(clients: int, times: int) -> Size:
    """Measures two rounds of 200 devices of the default run."""
    flags = f"--clients {clients} --rounds 2 --clients-per-round 200 --eval-clients 1000"
    with TemporaryDirectory() as scratch:
        found = [measured(flags.split(), Path(scratch) / str(k)) for k in range(times)]
    return _size("growing population", clients, 200, 2, found)


def measured(flags: Sequence[str], out: Path) -> tuple[float, float]:
    """Runs `fedpers simulate` and returns its wall-clock seconds and its peak memory in gigabytes."""
    found = watched([sys.executable, "-m", "fedpers", "simulate", *flags, "--json", "--out", str(out)])
    print(f"{' '.join(flags)}: {found[0]:.1f} s, {found[1]:.2f} GB", file=sys.stderr, flush=True)
    return found


def watched(command: Sequence[str]) -> tuple[float, float]:
    """Runs a command and returns its wall-clock seconds and its peak memory in gigabytes.

    Raises:
        RuntimeError: It failed.
    """
    start, peak = time.perf_counter(), 0
    with TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        while process.poll() is None:
            peak = max(peak, _memory(psutil.Process(process.pid)))
            time.sleep(_BETWEEN)
        if process.returncode != 0:
            errors.seek(0)
            raise RuntimeError(f"{command} failed:\n{errors.read().decode()[-2000:]}")
    return time.perf_counter() - start, peak / 1e9


def _memory(root: psutil.Process) -> int:
    """Returns the bytes that a process and all that it started hold."""
    total = 0
    try:
        for process in (root, *root.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.Error:  # one has just ended
        pass
    return total


def _size(case: str, clients: int, per_round: int, rounds: int, found: Sequence[tuple[float, float]]) -> Size:
    seconds, peaks = zip(*found, strict=True)
    return Size(case, clients, per_round, rounds, median(seconds), median(peaks), len(found))


if __name__ == "__main__":
    main()
