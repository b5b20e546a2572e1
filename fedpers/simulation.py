"""One method from data to scores: federated over simulated devices, or central as the control."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy.typing as npt
import torch

from fedpers.data import Ceilings, Ints, Part, Population, ceilings, populate
from fedpers.engine import (
    DROPPED,
    CohortGrid,
    Crew,
    Dropouts,
    Notes,
    Numbers,
    Site,
    federate,
    hire,
    quiet,
    read_checkpoint,
    recall,
    remind,
    write_checkpoint,
)
from fedpers.errors import StoppedError
from fedpers.evaluation import Scores
from fedpers.method import Method, Phase
from fedpers.models import TINY, Arrays, Examples, Model, ModelSpec, extract, insert, load, pool, specify
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.settings import Settings
from fedpers.strategies import averages
from fedpers.training import Plan, devices_at_once, fit

Build = Callable[[Settings], Method]

_TYPICAL = 32  # clients whose samples tell how large a device is
_TURNS = 4  # cohorts in a round are a multiple of this, so that the usual numbers of workers end together
_TOLD = 5  # failed devices that are told of, one by one
_COUNTS = ("best", "best_accuracy", "done", "samples")  # of a run's standing, what a checkpoint keeps as JSON


@dataclass(frozen=True)
class Setup:
    """What a seed's runs of one method have in common.

    Attributes:
        settings: All settings.
        method: The method.
        population: The people.
        spec: Which model.
        base: Parameters that every run starts from.
        cohort_size: K, the devices trained in one pass.
    """

    settings: Settings
    method: Method
    population: Population
    spec: ModelSpec
    base: Arrays
    cohort_size: int


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
        missing: Devices that were sampled and did not reply, over all rounds.
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
    missing: int


def lay_out(settings: Settings, build: Build) -> tuple[Method, Population, ModelSpec]:
    """Makes the method, reads the people and describes the model; the same in every process."""
    method = build(settings)
    population = populate(settings.data, settings.synthetic, settings.run.seed)
    texts = _vocabulary_texts(population)
    return method, population, specify(settings.model, population.people.classes, settings.run.seed, texts)


def prepare(settings: Settings, build: Build, report: Reporter, *, resume: bool = False) -> Setup:
    """Lays a run out and trains the base on the public people's text.

    Args:
        settings: All settings.
        build: Makes the method.
        report: Where notes and progress go.
        resume: Whether the run goes on from a checkpoint, and so needs no base.
    """
    method, population, spec = lay_out(settings, build)
    for phase in method.phases:
        phase.strategy(len(population.clients))  # so that its complaints come before the work
    for note in population.notes:
        report.say(note)
    model = load(spec, settings.engine.device)
    if spec.random_weights and settings.model.model != TINY:
        report.say(f"{settings.model.model} holds no weights: the model starts from random ones")
    with _threads(settings.engine.threads):
        base = extract(model.module) if resume else _train_base(settings, method, population, model, report)
    return Setup(settings, method, population, spec, base, _cohort_size(settings, method, population, model))


def simulate(
    setup: Setup, report: Reporter, checkpoints: Path | None = None, *, resume: bool = False
) -> Outcome:
    """Runs all phases of a method federated over the clients.

    Ctrl-C ends it with what was finished; SIGTERM writes a checkpoint and raises.

    Args:
        setup: What is run.
        report: Where progress goes.
        checkpoints: Folder of checkpoints, or None to write none.
        resume: Whether to go on from the newest checkpoint there.

    Raises:
        StoppedError: SIGTERM came.
        FedpersError: A device failed, or a checkpoint cannot be written or read.
    """
    with _desk(setup, report) as desk:
        start = desk.resume(*read_checkpoint(checkpoints)) if checkpoints and resume else None
        first = start.phase if start else 0
        try:
            with _sigterm_raises():
                for number, phase in enumerate(setup.method.phases[first:], start=first):
                    _run_phase(desk, number, phase, start, checkpoints)
        except KeyboardInterrupt:
            desk.stop()
        except _Terminated:
            raise desk.stopped(checkpoints) from None
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
                    if (
                        settings.central.patience
                        and desk.now.done - desk.now.best >= settings.central.patience
                    ):
                        break
        except KeyboardInterrupt:
            desk.stop()
        return desk.judge()


def matched_epochs(setup: Setup, samples: int) -> int:
    """Returns how many epochs over the pooled texts come nearest to a number of samples, 1 at least."""
    pooled = sum(len(setup.population.positions(p, "train")) for p in setup.population.clients)
    return max(1, round(samples / pooled))


@dataclass(frozen=True)
class _Standing:
    """Where a run stands after a round or epoch."""

    arrays: Arrays
    best_arrays: Arrays
    best: int = 0
    best_accuracy: float = -1.0
    done: int = 0
    samples: int = 0


@dataclass(frozen=True)
class _Mark:
    """A finished round of a phase: where the run stood, and what the strategy remembered."""

    phase: int
    round: int
    standing: _Standing
    numbers: Numbers
    notes: Notes


@dataclass
class _Desk:
    """A run in progress: its crew, where it stands, and its history."""

    setup: Setup
    crew: Crew
    report: Reporter
    now: _Standing
    interrupted: bool = False
    history: list[dict[str, float]] = field(default_factory=lambda: [{"step": 0}])
    start: float = field(default_factory=time.monotonic)
    mark: _Mark | None = None
    told: int = 0

    @property
    def judged(self) -> Ints:
        """The clients whose texts are scored."""
        return self.setup.population.clients[: self.setup.settings.federation.eval_clients]

    def training_grid(self, phase: int, reduce: bool) -> CohortGrid:
        """Returns the clients as Flower nodes that train."""
        settings, population = self.setup.settings, self.setup.population
        federation = settings.federation
        return CohortGrid(
            self.crew,
            population.clients,
            self.setup.cohort_size,
            phase,
            reduce=reduce,
            sizes=population.people.counts()[population.clients],
            dropouts=Dropouts(federation.allow_dropout, federation.dropout_rate, settings.run.seed),
        )

    def note_missing(self, missing: Mapping[int, str]) -> None:
        """Counts the devices that did not reply in a round, and tells of the first ones that failed."""
        self.history[-1]["missing"] = len(missing)
        for partition, why in missing.items():
            if why != DROPPED and self.told < _TOLD:
                self.report.say(f"round {self.now.done}, partition {partition} is left out: {why}")
                self.told += 1

    def take(self, arrays: Arrays, samples: int, metrics: Mapping[str, float]) -> None:
        """Records a finished round or epoch."""
        done = self.now.done + 1
        self.now = replace(self.now, arrays=arrays, done=done, samples=self.now.samples + samples)
        self.history.append({"step": done, **metrics})

    def check(self) -> str:
        """Scores the latest parameters on the validation texts, keeps the best, and tells how it stands."""
        now = self.now
        accuracy = self._score(now.arrays, self.judged, "validation").accuracy
        self.history[-1]["validation-accuracy"] = accuracy
        if accuracy > now.best_accuracy:
            self.now = replace(now, best_arrays=now.arrays, best=now.done, best_accuracy=accuracy)
        return f"validation accuracy {accuracy:.3f}"

    def stop(self) -> None:
        """Notes that somebody pressed Ctrl-C."""
        self.interrupted = True
        self.report.say(f"stopped after {self.now.done} steps: scoring what was finished")

    def finish(self, phase: int, number: int, numbers: Numbers, notes: Notes) -> None:
        """Marks a round as finished, with the strategy's memory; a checkpoint is of the last such round."""
        self.mark = _Mark(phase, number, self.now, numbers, notes)

    def save(self, checkpoints: Path) -> None:
        """Writes a checkpoint of the last finished round."""
        mark = self.mark
        assert mark is not None
        standing = mark.standing
        states = self.crew.states((mark.phase, mark.round + 1))
        numbers = (
            {f"latest/{name}": array for name, array in standing.arrays.items()}
            | {f"best/{name}": array for name, array in standing.best_arrays.items()}
            | {f"strategy/{path}": array for path, array in mark.numbers.items()}
            | {f"states/{person}/{k}": array for person, kept in states.items() for k, array in kept.items()}
        )
        record = {
            "phase": mark.phase,
            "round": mark.round,
            "strategy": mark.notes,
            **{name: getattr(standing, name) for name in _COUNTS},
            "history": self.history[: standing.done + 1],
            "seconds": time.monotonic() - self.start,
        }
        write_checkpoint(checkpoints, standing.done, numbers, record)

    def resume(self, numbers: Numbers, record: Mapping[str, Any]) -> _Mark:
        """Takes over from a checkpoint and returns the round it is of."""
        counts = {name: record[name] for name in _COUNTS}
        self.now = _Standing(_under("latest", numbers), _under("best", numbers), **counts)
        self.history = record["history"]
        self.start = time.monotonic() - record["seconds"]
        states: dict[int, dict[str, npt.NDArray[Any]]] = {}
        for path, array in _under("states", numbers).items():
            person, _, name = path.partition("/")
            states.setdefault(int(person), {})[name] = array
        self.crew.restore(states, (record["phase"], record["round"]))
        remembered = _under("strategy", numbers)
        self.mark = _Mark(record["phase"], record["round"], self.now, remembered, record["strategy"])
        return self.mark

    def stopped(self, checkpoints: Path | None) -> StoppedError:
        """Saves what was finished, after SIGTERM, and returns the error that says how to go on."""
        if checkpoints is None or self.mark is None:
            return StoppedError(f"stopped by SIGTERM after {self.now.done} rounds: nothing was kept")
        self.save(checkpoints)
        return StoppedError(
            f"stopped by SIGTERM after {self.mark.standing.done} rounds; to go on: "
            f"fedpers simulate --resume {checkpoints.parent}"
        )

    def judge(self) -> Outcome:
        """Scores the best parameters on the test texts and on people nobody trained on."""
        population, now = self.setup.population, self.now
        if now.best_accuracy < 0:  # stopped before the first look at the validation texts
            now = replace(now, best=now.done, best_arrays=now.arrays)
        unseen = None
        if len(population.held_out):
            unseen = (
                self._score(now.best_arrays, population.held_out, "all"),
                self._score(now.best_arrays, population.held_out, "all", stranger=True),
            )
        return Outcome(
            arrays=now.best_arrays,
            best=now.best,
            done=now.done,
            samples=now.samples,
            history=self.history,
            test=self._score(now.best_arrays, self.judged, "test"),
            unseen=unseen,
            ceilings=ceilings(
                population.people, {int(p): population.positions(p, "test") for p in self.judged}
            ),
            seconds=time.monotonic() - self.start,
            interrupted=self.interrupted,
            missing=sum(int(record.get("missing", 0)) for record in self.history),
        )

    def _score(self, arrays: Arrays, persons: Ints, part: Part, *, stranger: bool = False) -> Scores:
        last = len(self.setup.method.phases) - 1
        grid = CohortGrid(self.crew, self.setup.population.clients, self.setup.cohort_size, last, reduce=True)
        return grid.score(arrays, persons, part, stranger=stranger)


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
        yield _Desk(setup, crew, report, _Standing(setup.base, setup.base))
    finally:
        crew.close()


def _run_phase(desk: _Desk, number: int, phase: Phase, start: _Mark | None, checkpoints: Path | None) -> None:
    """Runs a phase, from its beginning or from where a checkpoint left it."""
    settings = desk.setup.settings
    judged = number == len(desk.setup.method.phases) - 1
    strategy = phase.strategy(len(desk.setup.population.clients))
    after = 0
    if start is not None and start.phase == number:
        after = start.round
        remind(strategy, start.numbers, start.notes)
    grid = desk.training_grid(number, averages(strategy))
    with quiet(), desk.report.stage(f"{phase.name} rounds", phase.rounds, after) as stage:
        for done in federate(grid, strategy, desk.now.arrays, phase.rounds, settings.run.seed, after):
            desk.take(done.arrays, done.samples, done.metrics)
            desk.note_missing(grid.missing)
            look = judged and (
                done.number % settings.federation.eval_every == 0 or done.number == phase.rounds
            )
            note = desk.check() if look else ""
            desk.finish(number, done.number, *recall(strategy))
            every = settings.engine.checkpoint_every
            if checkpoints and every and done.number % every == 0:
                desk.save(checkpoints)
            stage.advance(note)


class _Terminated(BaseException):
    """SIGTERM came; no device's own code is to catch this."""


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Lets SIGTERM raise, where signals can be handled: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _under(name: str, numbers: Numbers) -> dict[str, npt.NDArray[Any]]:
    """Returns the arrays of one kind by their names within it."""
    return {path.removeprefix(f"{name}/"): a for path, a in numbers.items() if path.startswith(f"{name}/")}


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


def _cohort_size(settings: Settings, method: Method, population: Population, model: Model) -> int:
    """Returns how many devices train in one pass; the number of workers has no say in it."""
    if settings.engine.cohort_size is not None:
        return settings.engine.cohort_size
    first_state = method.client.enrol(model, population, settings.run.seed)
    typical = [
        method.client.encode(model, population.samples(p, "train"), first_state(int(p)))
        for p in population.clients[:_TYPICAL]
    ]
    most = devices_at_once(model, typical, Plan.local(settings.local), settings.engine.cohort_memory * 1e9)
    sampled = min(settings.federation.clients_per_round, len(population.clients))
    cohorts = _TURNS * math.ceil(sampled / (_TURNS * most))
    return math.ceil(sampled / cohorts)


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
