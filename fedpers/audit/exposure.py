"""How sure a model is of the right answers to people's texts, read as an attacker reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedpers.data import Ints, Part, Population
from fedpers.engine import people_of, read_file
from fedpers.method import Assessor, Device, Enrolment, Shared, State, device_of
from fedpers.models import Arrays, Model
from fedpers.models.families import Doubles
from fedpers.privacy import Bools
from fedpers.seeds import stream

PARTS: tuple[Part, ...] = ("train", "test")  # validation texts chose the best round, so they are neither

_TOGETHER = 32  # people whose texts are read at once


@dataclass(frozen=True)
class Corpus:
    """The texts that are asked about, person by person, each person's training texts first.

    Attributes:
        population: Whose texts they are.
        people: The people (people,).
        persons: The person of each text (texts,).
        trained: Whether it is among its person's training texts (texts,).
    """

    population: Population
    people: Ints
    persons: Ints
    trained: Bools

    @staticmethod
    def of(population: Population, people: Ints) -> Corpus:
        """Returns some people's training and test texts."""
        sizes = [[len(population.positions(int(p), part)) for part in PARTS] for p in people]
        persons = np.repeat(people, [sum(own) for own in sizes])
        trained = np.concatenate([np.repeat([True, False], own) for own in sizes])
        return Corpus(population, people, persons, trained)

    def trained_in(self, other: Population) -> Bools:
        """Tells which of these texts are training texts in a population of the same people (texts,)."""
        found = []
        for person in self.people.tolist():
            own = np.concatenate([self.population.positions(person, part) for part in PARTS])
            found.append(np.isin(own, other.positions(person, "train")))
        return np.concatenate(found)


@dataclass(frozen=True)
class Reader:
    """What reads a corpus.

    Attributes:
        model: A loaded model; what its weights are does not matter.
        client: How a device reads.
        corpus: What is read.
    """

    model: Model
    client: Assessor
    corpus: Corpus

    def odds(self, arrays: Arrays, state_of: Enrolment) -> Doubles:
        """Returns the log odds of the right answer to each text (texts,).

        Args:
            arrays: The shared parameters.
            state_of: Gives the state that a person's texts are read with; an empty one is a stranger's.
        """
        shared, people, found = Shared(self.model, arrays), self.corpus.people, []
        for start in range(0, len(people), _TOGETHER):
            some = people[start : start + _TOGETHER].tolist()
            states = {person: state_of(person) for person in some}
            cohort = [self._device(person, part, states[person]) for person in some for part in PARTS]
            found += self.client.log_odds(shared, cohort)
        return np.concatenate(found)

    def _device(self, person: int, part: Part, state: State) -> Device:
        population = self.corpus.population
        draw = stream(population.seed, "membership-reading", person, PARTS.index(part))
        device = device_of(population, person, part, state, draw)
        if not self.model.writes:
            return device
        targets = device.samples.answers(population.labels)
        return replace(device, samples=replace(device.samples, targets=targets))


def stranger(person: int) -> State:
    """Returns the state that an attacker reads a text with who knows nothing of its person."""
    return {}


def states_in(files: Sequence[Path], first: Enrolment) -> Enrolment:
    """Returns what gives people their states: those in some files, or what everyone starts with.

    Args:
        files: Files of people's states.
        first: Gives everyone the state they start with.
    """
    where = {person: path for path in files for person in people_of(path)}

    def state_of(person: int) -> State:
        kept = dict(read_file(where[person], person))[person] if person in where else {}
        return {**first(person), **kept}

    return state_of


def states_of(states: Mapping[int, State], first: Enrolment) -> Enrolment:
    """Returns what gives people their states: those given, or what everyone starts with."""
    return lambda person: {**first(person), **states.get(person, {})}
