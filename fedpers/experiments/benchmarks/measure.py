"""Contenders timed in turn within one run, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

CORES = len(os.sched_getaffinity(0))

Contender = Callable[[], float]  # does its work once and returns the seconds it took


@dataclass(frozen=True)
class Timing:
    """How long a contender took.

    Attributes:
        name: Who.
        seconds: Each time, in order.
    """

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the times, in seconds."""
        return statistics.median(self.seconds)


def in_turn(contenders: Mapping[str, Contender], times: int) -> list[Timing]:
    """Lets all contenders work in turn, so many times, and tells on standard error how it goes.

    A first turn, in which memory is had from the system for the first time, is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(times + 1):
        for name, work in contenders.items():
            took = work()
            if number:
                seconds[name].append(took)
            turn = f"{number}/{times}" if number else "warming up"
            print(f"{turn} {name}: {took:.2f} s", file=sys.stderr, flush=True)
    return [Timing(name, tuple(found)) for name, found in seconds.items()]


def options(description: str, *extra: Sequence[Any]) -> argparse.Namespace:
    """Reads the command line of a benchmark.

    Args:
        description: What it measures.
        extra: Further options, each as a name, a default and a help text.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--times", type=int, default=3, help="times each contender works [3]")
    for name, default, help in extra:
        parser.add_argument(
            name, default=default, type=type(default) if default is not None else str, help=help
        )
    return parser.parse_args()


def ratio(timing: Timing, limit: Timing) -> float:
    """Returns the median over the turns of a contender's time as a multiple of the limit's in that turn."""
    return statistics.median(own / other for own, other in zip(timing.seconds, limit.seconds, strict=True))


def show(title: str, timings: Sequence[Timing], limit: str, *, as_json: bool) -> None:
    """Prints the medians, and the ratios to the limit turn by turn."""
    base = next(timing for timing in timings if timing.name == limit)
    ratios = {timing.name: ratio(timing, base) for timing in timings}
    medians = {timing.name: timing.median for timing in timings}
    if as_json:
        all_times = {timing.name: timing.seconds for timing in timings}
        record = {"benchmark": title, "cores": CORES, "seconds": medians, "of_limit": ratios}
        print(json.dumps({**record, "times": all_times}))
        return
    table = Table(box=None, title=f"{title}, {CORES} cores", title_justify="left", padding=(0, 2, 0, 0))
    table.add_column("")
    against = "of the limit" if limit == "limit" else f"of {limit}"
    for column in ("seconds", against, "lowest", "highest"):
        table.add_column(column, justify="right")
    for timing in timings:
        numbers = timing.median, ratios[timing.name], min(timing.seconds), max(timing.seconds)
        table.add_row(timing.name, *(f"{number:.2f}" for number in numbers))
    Console(highlight=False).print(table)
