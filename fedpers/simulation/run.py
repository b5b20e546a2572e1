"""Runs: federated over simulated devices, or central as the control."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from torch import nn

from fedpers.engine import (
    LATEST,
    aside,
    federate,
    quiet,
    read_checkpoint,
    recall,
    remind,
)
from fedpers.method import Phase, State
from fedpers.models import extract, insert, load, pool, pool_owned, rows
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.simulation.desk import Desk, Keep, desk_of
from fedpers.simulation.outcome import Mark, Outcome, Stage
from fedpers.simulation.setup import Setup, encode_all, threads
from fedpers.strategies import Cloud, Guarded, averages
from fedpers.training import Plan, fit


def simulate(
    setup: Setup,
    report: Reporter,
    checkpoints: Path | None = None,
    *,
    resume: bool = False,
    behind: Mapping[str, Stage] | None = None,
    modules: Path | None = None,
    keep: Keep | None = None,
) -> Outcome:
    """Runs all phases of a method federated over the clients.

    Ctrl-C ends the rounds and scores what was finished; while that is scored it writes a checkpoint and
    raises, as SIGTERM does at any time.

    Args:
        setup: What is run.
        report: Where progress goes.
        checkpoints: Folder of checkpoints, or None to write none.
        resume: Whether to go on from the newest checkpoint there.
        behind: What the first phases ended with in another run of the same people and base, to be left out
            here.
        modules: Folder that people's personal states are written to at the end, or None to keep none.
        keep: Is handed every round's aggregate.

    Raises:
        StoppedError: SIGTERM came.
        KeyboardInterrupt: Ctrl-C came after the rounds.
        FedpersError: A device failed, or a checkpoint cannot be written or read.
    """
    with desk_of(setup, report) as desk:
        desk.keep = keep
        start = desk.resume(*read_checkpoint(checkpoints)) if checkpoints and resume else None
        first = start.phase if start else 0
        if behind:
            desk.skip(behind)
            first = len(behind)
        try:
            with _sigterm_raises():
                try:
                    for number, phase in enumerate(setup.method.phases[first:], start=first):
                        _run_phase(desk, number, phase, start, checkpoints)
                except KeyboardInterrupt:
                    desk.stop()
                outcome = desk.judge()
                if modules is not None:
                    desk.write_modules(modules)
                return outcome
        except KeyboardInterrupt:
            desk.keep_finished(checkpoints)
            raise
        except _Terminated:
            raise desk.stopped(checkpoints) from None


def train_centrally(setup: Setup, epochs: int, report: Reporter) -> Outcome:
    """Trains on the clients' pooled texts instead: same people, model, base and encoding.

    Phases whose devices send nothing to average work as they do in a federation.

    Args:
        setup: What is run.
        epochs: Over the pooled texts, shared out over the phases by their rounds.
        report: Where progress goes.
    """
    setup = replace(setup, guarantee=None)  # the control without privacy, too
    phases = setup.method.phases
    rounds = sum(phase.rounds for phase in phases if phase.central is not None)
    with desk_of(setup, report) as desk:
        try:
            for number, phase in enumerate(phases):
                if phase.central is None:
                    _run_phase(desk, number, phase, None, None)
                else:
                    own = max(1, round(epochs * phase.rounds / rounds))
                    _pool_phase(desk, number, phase, replace(phase.central, epochs=own))
        except KeyboardInterrupt:
            desk.stop()
        return desk.judge()


def _pool_phase(desk: Desk, number: int, phase: Phase, plan: Plan) -> None:
    """Trains on everyone's texts, and everyone's own parameters with the model."""
    setup, settings = desk.setup, desk.setup.settings
    population, seed = setup.population, settings.run.seed
    persons = population.clients.tolist()
    with threads(settings.engine.threads):
        model = load(setup.spec, settings.engine.device)
        insert(model.module, desk.now.arrays)
        first_state = phase.client.enrol(model, population, seed)
        kept = dict(desk.crew.states(LATEST))
        states: list[State] = [{**first_state(person), **kept.get(person, {})} for person in persons]
        parts = encode_all(phase.client, population, model, population.clients, phase.part, seed)
        owned = parts[0].owner is not None
        examples = pool_owned(parts) if owned else pool(parts)
        draw = stream(seed, f"central-{number}" if number else "central")
        best = states
        with (
            rows(model.module, states, trained=owned) as tables,  # decay would move what nobody reads
            desk.report.stage(f"central {phase.name} epochs", plan.epochs) as stage,
        ):
            for epoch, passed in enumerate(fit(model, examples, plan, draw), start=1):
                desk.take(number, extract(model.module), passed.samples, {"train-loss": passed.loss})
                if tables:
                    states = _states_of(tables, states)
                    desk.crew.restore([dict(zip(persons, states, strict=True))], (number, epoch))
                note = ""
                if phase.eval_every:
                    note = desk.check(number)
                    best = states if desk.now.best == desk.now.done else best
                stage.advance(note)
                waited = desk.now.done - desk.now.best if phase.eval_every else 0  # unseen, nothing is best
                if settings.central.patience and waited >= settings.central.patience:
                    break
        if tables and phase.eval_every:
            desk.crew.restore([dict(zip(persons, best, strict=True))], (number, plan.epochs))
    desk.leave(number, None)


def _states_of(tables: Mapping[str, nn.Parameter], states: Sequence[State]) -> list[State]:
    """Returns people's states with their rows of some tables."""
    arrays = {name: table.detach().cpu().numpy().copy() for name, table in tables.items()}
    return [
        {**state, **{name: array[row] for name, array in arrays.items()}} for row, state in enumerate(states)
    ]


def _run_phase(desk: Desk, number: int, phase: Phase, start: Mark | None, checkpoints: Path | None) -> None:
    """Runs a phase, from its beginning or from where a checkpoint left it."""
    settings = desk.setup.settings
    if phase.people == "held-out" and not len(desk.setup.population.held_out):
        desk.leave(number, None)
        return
    strategy = desk.setup.strategy(number)
    after, rounds, arrays = 0, desk.rounds(number), desk.now.arrays
    if start is not None and start.phase == number:
        after = start.round
        remind(strategy, start.numbers, start.notes)
    elif phase.anew:
        arrays = desk.setup.base
    grid = desk.training_grid(number, averages(strategy))
    with (
        quiet(),
        threads(settings.engine.threads),
        desk.report.stage(f"{phase.name} rounds", rounds, after) as stage,
    ):
        grid.tell = stage.tell
        for done in federate(grid, strategy, arrays, rounds, settings.run.seed, after):
            desk.take(number, done.arrays, done.samples, done.metrics)
            kept = aside(grid)
            desk.note_missing(kept.missing)
            desk.senders = kept.senders if kept.senders is not None else desk.senders
            spent = desk.spend(number, kept)
            look = phase.eval_every and (done.number % phase.eval_every == 0 or done.number == rounds)
            note = desk.check(number) if look else ""
            desk.finish(number, done.number, *recall(strategy))
            every = settings.engine.checkpoint_every
            if checkpoints and every and (done.number % every == 0 or done.number == rounds):
                desk.save(checkpoints)
            stage.advance(note, spent)
    cloud = strategy.inner if isinstance(strategy, Guarded) else strategy
    desk.leave(number, cloud.received if isinstance(cloud, Cloud) else None)


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
