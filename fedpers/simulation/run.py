"""Runs: federated over simulated devices, or central as the control."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from fedpers.engine import (
    aside,
    federate,
    quiet,
    read_checkpoint,
    recall,
    remind,
)
from fedpers.method import Phase
from fedpers.models import extract, insert, load
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.simulation.desk import Desk, desk_of
from fedpers.simulation.outcome import Mark, Outcome, Stage
from fedpers.simulation.setup import Setup, encode_all, threads
from fedpers.strategies import Cloud, averages
from fedpers.training import Plan, fit


def simulate(
    setup: Setup,
    report: Reporter,
    checkpoints: Path | None = None,
    *,
    resume: bool = False,
    behind: Mapping[str, Stage] | None = None,
    modules: Path | None = None,
) -> Outcome:
    """Runs all phases of a method federated over the clients.

    Ctrl-C ends it with what was finished; SIGTERM writes a checkpoint and raises.

    Args:
        setup: What is run.
        report: Where progress goes.
        checkpoints: Folder of checkpoints, or None to write none.
        resume: Whether to go on from the newest checkpoint there.
        behind: What the first phases ended with in another run of the same people and base, to be left out
            here.
        modules: Folder that people's personal states are written to at the end, or None to keep none.

    Raises:
        StoppedError: SIGTERM came.
        FedpersError: A device failed, or a checkpoint cannot be written or read.
    """
    with desk_of(setup, report) as desk:
        start = desk.resume(*read_checkpoint(checkpoints)) if checkpoints and resume else None
        first = start.phase if start else 0
        if behind:
            desk.skip(behind)
            first = len(behind)
        try:
            with _sigterm_raises():
                for number, phase in enumerate(setup.method.phases[first:], start=first):
                    _run_phase(desk, number, phase, start, checkpoints)
        except KeyboardInterrupt:
            desk.stop()
        except _Terminated:
            raise desk.stopped(checkpoints) from None
        outcome = desk.judge()
        if modules is not None:
            desk.write_modules(modules)
        return outcome


def train_centrally(setup: Setup, epochs: int, report: Reporter) -> Outcome:
    """Trains on the clients' pooled texts instead: same people, model, base and encoding."""
    settings, population = setup.settings, setup.population
    with desk_of(setup, report) as desk, threads(settings.engine.threads):
        model = load(setup.spec, settings.engine.device)
        insert(model.module, setup.base)
        examples = encode_all(
            setup.method.client, population, model, population.clients, "train", settings.run.seed
        )
        epochs_done = fit(
            model, examples, Plan.central(settings.central, epochs), stream(settings.run.seed, "central")
        )
        try:
            with report.stage("central epochs", epochs) as stage:
                for passed in epochs_done:
                    desk.take(extract(model.module), passed.samples, {"train-loss": passed.loss})
                    stage.advance(desk.check(len(setup.method.phases) - 1))
                    if (
                        settings.central.patience
                        and desk.now.done - desk.now.best >= settings.central.patience
                    ):
                        break
        except KeyboardInterrupt:
            desk.stop()
        return desk.judge()


def _run_phase(desk: Desk, number: int, phase: Phase, start: Mark | None, checkpoints: Path | None) -> None:
    """Runs a phase, from its beginning or from where a checkpoint left it."""
    settings = desk.setup.settings
    if phase.people == "held-out" and not len(desk.setup.population.held_out):
        desk.leave(number, None)
        return
    strategy = phase.strategy(desk.setup.server)
    after = 0
    if start is not None and start.phase == number:
        after = start.round
        remind(strategy, start.numbers, start.notes)
    elif phase.anew:
        desk.begin_anew()
    grid = desk.training_grid(number, averages(strategy))
    with (
        quiet(),
        threads(settings.engine.threads),
        desk.report.stage(f"{phase.name} rounds", phase.rounds, after) as stage,
    ):
        grid.tell = stage.tell
        for done in federate(grid, strategy, desk.now.arrays, phase.rounds, settings.run.seed, after):
            desk.take(done.arrays, done.samples, done.metrics)
            kept = aside(grid)
            desk.note_missing(kept.missing)
            desk.senders = kept.senders if kept.senders is not None else desk.senders
            look = phase.eval_every and (done.number % phase.eval_every == 0 or done.number == phase.rounds)
            note = desk.check(number) if look else ""
            desk.finish(number, done.number, *recall(strategy))
            every = settings.engine.checkpoint_every
            if checkpoints and every and (done.number % every == 0 or done.number == phase.rounds):
                desk.save(checkpoints)
            stage.advance(note)
    desk.leave(number, strategy.received if isinstance(strategy, Cloud) else None)


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
