"""The attacker who knows nothing: it clusters the uploads, or asks of two whether one person sent both."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.mixture import GaussianMixture

from fedpers.data import Ints
from fedpers.models.families import Doubles
from fedpers.privacy.outcomes import Decisions, Row, Uploads, rank, row

_NEVER = np.iinfo(np.int64).max  # rank of a person whom no cluster stands for
_TRIALS = 3  # of k-means++ for each centre; more take longer than all the rest


@dataclass(frozen=True)
class Centres:
    """What k-means found.

    Attributes:
        centres: Centres of the clusters (clusters, coordinates).
        sizes: How many uploads each has (clusters,).
        spread: Variance of a coordinate within the clusters, above 0.
    """

    centres: Doubles
    sizes: Ints
    spread: float


# (embeddings, centres) to scores (uploads, clusters) and BIC, the lower the better
Clustering = Callable[[Doubles, Centres], tuple[Doubles, float]]


def centres(vectors: Doubles, clusters: int, seed: int) -> Centres:
    """Clusters by k-means.

    Args:
        vectors: Embeddings (uploads, coordinates).
        clusters: How many.
        seed: Of the start.
    """
    start, _ = kmeans_plusplus(vectors, clusters, random_state=seed, n_local_trials=_TRIALS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal uploads fill fewer clusters
        model = KMeans(clusters, init=start, n_init=1, max_iter=30).fit(vectors)
    sizes = np.bincount(model.labels_, minlength=clusters)
    return Centres(model.cluster_centers_, sizes, max(float(model.inertia_) / vectors.size, 1e-12))


def by_distance(vectors: Doubles, found: Centres) -> tuple[Doubles, float]:
    """Scores by minus the distances from the centres.

    BIC is that of the mixture of spheres of one size that k-means stands for (Pelleg and Moore: X-means,
    ICML 2000).
    """
    (rows, columns), sizes = vectors.shape, found.sizes
    fit = (sizes * np.log(np.maximum(sizes, 1) / rows)).sum()
    fit -= rows * columns / 2 * (np.log(2 * np.pi * found.spread) + 1)
    criterion = len(sizes) * (columns + 1) * np.log(rows) - 2 * fit
    return -euclidean_distances(vectors, found.centres), float(criterion)


def by_mixture(vectors: Doubles, found: Centres) -> tuple[Doubles, float]:
    """Scores by the posteriors of a mixture of diagonal Gaussians, by EM from where k-means ended."""
    clusters, columns = found.centres.shape
    model = GaussianMixture(
        clusters,
        covariance_type="diag",
        max_iter=10,
        reg_covar=found.spread / 10,  # else a cluster of one upload would be a spike
        means_init=found.centres,
        precisions_init=np.full((clusters, columns), 1 / found.spread),
        weights_init=np.full(clusters, 1 / clusters),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors)
    return model.predict_proba(vectors), float(model.bic(vectors))


def match(scores: Doubles, senders: Ints, draw: np.random.Generator) -> Decisions:
    """Attributes by clusters, each of which is given to one person at most.

    Whose a cluster is, is found with the senders known (Hungarian method), so that the attacker looks as good
    as it can. Even clusters that tell nothing gain by it: the chance level is that of shuffled senders.

    Args:
        scores: Scores of the clusters, the highest of which an upload goes to (uploads, clusters).
        senders: The person of each upload (uploads,).
        draw: Ties and the shuffling.
    """
    shuffled = draw.permutation(senders)
    chance = float((_ranks(scores, shuffled, draw) > 0).mean())
    return Decisions(senders, _ranks(scores, senders, draw), chance)


def blind_rows(uploads: Uploads, draw: np.random.Generator, most: int = 10_000) -> list[Row]:
    """Clusters uploads by k-means and by a mixture, of as many clusters as there are people or by BIC.

    The unknown number is sought among five from 1 to the number of people, in geometric steps.

    Args:
        uploads: Uploads of everyone.
        draw: Subsample, starts, ties and the bootstrap.
        most: How many uploads are clustered, a random sample of them: with 1,100 people 10,000 of 64
            coordinates take half a minute on two cores.
    """
    some = uploads.take(draw.permutation(len(uploads.senders))[:most])
    grid = np.unique(np.geomspace(1, min(uploads.people, len(some.senders)), 5).round().astype(int))
    found = [centres(some.vectors, int(clusters), int(draw.integers(2**31))) for clusters in grid]
    return [
        *_rows("k-means", by_distance, found, some, draw),
        *_rows("mixture", by_mixture, found, some, draw),
    ]


def linkability(uploads: Uploads, draw: np.random.Generator, pairs: int = 20_000) -> float | None:
    """Returns how well the distance tells pairs of one person's uploads from pairs of two people's.

    Args:
        uploads: Uploads of everyone.
        draw: Which pairs.
        pairs: How many are drawn of either sort.

    Returns:
        The area under the ROC curve, 0.5 if distances tell nothing and 1 if they tell all; None where there
        are no such pairs, for nobody has two uploads or only one person has any.
    """
    order = np.argsort(uploads.senders, kind="stable")
    counts = np.bincount(uploads.senders)
    begin = (np.cumsum(counts) - counts)[uploads.senders[order]]  # of the own person's uploads in the order
    own = counts[uploads.senders[order]]
    if own.max() < 2 or (counts > 0).sum() < 2:
        return None
    anchors = draw.choice(np.flatnonzero(own > 1), pairs)
    start, mine = begin[anchors], own[anchors]
    same = start + (anchors - start + draw.integers(1, mine)) % mine
    other = (start + mine + draw.integers(0, len(order) - mine)) % len(order)
    points = uploads.vectors[order]
    near = [-np.linalg.norm(points[anchors] - points[partners], axis=1) for partners in (same, other)]
    return float(roc_auc_score(np.repeat([1, 0], pairs), np.concatenate(near)))


def _rows(
    name: str, clustering: Clustering, found: Sequence[Centres], uploads: Uploads, draw: np.random.Generator
) -> list[Row]:
    """Returns the rows of one way to cluster: with the most clusters, and with the number by BIC."""
    scored = [clustering(uploads.vectors, each) for each in found]
    best = int(np.argmin([criterion for _, criterion in scored]))
    chosen = ((len(found) - 1, "known"), (best, "by BIC"))
    return [
        row(
            f"{name}, {len(found[place].sizes)} clusters ({how})",
            match(scored[place][0], uploads.senders, draw),
            draw,
        )
        for place, how in chosen
    ]


def _ranks(scores: Doubles, senders: Ints, draw: np.random.Generator) -> Ints:
    """Returns how many clusters are likelier than the sender's (uploads,), after the best matching."""
    named = scores.argmax(axis=1)
    together = np.zeros((senders.max() + 1, scores.shape[1]))
    np.add.at(together, (senders, named), 1)
    matched = np.full(len(together), -1)
    persons, clusters = linear_sum_assignment(together, maximize=True)
    matched[persons] = clusters
    of = matched[senders]
    own = np.take_along_axis(scores, of[:, None], axis=1)[:, 0]
    missed = np.where(of < 0, _NEVER, np.maximum(1, rank(scores, own, draw.random(len(senders)))))
    return np.where(named == of, 0, missed)
