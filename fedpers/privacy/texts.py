"""The attacker who has read other texts of everyone: what an upload's text tells about its sender.

Multinomial naive Bayes on word counts, by scikit-learn: with hundreds of people and a few short texts each
it is fitted in seconds, and its log likelihood is linear in the counts, like that of the embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.special import logsumexp
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from fedpers.data import Ints
from fedpers.errors import InputError
from fedpers.models.families import Doubles
from fedpers.privacy.known import Evidence
from fedpers.privacy.outcomes import blocks

_POWERS = np.concatenate([[0.0], np.geomspace(0.01, 1.0, 13)])


def writing(
    references: Sequence[str],
    writers: Ints,
    people: int,
    texts: Sequence[str],
    most_words: int = 20_000,
    smoothing: float = 0.1,
) -> Evidence:
    """Returns what the texts of uploads tell, to be used alone or beside the embeddings.

    Args:
        references: Texts whose writers are known.
        writers: The person of each, 0 to people - 1 (references,); who has none writes all words alike.
        people: How many people there are.
        texts: The text of each upload.
        most_words: How many words are counted, the most frequent ones.
        smoothing: What is added to each count of a person's words, above 0.

    Raises:
        InputError: There is no word in the references, or the writers don't match.
    """
    if len(references) != len(writers) or not any(text.strip() for text in references):
        raise InputError(
            f"{len(references)} reference texts of {len(writers)} writers: there must be as many of both, "
            "and a word in some"
        )
    words = CountVectorizer(max_features=most_words, token_pattern=r"\w+|[^\w\s]+", dtype=np.float64)
    known = words.fit_transform(references)
    weight = _calibrated(known, writers, people, smoothing)
    counts = words.transform(texts)
    log_words = weight * _fitted(known, writers, people, smoothing).T
    return Evidence(lambda places: counts[places], log_words, np.zeros(people))


def _fitted(known: csr_array, writers: Ints, people: int, smoothing: float) -> Doubles:
    """Returns the log probability of every word under everyone (people, words)."""
    model = MultinomialNB(alpha=smoothing, fit_prior=False)
    for rows in blocks(len(writers), people):  # it makes a table (references, people)
        model.partial_fit(known[rows], writers[rows], classes=np.arange(people))
    found: Doubles = model.feature_log_prob_
    return found


def _calibrated(known: csr_array, writers: Ints, people: int, smoothing: float) -> float:
    """Returns the power of the likelihood that predicts held-out references best, in [0, 1].

    Words are not independent, as naive Bayes has it, and of a few texts it is far too sure. Every second
    reference is held out to find out how far it can be trusted.
    """
    held = np.arange(len(writers)) % 2 == 1
    if not held.any():
        return 1.0
    log_words = _fitted(known[~held], writers[~held], people, smoothing)
    gains = np.zeros(len(_POWERS))
    rows = np.flatnonzero(held)
    for block in blocks(len(rows), people):
        scores = known[rows[block]] @ log_words.T
        own = np.take_along_axis(scores, writers[rows[block], None], axis=1)[:, 0]
        gains += [float((power * own - logsumexp(power * scores, axis=1)).sum()) for power in _POWERS]
    return float(_POWERS[int(np.argmax(gains))])
