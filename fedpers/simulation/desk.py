"""A run in progress: its crew, its history, and its checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from fedpers.data import Ints, Part, ceilings
from fedpers.engine import (
    DROPPED,
    LATEST,
    Aside,
    CohortGrid,
    Crew,
    Dropouts,
    Notes,
    Numbers,
    Site,
    Whose,
    hire,
    write_checkpoint,
    write_states,
)
from fedpers.errors import StoppedError
from fedpers.evaluation import ERRORS, Scores, principal
from fedpers.files import writing
from fedpers.method import State
from fedpers.models import Arrays
from fedpers.records import Crossing, Records
from fedpers.report.progress import Reporter
from fedpers.runs import way_on
from fedpers.simulation.ledger import Ledger
from fedpers.simulation.outcome import NEVER, Mark, Outcome, Stage, Standing
from fedpers.simulation.setup import Setup

Keep = Callable[[int, int, Arrays], None]  # of a phase's number, a round's, and its aggregate

_TOLD = 5  # failed devices that are told of, one by one
_COUNTS = ("best", "best_worth", "done", "samples")  # of a run's standing, what a checkpoint keeps as JSON


@dataclass
class Desk:
    """A run in progress: its crew, where it stands, and its history."""

    setup: Setup
    crew: Crew
    report: Reporter
    now: Standing
    interrupted: bool = False
    history: list[dict[str, float]] = field(default_factory=lambda: [{"step": 0}])
    start: float = field(default_factory=time.monotonic)
    stages: dict[str, Stage] = field(default_factory=dict)
    senders: Ints | None = None
    crossing: Crossing | None = None
    mark: Mark | None = None
    told: int = 0
    ledger: Ledger | None = None
    keep: Keep | None = None

    def rounds(self, phase: int) -> int:
        """Returns the rounds of a phase, fewer than it asks for where a budget of privacy ends it."""
        guarantee = self.setup.guarantee
        return guarantee.rounds[phase] if guarantee else self.setup.method.phases[phase].rounds

    @property
    def judged(self) -> Ints:
        """The clients whose texts are scored."""
        return self.setup.population.clients[: self.setup.settings.federation.eval_clients]

    def training_grid(self, phase: int, reduce: bool) -> CohortGrid:
        """Returns the clients as Flower nodes that train."""
        settings, population = self.setup.settings, self.setup.population
        federation, asked = settings.federation, self.setup.method.phases[phase]
        people = asked.persons(population)
        grid = CohortGrid(
            self.crew,
            people,
            self.setup.cohort_sizes[phase],
            phase,
            reduce=reduce,
            sizes=population.people.counts()[people],
            dropouts=Dropouts(federation.allow_dropout, federation.dropout_rate, settings.run.seed),
            border_threshold=federation.border_threshold,
        )
        grid.part = asked.part
        return grid

    def note_missing(self, missing: Mapping[int, str]) -> None:
        """Counts the devices that did not reply in a round, and tells of the first ones that failed."""
        self.history[-1]["missing"] = len(missing)
        for partition, why in missing.items():
            if why != DROPPED and self.told < _TOLD:
                self.report.say(f"round {self.now.done}, partition {partition} is left out: {why}")
                self.told += 1

    def take(self, phase: int, arrays: Arrays, samples: int, metrics: Mapping[str, float]) -> None:
        """Records a finished round or epoch of a phase."""
        done, samples = self.now.done + 1, self.now.samples + samples
        self.now = replace(self.now, arrays=arrays, done=done, samples=samples, phase=phase)
        self.history.append({"step": done, **metrics})

    def check(self, phase: int) -> str:
        """Scores the latest parameters on the validation texts, keeps the best, and tells how it stands."""
        now = self.now
        scores = self._score(now.arrays, self.judged, "validation", phase)
        measure = principal(self.setup.population.measure)
        value = scores.mean(measure)
        self.history[-1][f"validation-{measure}"] = value
        worth = -value if measure in ERRORS else value
        # What is chosen by texts that no guarantee covers is not covered either: there the last round counts.
        final = self.setup.guarantee is not None and self.setup.guarantee.kind != "local"
        if worth > now.best_worth or final:
            self.now = replace(now, best_arrays=now.arrays, best=now.done, best_worth=worth)
        return f"validation {measure.replace('_', ' ')} {value:.3f}"

    def spend(self, phase: int, kept: Aside) -> str:
        """Records what the latest round released under differential privacy, and tells how it stands."""
        if self.ledger is None:
            return ""
        told = self.ledger.spend(phase, kept)
        if self.ledger.finite:
            self.history[-1]["epsilon"] = self.ledger.epsilon
        return told

    def leave(self, phase: int, received: Numbers | None) -> None:
        """Goes on to the next phase with the best parameters of this one, or the last if none was looked at.

        Args:
            phase: The phase that has come to its end.
            received: The anonymous records that its strategy trained on, if any.
        """
        now = self.now = replace(self.now, phase=phase)
        if received and self.senders is not None:
            self.crossing = Crossing(Records.of(received), self.senders, dict(self.crew.states(LATEST)))
        arrays = now.best_arrays if now.best_worth > NEVER else now.arrays
        left = self.setup.method.phases[phase]
        if phase < len(self.setup.method.phases) - 1:
            if left.people != "held-out":  # which changes nothing for the clients
                test = self._score(arrays, self.judged, "test", phase)
                self.stages[left.name] = Stage(arrays, test)
            self.now = replace(now, arrays=arrays, best_arrays=arrays, best=now.done, best_worth=NEVER)

    def skip(self, stages: Mapping[str, Stage]) -> None:
        """Starts behind phases that another run has done."""
        self.stages |= stages
        [*_, last] = stages.values()
        self.now = Standing(last.arrays, last.arrays, phase=len(stages) - 1)

    def stop(self) -> None:
        """Notes that somebody pressed Ctrl-C."""
        self.interrupted = True
        self.report.say(f"stopped after {self.now.done} steps: scoring what was finished")

    def finish(self, phase: int, number: int, numbers: Numbers, notes: Notes) -> None:
        """Marks a round as finished, with the strategy's memory; a checkpoint is of the last such round."""
        self.mark = Mark(phase, number, self.now, numbers, notes, self._ledger_now())
        if self.keep is not None:
            self.keep(phase, number, self.now.arrays)

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
            | ({} if self.senders is None else {"senders/persons": self.senders})
            | {
                f"stages/{name}/{k}": array
                for name, stage in self.stages.items()
                for k, array in _flat(stage)
            }
        )
        record = {
            "phase": mark.phase,
            "round": mark.round,
            "strategy": mark.notes,
            **{name: getattr(standing, name) for name in _COUNTS},
            "history": self.history[: standing.done + 1],
            "seconds": time.monotonic() - self.start,
            **(mark.ledger.record() if mark.ledger else {}),
        }
        write_checkpoint(checkpoints, standing.done, numbers, states, record)

    def resume(
        self, numbers: Numbers, states: Iterable[Mapping[int, State]], record: Mapping[str, Any]
    ) -> Mark:
        """Takes over from a checkpoint and returns the round it is of."""
        counts = {name: record[name] for name in _COUNTS}
        latest, best = _under("latest", numbers), _under("best", numbers)
        self.now = Standing(latest, best, **counts, phase=record["phase"])
        self.history = record["history"]
        self.start = time.monotonic() - record["seconds"]
        self.crew.restore(states, (record["phase"], record["round"]))
        self.senders = numbers.get("senders/persons")
        self.stages = _stages(_under("stages", numbers))
        if self.ledger is not None:
            self.ledger.restore(record)
        remembered = _under("strategy", numbers)
        notes = record["strategy"]
        self.mark = Mark(record["phase"], record["round"], self.now, remembered, notes, self._ledger_now())
        return self.mark

    def keep_finished(self, checkpoints: Path | None) -> bool:
        """Writes a checkpoint of the last finished round if there is one, and tells whether it did."""
        if checkpoints is None or self.mark is None:
            return False
        self.save(checkpoints)
        return True

    def stopped(self, checkpoints: Path | None) -> StoppedError:
        """Saves what was finished, after SIGTERM, and returns the error that says how to go on."""
        if not self.keep_finished(checkpoints):
            return StoppedError(f"stopped by SIGTERM after {self.now.done} rounds: nothing was kept")
        assert checkpoints is not None
        assert self.mark is not None
        return StoppedError(
            f"stopped by SIGTERM after {self.mark.standing.done} rounds; {way_on(checkpoints.parent)}"
        )

    def judge(self) -> Outcome:
        """Scores the best parameters on the test texts and on people nobody trained on.

        Where somebody stopped the run, they are read as the last phase reads them of which a round was
        finished: to the phase that was under way they are nothing but a beginning.
        """
        population, now = self.setup.population, self.now
        if now.best_worth == NEVER:  # stopped before the first look at the validation texts
            now = replace(now, best=now.done, best_arrays=now.arrays)
        last = now.phase
        unseen = None
        if len(population.held_out):
            met = any(phase.people == "held-out" for phase in self.setup.method.phases)
            part: Part = "test" if met else "all"  # of who learned something from them, not those texts
            unseen = (
                self._score(now.best_arrays, population.held_out, part, last),
                self._score(now.best_arrays, population.held_out, part, last, "nobody"),
            )
        return Outcome(
            arrays=now.best_arrays,
            best=now.best,
            done=now.done,
            samples=now.samples,
            history=self.history,
            test=self._score(now.best_arrays, self.judged, "test", last),
            another=self._score(now.best_arrays, self.judged, "test", last, "another"),
            stages=self.stages,
            unseen=unseen,
            ceilings=ceilings(
                population.people, {int(p): population.positions(p, "test") for p in self.judged}
            ),
            seconds=time.monotonic() - self.start,
            interrupted=self.interrupted,
            crossing=self.crossing,
            missing=sum(int(record.get("missing", 0)) for record in self.history),
            privacy=self.ledger.summary() if self.ledger else None,
        )

    def write_modules(self, folder: Path) -> None:
        """Writes everyone's personal state as it is now."""
        with writing(folder):
            write_states(folder, self.crew.states(LATEST))

    def _ledger_now(self) -> Ledger | None:
        return self.ledger.copy() if self.ledger else None

    def _score(self, arrays: Arrays, persons: Ints, part: Part, phase: int, whose: Whose = "own") -> Scores:
        size = self.setup.cohort_sizes[phase]
        grid = CohortGrid(self.crew, self.setup.population.clients, size, phase, reduce=True)
        return grid.score(arrays, persons, part, whose)


@contextmanager
def desk_of(setup: Setup, report: Reporter) -> Iterator[Desk]:
    """Hires the crew of a run, lets it go at the end."""
    engine = setup.settings.engine
    clients = tuple(phase.client for phase in setup.method.phases)
    guarantee, seed = setup.guarantee, setup.settings.run.seed
    noise = tuple(guarantee.noise(number) for number in range(len(clients))) if guarantee else ()
    crew = hire(
        Site(setup.spec, setup.population, clients, seed, engine.threads, engine.device, noise), engine
    )
    try:
        ledger = Ledger(guarantee) if guarantee else None
        yield Desk(setup, crew, report, Standing(setup.base, setup.base), ledger=ledger)
    finally:
        crew.close()


def _under(name: str, numbers: Numbers) -> dict[str, npt.NDArray[Any]]:
    """Returns the arrays of one kind by their names within it."""
    return {path.removeprefix(f"{name}/"): a for path, a in numbers.items() if path.startswith(f"{name}/")}


def _flat(stage: Stage) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Gives the arrays of a stage by path."""
    yield from ((f"arrays/{name}", array) for name, array in stage.arrays.items())
    yield from ((f"test/{name}", array) for name, array in vars(stage.test).items() if name != "sums")
    yield from ((f"test/sums/{name}", array) for name, array in stage.test.sums.items())


def _stages(numbers: Numbers) -> dict[str, Stage]:
    """Returns the stages that some arrays by path hold."""
    parts = {
        name: _under(name, numbers) for name in dict.fromkeys(path.partition("/")[0] for path in numbers)
    }
    return {name: Stage(_under("arrays", p), _scores(_under("test", p))) for name, p in parts.items()}


def _scores(numbers: Numbers) -> Scores:
    """Returns the scores whose fields, and among them the further sums, some arrays by path hold."""
    fields = {name: array for name, array in numbers.items() if not name.startswith("sums/")}
    return Scores(**fields, sums=_under("sums", numbers))
