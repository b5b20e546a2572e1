"""One method from data to scores: federated over simulated devices, or central as the control."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from fedpers.data import Ceilings, Ints, Part, Population, ceilings, populate
from fedpers.engine import CohortGrid, Crew, Site, federate, hire, quiet
from fedpers.evaluation import Scores
from fedpers.method import Method, Phase
from fedpers.models import TINY, Arrays, Examples, Model, ModelSpec, extract, insert, load, pool, specify
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.settings import Settings
from fedpers.strategies import averages
from fedpers.training import Plan, fit

Build = Callable[[Settings], Method]


@dataclass(frozen=True)
class Setup:
    """What a seed's runs of one method have in common.

    Attributes:
        settings: All settings.
        method: The method.
        population: The people.
        spec: Which model.
        base: Parameters that every run starts from.
    """

    settings: Settings
    method: Method
    population: Population
    spec: ModelSpec
    base: Arrays


@dataclass(frozen=True)
class Outcome:
    """What a federated or central run ended with.

    Attributes:
        arrays: Parameters at the best validation accuracy.
        best: The round or epoch they are from; 0 is the base.
        done: Rounds or epochs finished.
        samples: Training samples gone through.
        history: One record a round or epoch.
        test: Scores of the clients' test texts.
        unseen: Scores of the held-out people, with and without their personal state; None without any.
        ceilings: The best possible accuracies, where they are known.
        seconds: Wall-clock time from the base's training to the last score.
        interrupted: Whether somebody stopped it before its end.
    """

    arrays: Arrays
    best: int
    done: int
    samples: int
    history: list[dict[str, float]]
    test: Scores
    unseen: tuple[Scores, Scores] | None
    ceilings: Ceilings | None
    seconds: float
    interrupted: bool


def lay_out(settings: Settings, build: Build) -> tuple[Method, Population, ModelSpec]:
    """Makes the method, reads the people and describes the model; the same in every process."""
    method = build(settings)
    population = populate(settings.data, settings.synthetic, settings.run.seed)
    texts = _vocabulary_texts(population)
    return method, population, specify(settings.model, population.people.classes, settings.run.seed, texts)


def prepare(settings: Settings, build: Build, report: Reporter) -> Setup:
    """Lays a run out and trains the base on the public people's text."""
    method, population, spec = lay_out(settings, build)
    for note in population.notes:
        report.say(note)
    model = load(spec, settings.engine.device)
    if spec.random_weights and settings.model.model != TINY:
        report.say(f"{settings.model.model} holds no weights: the model starts from random ones")
    with _threads(settings.engine.threads):
        base = _train_base(settings, method, population, model, report)
    return Setup(settings, method, population, spec, base)


def simulate(setup: Setup, report: Reporter) -> Outcome:
    """Runs all phases of a method federated over the clients; Ctrl-C ends it with what was finished."""
    with _desk(setup, report) as desk:
        try:
            for number, phase in enumerate(setup.method.phases):
                _run_phase(desk, number, phase, judged=number == len(setup.method.phases) - 1)
        except KeyboardInterrupt:
            desk.stop()
        return desk.judge()


def train_centrally(setup: Setup, epochs: int, report: Reporter) -> Outcome:
    """Trains on the clients' pooled texts instead: same people, model, base and encoding."""
    settings, population = setup.settings, setup.population
    with _desk(setup, report) as desk, _threads(settings.engine.threads):
        model = load(setup.spec, settings.engine.device)
        insert(model.module, setup.base)
        examples = _encode_all(
            setup.method, population, model, population.clients, "train", settings.run.seed
        )
        epochs_done = fit(
            model, examples, Plan.central(settings.central, epochs), stream(settings.run.seed, "central")
        )
        try:
            with report.stage("central epochs", epochs) as stage:
                for passed in epochs_done:
                    desk.take(extract(model.module), passed.samples, {"train-loss": passed.loss})
                    stage.advance(desk.check())
                    if settings.central.patience and desk.done - desk.best >= settings.central.patience:
                        break
        except KeyboardInterrupt:
            desk.stop()
        return desk.judge()


def matched_epochs(setup: Setup, samples: int) -> int:
    """Returns how many epochs over the pooled texts come nearest to a number of samples, 1 at least."""
    pooled = sum(len(setup.population.positions(p, "train")) for p in setup.population.clients)
    return max(1, round(samples / pooled))


@dataclass
class _Desk:
    """A run in progress: its crew, its latest and best parameters, and its history."""

    setup: Setup
    crew: Crew
    report: Reporter
    arrays: Arrays
    best_arrays: Arrays
    best: int = 0
    best_accuracy: float = -1.0
    done: int = 0
    samples: int = 0
    interrupted: bool = False
    history: list[dict[str, float]] = field(default_factory=lambda: [{"step": 0}])
    start: float = field(default_factory=time.monotonic)

    def grid(self, phase: int, *, reduce: bool = True) -> CohortGrid:
        """Returns the clients as Flower nodes for one phase."""
        return CohortGrid(
            self.crew,
            self.setup.population.clients,
            self.setup.settings.engine.cohort_size,
            phase,
            reduce=reduce,
        )

    def take(self, arrays: Arrays, samples: int, metrics: Mapping[str, float]) -> None:
        """Records a finished round or epoch."""
        self.arrays = arrays
        self.done += 1
        self.samples += samples
        self.history.append({"step": self.done, **metrics})

    def check(self) -> str:
        """Scores the latest parameters on the validation texts, keeps the best, and tells how it stands."""
        accuracy = self._score(self.arrays, self.setup.population.clients, "validation").accuracy
        self.history[-1]["validation-accuracy"] = accuracy
        if accuracy > self.best_accuracy:
            self.best_accuracy, self.best, self.best_arrays = accuracy, self.done, self.arrays
        return f"validation accuracy {accuracy:.3f}"

    def stop(self) -> None:
        """Notes that somebody pressed Ctrl-C."""
        self.interrupted = True
        self.report.say(f"stopped after {self.done} steps: scoring what was finished")

    def judge(self) -> Outcome:
        """Scores the best parameters on the test texts and on people nobody trained on."""
        population = self.setup.population
        if self.best_accuracy < 0:  # stopped before the first look at the validation texts
            self.best, self.best_arrays = self.done, self.arrays
        unseen = None
        if len(population.held_out):
            unseen = (
                self._score(self.best_arrays, population.held_out, "all"),
                self._score(self.best_arrays, population.held_out, "all", stranger=True),
            )
        return Outcome(
            arrays=self.best_arrays,
            best=self.best,
            done=self.done,
            samples=self.samples,
            history=self.history,
            test=self._score(self.best_arrays, population.clients, "test"),
            unseen=unseen,
            ceilings=ceilings(
                population.people, {int(p): population.positions(p, "test") for p in population.clients}
            ),
            seconds=time.monotonic() - self.start,
            interrupted=self.interrupted,
        )

    def _score(self, arrays: Arrays, persons: Ints, part: Part, *, stranger: bool = False) -> Scores:
        last = len(self.setup.method.phases) - 1
        return self.grid(last).score(arrays, persons, part, stranger=stranger)


@contextmanager
def _desk(setup: Setup, report: Reporter) -> Iterator[_Desk]:
    """Hires the crew of a run, lets it go at the end."""
    engine = setup.settings.engine
    clients = tuple(phase.client for phase in setup.method.phases)
    crew = hire(
        Site(setup.spec, setup.population, clients, setup.settings.run.seed, engine.threads, engine.device),
        engine,
    )
    try:
        yield _Desk(setup, crew, report, arrays=setup.base, best_arrays=setup.base)
    finally:
        crew.close()


def _run_phase(desk: _Desk, number: int, phase: Phase, *, judged: bool) -> None:
    settings = desk.setup.settings
    with quiet(), desk.report.stage(f"{phase.name} rounds", phase.rounds) as stage:
        strategy = phase.strategy(len(desk.setup.population.clients))
        grid = desk.grid(number, reduce=averages(strategy))
        for done in federate(grid, strategy, desk.arrays, phase.rounds, settings.run.seed):
            desk.take(done.arrays, done.samples, done.metrics)
            look = judged and (
                done.number % settings.federation.eval_every == 0 or done.number == phase.rounds
            )
            stage.advance(desk.check() if look else "")


def _vocabulary_texts(population: Population) -> Iterator[str]:
    for person in population.public:
        yield from population.samples(person, "all").texts


def _train_base(
    settings: Settings, method: Method, population: Population, model: Model, report: Reporter
) -> Arrays:
    """Trains the model on the public people's text, read as the method's own people are."""
    epochs = settings.central.base_epochs if len(population.public) else 0
    if epochs:
        seed = settings.run.seed
        examples = _encode_all(method, population, model, population.public, "all", seed)
        plan = Plan.central(settings.central, epochs)
        with report.stage("base epochs", epochs) as stage:
            for passed in fit(model, examples, plan, stream(seed, "base")):
                stage.advance(f"training loss {passed.loss:.3f}")
    return extract(model.module)


def _encode_all(
    method: Method, population: Population, model: Model, persons: Ints, part: Part, seed: int
) -> Examples:
    """Encodes the texts of many people, each with the state they start with."""
    first_state = method.client.enrol(model, population, seed)
    return pool(
        [method.client.encode(model, population.samples(p, part), first_state(int(p))) for p in persons]
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Fixes torch's threads in this process for a while, because their number changes rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
