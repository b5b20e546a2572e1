"""What an attacker sees, what it decides, and the row of the audit's table that comes of it.

A decision names a person; where the person is wrong, the upload is misattributed (Ding et al.:
IDfree-Personalized-Learning, KDD 2025, arXiv 2501.06062). Kept is how many people the attacker holds likelier
than the true one, from which every rate follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fedpers.data import Ints
from fedpers.errors import InputError
from fedpers.evaluation import bootstrap
from fedpers.models.families import Doubles

_TIE = 1e-9  # relative difference of scores that is rounding: matrix products differ by as much
_CELLS = 4_000_000  # scores held at a time


@dataclass(frozen=True)
class Uploads:
    """What came over the border, and who sent it, which only the audit knows.

    Attributes:
        vectors: Embeddings (uploads, coordinates).
        texts: A text with each.
        labels: A label with each (uploads,).
        senders: The true person of each, 0 to people - 1 (uploads,).
    """

    vectors: Doubles
    texts: tuple[str, ...]
    labels: Ints
    senders: Ints

    def __post_init__(self) -> None:
        lengths = [len(self.vectors), len(self.texts), len(self.labels), len(self.senders)]
        if len(set(lengths)) > 1 or not lengths[0]:
            raise InputError(
                f"vectors, texts, labels and senders number {lengths}: all must be as many, and 1 or more"
            )

    @property
    def people(self) -> int:
        """How many people there are, as far as their uploads tell."""
        return int(self.senders.max()) + 1

    def take(self, places: Ints) -> Uploads:
        """Returns some of the uploads."""
        texts = tuple(self.texts[place] for place in places)
        return Uploads(self.vectors[places], texts, self.labels[places], self.senders[places])


@dataclass(frozen=True)
class Decisions:
    """An attacker's decisions beside the truth.

    Attributes:
        truth: The true person of each (decisions,).
        ranks: How many others it holds likelier, 0 where it is right (decisions,).
        chance: Misattribution of one who sees no upload but knows who comes into question, and how likely
            each is if the attacker knows that, in [0, 1].
    """

    truth: Ints
    ranks: Ints
    chance: float

    def wrong(self, named: int = 1) -> tuple[Ints, Ints]:
        """Returns wrong decisions and all decisions of each person (people,).

        Args:
            named: How many people the attacker names; it is wrong if the true one is not among them.
        """
        total = np.bincount(self.truth)
        return np.bincount(self.truth[self.ranks >= named], minlength=len(total)), total

    @property
    def by_person(self) -> Doubles:
        """Misattribution of each person who was attacked, in [0, 1]."""
        wrong, total = self.wrong()
        rates: Doubles = wrong[total > 0] / total[total > 0]
        return rates

    @property
    def shares(self) -> Doubles:
        """Each person's share of the decisions (people,), which add up to 1."""
        found: Doubles = np.bincount(self.truth) / len(self.truth)
        return found


@dataclass(frozen=True)
class Row:
    """One attack in the audit's table; rates are in [0, 1].

    Attributes:
        attacker: What the attacker knows or does.
        uploads: How many uploads it knows to be one person's.
        misattribution_rate: Share of decisions that name another person.
        low: Lower end of its 95 % bootstrap interval over people.
        high: Upper end.
        chance: Misattribution of one who sees no upload.
        bound: What the misattribution cannot expectedly fall below, if there is a proof.
        worst_person: Smallest misattribution of any person.
        top5_misattribution: Share of decisions with the true person not among the five likeliest.
        attributed: How many decisions were taken.
    """

    attacker: str
    uploads: int
    misattribution_rate: float
    low: float
    high: float
    chance: float
    bound: float | None
    worst_person: float
    top5_misattribution: float
    attributed: int


def rank(scores: Doubles, own: Doubles, luck: Doubles) -> Ints:
    """Returns how many scores lie above each row's own one, ties being broken at random.

    Args:
        scores: A score for everyone (decisions, people), own ones among them.
        own: Scores of the true people, finite (decisions,).
        luck: Uniform numbers in [0, 1) that break the ties (decisions,).
    """
    margin = _TIE * (1 + np.abs(own))
    above = (scores > (own + margin)[:, None]).sum(axis=1)
    level = (scores >= (own - margin)[:, None]).sum(axis=1) - above
    found: Ints = above + (luck * level).astype(np.int64)
    return found


def blocks(rows: int, columns: int) -> list[slice]:
    """Cuts the rows of a table so that a block has a bounded number of cells.

    >>> blocks(5, 2_000_000)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, _CELLS // columns)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def decide(
    score: Callable[[slice], Doubles],
    truth: Ints,
    people: int,
    draw: np.random.Generator,
    prior: Doubles | None = None,
) -> Decisions:
    """Attributes to the person with the highest score, in blocks of rows.

    Args:
        score: Gives the scores of a block (rows, people), -inf for people who are out of the question.
        truth: The true person of each decision (decisions,).
        people: How many people there are.
        draw: What breaks the ties.
        prior: The attacker's prior of each person (people,), on any rising scale; without, all are alike.

    Raises:
        InputError: A true person's score is not finite.
    """
    prior = np.zeros(people) if prior is None else prior
    luck, ranks, guessed = draw.random(len(truth)), [], 0.0
    for rows in blocks(len(truth), people):
        scores = score(rows)
        own = np.take_along_axis(scores, truth[rows, None], axis=1)[:, 0]
        if not np.isfinite(own).all():  # comparisons with NaN would make it a hit
            raise InputError("the score of a true person is not finite: are uploads and parameters valid?")
        ranks.append(rank(scores, own, luck[rows]))
        known = np.where(scores > -np.inf, prior, -np.inf)
        likeliest = known == known.max(axis=1, keepdims=True)
        named = np.take_along_axis(likeliest, truth[rows, None], axis=1)[:, 0]
        guessed += float((named / likeliest.sum(axis=1)).sum())
    return Decisions(truth, np.concatenate(ranks), 1 - guessed / len(truth))


def row(
    attacker: str,
    decisions: Decisions,
    draw: np.random.Generator,
    uploads: int = 1,
    bound: float | None = None,
) -> Row:
    """Adds up decisions to a row of the table.

    Args:
        attacker: What the attacker knows or does.
        decisions: What it decided.
        draw: The bootstrap over people.
        uploads: How many uploads it knew to be one person's.
        bound: The proven lower bound of the misattribution.
    """
    wrong, total = decisions.wrong()
    attacked = total > 0
    low, high = bootstrap(wrong[attacked], total[attacked], draw)
    return Row(
        attacker=attacker,
        uploads=uploads,
        misattribution_rate=float(wrong.sum() / total.sum()),
        low=low,
        high=high,
        chance=decisions.chance,
        bound=bound,
        worst_person=float(decisions.by_person.min()),
        top5_misattribution=float(decisions.wrong(named=5)[0].sum() / total.sum()),
        attributed=len(decisions.truth),
    )
