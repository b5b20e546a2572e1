"""One device's adapter: how each kind starts, what it changes, and how it is merged."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from fedpers.errors import InputError
from fedpers.models.adapters import Ia3, Lora, PromptTuning
from tests.models.adapters.peft_models import (
    ADAPTERS,
    DEVICES,
    EVEN,
    KINDS,
    PEFTS_WARNINGS,
    VOCABULARY,
    WEIGHTS,
    base,
    close,
    drawn,
    scored,
    stacked,
    texts,
)

pytestmark = PEFTS_WARNINGS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_a_fresh_adapter_changes_nothing(name: str, kind: str) -> None:
    adapter, module, ids = WEIGHTS[name], base(kind), texts(6)
    theta = stacked([adapter.start(module, seed) for seed in range(DEVICES)])
    plain = scored(module, ids)
    with adapter.applied(module, theta, torch.tensor(EVEN)):
        assert torch.equal(scored(module, ids), plain)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_a_merged_model_predicts_as_the_adapter_does(name: str, kind: str) -> None:
    adapter, ids, theta = WEIGHTS[name], texts(4), drawn(WEIGHTS[name], kind, 3)
    merged = copy.deepcopy(base(kind))
    adapter.merge(merged, theta)
    with adapter.applied(base(kind), stacked([theta]), torch.zeros(4, dtype=torch.int64)):
        found = scored(base(kind), ids)
    close(scored(merged, ids), found)
    assert (found - scored(base(kind), ids)).abs().max() > 1e-2


def test_prompt_tuning_cannot_be_merged() -> None:
    with pytest.raises(InputError, match="cannot be merged"):
        PromptTuning().merge(base("gpt2"), {})


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_start_depends_on_its_seed_alone(name: str) -> None:
    adapter, module = ADAPTERS[name], base("gpt2")
    before = torch.random.get_rng_state()
    one, same, other = (adapter.start(module, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all((one[part] == same[part]).all() for part in one)
    assert any((one[part] != other[part]).any() for part in one) == (name != "ia3")


def test_lora_starts_with_a_within_pefts_bounds_and_b_of_zeros() -> None:
    # kaiming_uniform with a = sqrt(5) is uniform within 1 / sqrt(inputs).
    theta = Lora(rank=64).start(base("gpt2"), 0)
    down, up = (theta[f"transformer.h.0.attn.c_attn.lora_{part}"] for part in "AB")
    assert down.shape == (64, 32)
    assert up.shape == (96, 64)
    assert 0.99 / math.sqrt(32) < np.abs(down).max() <= 1 / math.sqrt(32)
    assert not up.any()


def test_a_prompt_starts_as_words() -> None:
    words = base("bart").get_input_embeddings()(torch.arange(VOCABULARY)).numpy()
    [prompt] = PromptTuning(5).start(base("bart"), 0).values()
    assert all((words == vector).all(axis=1).any() for vector in prompt)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Lora(rank=0), "rank 0 is below 1"),
        (lambda: Lora(dropout=1.0), r"dropout 1.0 is not in \[0, 1\)"),
        (lambda: PromptTuning(0), "with 0 tokens"),
        (lambda: Ia3(("k", "wo"), ("w0",)), "unknown feed-forward layer among the targets 'w0'.*'wo'"),
    ],
)
def test_impossible_settings_are_refused(made: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made()
