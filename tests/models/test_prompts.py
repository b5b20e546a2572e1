import numpy as np
import pytest
import torch

from fedpers.models import Examples, Model, add_prompt, extract
from fedpers.training import Plan, fit_devices, logits
from tests.training.test_stack import KINDS, largest_difference, model_of, people

PLAN = Plan("adamw", 1e-2, epochs=2, batch_size=3)


def prompted(kind: str, length: int = 2) -> Model:
    """Returns a frozen model with a prompt of random vectors behind the first token."""
    model = model_of(kind, dropout=0.0)
    model.module.requires_grad_(requires_grad=False)
    width = model.module.config.hidden_size
    add_prompt(model, torch.randn(length, width, generator=torch.Generator().manual_seed(1)))
    return model


def with_room(examples: Examples, length: int = 2) -> Examples:
    return Examples([[ids[0], *[5] * length, *ids[1:]] for ids in examples.ids], examples.labels)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"t5", "bart"}))
def test_only_the_prompt_is_trained_the_same_alone_and_in_a_stack(kind: str) -> None:
    model = prompted(kind)
    parts = [with_room(part) for part in people(kind, 4)]
    start = extract(model.module)
    assert [array.shape for array in start.values()] == [(2, 16)]
    draws = [np.random.default_rng(k) for k in range(4)]
    together = fit_devices(model, [start] * 4, parts, PLAN, draws)
    for k, part in enumerate(parts):
        [(alone, _)] = fit_devices(model, [start], [part], PLAN, [np.random.default_rng(k)])
        assert largest_difference(dict(together[k][0]), dict(alone)) < 1e-5  # type: ignore[arg-type]
        assert largest_difference(dict(alone), start) > 1e-3  # type: ignore[arg-type]


def test_the_ids_at_the_prompts_positions_do_not_matter() -> None:
    model = prompted("bert")
    labels = np.zeros(1, dtype=np.int64)
    one, other = Examples([[7, 5, 6, 8]], labels), Examples([[7, 50, 60, 8]], labels)
    assert (logits(model, one) == logits(model, other)).all()


def test_a_prompt_of_a_words_own_vectors_is_that_word() -> None:
    plain, model = model_of("bert", dropout=0.0), model_of("bert", dropout=0.0)
    table = plain.module.get_input_embeddings().weight
    assert isinstance(table, torch.Tensor)
    add_prompt(model, table.detach()[[40, 41]].clone())
    labels = np.zeros(1, dtype=np.int64)
    found = logits(model, Examples([[7, 5, 5, 8]], labels))
    np.testing.assert_allclose(found, logits(plain, Examples([[7, 40, 41, 8]], labels)), atol=1e-6)
