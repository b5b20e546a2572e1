"""How alike texts are: cosines of their tf-idf vectors, or of any others."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer

Floats = npt.NDArray[np.float64]


def tfidf_likeness(queries: Sequence[str], documents: Sequence[str]) -> Floats:
    """Returns the cosines (queries, documents) of tf-idf vectors, whose idf comes from the documents alone.

    Words are runs of letters and digits, case left out; a text without any known word is like no other.

    >>> tfidf_likeness(["Red cat"], ["a cat", "the dog", "cat"]).round(2).tolist()
    [[0.61, 0.0, 1.0]]
    """
    if not queries or not any(re.search(r"\w", text) for text in documents):
        return np.zeros((len(queries), len(documents)))
    rule = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b").fit(documents)
    found: Floats = (rule.transform(queries) @ rule.transform(documents).T).toarray()
    return found


def cosines(queries: npt.NDArray[np.floating], documents: npt.NDArray[np.floating]) -> Floats:
    """Returns the cosines (queries, documents) of vectors (queries, width) and (documents, width).

    >>> cosines(np.array([[2.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [[1.0, 0.0]]
    """
    found: Floats = _unit(queries) @ _unit(documents).T
    return found


def _unit(vectors: npt.NDArray[np.floating]) -> Floats:
    lengths: Floats = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
