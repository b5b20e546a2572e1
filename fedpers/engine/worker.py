"""What one worker process holds and does: a loaded model, the people, and a cohort at a time."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np
import torch

from fedpers import evaluation
from fedpers.data import Part, Population
from fedpers.dp import Guard, SampleNoise, Spent, bounded, noised_vectors
from fedpers.engine.reduction import mean
from fedpers.engine.states import LATEST, StateStore
from fedpers.errors import DeviceError, FedpersError, InputError
from fedpers.evaluation import Scores
from fedpers.method import WITHIN, Client, Device, Shared, State, Update, Upload, device_of
from fedpers.models import Arrays, ModelSpec, finite, load
from fedpers.records import Records
from fedpers.seeds import stream

Whose = Literal["own", "nobody", "another"]


@dataclass(frozen=True)
class Site:
    """What every worker of a run is made from; it travels to each of them once.

    Attributes:
        model: Which model to load.
        population: The people.
        clients: The device's half of each phase.
        seed: The run's seed.
        threads: torch threads, fixed because their number changes rounding.
        device: torch's name of where models work, "cpu" or "cuda".
        noise: How training hides each sample in each phase; empty hides none.
    """

    model: ModelSpec
    population: Population
    clients: tuple[Client, ...]
    seed: int
    threads: int = 1
    device: str = "cpu"
    noise: tuple[SampleNoise | None, ...] = ()


@dataclass(frozen=True)
class Order:
    """What the devices of a round are to do, the same for all of them.

    Attributes:
        task: Train and send updates, or predict and be scored.
        arrays: The server's broadcast.
        phase: Whose client acts.
        round: The round, from 1.
        part: Which texts are trained on or predicted.
        reduce: Whether a cohort's updates leave the worker as one weighted mean.
        whose: With whose personal state people predict: their own, nobody's, or another client's.
        frozen: What comes beside the broadcast, to be read only.
        allow_dropout: Whether a device that fails in training is left out instead of ending the run.
        guard: What is done to an upload before it leaves, or None.
    """

    task: Literal["train", "predict"]
    arrays: Arrays
    phase: int = 0
    round: int = 0
    part: Part = "train"
    reduce: bool = False
    whose: Whose = "own"
    allow_dropout: bool = False
    frozen: Arrays = field(default_factory=dict)
    guard: Guard | None = None


@dataclass(frozen=True)
class Work:
    """What a cohort's training gave.

    Attributes:
        uploads: Those of the devices that are left, in the order given, or the one weighted mean of their
            updates; none where nothing leaves.
        missing: The persons that failed and were left out, with the reason.
        spent: What each person's training released of their samples, where it hides them.
    """

    uploads: Sequence[Upload]
    missing: Mapping[int, str] = field(default_factory=dict)
    spent: Mapping[int, Sequence[Spent]] = field(default_factory=dict)


class Worker:
    """Carries out orders for cohorts, in this process."""

    def __init__(self, site: Site, states: StateStore) -> None:
        """Loads the model and enrols everyone; all else comes with each order."""
        torch.set_num_threads(site.threads)
        self._site = site
        self._states = states
        self._model = load(site.model, site.device)
        self._enrolments = [client.enrol(self._model, site.population, site.seed) for client in site.clients]

    def at(self, states: StateStore) -> Worker:
        """Returns the same worker, same loaded model included, with other personal states."""
        other = copy.copy(self)
        other._states = states
        return other

    def do(self, order: Order, persons: Sequence[int]) -> Work | Scores:
        """Trains or scores a cohort of persons, in the order given.

        Raises:
            DeviceError: A device failed or sent numbers that are not finite; names round and partition.
            InputError: The settings cannot work on any device, such as an identifier without room.
        """
        try:
            return self._train(order, persons) if order.task == "train" else self._score(order, persons)
        except InputError:
            raise
        except Exception as error:  # a method's own code may raise anything; the message must say where
            failed = self._failed(order, persons)
            if not failed:
                raise self._explained(order, persons, error) from error
            if not order.allow_dropout:
                person, why = failed.popitem()
                raise self._explained(order, [person], why) from error
        rest = [person for person in persons if person not in failed]
        work = self._train(order, rest) if rest else Work([])
        return replace(work, missing={person: _text(error) for person, error in failed.items()})

    def _failed(self, order: Order, persons: Sequence[int]) -> dict[int, Exception]:
        """Finds which devices failed by asking each alone: clients are pure, so they fail again."""
        failed: dict[int, Exception] = {}
        for person in persons:
            try:
                if order.task == "train":
                    self._uploads(order, [person], self._shared(order))
                else:
                    self._score(order, [person])
            except Exception as error:
                failed[person] = error
                if not order.allow_dropout:
                    break
        return failed

    def _cohort(self, order: Order, persons: Sequence[int]) -> list[Device]:
        states = self._states_of(order, persons)
        return [
            device_of(
                self._site.population,
                person,
                order.part,
                state,
                stream(self._site.seed, f"device-{order.task}", order.phase, order.round, person),
            )
            for person, state in zip(persons, states, strict=True)
        ]

    def _states_of(self, order: Order, persons: Sequence[int]) -> list[State]:
        if order.whose == "nobody":
            return [{}] * len(persons)
        if order.whose == "another":
            persons = [self._another(person) for person in persons]
        first = self._enrolments[order.phase]
        kept = self._states.read(persons, (order.phase, order.round) if order.task == "train" else LATEST)
        return [{**first(p), **(state or {})} for p, state in zip(persons, kept, strict=True)]

    def _another(self, person: int) -> int:
        """Returns a client drawn at random among all others, the same one in any process."""
        others = self._site.population.clients[self._site.population.clients != person]
        return int(stream(self._site.seed, "another", person).choice(others)) if len(others) else person

    def _train(self, order: Order, persons: Sequence[int]) -> Work:
        shared = self._shared(order)
        uploads, changed = self._uploads(order, persons, shared)
        self._states.write(changed, (order.phase, order.round))
        updates = [upload for upload in uploads if isinstance(upload, Update)]
        spent = dict(zip(persons, shared.spent, strict=False))  # none where samples are not hidden
        return Work([mean(updates)] if order.reduce and updates else uploads, spent=spent)

    def _uploads(
        self, order: Order, persons: Sequence[int], shared: Shared
    ) -> tuple[Sequence[Upload], dict[int, State]]:
        """Trains a cohort and returns its uploads, checked, and the personal states that changed."""
        cohort = self._cohort(order, persons)
        uploads, states = self._site.clients[order.phase].train(shared, cohort)
        for upload in uploads:
            if not finite({"": upload.vectors} if isinstance(upload, Records) else upload.arrays):
                raise FedpersError("the upload has numbers that are not finite: lower the learning rate")
        if order.guard is not None:
            uploads = [
                self._guarded(order, order.guard, own, p) for own, p in zip(uploads, persons, strict=False)
            ]
        pairs = zip(cohort, states, strict=True)
        return uploads, {device.person: state for device, state in pairs if state is not device.state}

    def _guarded(self, order: Order, guard: Guard, upload: Upload, person: int) -> Upload:
        """Bounds what leaves a device; all devices weigh alike then, whatever they have."""
        if isinstance(upload, Records):
            draw = stream(self._site.seed, "local-noise", order.phase, order.round, person)
            return replace(upload, vectors=noised_vectors(upload.vectors, guard, draw))
        arrays, within = bounded(upload.arrays, order.arrays, guard)
        return replace(upload, arrays=arrays, examples=1, metrics={**upload.metrics, WITHIN: float(within)})

    def _score(self, order: Order, persons: Sequence[int]) -> Scores:
        cohort, population = self._cohort(order, persons), self._site.population
        asked = [replace(device, samples=replace(device.samples, targets=None)) for device in cohort]
        found = self._site.clients[order.phase].predict(self._shared(order), asked)
        truth, labels = [device.samples for device in cohort], population.labels
        if not self._model.writes:
            return evaluation.score(
                persons,
                [np.asarray(answers) for answers in found],
                [own.labels for own in truth],
                len(self._site.model.classes),
                ranked=population.ranked,
            )
        return evaluation.score_texts(
            persons,
            [cast("list[list[str]]", answers) for answers in found],
            [replace(own, targets=own.answers(labels)) for own in truth],
            labels,
            population.measure,
            blanks=population.answer != "next-word",
        )

    def _shared(self, order: Order) -> Shared:
        noise = self._site.noise[order.phase] if self._site.noise else None
        return Shared(self._model, order.arrays, order.round, order.frozen, noise, phase=order.phase)

    def _explained(self, order: Order, persons: Sequence[int], error: Exception) -> DeviceError:
        """Names the round and the partitions of some people, as Flower numbers them."""
        partitions = {int(person): number for number, person in enumerate(self._site.population.clients)}
        numbers = [str(partitions[p]) if p in partitions else f"none (person {p})" for p in persons]
        return DeviceError(f"round {order.round}, partition {', '.join(numbers)}: {_text(error)}")


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, FedpersError) else f"{type(error).__name__}: {error}"
