"""Whole pieces of work side by side: many small runs, each in one process, over Ray."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from fedpers.engine.crew import start_ray
from fedpers.errors import FedpersError
from fedpers.settings import EngineSettings

T = TypeVar("T")
R = TypeVar("R")


def spread(
    work: Callable[[T], R], items: Sequence[T], jobs: int, settings: EngineSettings
) -> Iterator[tuple[int, R | FedpersError]]:
    """Does the same work on every item and yields each item's number and result as it gets ready.

    Args:
        work: A module's function, which must not care in which process it works.
        items: What it is done on.
        jobs: How many are worked on at once; with 1 or 0 that is in this process, in their order.
        settings: Which cluster, and the share of a GPU for each.

    Yields:
        The number of an item and what came out: of a process that died, as for want of memory, an error.
        What the work itself raises is raised here.
    """
    if jobs <= 1:
        yield from ((number, work(item)) for number, item in enumerate(items))
        return
    start_ray(settings)
    task = ray.remote(work).options(num_cpus=1, num_gpus=settings.gpus_per_worker, max_retries=0)
    waiting = deque(range(len(items)))
    running: dict[Any, int] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number = waiting.popleft()
                running[task.remote(items[number])] = number
            with redirect_stdout(sys.stderr):  # Ray prints there when a process dies
                [done], _ = ray.wait(list(running), num_returns=1)
                result = _fetch(done)
            yield running.pop(done), result
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _fetch(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        return FedpersError(" ".join(f"its process died: {error}".split()))
