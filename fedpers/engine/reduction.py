"""Many updates as one: the mean weighted by examples, which is all that averaging strategies need."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fedpers.data import Ints
from fedpers.method import Update
from fedpers.models import Rows

Doubles = npt.NDArray[np.float64]

_KEPT_APART = 32  # updates whose rows are kept apart before they are added up


def mean(updates: Iterable[Update]) -> Update:
    """Returns the mean of some updates weighted by their examples.

    They are added up in float64, in the order given, one at a time, so that a generator of them takes the
    memory of one. The mean of means is the mean of all.

    Args:
        updates: At least one, all with the same names.
    """
    examples = seen = 0
    sums: dict[str, _Sum] = {}
    row_sums: dict[str, _RowSum] = {}
    metrics: dict[str, float] = {}
    for update in updates:
        examples += update.examples
        seen += update.seen
        for name, value in update.arrays.items():
            if isinstance(value, Rows):
                row_sums.setdefault(name, _RowSum(value.height)).add(update.examples, value)
            else:
                sums.setdefault(name, _Sum()).add(update.examples, value)
        for name, number in update.metrics.items():
            metrics[name] = metrics.get(name, 0.0) + update.examples * number
    return Update(
        {name: total.over(examples) for name, total in (sums | row_sums).items()},
        examples,
        seen,
        {name: total / examples for name, total in metrics.items()},
    )


class _Sum:
    """A weighted sum of arrays."""

    def __init__(self) -> None:
        self._total: Doubles | None = None

    def add(self, weight: int, value: npt.NDArray[np.floating]) -> None:
        term = np.multiply(value, weight, dtype=np.float64)
        self._total = term if self._total is None else np.add(self._total, term, out=self._total)

    def over(self, weight: int) -> npt.NDArray[np.float32]:
        assert self._total is not None
        return (self._total / weight).astype(np.float32)


class _RowSum:
    """A weighted sum of the moved rows of a table; rows that nobody moved take no room."""

    def __init__(self, height: int) -> None:
        self._height = height
        self._parts: list[tuple[Ints, Doubles]] = []

    def add(self, weight: int, value: Rows) -> None:
        self._parts.append((value.index, np.multiply(value.change, weight, dtype=np.float64)))
        if len(self._parts) == _KEPT_APART:
            self._parts = [self._folded()]

    def over(self, weight: int) -> Rows:
        index, total = self._folded()
        return Rows(index, (total / weight).astype(np.float32), self._height)

    def _folded(self) -> tuple[Ints, Doubles]:
        index = np.unique(np.concatenate([part for part, _ in self._parts]))
        total = np.zeros((len(index), self._parts[0][1].shape[1]))
        for part, values in self._parts:
            total[np.searchsorted(index, part)] += values
        return index, total
