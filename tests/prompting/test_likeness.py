import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpers.prompting import cosines, tfidf_likeness

TEXTS = st.lists(st.sampled_from(["ab", "Ab", "c", "dd", "!"]), max_size=5).map(" ".join)


def plain(query: str, documents: list[str]) -> list[float]:
    """The formula word by word: counts times ln((1 + N) / (1 + n)) + 1, then the cosine."""
    split = [[word for word in text.lower().split() if word != "!"] for text in [query, *documents]]
    held = Counter(word for words in split[1:] for word in set(words))
    idf = {word: math.log((1 + len(documents)) / (1 + n)) + 1 for word, n in held.items()}
    vectors = [{word: n * idf[word] for word, n in Counter(words).items() if word in idf} for words in split]
    lengths = [math.sqrt(sum(value**2 for value in vector.values())) or 1.0 for vector in vectors]
    return [
        sum(value * vector.get(word, 0.0) for word, value in vectors[0].items()) / lengths[0] / length
        for vector, length in zip(vectors[1:], lengths[1:], strict=True)
    ]


@settings(deadline=None)  # the first example loads what the others reuse
@given(st.lists(TEXTS, max_size=4), st.lists(TEXTS, max_size=5))
def test_likeness_equals_the_formula(queries: list[str], documents: list[str]) -> None:
    found = tfidf_likeness(queries, documents)
    assert found.shape == (len(queries), len(documents))
    for query, row in zip(queries, found, strict=True):
        assert row == pytest.approx(plain(query, documents), abs=1e-9)


def test_cosines_equal_those_of_each_pair() -> None:
    draw = np.random.default_rng(0)
    queries, documents = draw.normal(size=(3, 4)), draw.normal(size=(5, 4))
    expected = [[q @ d / math.sqrt(q @ q * (d @ d)) for d in documents] for q in queries]
    np.testing.assert_allclose(cosines(queries, documents), expected, atol=1e-12)


def test_a_vector_of_zeros_is_like_none() -> None:
    assert cosines(np.zeros((1, 2)), np.ones((2, 2))).tolist() == [[0.0, 0.0]]
