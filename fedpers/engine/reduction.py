"""Many updates as one: the mean weighted by examples, which is all that averaging strategies need."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fedpers.method import Update
from fedpers.models import Rows

Doubles = npt.NDArray[np.float64]


def mean(updates: Iterable[Update]) -> Update:
    """Returns the mean of some updates weighted by their examples.

    They are added up in float64, in the order given, one at a time, so that a generator of them takes the
    memory of one. The mean of means is the mean of all.

    Args:
        updates: At least one, all with the same names.
    """
    examples = seen = 0
    sums: dict[str, _Sum] = {}
    metrics: dict[str, float] = {}
    for update in updates:
        examples += update.examples
        seen += update.seen
        for name, value in update.arrays.items():
            sums.setdefault(name, _Sum(value)).add(update.examples, value)
        for name, number in update.metrics.items():
            metrics[name] = metrics.get(name, 0.0) + update.examples * number
    return Update(
        {name: total.over(examples) for name, total in sums.items()},
        examples,
        seen,
        {name: total / examples for name, total in metrics.items()},
    )


class _Sum:
    """A weighted sum of arrays, or of the moved rows of tables."""

    def __init__(self, first: npt.NDArray[np.floating] | Rows) -> None:
        # Pages of zeros that are never written to take no memory: a table costs its moved rows.
        if isinstance(first, Rows):
            self._total: Doubles = np.zeros((first.height, first.change.shape[1]))
            self._moved = np.zeros(first.height, dtype=bool)
        else:
            self._total = np.zeros(first.shape)

    def add(self, weight: int, value: npt.NDArray[np.floating] | Rows) -> None:
        if isinstance(value, Rows):
            self._total[value.index] += weight * value.change.astype(np.float64)
            self._moved[value.index] = True
        else:
            self._total += weight * value.astype(np.float64)

    def over(self, weight: int) -> npt.NDArray[np.floating] | Rows:
        if not hasattr(self, "_moved"):
            return (self._total / weight).astype(np.float32)
        index = np.flatnonzero(self._moved)
        return Rows(index, (self._total[index] / weight).astype(np.float32), len(self._moved))
