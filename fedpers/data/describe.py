"""What a source holds: people, classes, lengths, and how far the label can be guessed without reading.

The two majority rules are the floor a method has to beat: one answers everyone's most frequent class, the
other each person's own. Both see the first part of each person's samples and are scored on the last. Where
texts or next words are to be written, there are no classes, and what is to be written is counted instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedpers.data.population import next_words
from fedpers.data.samples import Ints, People, TablePeople
from fedpers.seeds import stream

MOST_DESCRIBED = 20_000
FEWEST_SCORED = 3
TEST_SHARE = 0.2

Numbers = Ints | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Where numbers lie; quantiles between two numbers are interpolated."""

    minimum: float
    percentile_5: float
    percentile_25: float
    median: float
    percentile_75: float
    percentile_95: float
    maximum: float
    mean: float


@dataclass(frozen=True)
class Written:
    """What is to be written.

    Attributes:
        what: Whole texts or next words.
        count: How many there are.
        different: How many of them differ.
        words: Words a text, parted by white space; None of next words.
    """

    what: Literal["text", "next-word"]
    count: int
    different: int
    words: Spread | None


@dataclass(frozen=True)
class Description:
    """What a source holds.

    Attributes:
        people: People in the source.
        samples: Their samples.
        samples_per_person: Over all people.
        test_part: Samples of the source's own test part; None where it has none.
        described_people: People whose samples the fields below cover; fewer than `people` where those
            are many.
        class_counts: Samples of each class, in the order of the classes' numbers; none where texts or next
            words are to be written.
        text_words: Words a text, parted by white space.
        repeated: Samples whose text is exactly that of another of the same person that was counted before. A
            random split may train on one and test on the other.
        tested_samples: Samples the two rules were scored on.
        global_majority_accuracy: Rate in [0, 1] of answering everyone's most frequent class; None where
            nobody has 3 samples.
        person_majority_accuracy: The same of each person's own most frequent class.
        notes: What was left out of the source, a line each.
        written: What is to be written; None where there are classes.
    """

    people: int
    samples: int
    samples_per_person: Spread
    described_people: int
    class_counts: dict[str, int]
    text_words: Spread
    repeated: int
    tested_samples: int
    global_majority_accuracy: float | None
    person_majority_accuracy: float | None
    notes: tuple[str, ...] = ()
    test_part: int | None = None
    written: Written | None = None

    def class_shares(self) -> dict[str, float]:
        """Returns each class's share of the counted samples, in [0, 1]."""
        total = max(1, sum(self.class_counts.values()))
        return {name: count / total for name, count in self.class_counts.items()}

    def record(self) -> dict[str, object]:
        """Returns everything as plain values, ready for JSON."""
        return asdict(self) | {"class_shares": self.class_shares(), "notes": list(self.notes)}


def describe(people: People, notes: Iterable[str] = ()) -> Description:
    """Describes a source with at least one sample; of more than 20,000 people, a seeded sample of them."""
    counts = people.counts()
    chosen = _chosen(len(people))
    lengths: list[int] = []
    labels: list[Ints] = []
    repeated = 0
    for person in chosen:
        samples = people.samples(int(person))
        repeated += len(samples) - len(set(samples.texts))
        lengths.extend(len(text.split()) for text in samples.texts)
        own = samples.labels[_order(people, int(person), len(samples))]
        labels.append(own[own >= 0])
    scores = majority_scores(labels, len(people.classes)) if people.classes else MajorityScores(0, 0, 0)
    return Description(
        people=len(people),
        samples=int(counts.sum()),
        samples_per_person=spread(counts),
        described_people=len(chosen),
        class_counts=dict(zip(people.classes, _count(labels, len(people.classes)).tolist(), strict=True)),
        text_words=spread(np.array(lengths)),
        repeated=repeated,
        tested_samples=scores.tested,
        global_majority_accuracy=scores.global_hits / scores.tested if scores.tested else None,
        person_majority_accuracy=scores.person_hits / scores.tested if scores.tested else None,
        notes=tuple(notes),
        test_part=_test_part(people),
        written=None if people.classes else _written(people, chosen),
    )


def _test_part(people: People) -> int | None:
    if not isinstance(people, TablePeople):
        return None
    parts = [people.queries(person) for person in range(len(people))]
    tested = [int(part.sum()) for part in parts if part is not None]
    return sum(tested) if tested else None


def _written(people: People, chosen: Ints) -> Written:
    """Counts what is to be written to some people's samples: their targets, or else their next words."""
    counts: Counter[str] = Counter()
    what: Literal["text", "next-word"] = "next-word"
    for person in chosen:
        samples = people.samples(int(person))
        if samples.targets is None:
            samples = next_words(samples)
        else:
            what = "text"
        counts.update(samples.targets or ())
    words = np.repeat([len(text.split()) for text in counts], list(counts.values()))
    return Written(what, counts.total(), len(counts), spread(words) if what == "text" else None)


def _chosen(people: int) -> Ints:
    if people <= MOST_DESCRIBED:
        return np.arange(people)
    # The seed is fixed: a description belongs to the source, not to a run.
    return np.sort(stream(0, "describe").choice(people, MOST_DESCRIBED, replace=False))


def _order(people: People, person: int, count: int) -> Ints:
    times = people.times(person)
    return np.arange(count) if times is None else np.argsort(times, kind="stable")


def spread(numbers: Numbers) -> Spread:
    """Returns where numbers (count,) lie.

    >>> spread(np.array([1, 2, 9])).median
    2.0
    """
    quantiles = np.quantile(numbers, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
    values: list[float] = [*quantiles.tolist(), float(np.mean(numbers))]
    return Spread(*values)


@dataclass(frozen=True)
class MajorityScores:
    """Right answers of the two rules, to be divided by the samples tested."""

    global_hits: int
    person_hits: int
    tested: int


def majority_scores(labels: list[Ints], classes: int) -> MajorityScores:
    """Scores the majority rules on the last 0.2 (at least 1) of each person's labels.

    The rules know only the labels before those, of people with at least 3. A tie between a person's
    classes goes to the one more frequent with everyone, a tie there to the lower number.

    Args:
        labels: Each person's class numbers, first to last; -1 is a class that neither rule can answer.
        classes: How many classes there are.
    """
    scored = [part for part in labels if len(part) >= FEWEST_SCORED]
    cuts = [len(part) - max(1, round(TEST_SHARE * len(part))) for part in scored]
    trained = [part[:cut] for part, cut in zip(scored, cuts, strict=True)]
    tests = [part[cut:] for part, cut in zip(scored, cuts, strict=True)]
    frequent_first = np.argsort(-_count(trained, classes), kind="stable")
    own = [_majority(part, frequent_first) for part in trained]
    return MajorityScores(
        global_hits=sum(int((test == frequent_first[0]).sum()) for test in tests),
        person_hits=sum(int((test == answer).sum()) for test, answer in zip(tests, own, strict=True)),
        tested=sum(map(len, tests)),
    )


def _majority(labels: Ints, frequent_first: Ints) -> int:
    counts = _count([labels], len(frequent_first))
    return int(frequent_first[np.argmax(counts[frequent_first])])


def _count(labels: list[Ints], classes: int) -> Ints:
    """Returns how often each class occurs (classes,)."""
    joined = np.concatenate([np.zeros(0, dtype=np.int64), *labels])
    return np.bincount(joined[joined >= 0], minlength=classes)
