"""One person's texts, and everyone a source holds: what every part of fedpers reads data through."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Texts of one person with their labels.

    Attributes:
        texts: The texts, in the source's order.
        labels: Class numbers (samples,), -1 for a class that is not among the known ones.
    """

    texts: list[str]
    labels: Ints

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, positions: Ints) -> Samples:
        """Returns the samples at the given positions, in that order."""
        return Samples([self.texts[i] for i in positions], self.labels[positions])


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


class TablePeople:
    """People in an Arrow table: rows sorted by person, and one index from person to rows.

    The table's buffers are shared, not copied, by everyone who holds it; Ray's object store maps them
    into every worker's memory.
    """

    def __init__(self, table: pa.Table) -> None:
        """Groups the rows of a source by person.

        Args:
            table: Columns user (string), text (string), label (string) and, where known, time (float64).
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
        texts: list[str] = self._table.column("text").slice(start, end - start).to_pylist()
        return Samples(texts, self._labels[start:end])

    def times(self, person: int) -> npt.NDArray[np.float64] | None:
        if "time" not in self._table.column_names:
            return None
        start, end = self._starts[person], self._starts[person + 1]
        times: npt.NDArray[np.float64] = (
            self._table.column("time").slice(start, end - start).to_numpy(zero_copy_only=False)
        )
        return times


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
