"""The attacker who has some uploads with their senders' names, and attributes the rest.

It knows neither family nor parameters. Of scikit-learn's classifiers shrunken linear discriminant analysis is
taken: it is fitted in closed form, with 1,100 people, 41 uploads each and 64 coordinates in a second, where
multinomial logistic regression takes two an iteration.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

from fedpers.errors import InputError
from fedpers.models.families import Doubles
from fedpers.privacy.links import turns
from fedpers.privacy.outcomes import Decisions, Row, Uploads, decide, row

Scorer = Callable[[Doubles], Doubles]  # embeddings (uploads, coordinates) to scores (uploads, people)


def split(uploads: Uploads, labelled: int, draw: np.random.Generator) -> tuple[Uploads, Uploads]:
    """Parts the uploads into those with names, as many of each person, and those to be attacked.

    Args:
        uploads: Uploads of everyone.
        labelled: How many of each person the attacker has.
        draw: Which ones.

    Raises:
        InputError: Somebody would have no upload left, or none is labelled.
    """
    fewest = int(np.bincount(uploads.senders).min())
    if not 1 <= labelled < fewest:
        raise InputError(
            f"{labelled} labelled uploads a person: there must be at least 1 and one must be left to attack, "
            f"and somebody has only {fewest}, which allows 1 to {fewest - 1}"
            if fewest > 1
            else f"{labelled} labelled uploads a person: everyone must have 2 or more, somebody has {fewest}"
        )
    place = turns(uploads.senders, draw)
    return uploads.take(np.flatnonzero(place < labelled)), uploads.take(np.flatnonzero(place >= labelled))


def nearest_mean(known: Uploads) -> Scorer:
    """Scores people by the distance of an upload from the mean of their labelled ones."""
    counts = np.bincount(known.senders)
    means = np.zeros((len(counts), known.vectors.shape[1]))
    np.add.at(means, known.senders, known.vectors)
    means /= counts[:, None]
    halves = (means**2).sum(axis=1) / 2
    return lambda vectors: vectors @ means.T - halves


def nearest_neighbours(known: Uploads, neighbours: int = 5) -> Scorer:
    """Scores people by how many of the nearest labelled uploads are theirs.

    Args:
        known: Labelled uploads of everyone.
        neighbours: How many are asked, at most as many as a person has.
    """
    most = min(neighbours, int(np.bincount(known.senders).max()))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The number of unique classes")  # one upload each is few
        model = KNeighborsClassifier(most, algorithm="brute").fit(known.vectors, known.senders)
    return lambda vectors: np.asarray(model.predict_proba(vectors), dtype=np.float64)


def discriminants(known: Uploads) -> Scorer:
    """Scores people by linear discriminant analysis with Ledoit and Wolf's shrinkage (2 uploads each)."""
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(known.vectors, known.senders)
    weights, offsets = _of_everyone(model)
    return lambda vectors: vectors @ weights.T + offsets


def attack(scorer: Scorer, rest: Uploads, people: int, draw: np.random.Generator) -> Decisions:
    """Attributes single uploads by a scorer."""
    return decide(lambda rows: scorer(rest.vectors[rows]), rest.senders, people, draw)


def labelled_rows(uploads: Uploads, labelled: int, draw: np.random.Generator) -> list[Row]:
    """Attacks by all that can be trained on some labelled uploads a person.

    Args:
        uploads: Uploads of everyone.
        labelled: How many of each person the attacker has; discriminants need
            2, and twice as many differences between a person's own as there are coordinates.
        draw: Which ones, ties and the bootstrap.

    Raises:
        InputError: Somebody would have no upload left, or none is labelled.
    """
    known, rest = split(uploads, labelled, draw)
    scorers = {"nearest mean": nearest_mean, "nearest neighbours": nearest_neighbours}
    # With fewer differences within people than that, their covariance is not to be had.
    if uploads.people * (labelled - 1) >= 2 * uploads.vectors.shape[1]:
        scorers["linear discriminants"] = discriminants
    return [
        row(f"{labelled} labelled, {name}", attack(make(known), rest, uploads.people, draw), draw)
        for name, make in scorers.items()
    ]


def _of_everyone(model: LinearDiscriminantAnalysis) -> tuple[Doubles, Doubles]:
    """Returns weights (people, coordinates) and offsets (people,); scikit-learn keeps differences of two."""
    weights, offsets = model.coef_, model.intercept_
    if len(model.classes_) > 2:
        return weights, offsets
    return np.concatenate([-weights, weights]) / 2, np.concatenate([-offsets, offsets]) / 2
