"""Methods side by side, each central and federated, on the same people, splits, seeds and sample budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from fedpers.evaluation import Change, Scores, bootstrap_accuracy, change
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.settings import RunSettings, Settings
from fedpers.simulation import Build, Outcome, matched_epochs, prepare, simulate, train_centrally

Where = Literal["central", "federated"]


@dataclass(frozen=True)
class Trial:
    """One run of one method.

    Attributes:
        method: The method's name.
        setting: Central or federated.
        seed: Its seed.
        outcome: What came out.
    """

    method: str
    setting: Where
    seed: int
    outcome: Outcome


@dataclass(frozen=True)
class Cell:
    """One method in one setting over all seeds.

    Attributes:
        method: The method's name.
        setting: Central or federated.
        accuracy: Mean over the seeds of the pooled test accuracy, in [0, 1].
        spread: Standard deviation over the seeds.
        low: Lower end of the 95 % bootstrap interval over people.
        high: Upper end.
        person_std: Mean over the seeds of the standard deviation of accuracy over people.
        macro_f1: Mean over the seeds; None of free texts.
        samples: Mean number of training samples gone through.
        seeds: The seeds, in order.
        accuracies: Pooled test accuracy of each seed.
        measures: Mean over the seeds of each further measure, pooled.
    """

    method: str
    setting: Where
    accuracy: float
    spread: float
    low: float
    high: float
    person_std: float
    macro_f1: float | None
    samples: int
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    measures: dict[str, float]


@dataclass(frozen=True)
class Difference:
    """What a method gains per person over the first one, in one setting."""

    method: str
    baseline: str
    setting: Where
    change: Change


def run_trials(
    settings: Settings, builds: Mapping[str, Build], seeds: Sequence[int], report: Reporter
) -> Iterator[Trial]:
    """Runs every method federated, then central with as many training samples, for every seed.

    Yields:
        Each trial that came to its end.

    Raises:
        KeyboardInterrupt: Somebody stopped one, which is left out.
    """
    for seed in seeds:
        for name, build in builds.items():
            report.say(f"{name}, seed {seed}")
            run = RunSettings(method=name, seed=seed)
            setup = prepare(settings.model_copy(update={"run": run}), build, report)
            federated = _ended(simulate(setup, report))
            yield Trial(name, "federated", seed, federated)
            if not setup.method.has_central:
                continue
            epochs = settings.central.central_epochs or matched_epochs(setup, federated.samples)
            yield Trial(name, "central", seed, _ended(train_centrally(setup, epochs, report)))


def _ended(outcome: Outcome) -> Outcome:
    """Returns what came to its end."""
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome


def cells(trials: Sequence[Trial]) -> list[Cell]:
    """Sums up the trials, central before federated."""
    methods = list(dict.fromkeys(trial.method for trial in trials))
    settings: tuple[Where, ...] = ("central", "federated")
    groups = {
        (m, s): [t for t in trials if (t.method, t.setting) == (m, s)] for s in settings for m in methods
    }
    return [_cell(group) for group in groups.values() if group]


def differences(trials: Sequence[Trial]) -> list[Difference]:
    """Compares every method with the first one, person by person, setting by setting."""
    baseline, *others = dict.fromkeys(trial.method for trial in trials)
    found = []
    for setting in ("central", "federated"):
        for method in others:
            ours, theirs = _scores(trials, method, setting), _scores(trials, baseline, setting)
            both = [seed for seed in ours if seed in theirs]
            if both:
                gain = change([ours[s] for s in both], [theirs[s] for s in both], stream(0, "bootstrap"))
                found.append(Difference(method, baseline, setting, gain))
    return found


def record(trials: Sequence[Trial]) -> dict[str, Any]:
    """Returns the comparison as JSON has it."""
    bounds = [trial.outcome.ceilings for trial in trials if trial.outcome.ceilings]
    return {
        "cells": [asdict(cell) for cell in cells(trials)],
        "differences": [asdict(difference) for difference in differences(trials)],
        "ceiling_without_person": float(np.mean([b.without_person for b in bounds])) if bounds else None,
        "ceiling_with_person": float(np.mean([b.with_person for b in bounds])) if bounds else None,
        "trials": [
            {
                "method": trial.method,
                "setting": trial.setting,
                "seed": trial.seed,
                "accuracy": trial.outcome.test.accuracy,
                "best": trial.outcome.best,
                "done": trial.outcome.done,
                "samples": trial.outcome.samples,
                "seconds": trial.outcome.seconds,
            }
            for trial in trials
        ],
    }


def _scores(trials: Sequence[Trial], method: str, setting: str) -> dict[int, Scores]:
    return {t.seed: t.outcome.test for t in trials if (t.method, t.setting) == (method, setting)}


def _cell(trials: Sequence[Trial]) -> Cell:
    scores = [trial.outcome.test for trial in trials]
    accuracies, f1 = [score.accuracy for score in scores], [score.macro_f1 for score in scores]
    low, high = bootstrap_accuracy(scores, stream(0, "bootstrap"))
    return Cell(
        method=trials[0].method,
        setting=trials[0].setting,
        accuracy=float(np.mean(accuracies)),
        spread=float(np.std(accuracies)),
        low=low,
        high=high,
        person_std=float(np.mean([score.by_person.std() for score in scores])),
        macro_f1=None if any(map(math.isnan, f1)) else float(np.mean(f1)),
        samples=round(float(np.mean([trial.outcome.samples for trial in trials]))),
        seeds=tuple(trial.seed for trial in trials),
        accuracies=tuple(accuracies),
        measures={
            name: float(np.mean([score.mean(name) for score in scores])) for name in scores[0].measures
        },
    )
