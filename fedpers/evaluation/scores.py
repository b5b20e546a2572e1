"""Scores per person and pooled: sums that merge, divided once at the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import wilcoxon
from sklearn.metrics import f1_score

from fedpers.data import Ints
from fedpers.errors import FedpersError, InputError, unknown

Floats = npt.NDArray[np.float64]
Summary = dict[str, float | list[float] | dict[str, dict[str, float]] | None]
_Numbers = npt.NDArray[np.number]  # counts, or sums of a measure

ERRORS = frozenset({"absolute_error", "squared_error", "rmse"})  # the measures of which less is better

_RESAMPLES = 2000
_CELLS = 4_000_000  # weights of resamples held at a time
_NO_CONFUSION = np.zeros((0, 0), dtype=np.int64)
_FIRST = 5  # classes that are recommended
_DECIMALS = 9  # sums of the same numbers in another order differ by rounding, which is no difference


@dataclass(frozen=True)
class Scores:
    """How well each person's samples were answered.

    Attributes:
        persons: Person numbers (people,).
        correct: Rightly answered samples of each (people,).
        total: Samples of each (people,).
        confusion: Samples by true and predicted class (classes, classes). Of texts with labels: by true and
            given label, anything else in the last column (labels, labels + 1); of free texts (0, 1).
        sums: Further measures by name, each summed over a person's samples (people,).
    """

    persons: Ints
    correct: Ints
    total: Ints
    confusion: Ints
    sums: Mapping[str, Floats] = field(default_factory=dict)

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
        """Mean over the classes of the F1 score, in [0, 1].

        A class that nobody has and nobody predicts is left out. Texts are judged by all their labels, as
        LaMP does: such a label counts 0, and an answer that is no label is wrong for everyone. Free texts
        have none: NaN.
        """
        rows, columns = self.confusion.shape
        if not rows:
            return math.nan
        labels = np.arange(rows)
        if rows == columns:
            labels = np.flatnonzero(self.confusion.sum(0) + self.confusion.sum(1))
        truth, predicted = np.nonzero(self.confusion)
        weights = self.confusion[truth, predicted]
        return float(
            f1_score(truth, predicted, labels=labels, average="macro", sample_weight=weights, zero_division=0)
        )

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the further measures, with the root of squared errors where these are taken."""
        return (*self.sums, *(["rmse"] if "squared_error" in self.sums else []))

    def summed(self, measure: str) -> _Numbers:
        """Returns a measure summed over each person's samples (people,).

        Args:
            measure: "accuracy" or one of `sums`.

        Raises:
            InputError: It was not taken, or it is "rmse", which is no sum.
        """
        if measure == "accuracy":
            return self.correct
        if measure not in self.sums:
            raise unknown("summed measure", measure, ["accuracy", *self.sums])
        return self.sums[measure]

    def mean(self, measure: str) -> float:
        """Returns a measure pooled over all samples.

        Args:
            measure: "accuracy", one of `sums`, or "rmse": the root of the mean squared error.
        """
        if measure == "rmse":
            return math.sqrt(self.mean("squared_error"))
        return float(self.summed(measure).sum() / self.total.sum())

    def means_by_person(self, measure: str) -> Floats:
        """Returns a measure over each person's own samples (people,), of the same names as `mean`."""
        if measure == "rmse":
            return np.sqrt(self.means_by_person("squared_error"))
        return np.asarray(self.summed(measure) / self.total, dtype=np.float64)

    def summary(self) -> Summary:
        """Returns the pooled accuracy, macro-F1 (None without labels), the spread over people, its deciles.

        Where there are further measures, `measures` gives each of them pooled and as the mean over people.
        """
        macro_f1 = self.macro_f1
        found: Summary = {
            "accuracy": self.accuracy,
            "macro_f1": None if math.isnan(macro_f1) else macro_f1,
            "person_mean": float(self.by_person.mean()),
            "person_std": float(self.by_person.std()),
            "person_deciles": [float(q) for q in np.quantile(self.by_person, np.linspace(0.1, 0.9, 9))],
        }
        if self.sums:
            found["measures"] = {
                name: {"pooled": self.mean(name), "person_mean": float(self.means_by_person(name).mean())}
                for name in self.measures
            }
        return found


def score(
    persons: Sequence[int],
    rankings: Sequence[npt.NDArray[np.signedinteger]],
    labels: Sequence[Ints],
    classes: int,
    *,
    ranked: bool = False,
) -> Scores:
    """Compares a classifier's answers with labels, person by person.

    Args:
        persons: Person numbers.
        rankings: Everyone's class numbers of each sample, best first (samples, classes); the first answers.
        labels: Everyone's true classes (samples,).
        classes: How many classes there are.
        ranked: Whether to add recall_at_5, the samples whose true class is among the first five, and
            reciprocal_rank, 1 / the true class's place, whose mean is the MRR.
    """
    predicted = [ranking[:, 0] for ranking in rankings]
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for guess, truth in zip(predicted, labels, strict=True):
        np.add.at(confusion, (truth, guess), 1)
    correct = [int((guess == truth).sum()) for guess, truth in zip(predicted, labels, strict=True)]
    total = [len(truth) for truth in labels]
    sums = _rank_sums(rankings, labels) if ranked else {}
    return Scores(np.array(persons), np.array(correct), np.array(total), confusion, sums)


def _rank_sums(
    rankings: Sequence[npt.NDArray[np.signedinteger]], labels: Sequence[Ints]
) -> dict[str, Floats]:
    """Returns the measures of a ranking, each summed over a person's samples (people,)."""
    hits = [ranking == truth[:, None] for ranking, truth in zip(rankings, labels, strict=True)]
    return {
        "recall_at_5": np.array([float(own[:, :_FIRST].sum()) for own in hits]),
        "reciprocal_rank": np.array([float((own / np.arange(1, own.shape[1] + 1)).sum()) for own in hits]),
    }


def merge(parts: Iterable[Scores]) -> Scores:
    """Joins the scores of different people.

    Raises:
        FedpersError: They are not of the same measures.
    """
    everyone: list[Scores] = []
    confusion, names = np.zeros((), dtype=np.int64), None
    for part in parts:
        confusion = confusion + part.confusion  # added up at once, for one of many classes is large
        everyone.append(replace(part, confusion=_NO_CONFUSION))
        names = list(part.sums) if names is None else names
        if set(part.sums) != set(names):
            raise FedpersError(
                f"scores of the measures {sorted(names)} and {sorted(part.sums)} cannot be merged: all "
                "people must be scored by the same ones, with as many candidates for an answer"
            )
    return Scores(
        np.concatenate([part.persons for part in everyone]),
        np.concatenate([part.correct for part in everyone]),
        np.concatenate([part.total for part in everyone]),
        confusion,
        {name: np.concatenate([part.sums[name] for part in everyone]) for name in names or ()},
    )


@dataclass(frozen=True)
class Change:
    """How people fare under one model against another (UserIdentifier, figure 3).

    Attributes:
        better: Share of people who fare better, in [0, 1]: a higher accuracy, or a lower error.
        same: Share who fare the same.
        worse: Share who fare worse.
        difference: Mean over the seeds of the difference of the pooled measures; below 0 is better for an
            error.
        low: Lower end of its 95 % bootstrap interval over people.
        high: Upper end.
    """

    better: float
    same: float
    worse: float
    difference: float
    low: float
    high: float


def change(
    ours: Sequence[Scores], baseline: Sequence[Scores], draw: np.random.Generator, measure: str = "accuracy"
) -> Change:
    """Compares two methods person by person, each pair of scores on the same people and samples.

    Args:
        ours: Scores of one method, one for each seed.
        baseline: Scores of the other, for the same seeds.
        draw: For the bootstrap.
        measure: What to compare by: "accuracy" or one of the scores' sums ("rmse" is none).

    Raises:
        InputError: A pair is of different people or samples, or the measure was not taken.
    """
    gains = [_gained(mine, other, measure) for mine, other in zip(ours, baseline, strict=True)]
    signs = np.sign(np.round(np.concatenate(gains), _DECIMALS)) * (-1 if measure in ERRORS else 1)
    persons = [mine.persons for mine in ours]
    sums, totals = _by_person(persons, gains), _by_person(persons, [mine.total for mine in ours])
    low, high = bootstrap(sums, totals, draw)
    return Change(
        better=float((signs > 0).mean()),
        same=float((signs == 0).mean()),
        worse=float((signs < 0).mean()),
        difference=float(_mean_ratio(sums.sum(axis=1), totals.sum(axis=1))),
        low=low,
        high=high,
    )


def paired_test(ours: Scores, theirs: Scores, measure: str) -> float:
    """Tests whether two methods differ over people, by Wilcoxon's signed ranks of everyone's own means.

    People who fare the same are left out, as Wilcoxon did. The probability is exact for up to 50 others
    of whom no two differ by the same, and for up to 13 in any case.

    Args:
        ours: Scores of one method.
        theirs: Scores of the other, on the same people and samples.
        measure: "accuracy", one of the scores' sums, or "rmse".

    Returns:
        The two-sided p-value; 1 if nobody differs.

    Raises:
        InputError: They are of different people or samples, or the measure was not taken.
    """
    _check_pair(ours, theirs)
    differences = np.round(ours.means_by_person(measure) - theirs.means_by_person(measure), _DECIMALS)
    differences = differences[differences != 0]
    return float(wilcoxon(differences).pvalue) if len(differences) else 1.0


def bootstrap_accuracy(scores: Sequence[Scores], draw: np.random.Generator) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval over people of the mean of the pooled accuracy over seeds."""
    return bootstrap_measure(scores, draw, "accuracy")


def bootstrap_measure(
    scores: Sequence[Scores], draw: np.random.Generator, measure: str
) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval over people of the mean of a pooled measure over seeds.

    A person is drawn with all their samples of all seeds, because these hang together.

    Args:
        scores: One for each seed.
        draw: The resampling.
        measure: "accuracy" or one of the scores' sums.
    """
    persons = [score.persons for score in scores]
    sums = _by_person(persons, [score.summed(measure) for score in scores])
    return bootstrap(sums, _by_person(persons, [score.total for score in scores]), draw)


def bootstrap(sums: _Numbers, totals: _Numbers, draw: np.random.Generator) -> tuple[float, float]:
    """Returns the 95 % percentile interval of sum(sums) / sum(totals) when people are drawn again.

    Of several seeds it is the interval of the mean over them.

    Args:
        sums: One number a person, such as rightly classified samples (people,) or (seeds, people).
        totals: What it is divided by, of the same shape.
        draw: The resampling; people are drawn with replacement, 2,000 times.
    """
    people = sums.shape[-1]
    some = max(1, _CELLS // people)  # of the resamples at a time
    means = []
    for start in range(0, _RESAMPLES, some):
        count = min(some, _RESAMPLES - start)
        weights = draw.multinomial(people, np.full(people, 1 / people), size=count)
        means.append(_mean_ratio(np.atleast_2d(sums) @ weights.T, np.atleast_2d(totals) @ weights.T))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def _mean_ratio(sums: _Numbers, totals: _Numbers) -> Floats:
    """Returns the mean over seeds, the first axis, of sums / totals; a seed without samples is left out."""
    ratios = np.divide(sums, totals, out=np.zeros(sums.shape), where=totals > 0)
    found: Floats = ratios.sum(axis=0) / (totals > 0).sum(axis=0)
    return found


def _gained(mine: Scores, other: Scores, measure: str) -> _Numbers:
    """Returns the difference of each person's sums of a measure (people,)."""
    _check_pair(mine, other)
    return mine.summed(measure) - other.summed(measure)


def _check_pair(mine: Scores, other: Scores) -> None:
    if not (np.array_equal(mine.persons, other.persons) and np.array_equal(mine.total, other.total)):
        raise InputError(
            f"scores of {len(mine.persons)} people with {mine.total.sum()} samples and of "
            f"{len(other.persons)} with {other.total.sum()} cannot be compared person by person: both must "
            "be of the same people in the same order, with as many samples each"
        )


def _by_person(persons: Sequence[Ints], values: Sequence[_Numbers]) -> _Numbers:
    """Returns one number of each person in each seed (seeds, people), 0 for who is not in it."""
    numbers, place = np.unique(np.concatenate(persons), return_inverse=True)
    joined = np.concatenate(values)
    found = np.zeros_like(joined, shape=(len(persons), len(numbers)))
    found[np.repeat(np.arange(len(persons)), [len(own) for own in persons]), place] = joined
    return found
