"""What an update tells about the texts behind it: which rows of the word embedding moved, and how far.

A word's row has a gradient only where the word is in a text, so the rows that moved are the words of a
device's texts, in no order (Melis, Song, De Cristofaro, Shmatikov: Exploiting Unintended Feature Leakage in
Collaborative Learning, S&P 2019, arXiv 1805.04049, section 4.1). UserIdentifier (Mireshghallah et al., NAACL
2022, arXiv 2110.00135) puts the same words before every text of a person, so their rows should move farthest.
Noise moves every row; then only how far tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from fedpers.data import Ints
from fedpers.evaluation import bootstrap
from fedpers.models.families import Doubles

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A mean over people, or over groups of them.

    Attributes:
        mean: The mean.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


def estimate(values: Sequence[float], draw: np.random.Generator) -> Estimate | None:
    """Returns the mean with its interval, people being drawn again; None of no values."""
    if not values:
        return None
    sums = np.array(values, dtype=np.float64)
    return Estimate(float(sums.mean()), *bootstrap(sums, np.ones_like(sums), draw))


def row_norms(change: npt.NDArray[np.floating]) -> Doubles:
    """Returns how far each row of a table (words, width) moved, as L2 norms (words,).

    >>> row_norms(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [5.0, 0.0]
    """
    found: Doubles = np.linalg.norm(change.astype(np.float64), axis=1)
    return found


def noised_norms(norms: Doubles, width: int, deviation: float, draw: np.random.Generator) -> Doubles:
    """Returns the norms that rows have after Gaussian noise on each of their numbers (words,).

    Drawn by their law, without the table: the square of such a norm, in units of the noise's variance, is
    noncentral chi-square.

    Args:
        norms: How far each row moved (words,).
        width: Numbers in a row.
        deviation: Standard deviation of the noise, 0 for none.
        draw: The noise.
    """
    if deviation == 0:
        return norms
    return deviation * np.sqrt(draw.noncentral_chisquare(width, (norms / deviation) ** 2))


def leading(products: Iterable[Doubles], kept: int) -> Doubles:
    """Returns the directions in which rows move most (width, kept), orthonormal.

    Rows of different words move along few common directions, those that change a model's answer. Noise is
    spread over all of them, so an attacker who looks along these alone hears less of it.

    Args:
        products: Of devices' changes X (rows, width), X^T X (width, width) each, at least one.
        kept: How many directions, the table's width at most.
    """
    _, vectors = np.linalg.eigh(np.sum([*products], axis=0))  # the largest come last
    found: Doubles = vectors[:, ::-1][:, :kept]
    return found


def ranked(scores: Doubles) -> Ints:
    """Returns words by their score, the highest first; of equal ones the earlier word.

    >>> ranked(np.array([0.0, 2.0, 1.0])).tolist()
    [1, 2, 0]
    """
    return np.argsort(-scores, kind="stable")


def moved_scores(norms: Doubles, present: Mask) -> tuple[float, float]:
    """Returns precision and recall of taking every row that moved for a word of the texts, in [0, 1].

    Where none moved precision is 1, for nothing was claimed; the texts must have words.

    >>> moved_scores(np.array([0.5, 0.1, 0.0, 0.0]), np.array([True, False, True, False]))
    (0.5, 0.5)
    """
    moved = norms > 0
    right = int((moved & present).sum())
    return right / int(moved.sum()) if moved.any() else 1.0, right / int(present.sum())


def auc(scores: Doubles, wanted: Mask) -> float | None:
    """Returns how often a wanted score lies above one that is not wanted, ties counting half, in [0, 1].

    None where all are wanted or none is.

    >>> auc(np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, True, False, False]))
    0.625
    """
    ours, others = int(wanted.sum()), int((~wanted).sum())
    if not ours or not others:
        return None
    above = float(rankdata(scores)[wanted].sum()) - ours * (ours + 1) / 2
    return above / (ours * others)


def share_found(scores: Doubles, wanted: Mask, guesses: int) -> float:
    """Returns which share of the wanted words is among so many with the highest scores, in [0, 1].

    There must be some that are wanted.

    >>> share_found(np.array([0.1, 0.9, 0.5, 0.0]), np.array([True, True, False, False]), guesses=2)
    0.5
    """
    return float(wanted[ranked(scores)[:guesses]].sum() / wanted.sum())


def unusual(norms: Doubles, texts: int, shares: Doubles) -> Doubles:
    """Returns how far rows moved for words of their frequency in public text (words,).

    A word that is in a share p of public texts is expected in n p of a device's n texts; its norm is divided
    by 1 + n p. So frequent words, which move far on any device, fall behind an identifier's.

    Args:
        norms: How far each row moved (words,).
        texts: n, texts of the device, which it tells the server as the weight of its update.
        shares: p, each word's share of public texts, in [0, 1] (words,).

    >>> unusual(np.array([4.0, 2.0]), 10, np.array([0.9, 0.0])).tolist()
    [0.4, 2.0]
    """
    return norms / (1 + texts * shares)


def took_part(standing: Doubles, members: Mask) -> list[float]:
    """Returns for each member of a cohort how many outsiders stand lower, ties counting half, in [0, 1].

    The mean is the AUC of telling members from outsiders.

    Args:
        standing: How much speaks for each person's having taken part (people,).
        members: Who took part (people,).

    >>> took_part(np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, True, False, False]))
    [1.0, 0.25]
    """
    outside = standing[~members]
    below = (outside[None] < standing[members][:, None]).mean(axis=1)
    level = (outside[None] == standing[members][:, None]).mean(axis=1)
    return [float(value) for value in below + level / 2]
