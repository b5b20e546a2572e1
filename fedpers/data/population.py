"""Who takes part, in which role, and which of their texts are for training, validation and test.

UserIdentifier (Mireshghallah et al., NAACL 2022, section 3) parts each user's own samples 0.8/0.1/0.1; so
does this module, with at least one sample in each part. IDfree-PL (Ding et al., KDD 2025; its released code)
cuts everyone's samples at one moment, the 0.8 quantile of all times. OPPU (Tan et al., EMNLP 2024) is tested
on the queries of its data, and trains on each person's whole history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedpers.data.samples import Ints, People, Samples, TablePeople
from fedpers.data.shift import least_alike
from fedpers.data.tasks import GENERAL, Measure, Task
from fedpers.seeds import stream
from fedpers.settings import Answer, Split

Part = Literal["train", "validation", "history", "test", "queries", "all"]


@dataclass(frozen=True)
class Population:
    """The people of a run by role; a client's place in `clients` is its partition number.

    Attributes:
        people: Everyone in the source.
        clients: Person numbers of those who train (clients,).
        public: Those whose text the server may read, to train the vocabulary and the base.
        held_out: Those nobody trains on, for the unseen-user test.
        split: Whether a person's test samples are random ones, the latest, those after the moment, or those
            that the source gives.
        moment: Time after which everyone's samples are the test, with the split `common-time`.
        max_samples: How many of a person's samples are used at most, the first ones.
        seed: The seed of roles and splits.
        notes: What was left out, one line each.
        answer: What is predicted.
        task: What a language model is asked to do; None where the source names no task.
        profiles: What the source says of people, by name.
        irrelevant: How many items a history is cut down to, those least like the person's test samples.
        ranked: Whether a classifier is judged by the place of the right class among all, too.
        half: Which random half of every client's training and test texts is for training, the other being
            the test; 2 n and 2 n + 1 are the two halves of one draw. None leaves the split as it is.
    """

    people: People
    clients: Ints
    public: Ints
    held_out: Ints
    split: Split = "random"
    moment: float = np.inf
    max_samples: int | None = None
    seed: int = 0
    notes: tuple[str, ...] = ()
    answer: Answer = "class"
    task: Task | None = None
    profiles: Mapping[str, str] = field(default_factory=dict)
    irrelevant: int | None = None
    ranked: bool = False
    half: int | None = None

    @property
    def asked(self) -> Task:
        """What a language model is asked to do: the source's task, or to answer a text."""
        return self.task or replace(GENERAL, labels=self.labels, measure=self.measure)

    @property
    def labels(self) -> tuple[str, ...]:
        """The only right answers there are; none for free text."""
        if self.task is not None:
            return self.task.labels
        return tuple(self.people.classes) if self.answer == "class" else ()

    @property
    def measure(self) -> Measure:
        """What answers are judged by first."""
        if self.task is not None:
            return self.task.measure
        return "rouge_1" if self.answer == "text" else "accuracy"

    def everyone(self) -> Ints:
        """Returns clients, public and held-out people, in this order."""
        return np.concatenate([self.clients, self.public, self.held_out])

    def samples(self, person: int, part: Part) -> Samples:
        """Returns one part of what a person wrote."""
        found = self.people.samples(person).take(self.positions(person, part))
        return next_words(found) if self.answer == "next-word" else found

    def background(self, person: int, part: Part) -> tuple[Samples, Ints]:
        """Returns a person's history in time order, and how many items of it came before each sample.

        The history is everything but the test, and of the part `all` everything.
        """
        order = self._order(person)
        rank = np.empty(order.max(initial=-1) + 1, dtype=np.int64)
        rank[order] = np.arange(len(order))
        chosen = self.positions(person, part)
        whole = part in ("all", "queries") and len(chosen) == len(order)
        known = np.sort(rank[self.positions(person, "all" if whole else "history")])
        found = self.people.samples(person)
        if self.irrelevant is not None and not whole:
            tests = found.take(self.positions(person, "test")).texts
            items = found.take(order[known])
            pairs = zip(items.texts, items.targets or items.texts, strict=True)
            known = known[least_alike([text or target for text, target in pairs], tests, self.irrelevant)]
        earlier = np.searchsorted(known, rank[chosen])
        if self.answer == "next-word":  # a text counts once for each of its beginnings
            earlier = np.repeat(earlier, [len(text.split()) - 1 for text in found.take(chosen).texts])
        return found.take(order[known]), earlier

    def times(self, person: int, part: Part) -> npt.NDArray[np.float64] | None:
        """Returns when each text of a part was written (texts,), None where the source does not say."""
        times = self.people.times(person)
        return None if times is None else times[self.positions(person, part)]

    def positions(self, person: int, part: Part) -> Ints:
        """Returns which of a person's samples make up a part, as positions in the source's order."""
        order = self._order(person)
        if part == "queries":  # of whoever has any; else all that a person wrote is like a query
            asked = self.split == "given" and self._queries(person).any()
            return self.positions(person, "test" if asked else "all")
        if part == "all":
            return order
        if self.split == "random":
            order = stream(self.seed, "split", person).permutation(order)
        tested, tenth = self._sizes(person, order)
        if self.split == "given":
            queries = self._queries(person)[order]
            order = np.concatenate([order[~queries], order[queries]])
        if self.half is not None and person in self.clients:
            order, tested = self._halved(person, self.half, order, (tested, tenth))
        cuts = {
            "train": slice(0, len(order) - tested - tenth),
            "validation": slice(len(order) - tested - tenth, len(order) - tested),
            "history": slice(0, len(order) - tested),
            "test": slice(len(order) - tested, len(order)),
        }
        return order[cuts[part]]

    def _halved(self, person: int, half: int, order: Ints, sizes: tuple[int, int]) -> tuple[Ints, int]:
        """Returns a person's samples with a random half of training and test first, and the test's new size.

        Args:
            person: The person's number.
            half: Which half.
            order: The samples for training, validation and test, in this order.
            sizes: How many are for the test and for validation.
        """
        learned, looked, tested = np.split(order, [len(order) - sum(sizes), len(order) - sizes[0]])
        both = np.concatenate([learned, tested])
        mixed = stream(self.seed, "half", half // 2, person).permutation(len(both))
        parts = np.split(mixed, [len(both) // 2])
        kept, rest = (both[np.sort(parts[(half + other) % 2])] for other in (0, 1))
        return np.concatenate([kept, looked, rest]), len(rest)

    def _sizes(self, person: int, order: Ints) -> tuple[int, int]:
        """Returns how many of a person's samples are for the test and for validation."""
        tenth = max(1, round(0.1 * len(order)))
        times = self.people.times(person)
        if self.split == "given":
            tested = int(self._queries(person)[order].sum())
        elif self.split == "common-time" and times is not None:
            tested = int((times[order] > self.moment).sum())
        else:
            return tenth, tenth
        return tested, max(1, round((len(order) - tested) / 9))  # 0.1 of 0.9, as in the other splits

    def _order(self, person: int) -> Ints:
        """Returns the positions of a person's samples in the order of time, or of the source."""
        times = self.people.times(person)
        order = np.arange(len(self.people.samples(person)))
        if self.split == "given":  # of samples without a time, or of one time, the queries are the last
            order = np.argsort(self._queries(person), kind="stable")
        if times is not None:
            order = order[np.argsort(times[order], kind="stable")]
        return order[: self.max_samples]

    def _queries(self, person: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        assert isinstance(self.people, TablePeople)
        found = self.people.queries(person)
        assert found is not None
        return found


def next_words(samples: Samples) -> Samples:
    """Returns every beginning of each text with the word that follows it (IDfree-PL's released code)."""
    words = [text.split() for text in samples.texts]
    places = [(row, end) for row, text in enumerate(words) for end in range(1, len(text))]
    rows = np.array([row for row, _ in places], dtype=np.int64)
    texts = [" ".join(words[row][:end]) for row, end in places]
    return Samples(texts, samples.labels[rows], [words[row][end] for row, end in places])
