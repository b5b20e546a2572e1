"""One cell with one seed, from its settings to the record that is kept of it."""

from __future__ import annotations

import time
import traceback
from dataclasses import asdict, dataclass
from typing import Any

from fedpers import runs
from fedpers.errors import FedpersError, InputError, StoppedError
from fedpers.evaluation import Scores
from fedpers.experiments import find
from fedpers.models import quiet_transformers
from fedpers.report.progress import Reporter
from fedpers.simulation import Outcome, Setup, matched_epochs, prepare, simulate, train_centrally
from fedpers.study.grid import Task
from fedpers.study.measures import scores_record


@dataclass(frozen=True)
class Failure:
    """Why a cell has no result.

    Attributes:
        reason: One line.
        trace: Where it failed, for whoever repairs it.
    """

    reason: str
    trace: str


def run_task(task: Task) -> dict[str, Any] | Failure:
    """Runs a cell and returns its record, or why there is none.

    Raises:
        KeyboardInterrupt: Somebody stopped it.
    """
    quiet_transformers()  # in a process of Ray's nobody else did
    start = time.monotonic()
    try:
        outcome = _outcome(task)
    except StoppedError:
        raise
    except FedpersError as error:
        return Failure(" ".join(str(error).split()), traceback.format_exc())
    except Exception as error:  # the others go on, whatever is wrong with this one
        return Failure(" ".join(f"{type(error).__name__}: {error}".split()), traceback.format_exc())
    if outcome.interrupted:
        raise KeyboardInterrupt
    return _record(task, outcome, time.monotonic() - start)


def _outcome(task: Task) -> Outcome:
    """Runs a cell's method where it is to train."""
    report = Reporter(silent=True)
    settings = task.settings
    setup = prepare(settings, find(settings.run.method).build, report)
    if task.cell.where == "federated":
        return simulate(setup, report)
    if not setup.method.has_central:
        raise InputError(f"{setup.method.name} has no central control: train it federated")
    epochs = settings.central.central_epochs or matched_epochs(setup, _federated_samples(setup))
    return train_centrally(setup, epochs, report)


def _federated_samples(setup: Setup) -> int:
    """Returns how many samples federated rounds would go through on average, so many devices a round."""
    population, settings = setup.population, setup.settings
    local = settings.local
    owned = [len(population.samples(int(p), "train")) for p in population.clients]
    most = local.local_steps * local.batch_size if local.local_steps else None
    passed = [local.local_epochs * n if most is None else min(local.local_epochs * n, most) for n in owned]
    devices = min(settings.federation.clients_per_round, len(owned))
    rounds = sum(phase.rounds for phase in setup.method.phases if phase.central is not None)
    return round(rounds * devices * sum(passed) / len(owned))


def _record(task: Task, outcome: Outcome, seconds: float) -> dict[str, Any]:
    sets: dict[str, Scores] = {name: stage.test for name, stage in outcome.stages.items()}
    sets |= {"test": outcome.test, "another": outcome.another}
    if outcome.unseen:
        sets["unseen"], sets["stranger"] = outcome.unseen
    return {
        "digest": task.digest,
        "cell": dict(task.cell.labels),
        "where": task.cell.where,
        "seed": task.seed,
        "settings": task.settings.model_dump(),
        "versions": runs.versions(),
        "summary": outcome.test.summary(),
        "scores": {name: scores_record(scores) for name, scores in sets.items()},
        "ceilings": asdict(outcome.ceilings) if outcome.ceilings else None,
        "best": outcome.best,
        "done": outcome.done,
        "samples": outcome.samples,
        "seconds": seconds,
    }
