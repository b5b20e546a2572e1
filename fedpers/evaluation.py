"""Scores per person and pooled: sums that merge, divided once at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sklearn.metrics import f1_score

from fedpers.data import Ints

Floats = npt.NDArray[np.float64]

_RESAMPLES = 2000


@dataclass(frozen=True)
class Scores:
    """How often each person's samples were classified rightly.

    Attributes:
        persons: Person numbers (people,).
        correct: Rightly classified samples of each (people,).
        total: Samples of each (people,).
        confusion: Samples by true and predicted class (classes, classes).
    """

    persons: Ints
    correct: Ints
    total: Ints
    confusion: Ints

    @property
    def accuracy(self) -> float:
        """Pooled accuracy over all samples, in [0, 1] (the figure that UserIdentifier reports)."""
        return float(self.correct.sum() / self.total.sum())

    @property
    def by_person(self) -> Floats:
        """Each person's own accuracy (people,)."""
        return self.correct / self.total

    @property
    def macro_f1(self) -> float:
        """Mean over the classes of the F1 score; a class that nobody has and nobody predicts is left out."""
        present = np.flatnonzero(self.confusion.sum(0) + self.confusion.sum(1))
        truth, predicted = np.nonzero(self.confusion)
        weights = self.confusion[truth, predicted]
        return float(
            f1_score(
                truth, predicted, labels=present, average="macro", sample_weight=weights, zero_division=0
            )
        )

    def summary(self) -> dict[str, float | list[float]]:
        """Returns the pooled accuracy, macro-F1, and the spread over people with its deciles."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "person_mean": float(self.by_person.mean()),
            "person_std": float(self.by_person.std()),
            "person_deciles": [float(q) for q in np.quantile(self.by_person, np.linspace(0.1, 0.9, 9))],
        }


def score(persons: Sequence[int], predicted: Sequence[Ints], labels: Sequence[Ints], classes: int) -> Scores:
    """Compares predictions with labels, person by person."""
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for guess, truth in zip(predicted, labels, strict=True):
        np.add.at(confusion, (truth, guess), 1)
    correct = [int((guess == truth).sum()) for guess, truth in zip(predicted, labels, strict=True)]
    total = [len(truth) for truth in labels]
    return Scores(np.array(persons), np.array(correct), np.array(total), confusion)


def merge(parts: Iterable[Scores]) -> Scores:
    """Joins the scores of different people."""
    everyone = list(parts)
    return Scores(
        np.concatenate([part.persons for part in everyone]),
        np.concatenate([part.correct for part in everyone]),
        np.concatenate([part.total for part in everyone]),
        np.sum([part.confusion for part in everyone], axis=0),
    )


@dataclass(frozen=True)
class Change:
    """How people fare under one model against another (UserIdentifier, figure 3).

    Attributes:
        better: Share of people with a higher accuracy, in [0, 1].
        same: Share with the same.
        worse: Share with a lower one.
        difference: Difference of the pooled accuracies.
        low: Lower end of its 95 % bootstrap interval over people.
        high: Upper end.
    """

    better: float
    same: float
    worse: float
    difference: float
    low: float
    high: float


def change(ours: Sequence[Scores], baseline: Sequence[Scores], draw: np.random.Generator) -> Change:
    """Compares two methods person by person, each pair of scores on the same people and samples.

    Args:
        ours: Scores of one method, one for each seed.
        baseline: Scores of the other, for the same seeds.
        draw: For the bootstrap.
    """
    gains = [
        replace(mine, correct=mine.correct - other.correct)
        for mine, other in zip(ours, baseline, strict=True)
    ]
    signs = np.sign(np.concatenate([gain.correct for gain in gains]))
    sums, totals = _by_person(gains)
    low, high = bootstrap(sums, totals, draw)
    return Change(
        better=float((signs > 0).mean()),
        same=float((signs == 0).mean()),
        worse=float((signs < 0).mean()),
        difference=float(sums.sum() / totals.sum()),
        low=low,
        high=high,
    )


def bootstrap_accuracy(scores: Sequence[Scores], draw: np.random.Generator) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of the pooled accuracy over people and seeds.

    A person is drawn with all their samples of all seeds, because these hang together.
    """
    return bootstrap(*_by_person(scores), draw)


def bootstrap(sums: Ints, totals: Ints, draw: np.random.Generator) -> tuple[float, float]:
    """Returns the 95 % percentile interval of sum(sums) / sum(totals) when people are drawn again.

    Args:
        sums: One number a person, such as rightly classified samples (people,).
        totals: What it is divided by (people,).
        draw: The resampling; people are drawn with replacement, 2,000 times.
    """
    weights = draw.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=_RESAMPLES)
    low, high = np.quantile((weights @ sums) / (weights @ totals), [0.025, 0.975])
    return float(low), float(high)


def _by_person(scores: Sequence[Scores]) -> tuple[Ints, Ints]:
    """Adds up right answers and samples of each person over several seeds."""
    persons, place = np.unique(np.concatenate([score.persons for score in scores]), return_inverse=True)
    sums, totals = np.zeros((2, len(persons)), dtype=np.int64)
    np.add.at(sums, place, np.concatenate([score.correct for score in scores]))
    np.add.at(totals, place, np.concatenate([score.total for score in scores]))
    return sums, totals
