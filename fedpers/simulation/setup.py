"""What a run starts from: people, model, base, and how many devices train in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from fedpers.data import Ints, Part, Population, Samples, populate
from fedpers.dp import SampleNoise
from fedpers.method import Client, Device, Enrolment, Method, Phase, Server, device_of
from fedpers.models import (
    MASKED_WORDS,
    TINY,
    Arrays,
    Examples,
    Head,
    Model,
    ModelSpec,
    extract,
    load,
    notes_of,
    pool,
    specify,
)
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.settings import Settings
from fedpers.simulation.guarantee import Guarantee
from fedpers.simulation.promises import guarantee_of
from fedpers.strategies import Strategy
from fedpers.training import Plan, devices_at_once, fit

Build = Callable[[Settings], Method]

_TYPICAL = 32  # clients whose samples tell how large a device is
_SENDING = 64  # devices in a cohort that trains nothing
_TURNS = 4  # cohorts in a round are a multiple of this, so that the usual numbers of workers end together


@dataclass(frozen=True)
class Setup:
    """What a seed's runs of one method have in common.

    Attributes:
        settings: All settings.
        method: The method.
        population: The people.
        spec: Which model.
        base: Parameters that every run starts from.
        cohort_sizes: K, the devices trained in one pass, of each phase.
        guarantee: What is hidden under differential privacy; None without it.
    """

    settings: Settings
    method: Method
    population: Population
    spec: ModelSpec
    base: Arrays
    cohort_sizes: tuple[int, ...]
    guarantee: Guarantee | None = None

    def promised(self) -> Setup:
        """Returns the same with the guarantee that its own settings and method ask for."""
        model = load(self.spec, self.settings.engine.device)
        found = guarantee_of(self.settings, self.method, self.population, self.server, model)
        return replace(self, guarantee=found)

    @property
    def server(self) -> Server:
        """What the servers' halves are made from."""
        return server_of(self.settings, self.population, self.spec)

    def strategy(self, number: int) -> Strategy:
        """Returns a new strategy of a phase, with the guarantee around it."""
        strategy = self.method.phases[number].strategy(self.server)
        return strategy if self.guarantee is None else self.guarantee.strategy(number, strategy)


def lay_out(settings: Settings, build: Build) -> tuple[Method, Population, ModelSpec]:
    """Makes the method, reads the people and describes the model; the same in every process."""
    population = populate(settings.data, settings.synthetic, settings.run.seed)
    told = {"task": population.task.name if population.task else None, "split": population.split}
    method = build(settings.model_copy(update={"data": settings.data.model_copy(update=told)}))
    writes = method.writes or population.answer != "class"
    texts = _vocabulary_texts(population, writes)
    classes = population.people.classes if population.answer == "class" else ()
    head: Head = "words" if writes else "classes"
    spec = specify(settings.model, classes, settings.run.seed, texts, head, method.additions)
    return method, population, spec


def prepare(settings: Settings, build: Build, report: Reporter, *, resume: bool = False) -> Setup:
    """Lays a run out and trains the base on the public people's text.

    Args:
        settings: All settings.
        build: Makes the method.
        report: Where notes and progress go.
        resume: Whether the run goes on from a checkpoint, and so needs no base.
    """
    method, population, spec = lay_out(settings, build)
    server = server_of(settings, population, spec)
    for phase in method.phases:
        phase.strategy(server)  # so that its complaints come before the work
    model = load(spec, settings.engine.device)
    guarantee = guarantee_of(settings, method, population, server, model)
    for note in (*population.notes, *method.notes(population)):
        report.say(note)
    for note in guarantee.notes(method) if guarantee else ():
        report.say(note)
    if spec.random_weights and settings.model.model != TINY:
        report.say(f"{settings.model.model} holds no weights: the model starts from random ones")
    for note in notes_of(model.module):
        report.say(note)
    # Before the base is trained, for this is where a method complains of its settings too.
    noise = [guarantee.noise(number) if guarantee else None for number in range(len(method.phases))]
    sizes = tuple(
        _cohort_size(settings, phase, population, model, own)
        for phase, own in zip(method.phases, noise, strict=True)
    )
    with threads(settings.engine.threads):
        base = extract(model.module) if resume else _train_base(settings, method, population, model, report)
    return Setup(settings, method, population, spec, base, sizes, guarantee)


def matched_epochs(setup: Setup, samples: int) -> int:
    """Returns how many epochs over the pooled texts come nearest to a number of samples, 1 at least."""
    pooled = sum(len(setup.population.samples(int(p), "train")) for p in setup.population.clients)
    return max(1, round(samples / pooled))


def encode_all(
    client: Client, population: Population, model: Model, persons: Ints, part: Part, seed: int
) -> list[Examples]:
    """Encodes the texts of many people, each with the state they start with."""
    first_state = client.enrol(model, population, seed)
    return _encoded(client, first_state, population, model, persons, part)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Fixes torch's threads in this process for a while, because their number changes rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def server_of(settings: Settings, population: Population, spec: ModelSpec) -> Server:
    """Returns what the servers' halves of a run are made from."""

    def public(part: Part) -> list[Device]:
        devices = (
            device_of(population, int(person), part, {}, stream(population.seed, "public", person))
            for person in population.public
        )
        return [replace(device, samples=answered(device.samples)) for device in devices]

    def answered(samples: Samples) -> Samples:
        return (
            replace(samples, targets=samples.answers(population.labels)) if spec.head == "words" else samples
        )

    seed, device = settings.run.seed, settings.engine.device
    return Server(len(population.clients), spec, seed, device, public, len(population.public))


def _vocabulary_texts(population: Population, writes: bool) -> Iterator[str]:
    """Gives what a vocabulary is trained on: public texts, and for a writer what is written in answer."""
    if writes and population.task is not None:
        yield from (population.task.asked(), population.task.shown(""), population.task.cue)
    for person in population.public:
        samples = population.people.samples(person).take(population.positions(person, "all"))
        yield from samples.texts
        if (
            writes and population.answer != "next-word"
        ):  # an answer follows a blank, which byte-level vocabularies have in their words
            yield from (f" {answer}" for answer in samples.answers(population.labels))


def _train_base(
    settings: Settings, method: Method, population: Population, model: Model, report: Reporter
) -> Arrays:
    """Trains the model on the public people's text, read as the first phase's clients read theirs."""
    epochs = settings.central.base_epochs if len(population.public) and method.has_base else 0
    if epochs:
        seed = settings.run.seed
        parts = encode_all(method.phases[0].client, population, model, population.public, "all", seed)
        # A head for hidden words has no say in the task.
        plan = replace(Plan.central(settings.central, epochs), frozen=(MASKED_WORDS,))
        with report.stage("base epochs", epochs) as stage:
            for passed in fit(model, pool(parts), plan, stream(seed, "base")):
                stage.advance(f"training loss {passed.loss:.3f}")
    return extract(model.module)


def _encoded(
    client: Client, first_state: Enrolment, population: Population, model: Model, persons: Ints, part: Part
) -> list[Examples]:
    devices = (
        device_of(population, int(p), part, first_state(int(p)), stream(population.seed, "encoding", p))
        for p in persons
    )
    return [client.encode(model, device) for device in devices]


def _cohort_size(
    settings: Settings, phase: Phase, population: Population, model: Model, noise: SampleNoise | None
) -> int:
    """Returns how many devices train in one pass; the number of workers has no say in it."""
    seed, memory = settings.run.seed, settings.engine.cohort_memory * 1e9
    first_state = phase.client.enrol(model, population, seed)
    people = phase.persons(population)
    if not len(people):
        return 1
    sampled = min(phase.sampled or len(people), len(people))
    most = _SENDING
    if phase.plan is not None:
        some = people[: _TYPICAL if settings.engine.cohort_size is None else 1]
        typical = _encoded(phase.client, first_state, population, model, some, phase.part)
        own = sum(array.size for array in first_state(int(some[0])).values())
        plan = replace(phase.plan, noise=noise)
        most = devices_at_once(model, typical, plan, memory, own if phase.frozen else None)
    if settings.engine.cohort_size is not None:
        return settings.engine.cohort_size
    cohorts = _TURNS * math.ceil(sampled / (_TURNS * most))
    return math.ceil(sampled / cohorts)
