"""What a study shows of a run: a measure of one of its sets of scores, spelled `SET.MEASURE`.

The sets are `test` (the default, left out when spelled), `another` (the same texts, everyone as another
person), `unseen` and `stranger` (people nobody trained on, with and without what is theirs), and the phases
of a method by name. `ceiling` is what can be known at best, of made-up people.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from fedpers.errors import unknown
from fedpers.evaluation import Scores

_SETS = ("test", "another", "unseen", "stranger")
_CEILINGS = ("without_person", "with_person")
_SUMMED = (
    *("accuracy", "absolute_error", "squared_error", "rouge_1", "rouge_l", "top_3", "top_5", "top_10"),
    *("recall_at_5", "reciprocal_rank"),
)
_OTHERS = ("macro_f1", "person_mean", "person_std", "rmse")

ScoreSets = Mapping[str, Scores]


def split(measure: str) -> tuple[str, str]:
    """Returns the set and the measure.

    >>> split("accuracy"), split("another.rouge_1")
    (('test', 'accuracy'), ('another', 'rouge_1'))
    """
    chosen, _, name = measure.rpartition(".")
    return chosen or "test", name


def check_measure(measure: str, phases: Collection[str], *, summed: bool = False) -> None:
    """Raises an InputError if there is no such measure.

    Args:
        measure: As it is spelled in a study's file.
        phases: Names of the phases that have scores.
        summed: Whether it must be a mean over samples, which can be compared person by person.
    """
    chosen, name = split(measure)
    sets = (*_SETS, *phases, *(() if summed else ("ceiling",)))
    if chosen not in sets:
        raise unknown("set of scores", chosen, sets)
    names = _CEILINGS if chosen == "ceiling" else (*_SUMMED, *(() if summed else _OTHERS))
    if name not in names:
        raise unknown("measure to compare by" if summed else "measure", name, names)


def is_summed(measure: str) -> bool:
    """Tells whether a measure is a mean over samples."""
    chosen, name = split(measure)
    return chosen != "ceiling" and name in _SUMMED


def value_of(measure: str, scores: ScoreSets, ceilings: Mapping[str, float] | None) -> float | None:
    """Returns a measure of a run, None if it was not taken there."""
    chosen, name = split(measure)
    if chosen == "ceiling":
        return ceilings[name] if ceilings else None
    if chosen not in scores:
        return None
    found = scores[chosen]
    own = {
        "accuracy": lambda: found.accuracy,
        "macro_f1": lambda: found.macro_f1,
        "person_mean": lambda: float(found.by_person.mean()),
        "person_std": lambda: float(found.by_person.std()),
    }
    if name in own:
        value = own[name]()
        return None if math.isnan(value) else value
    return found.mean(name) if name in found.measures else None


def scores_record(scores: Scores) -> dict[str, Any]:
    """Returns scores as JSON has them."""
    return {
        "persons": scores.persons.tolist(),
        "correct": scores.correct.tolist(),
        "total": scores.total.tolist(),
        "confusion": scores.confusion.tolist(),
        "sums": {name: values.tolist() for name, values in scores.sums.items()},
    }


def scores_of(record: Mapping[str, Any]) -> Scores:
    """Returns the scores of a record, the same to the last bit."""
    persons, correct, total, confusion = (
        np.array(record[name], dtype=np.int64) for name in ("persons", "correct", "total", "confusion")
    )
    sums = {name: np.array(values, dtype=np.float64) for name, values in record["sums"].items()}
    free = confusion.ndim == 1  # free texts have none: (0, 1), which a list cannot tell
    return Scores(persons, correct, total, confusion.reshape(0, 1) if free else confusion, sums)
