"""One person's texts, and everyone a source holds: what every part of fedpers reads data through."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]

_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Samples:
    """Texts of one person with their labels.

    Attributes:
        texts: The texts, in the source's order.
        labels: Class numbers (samples,), -1 for a class that is not among the known ones.
        targets: What is to be written in answer to each; None where the answer is a class.
    """

    texts: list[str]
    labels: Ints
    targets: list[str] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def answers(self, labels: Sequence[str]) -> list[str]:
        """Returns what is to be written in answer to each: its target, or the name of its class.

        Args:
            labels: The names of the classes by number; an unknown class has an empty answer.
        """
        if self.targets is not None:
            return self.targets
        return [labels[label] if 0 <= label < len(labels) else "" for label in self.labels.tolist()]

    def take(self, positions: Ints) -> Samples:
        """Returns the samples at the given positions, in that order."""
        targets = None if self.targets is None else [self.targets[i] for i in positions]
        return Samples([self.texts[i] for i in positions], self.labels[positions], targets)


class People(Protocol):
    """Everyone in a source, numbered 0 to len - 1."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their numbers."""
        ...

    def __len__(self) -> int: ...

    def name(self, person: int) -> str:
        """Returns the person's name as the source has it."""
        ...

    def counts(self) -> Ints:
        """Returns the number of samples of every person (people,)."""
        ...

    def samples(self, person: int) -> Samples:
        """Returns everything a person wrote."""
        ...

    def times(self, person: int) -> npt.NDArray[np.float64] | None:
        """Returns the time of each of a person's samples, or None where the source has none."""
        ...

    def digest(self) -> str:
        """Returns a digest that tells whether everyone and everything they wrote is as it was."""
        ...


class TablePeople:
    """People in an Arrow table: rows sorted by person, and one index from person to rows.

    The table's buffers are shared, not copied, by everyone who holds it; Ray's object store maps them
    into every worker's memory.
    """

    def __init__(self, table: pa.Table) -> None:
        """Groups the rows of a source by person.

        Args:
            table: Columns user, text, label (string); where known time (float64); where answers are to be
                written target (string); and where the source has a test part of its own, query (bool).
        """
        users = table.column("user").to_numpy(zero_copy_only=False)
        names, numbers = np.unique(users, return_inverse=True)
        order = np.argsort(numbers, kind="stable")
        self._names: list[str] = [str(name) for name in names]
        self._table = table.take(pa.array(order)).combine_chunks()
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=len(names)))])
        labels = self._table.column("label")
        self.classes: tuple[str, ...] = tuple(sorted(labels.unique().to_pylist(), key=_label_order))
        self._labels = _numbers_of(labels, self.classes)

    def with_classes(self, classes: Sequence[str]) -> TablePeople:
        """Returns the same people with only these classes, numbered in this order."""
        other = copy.copy(self)
        other.classes = tuple(classes)
        other._labels = _numbers_of(self._table.column("label"), other.classes)
        return other

    def __len__(self) -> int:
        return len(self._names)

    def name(self, person: int) -> str:
        return self._names[person]

    def counts(self) -> Ints:
        return np.diff(self._starts)

    def samples(self, person: int) -> Samples:
        start, end = self._starts[person], self._starts[person + 1]
        texts = self._column("text", person).to_pylist()
        return Samples(texts, self._labels[start:end], self._targets(person))

    def times(self, person: int) -> npt.NDArray[np.float64] | None:
        if "time" not in self._table.column_names:
            return None
        times: npt.NDArray[np.float64] = self._column("time", person).to_numpy(zero_copy_only=False)
        return times

    def digest(self) -> str:
        total = hashlib.sha256()
        for batch in self._table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            total.update(repr(batch.to_pydict()).encode())
        return total.hexdigest()

    def queries(self, person: int) -> npt.NDArray[np.bool_] | None:
        """Returns which of a person's samples the source is tested on, or None where it does not say."""
        if "query" not in self._table.column_names:
            return None
        found: npt.NDArray[np.bool_] = self._column("query", person).to_numpy(zero_copy_only=False)
        return found

    def numbers(self, names: Iterable[str]) -> Ints:
        """Returns the numbers of people by their names."""
        known = {name: number for number, name in enumerate(self._names)}
        return np.array([known[name] for name in names], dtype=np.int64)

    def _targets(self, person: int) -> list[str] | None:
        if "target" not in self._table.column_names:
            return None
        targets: list[str] = self._column("target", person).to_pylist()
        return targets

    def _column(self, name: str, person: int) -> pa.ChunkedArray:
        start, end = self._starts[person], self._starts[person + 1]
        return self._table.column(name).slice(start, end - start)


def _numbers_of(labels: pa.ChunkedArray, classes: Sequence[str]) -> Ints:
    """Returns each label's class number, -1 where it is not among the classes."""
    numbers = pc.fill_null(pc.index_in(labels, value_set=pa.array(classes, pa.string())), -1)
    found: Ints = numbers.to_numpy().astype(np.int64)
    return found


def _label_order(label: str) -> tuple[int, float, str]:
    """Sorts numbers by value, before names; "nan" and "inf" are names."""
    try:
        value = float(label)
    except ValueError:
        return 1, 0.0, label
    return (0, value, label) if math.isfinite(value) else (1, 0.0, label)
