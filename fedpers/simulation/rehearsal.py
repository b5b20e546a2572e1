"""A run gone through without training: who is drawn when, and what each device's training spends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedpers.data import Population
from fedpers.dp import SampleNoise, Spent, merged
from fedpers.engine import rosters
from fedpers.method import Method, Phase, Server, Shared, device_of
from fedpers.models import Examples, Model, Trained, extract
from fedpers.seeds import stream
from fedpers.settings import Settings
from fedpers.training import Memory, Pass, Personal, Plan

_TOGETHER = 64  # people in a rehearsed cohort


@dataclass(frozen=True)
class Timetable:
    """What every person's training is to release, round by round.

    Attributes:
        drawn: The persons drawn in each round of each phase, by the phase's number.
        each: What a round releases of a person, by phase and person, at a noise multiplier of 1.
    """

    drawn: Mapping[int, Sequence[Sequence[int]]]
    each: Mapping[int, Mapping[int, tuple[Spent, ...]]]

    def histories(self, rounds: Sequence[int]) -> set[tuple[Spent, ...]]:
        """Returns the different histories that people have after so many rounds of each phase."""
        found: dict[int, list[Spent]] = {}
        for number, each in self.each.items():
            times = Counter(person for persons in self.drawn[number][: rounds[number]] for person in persons)
            for person, count in times.items():
                grown = (replace(spent, steps=spent.steps * count) for spent in each[person])
                found.setdefault(person, []).extend(grown)
        return {merged(history) for history in found.values()}


@dataclass(frozen=True)
class _Rehearsal(Shared):
    """Records what training would release, and trains nothing."""

    def fit(
        self,
        starts: Sequence[Mapping[str, npt.NDArray[np.floating]]],
        parts: Sequence[Examples],
        plan: Plan,
        draws: Sequence[np.random.Generator],
        personal: Personal | None = None,
        memories: Sequence[Memory] | None = None,
    ) -> list[tuple[Trained, list[Pass]]]:
        self.spend(replace(plan, noise=self.noise), parts)
        return [(start, [Pass(len(part), 0.0)]) for start, part in zip(starts, parts, strict=True)]


def timetable(
    settings: Settings, method: Method, population: Population, server: Server, model: Model
) -> Timetable:
    """Returns what every person's training is to release; without any device that trains it is empty."""
    drawn, each = {}, {}
    for number, phase in enumerate(method.phases):
        persons = phase.persons(population).tolist()
        if phase.people == "public" or not persons:
            continue
        spent = dict(_spent(phase, persons, population, model, settings.run.seed))
        if any(spent.values()):
            each[number] = spent
            nodes = rosters(
                phase.strategy(server), extract(model.module), len(persons), phase.rounds, settings.run.seed
            )
            drawn[number] = [[persons[node] for node in asked] for asked in nodes]
    return Timetable(drawn, each)


def _spent(
    phase: Phase, persons: Sequence[int], population: Population, model: Model, seed: int
) -> Iterator[tuple[int, tuple[Spent, ...]]]:
    """Gives what a round of a phase releases of each person."""
    first = phase.client.enrol(model, population, seed)
    for start in range(0, len(persons), _TOGETHER):
        some = persons[start : start + _TOGETHER]
        shared = _Rehearsal(model, extract(model.module), 1, {}, SampleNoise(1.0, 1.0))
        draws = (stream(seed, "rehearsal", person) for person in some)
        cohort = [
            device_of(population, p, phase.part, first(p), draw) for p, draw in zip(some, draws, strict=True)
        ]
        phase.client.train(shared, cohort)
        released = shared.spent or [[] for _ in some]
        yield from ((p, merged(own)) for p, own in zip(some, released, strict=True))
