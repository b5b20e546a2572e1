"""The attacker who knows everybody's distribution, the strongest passive one: attribution by Bayes' rule.

Ding et al., KDD 2025, arXiv 2501.06062, judge privacy by its misattribution. Log densities of exponential
families are linear in a statistic of the upload, so that linked uploads are one upload with the sum of their
statistics, and an attack is a product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from fedpers.data import Ints
from fedpers.errors import InputError
from fedpers.models.families import Density, Doubles
from fedpers.privacy.bounds import misattribution_bound
from fedpers.privacy.links import Groups, cut, singles
from fedpers.privacy.outcomes import Decisions, Row, Uploads, blocks, decide, row


@dataclass(frozen=True)
class Evidence:
    """Log likelihoods of uploads under all people, T(u).eta - A, up to a term that all people share.

    Attributes:
        statistics: Gives T of uploads by their places (uploads, statistics), dense or sparse.
        weights: eta of everyone (statistics, people).
        partition: A of everyone (people,).
    """

    statistics: Callable[[Ints], Doubles | csr_array]
    weights: Doubles
    partition: Doubles

    def score(self, groups: Groups, rows: slice) -> Doubles:
        """Returns the log likelihood of some groups of uploads (groups, people)."""
        members, add = groups.block(rows)
        parts = blocks(len(members), len(self.weights))
        total = sum(add[:, part] @ self.statistics(members[part]) for part in parts)
        found: Doubles = total @ self.weights
        found -= groups.sizes[rows, None] * self.partition
        return found


def distributions(density: Density, theta: Mapping[str, Doubles], vectors: Doubles) -> Evidence:
    """Returns what the embeddings tell those who know the distributions.

    Args:
        density: What is known of uploads.
        theta: Everyone's parameters (people, coordinates), by name.
        vectors: The uploads (uploads, coordinates).
    """
    eta, partition = density.natural(theta)
    return Evidence(lambda places: density.statistics(vectors[places]), eta.T, partition)


def attribute(
    evidence: Sequence[Evidence],
    senders: Ints,
    draw: np.random.Generator,
    groups: Groups | None = None,
    prior: Doubles | None = None,
    kinds: Ints | None = None,
) -> Decisions:
    """Attributes groups of linked uploads by Bayes' rule.

    Args:
        evidence: What is known of the uploads, independent given the person: log likelihoods are added.
        senders: The person of each upload (uploads,).
        draw: What breaks the ties.
        groups: Which uploads are linked; without, none.
        prior: Each person's probability (people,); without, all are equally likely.
        kinds: Everyone's kind (people,), where an upload's is known too: only people of it are candidates.
    """
    groups = groups or singles(len(senders))
    people = len(evidence[0].partition)
    truth = senders[groups.first]
    log_prior = _log_prior(prior, people, truth)

    def score(rows: slice) -> Doubles:
        scores: Doubles = sum((each.score(groups, rows) for each in evidence), start=log_prior)
        if kinds is not None:
            scores[kinds[truth[rows], None] != kinds] = -np.inf
        return scores

    return decide(score, truth, people, draw, log_prior)


def sample_shares(senders: Ints, people: int) -> Doubles:
    """Returns each person's share of the uploads (people,)."""
    shares: Doubles = np.bincount(senders, minlength=people) / len(senders)
    return shares


def known_rows(
    density: Density,
    theta: Mapping[str, Doubles],
    uploads: Uploads,
    sizes: Sequence[int],
    draw: np.random.Generator,
) -> list[Row]:
    """Attacks groups of linked uploads of several sizes, and single ones with the sample shares as prior.

    Args:
        density: What is known of uploads.
        theta: Everyone's parameters (people, coordinates), by name.
        uploads: What is attacked.
        sizes: How many uploads are known to be one person's, such as 1, 2, 5, 10, 50.
        draw: The order of the groups, ties and the bootstrap.

    Raises:
        InputError: Nobody has as many uploads as one of the sizes.
    """
    senders, evidence = uploads.senders, [distributions(density, theta, uploads.vectors)]
    rows = []
    for size in sizes:
        found = attribute(evidence, senders, draw, cut(senders, size, draw))
        bound = misattribution_bound(density, theta, found.shares, size)
        rows.append(row("distributions", found, draw, size, bound))
    prior = sample_shares(senders, len(evidence[0].partition))
    found = attribute(evidence, senders, draw, prior=prior)
    bound = misattribution_bound(density, theta, found.shares)
    return [*rows, row("distributions and sample shares", found, draw, 1, bound)]


def _log_prior(prior: Doubles | None, people: int, truth: Ints) -> Doubles:
    """Returns the logarithm (people,) of the prior, -inf where it is 0."""
    if prior is None:
        return np.zeros(people)
    if not (prior[truth] > 0).all():
        raise InputError("a prior of 0 for somebody who sent uploads: it must be above 0 for all who did")
    return np.log(prior, out=np.full(people, -np.inf), where=prior > 0)
