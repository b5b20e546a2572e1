"""Whole pieces of work side by side: many small runs, each in one process, over Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
    # Actors, for to cancel a task that is just ending can crash Ray 2.55 in the driver.
    make: Any = ray.remote(_Hand).options(num_cpus=1, num_gpus=settings.gpus_per_worker)
    waiting = deque(range(len(items)))
    free = deque(make.remote() for _ in range(min(jobs, len(items))))
    running: dict[Any, tuple[int, Any]] = {}
    try:
        while waiting or running:
            while waiting and free:
                number, hand = waiting.popleft(), free.popleft()
                running[hand.do.remote(work, items[number])] = number, hand
            [done], _ = ray.wait(list(running), num_returns=1)
            number, hand = running.pop(done)
            free.append(hand)
            try:
                result = ray.get(done)
            except RayTaskError as error:
                raise error.cause from None
            except RayError as error:
                result = FedpersError(" ".join(f"its process died: {error}".split()))
                free[-1] = make.remote()
            yield number, result
    finally:
        for hand in (*free, *(hand for _, hand in running.values())):
            ray.kill(hand)


class _Hand:
    """A process that does one piece of work after another."""

    def do(self, work: Callable[[T], R], item: T) -> R:
        """Does the work on an item."""
        return work(item)
