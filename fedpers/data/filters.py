"""Who of a source can take part: those with enough samples, mostly one label, and something to test."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedpers.data.samples import Ints, TablePeople
from fedpers.errors import InputError
from fedpers.settings import DataSettings

_BEFORE = 0.8  # share of all samples that lie before the common moment


def filtered(people: TablePeople, data: DataSettings) -> Ints:
    """Returns the people who have enough samples and, if asked, mostly one label."""
    chosen = np.flatnonzero(people.counts() >= data.min_samples)
    if not len(chosen):
        raise InputError(
            f"no person in {data.data} has {data.min_samples} samples: the most is {people.counts().max()}, "
            f"and a split needs 3 at least; set --min-samples between the two"
        )
    if data.skewed is not None:
        if data.answer != "class":
            raise InputError(f"--skewed goes by classes: leave it out with --answer {data.answer}")
        chosen = _skewed(people, data.skewed, chosen)
    if data.most_active is None:
        return chosen
    if data.most_active > len(chosen):
        raise InputError(
            f"--most-active {data.most_active} is more than the {len(chosen)} people that are left: use at "
            f"most {len(chosen)}"
        )
    most = np.argsort(-people.counts()[chosen], kind="stable")[: data.most_active]
    return np.sort(chosen[most])


def _skewed(people: TablePeople, share: float, chosen: Ints) -> Ints:
    skewed = chosen[[_top_share(people.samples(int(person)).labels) >= share for person in chosen]]
    if not len(skewed):
        raise InputError(f"nobody has {share:.0%} of one label: lower --skewed")
    return skewed


def with_tests(people: TablePeople, data: DataSettings, chosen: Ints) -> tuple[Ints, float, list[str]]:
    """Returns who has samples to train, validate and test on, the common moment, and a note of the others."""
    if data.split not in ("common-time", "given"):
        return chosen, np.inf, []
    common = data.split == "common-time"
    if data.max_samples is not None:
        tested = "the last" if common else "the source's own"
        raise InputError(
            f"--max-samples keeps everyone's first samples, and --split {data.split} tests {tested}: "
            "leave one out"
        )
    moment = _moment(people, chosen) if common else np.inf
    if common:
        kept = chosen[[_has_both_sides(people, int(person), moment) for person in chosen]]
        why = "had no sample to test, or fewer than 2 before, at the common moment"
    else:
        kept = testable(people, chosen)
        why = "had no sample in the source's test part, or fewer than 2 in the other"
    left_out = len(chosen) - len(kept)
    if not len(kept):
        way = "--split random or time" if common else "--split random"
        raise InputError(f"nobody in {data.data} is left: all {left_out} {why}; use {way}")
    return kept, moment, [f"{left_out} people {why}, and were left out"] if left_out else []


def testable(people: TablePeople, chosen: Ints) -> Ints:
    """Returns the people who have a sample that the source tests, and two others."""
    queries = [queries_of(people, int(person)) for person in chosen]
    return chosen[[bool(own.any() and (~own).sum() >= 2) for own in queries]]


def _moment(people: TablePeople, chosen: Ints) -> float:
    """Returns the time of the sample before which, it included, lie 0.8 of all samples of some people."""
    every = np.concatenate([_times(people, int(person)) for person in chosen])
    return float(np.quantile(every, _BEFORE, method="inverted_cdf"))


def _has_both_sides(people: TablePeople, person: int, moment: float) -> bool:
    """Tells whether a person has samples to train and validate before a moment, and one to test after it."""
    before = int((_times(people, person) <= moment).sum())
    return 2 <= before < len(_times(people, person))


def queries_of(people: TablePeople, person: int) -> npt.NDArray[np.bool_]:
    """Returns which of a person's samples are the test part of a source that has one."""
    queries = people.queries(person)
    assert queries is not None
    return queries


def _times(people: TablePeople, person: int) -> npt.NDArray[np.float64]:
    times = people.times(person)
    assert times is not None
    return times


def _top_share(labels: Ints) -> float:
    return float(np.bincount(labels).max() / len(labels))
