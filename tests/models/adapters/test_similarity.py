"""How alike adapters are."""

import numpy as np
import pytest

from fedpers.models.adapters import Lora, cosine, similarities
from tests.models.adapters.peft_models import PEFTS_WARNINGS, drawn

pytestmark = PEFTS_WARNINGS


def test_cosine_is_a_mean_over_the_shared_tensors() -> None:
    # By hand: 24 / 25 for the first tensor, 0 for the tensor of zeros, the rest is not shared.
    first = {"a": np.array([[3.0], [4.0]]), "b": np.zeros(2), "c": np.ones(2)}
    second = {"a": np.array([[4.0], [3.0]]), "b": np.ones(2), "d": np.ones(2)}
    assert cosine(first, second) == pytest.approx(0.48)
    with pytest.raises(ValueError, match="without a shared tensor"):
        cosine(first, {"d": np.ones(2)})


def test_all_similarities_are_those_of_the_pairs() -> None:
    people = [drawn(Lora(), "t5", seed) for seed in range(4)]
    people[2] = {name: np.zeros_like(value) for name, value in people[2].items()}
    found = similarities({name: np.stack([p[name] for p in people]) for name in people[0]})
    expected = [[cosine(one, other) for other in people] for one in people]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.diagonal(), [1, 1, 0, 1], rtol=0, atol=1e-12)
