"""Where a run stands after a round, and what it ends with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedpers.data import Ceilings
from fedpers.engine import Notes, Numbers
from fedpers.evaluation import Scores
from fedpers.models import Arrays
from fedpers.records import Crossing
from fedpers.simulation.ledger import Ledger

NEVER = -1e9  # the worth of parameters that nobody has looked at


@dataclass(frozen=True)
class Stage:
    """What a phase that is not the last one ended with.

    Attributes:
        arrays: The shared parameters.
        test: Scores of the clients' test texts, as that phase's client predicts.
    """

    arrays: Arrays
    test: Scores


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
        another: The same, everyone with the personal state of another client.
        stages: What each phase but the last ended with, by its name.
        unseen: Scores of the held-out people, with and without their personal state; None without any.
        ceilings: The best possible accuracies, where they are known.
        seconds: Wall-clock time from the base's training to the last score.
        interrupted: Whether somebody stopped it before its end.
        missing: Devices that were sampled and did not reply, over all rounds.
        privacy: What was spent under differential privacy, and on what terms; None without it.
    """

    arrays: Arrays
    best: int
    done: int
    samples: int
    history: list[dict[str, float]]
    test: Scores
    another: Scores
    stages: dict[str, Stage]
    unseen: tuple[Scores, Scores] | None
    ceilings: Ceilings | None
    seconds: float
    interrupted: bool
    missing: int
    crossing: Crossing | None = None
    privacy: dict[str, Any] | None = None


@dataclass(frozen=True)
class Standing:
    """Where a run stands after a round or epoch.

    Attributes:
        arrays: The latest parameters.
        best_arrays: Those that were worth most when looked at.
        best: The round or epoch they are from.
        best_worth: What the validation texts were judged by first, with a minus where less is better.
        done: Rounds or epochs finished.
        samples: Training samples gone through.
        phase: The phase that the parameters are from.
    """

    arrays: Arrays
    best_arrays: Arrays
    best: int = 0
    best_worth: float = NEVER
    done: int = 0
    samples: int = 0
    phase: int = 0


@dataclass(frozen=True)
class Mark:
    """A finished round of a phase: where the run stood, what the strategy remembered, and what was spent."""

    phase: int
    round: int
    standing: Standing
    numbers: Numbers
    notes: Notes
    ledger: Ledger | None = None
