"""How well scores tell texts or people that a model was trained on from others.

Beside the area under the ROC curve stands the rate of true positives at few false ones, since an attack that
is right about a few people and silent about all others does harm which no average shows (Carlini et al.:
Membership Inference Attacks From First Principles, S&P 2022, arXiv 2112.03570). Texts of one person hang
together, so intervals are bootstraps over people.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fedpers.data import Ints
from fedpers.errors import InputError
from fedpers.models.families import Doubles
from fedpers.privacy.likelihood_ratio import Bools

FALSE_POSITIVES = (0.01, 0.001)  # the rates at which true positives are counted

_RESAMPLES = 1000
_ROUNDING = 1e-9  # of a number of false positives, which is a product of floats


@dataclass(frozen=True)
class Rate:
    """True positives at a rate of false ones; rates are in [0, 1].

    Attributes:
        fpr: Largest rate of false positives.
        tpr: True positives at the lowest threshold that keeps to it; None where non-members are so few that
            a single one is more than this rate.
        low: Lower end of its 95 % bootstrap interval over people.
        high: Upper end.
        needed: Fewest non-members with which the rate means something.
    """

    fpr: float
    tpr: float | None
    low: float | None
    high: float | None
    needed: int


@dataclass(frozen=True)
class MembershipRow:
    """One attack in the table.

    Attributes:
        attack: What the attacker does.
        auc: Area under the ROC curve: the probability that a member scores above a non-member, ties counting
            half.
        low: Lower end of its 95 % bootstrap interval over people.
        high: Upper end.
        rates: True positives at 1 % and at 0.1 % false ones.
    """

    attack: str
    auc: float
    low: float
    high: float
    rates: tuple[Rate, ...]


def membership_row(
    attack: str, scores: Doubles, members: Bools, people: Ints, draw: np.random.Generator
) -> MembershipRow:
    """Tells how well scores tell members from non-members.

    Args:
        attack: What the attacker does.
        scores: Higher for those that the attacker holds to be members (units,).
        members: Whether they are (units,).
        people: Whose each unit is; people are drawn again with all that is theirs (units,).
        draw: The bootstrap.

    Raises:
        InputError: There are no members, or no non-members, or a score is no number.
    """
    if members.all() or not members.any():
        raise InputError(f"{members.sum()} of {len(members)} are members: there must be some of either sort")
    if np.isnan(scores).any():
        raise InputError(f"{attack}: a score is not a number, so the model's answers are not: attack another")
    ladder = _Ladder(scores, members)
    found = ladder.measure(np.ones(len(scores)))
    again = np.array([ladder.measure(weights) for weights in _resampled(members, people, draw)])
    lows, highs = np.quantile(again, [0.025, 0.975], axis=0)
    outsiders = int((~members).sum())
    rates = tuple(
        _rate(fpr, outsiders, *map(float, ends))
        for fpr, *ends in zip(FALSE_POSITIVES, found[1:], lows[1:], highs[1:], strict=True)
    )
    return MembershipRow(attack, float(found[0]), float(lows[0]), float(highs[0]), rates)


def _rate(fpr: float, outsiders: int, tpr: float, low: float, high: float) -> Rate:
    needed = math.ceil(1 / fpr - _ROUNDING)
    return Rate(fpr, tpr, low, high, needed) if outsiders >= needed else Rate(fpr, None, None, None, needed)


class _Ladder:
    """Units on rungs in the order of their scores, so that any weights of them are measured fast.

    A rung holds units of one non-member's score, or all members between two of these.
    """

    def __init__(self, scores: Doubles, members: Bools) -> None:
        levels = np.sort(-np.unique(scores[~members]))
        above, up_to = (np.searchsorted(levels, -scores, side=side) for side in ("left", "right"))
        self._rungs = above + up_to
        self._size = 2 * len(levels) + 1
        self._members, self._others = np.flatnonzero(members), np.flatnonzero(~members)

    def measure(self, weights: Doubles) -> Doubles:
        """Returns the AUC, and the true positives at each rate of false ones (1 + rates,)."""
        inside, outside = (
            np.bincount(self._rungs[units], weights[units], self._size)
            for units in (self._members, self._others)
        )
        true, false = np.cumsum(inside), np.cumsum(outside)
        area = float((inside * (false[-1] - false + outside / 2)).sum() / (true[-1] * false[-1]))
        allowed = np.array(FALSE_POSITIVES) * false[-1] + _ROUNDING
        rungs = np.searchsorted(false, allowed, side="right")  # how many, from the top, keep to the rate
        reached = np.concatenate([[0.0], true])[rungs] / true[-1]
        return np.array([area, *reached])


def _resampled(members: Bools, people: Ints, draw: np.random.Generator) -> Iterator[Doubles]:
    """Gives how often each unit counts when people are drawn again, many times over.

    Drawn are as many people with members alone, with non-members alone and with both as there are.
    """
    _, place = np.unique(people, return_inverse=True)
    size = int(place.max()) + 1
    sort = (np.bincount(place[members], minlength=size) > 0) + 2 * (
        np.bincount(place[~members], minlength=size) > 0
    )
    times = np.zeros((_RESAMPLES, size))
    for kind in np.unique(sort):
        alike = np.flatnonzero(sort == kind)
        times[:, alike] = draw.multinomial(len(alike), np.full(len(alike), 1 / len(alike)), size=_RESAMPLES)
    return (row[place] for row in times)
