"""Every phase of every method on a bench, and how what comes out of it is compared."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from fedpers.data import Part, Population, Samples
from fedpers.experiments import experiments
from fedpers.method import Client, Device, Phase, Shared, State, Update, Upload, device_of
from fedpers.models import Arrays, Model, Rows, digest, extract, load
from fedpers.records import Records
from fedpers.seeds import stream
from fedpers.settings import Settings
from fedpers.simulation import lay_out
from fedpers.simulation.setup import threads
from fedpers.training import Answers
from tests.conftest import small

Place = tuple[str, int]  # a method's name and a phase's number
Trained = tuple[Sequence[Upload], Sequence[State]]


# What a method's bench has besides: prompts with an item of a history need room, and modules of random
# weights large steps; with IDfree's little noise, what a device fitted shows in the few texts it has.
OWN: dict[str, dict[str, dict[str, Any]]] = {
    "idfree": {"idfree": {"noise": 0.2}},
    "oppu": {
        "model": {"dropout": 0.1, "max_tokens": 64, "answer_tokens": 4, "vocabulary": 400},
        "oppu": {
            "retrieved": "1",
            "module": "lora,ia3,prompt",
            "rank": 2,
            "lora_dropout": 0.1,
            "prompt_tokens": 3,
            "module_batch_size": 4,
        },
    },
    "perplm-soft": {
        "local": {"batch_size": 4, "local_lr": 0.5},
        "perplm_soft": {"prompt_length": 3, "prompt_inner": 8, "masked_share": 0.3},
    },
}


def settings_of(name: str) -> Settings:
    sections: dict[str, dict[str, Any]] = {"model": {"dropout": 0.1}, "local": {"batch_size": 4}}
    return small(run={"method": name}, **{**sections, **OWN.get(name, {})})


PHASES: dict[str, Place] = {
    f"{name}-{phase.name}": (name, number)
    for name, experiment in experiments().items()
    for number, phase in enumerate(experiment.build(settings_of(name)).phases)
}


def phase_of(place: Place) -> Phase:
    name, number = place
    return experiments()[name].build(settings_of(name)).phases[number]


@dataclass(frozen=True)
class Bench:
    """A phase's client with all it needs: people, a model, and what the server sends."""

    client: Client
    population: Population
    model: Model
    arrays: Arrays
    first: Mapping[int, State]

    @property
    def shared(self) -> Shared:
        return Shared(self.model, {name: array.copy() for name, array in self.arrays.items()}, round=1)

    def cohort(self, *persons: int, part: Part = "train", round: int = 1) -> list[Device]:
        """Returns people with their first states, with the draws of a round."""
        return [
            device_of(
                self.population,
                person,
                part,
                {name: value.copy() for name, value in self.first[person].items()},
                stream(0, "device", round, person),
            )
            for person in persons
        ]

    def device(self, person: int, samples: Samples, state: State, round: int = 1) -> Device:
        """Returns a person with other samples, which are their history too if they train on that."""
        [known] = self.cohort(person, round=round)
        return replace(
            known, samples=samples, state=state, history=lambda: (samples, np.arange(len(samples)))
        )


@cache
def bench(place: Place) -> Bench:
    name, number = place
    settings = settings_of(name)
    method, population, spec = lay_out(settings, experiments()[name].build)
    model = load(spec)
    client = method.phases[number].client
    enrolment = client.enrol(model, population, settings.run.seed)
    first = {int(person): enrolment(int(person)) for person in population.everyone()}
    return Bench(client, population, model, extract(model.module), first)


@cache
def kind_of(place: Place) -> str:
    """Returns what a phase's uploads are, or whether what is fitted stays, learnt by asking a device."""
    b = bench(place)
    plan = phase_of(place).plan
    [device] = b.cohort(0)
    with threads(1):  # tests are collected before there is a fixture to see to it
        uploads, [state] = b.client.train(b.shared, [device])
    if not uploads:
        if state is device.state:
            return "idle"
        hidden = plan is not None and plan.masking is not None
        return "module" if b.model.writes else "hidden words" if hidden else "nothing"
    if isinstance(uploads[0], Update):
        return "updates"
    return "vectors" if uploads[0].vectors.size else "texts"


def of_kinds(*kinds: str) -> pytest.MarkDecorator:
    """Runs a test for the phases whose uploads are of some kinds, or for all without any named."""
    chosen = {name: place for name, place in PHASES.items() if not kinds or kind_of(place) in kinds}
    return pytest.mark.parametrize("place", [pytest.param(place, id=name) for name, place in chosen.items()])


every_phase = of_kinds()
owned_phases = pytest.mark.parametrize(
    "place",
    [pytest.param(p, id=name) for name, p in PHASES.items() if experiments()[p[0]].build(small()).owned],
)
last_phases = pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, id=name)
        for name, place in PHASES.items()
        if place[1] == len(experiments()[place[0]].build(settings_of(place[0])).phases) - 1
    ],
)


def listed(answers: Answers) -> list[Any]:
    """Returns answers as a list that can be compared."""
    return answers.tolist() if isinstance(answers, np.ndarray) else answers


def updates_of(uploads: Sequence[Upload]) -> list[Update]:
    assert all(isinstance(upload, Update) for upload in uploads)
    return [upload for upload in uploads if isinstance(upload, Update)]


def records_of(uploads: Sequence[Upload]) -> list[Records]:
    assert all(isinstance(upload, Records) for upload in uploads)
    return [upload for upload in uploads if isinstance(upload, Records)]


def moved(update: Update) -> Arrays:
    """Returns an update's numbers as plain arrays: rows and changes where it has rows."""
    plain: Arrays = {}
    for name, value in update.arrays.items():
        if isinstance(value, Rows):
            plain |= {f"{name}/index": value.index.astype(np.float32), f"{name}/change": value.change}
        else:
            plain[name] = value
    return plain


def assert_same(found: Trained, expected: Trained) -> None:
    """Compares uploads and states bit for bit."""
    for ours, theirs in zip(found[0], expected[0], strict=True):
        if isinstance(ours, Records):
            assert isinstance(theirs, Records)
            assert_same_state(ours.arrays(), theirs.arrays())
            continue
        assert isinstance(theirs, Update)
        assert digest(moved(ours)) == digest(moved(theirs))
        assert (ours.examples, ours.seen) == (theirs.examples, theirs.seen)
        assert ours.metrics == theirs.metrics
    for state, other in zip(found[1], expected[1], strict=True):
        assert_same_state(state, other)


def assert_close(found: Trained, expected: Trained) -> None:
    """Compares numbers up to rounding, and all else exactly."""
    for ours, theirs in zip(found[0], expected[0], strict=True):
        if isinstance(ours, Records):
            assert isinstance(theirs, Records)
            assert_close_arrays(ours.arrays(), theirs.arrays(), 1e-6)
            continue
        assert isinstance(theirs, Update)
        assert_close_arrays(moved(ours), moved(theirs), 1e-6)
        assert (ours.examples, ours.seen) == (theirs.examples, theirs.seen)
        assert ours.metrics == pytest.approx(dict(theirs.metrics), abs=1e-6)
    for state, known in zip(found[1], expected[1], strict=True):
        assert_close_arrays(state, known, 1e-5)  # after as many steps as a whole fit has


def assert_close_arrays(found: State, expected: State, tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.dtype == expected[name].dtype
        if np.issubdtype(array.dtype, np.floating):
            apart = array.astype(float) - expected[name].astype(float)
            assert np.abs(apart).max(initial=0) <= tolerance, name
        else:
            np.testing.assert_array_equal(array, expected[name], err_msg=name)


def assert_same_state(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    assert all(np.array_equal(value, expected[name]) for name, value in found.items())


def through_a_file(state: State) -> State:
    """Copies a state as numpy's own file format keeps it, which takes plain arrays only."""
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]  # numpy's stub takes the names for its options
    file.seek(0)
    with np.load(file, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}
