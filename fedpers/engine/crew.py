"""Who does the work: this process, or Ray workers that pull cohorts as they get free.

Results come back in the order of the cohorts, and what a cohort computes depends on nothing but its order
and its people, so the outcome is the same with any number of workers.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import ray
import torch
from ray.exceptions import RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fedpers.engine.states import FileStates, MemoryStates, Stamp, StateStore, latest, restore
from fedpers.engine.worker import Order, Site, Work, Worker
from fedpers.errors import FedpersError, InputError
from fedpers.evaluation import Scores
from fedpers.method import State
from fedpers.settings import EngineSettings

_QUEUED = 2  # cohorts given to a worker at once, so that it never waits for the next
_DEATHS = 3  # workers that may die in one order before the fault is taken to be the order's own


class Crew(Protocol):
    """Workers of one phase."""

    def do(self, order: Order, cohorts: Sequence[Sequence[int]]) -> Iterator[Work | Scores]:
        """Gives the same order to all cohorts and yields each one's result, in the cohorts' order."""
        ...

    def states(self, before: Stamp) -> Iterator[tuple[int, State]]:
        """Gives everyone's latest personal state of an earlier round."""
        ...

    def restore(self, states: Iterable[Mapping[int, State]], at: Stamp) -> None:
        """Gives people the personal states of an earlier run, some people's at a time."""
        ...

    def close(self) -> None:
        """Ends the workers and forgets everyone's personal state."""
        ...


class LocalCrew:
    """One worker in this process, for debuggers, notebooks and small tests."""

    def __init__(self, site: Site, states: StateStore | None = None) -> None:
        """Makes the worker; personal states stay in this process unless a store is given."""
        self._threads = torch.get_num_threads()
        self._states: StateStore = states or MemoryStates()
        self._worker = Worker(site, self._states)

    def do(self, order: Order, cohorts: Sequence[Sequence[int]]) -> Iterator[Work | Scores]:
        return (self._worker.do(order, persons) for persons in cohorts)

    def states(self, before: Stamp) -> Iterator[tuple[int, State]]:
        return latest(self._states, before)

    def restore(self, states: Iterable[Mapping[int, State]], at: Stamp) -> None:
        restore(self._states, states, at)

    def close(self) -> None:
        self._states.close()
        torch.set_num_threads(self._threads)


class RayCrew:
    """Ray actors; an order's arrays are put in the object store once and mapped by every worker.

    A worker that dies is replaced, and its cohorts are given out again: personal states are read as of the
    round before, so a cohort done twice ends as if done once.
    """

    def __init__(self, site: Site, settings: EngineSettings, states: StateStore | None = None) -> None:
        """Starts Ray if it is not running, and the workers.

        Args:
            site: What workers are made from.
            settings: How many there are, and where.
            states: A store that all workers can reach; by default an actor keeps the states.
        """
        start_ray(settings)
        self._store: StateStore = states or _RemoteStates()
        self._make, self._gpus = ray.remote(Worker), settings.gpus_per_worker
        self._hired = 0
        self._site = ray.put(site)
        self._actors = [self._hire() for _ in range(worker_count(settings))]

    def do(self, order: Order, cohorts: Sequence[Sequence[int]]) -> Iterator[Work | Scores]:
        shared_order = ray.put(order)
        waiting = deque(range(len(cohorts)))
        free = deque(actor for _ in range(_QUEUED) for actor in self._actors)
        running: dict[Any, tuple[int, Any]] = {}
        finished: dict[int, Any] = {}
        deaths = 0
        for position in range(len(cohorts)):
            while position not in finished:
                while waiting and free:
                    number, actor = waiting.popleft(), free.popleft()
                    running[actor.do.remote(shared_order, list(cohorts[number]))] = number, actor
                [done], _ = ray.wait(list(running), num_returns=1)
                number, actor = running.pop(done)
                try:
                    finished[number] = _fetch(done)
                    free.append(actor)
                except RayActorError as error:
                    deaths += 1
                    if deaths > _DEATHS:
                        raise _given_up(deaths, error) from error
                    lost = [reference for reference, (_, owner) in running.items() if owner is actor]
                    waiting.extendleft(sorted((number, *(running.pop(r)[0] for r in lost)), reverse=True))
                    free = deque(other for other in free if other is not actor)
                    free.extend([self._replace(actor)] * _QUEUED)
            yield finished.pop(position)

    def states(self, before: Stamp) -> Iterator[tuple[int, State]]:
        return latest(self._store, before)

    def restore(self, states: Iterable[Mapping[int, State]], at: Stamp) -> None:
        restore(self._store, states, at)

    def close(self) -> None:
        for actor in self._actors:
            ray.kill(actor)
        self._store.close()

    def _hire(self) -> Any:
        places = _places()  # anew each time: a node may have gone
        node, self._hired = places[self._hired % len(places)], self._hired + 1
        place = NodeAffinitySchedulingStrategy(node, soft=False)
        made = self._make.options(num_cpus=0, num_gpus=self._gpus, scheduling_strategy=place)
        return made.remote(self._site, self._store)

    def _replace(self, dead: Any) -> Any:
        new = self._hire()
        self._actors[self._actors.index(dead)] = new
        return new


class _RemoteStates:
    """A worker's view of the states, which live in an actor of their own."""

    def __init__(self) -> None:
        self._actor: Any = ray.remote(MemoryStates).options(num_cpus=0).remote()

    def read(self, persons: Sequence[int], before: Stamp) -> list[State | None]:
        found: list[State | None] = ray.get(self._actor.read.remote(list(persons), before))
        return found

    def write(self, states: Mapping[int, State], at: Stamp) -> None:
        if states:
            ray.get(self._actor.write.remote(dict(states), at))

    def persons(self) -> list[int]:
        found: list[int] = ray.get(self._actor.persons.remote())
        return found

    def clear(self) -> None:
        ray.get(self._actor.clear.remote())

    def close(self) -> None:
        ray.kill(self._actor)


def hire(site: Site, settings: EngineSettings) -> Crew:
    """Returns the crew that the settings ask for."""
    states = FileStates(Path(settings.state_folder)) if settings.state_folder else None
    return LocalCrew(site, states) if settings.workers == 0 else RayCrew(site, settings, states)


def worker_count(settings: EngineSettings) -> int:
    """Returns how many workers there are: what was asked for, or one a core of the machine or cluster."""
    if settings.workers is not None:
        return settings.workers
    here = len(os.sched_getaffinity(0))
    return len(_places()) if settings.ray_address else here


def _places() -> list[str]:
    """Returns the cluster's nodes in turn, each as often as it has cores."""
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # theirs
    cores = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in alive}
    turns = range(max(cores.values(), default=0))
    return [node for turn in turns for node, count in cores.items() if count > turn] or list(cores)


def start_ray(settings: EngineSettings) -> None:
    """Starts Ray, or joins the cluster that the settings name, unless this process has done so.

    Raises:
        InputError: There is no such cluster.
    """
    if ray.is_initialized():
        return
    # Ray's own switches: no usage reports, no advice about GPUs of workers that use none, and no lower
    # priority for workers, which on a busy machine would starve.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if settings.ray_address not in (None, "auto", "local"):
        _knock(str(settings.ray_address))
    try:
        ray.init(
            address=settings.ray_address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except ConnectionError as error:
        raise InputError(f"no Ray cluster at {settings.ray_address}: {error}") from error


def _knock(address: str) -> None:
    """Raises an InputError if nobody listens at an address; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise InputError(f"no Ray cluster at {address}: {error}; give host:port of its head node") from None


def _given_up(deaths: int, error: RayActorError) -> FedpersError:
    why = " ".join(str(error).partition("Some common causes")[0].split())
    return FedpersError(f"workers died {deaths} times in one round, perhaps for want of memory: {why}")


def _fetch(reference: Any) -> Any:
    """Returns a worker's result, or raises what it raised without Ray's account of where."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise (error.cause if isinstance(error.cause, FedpersError) else error) from None
