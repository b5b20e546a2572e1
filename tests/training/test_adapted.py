"""Language models on many devices in one pass; the references are a device alone, and peft with torch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from peft import get_peft_model, set_peft_model_state_dict
from transformers import LlamaConfig

from fedpers.models import Arrays, Examples, Model, digest, extract, user_ids, whole
from fedpers.models.adapters import Adapter, Ia3, Lora, PromptTuning
from fedpers.training import Moments, Pass, Plan, fit_devices, fit_epoch
from fedpers.training.stack import stacked
from tests.models.adapters.peft_models import parameters
from tests.models.test_reading import END, SMALL, language_model, random_model, tokenizer

pytestmark = [
    # Peft asks transformers by a name that is on its way out.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

PLAIN: dict[str, Adapter] = {"lora": Lora(rank=2, alpha=4.0), "ia3": Ia3(), "prompt": PromptTuning(3)}
ADAPTERS: dict[str, Adapter] = {**PLAIN, "lora, dropout": Lora(rank=2, alpha=4.0, dropout=0.3)}
PLANS = {
    "sgd": Plan("sgd", 0.1, epochs=2, batch_size=3, momentum=0.9, clip=0.5),
    "adamw": Plan("adamw", 1e-3, epochs=2, batch_size=3, weight_decay=0.1, warmup_share=0.2),
}
PLAN = PLANS["sgd"]
SIZES = [4, 1, 7, 5, 3]


def people(adapter: Adapter, *, encoder_decoder: bool = False) -> list[Examples]:
    """Returns devices of 1 to 7 samples, of 2 to 9 words and answers of 1 to 4 tokens."""
    draw, parts = np.random.default_rng(5), []
    for size in SIZES:
        ids, answers = [], []
        for _ in range(size):
            text = draw.integers(2, 300, size=draw.integers(2, 10)).tolist()
            answer = [*draw.integers(2, 300, size=draw.integers(0, 4)).tolist(), END]
            ids.append([*user_ids(adapter.tokens), *text, *([] if encoder_decoder else answer[:-1])])
            answers.append(answer)
        parts.append(Examples(ids, np.zeros(size, dtype=np.int64), answers=answers))
    return parts


def started(adapter: Adapter, model: Model) -> list[Arrays]:
    """Returns each device's parameters, as after some training."""
    noise = np.random.default_rng(2)
    return [
        {
            name: (value + noise.normal(scale=0.1, size=value.shape)).astype(np.float32)
            for name, value in adapter.start(model.module, seed).items()
        }
        for seed in range(len(SIZES))
    ]


def fitted(
    adapter: Adapter, kind: str = "gpt2", plan: Plan = PLAN, persons: Sequence[int] = range(len(SIZES))
) -> list[tuple[Arrays, list[Pass]]]:
    model = language_model(kind)
    starts = started(adapter, model)
    parts = people(adapter, encoder_decoder=model.module.config.is_encoder_decoder)
    draws = [np.random.default_rng([7, person]) for person in persons]
    found = fit_devices(
        model, [starts[p] for p in persons], [parts[p] for p in persons], plan, draws, adapter
    )
    return [({name: np.asarray(array) for name, array in own.items()}, passes) for own, passes in found]


def largest_difference(found: Arrays, expected: Arrays) -> float:
    assert found.keys() == expected.keys()
    return max(float(np.abs(array - expected[name]).max()) for name, array in found.items())


# Many devices


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("kind", ["gpt2", "t5"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_devices_learn_together_what_each_learns_alone(name: str, kind: str, plan: str) -> None:
    together = fitted(ADAPTERS[name], kind, PLANS[plan])
    for person, (arrays, passes) in enumerate(together):
        [(alone, own)] = fitted(ADAPTERS[name], kind, PLANS[plan], [person])
        assert largest_difference(arrays, alone) < 1e-5
        assert [p.samples for p in passes] == [p.samples for p in own]
        assert [p.loss for p in passes] == pytest.approx([p.loss for p in own], abs=1e-5)


@pytest.mark.parametrize("micro_batch", [1, 2])
@pytest.mark.parametrize("name", ADAPTERS)
def test_pieces_of_a_batch_give_the_batchs_step(name: str, micro_batch: int) -> None:
    pieces = fitted(ADAPTERS[name], plan=replace(PLAN, micro_batch=micro_batch))
    for (found, _), (expected, _) in zip(pieces, fitted(ADAPTERS[name]), strict=True):
        assert largest_difference(found, expected) < 1e-5


@pytest.mark.parametrize("micro_batch", [None, 1])
def test_masks_of_dropout_depend_on_a_devices_draw_alone(micro_batch: int | None) -> None:
    # The same device three times, of which two have the same draw.
    model, adapter = language_model("gpt2"), ADAPTERS["lora, dropout"]
    start, part = started(adapter, model)[2], people(adapter)[2]
    draws = [np.random.default_rng(seed) for seed in (3, 4, 3)]
    plan = Plan("sgd", 0.1, epochs=1, batch_size=7, micro_batch=micro_batch)
    one, other, same = (
        dict(own) for own, _ in fit_devices(model, [start] * 3, [part] * 3, plan, draws, adapter)
    )
    assert largest_difference(one, same) < 1e-6  # type: ignore[arg-type]  # adapters have no rows
    assert largest_difference(one, other) > 1e-4  # type: ignore[arg-type]  # adapters have no rows


def test_a_step_with_dropout_is_another_one() -> None:
    plan = replace(PLAN, epochs=1, batch_size=10, clip=None)
    with_dropout, without = fitted(ADAPTERS["lora, dropout"], plan=plan), fitted(ADAPTERS["lora"], plan=plan)
    for (found, _), (plain, _) in zip(with_dropout, without, strict=True):
        assert largest_difference(found, plain) > 1e-4


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_models_weights_stay_as_they_are_to_the_bit(name: str) -> None:
    model = language_model("gpt2")
    before, adapter = digest(extract(model.module)), ADAPTERS[name]
    draws = [np.random.default_rng(person) for person in range(len(SIZES))]
    fit_devices(model, started(adapter, model), people(adapter), PLAN, draws, adapter)
    assert digest(extract(model.module)) == before
    assert all(parameter.requires_grad for parameter in model.module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())


# One device


@pytest.mark.parametrize("name", PLAIN)
def test_a_device_learns_what_peft_and_torch_learn_in_a_plain_loop(name: str) -> None:
    # One batch, so that the order of samples does not matter; the loss is transformers' own.
    adapter, model = PLAIN[name], language_model("gpt2")
    plan = Plan("adamw", 1e-2, epochs=4, batch_size=10, weight_decay=0.1)
    person = 2
    start, part = started(adapter, model)[person], people(adapter)[person]
    [(found, passes)] = fitted(adapter, plan=plan, persons=[person])
    arrays = adapter.exported(model.module, start)
    reference: Any = get_peft_model(model.module, adapter.config(model.module)).eval()
    set_peft_model_state_dict(
        reference, {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
    )
    optimizer = torch.optim.AdamW(
        [p for p in reference.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1
    )
    assert part.answers is not None
    tokens, losses = sum(map(len, part.answers)), []
    for _ in range(4):
        optimizer.zero_grad()
        loss = torch.zeros(())
        for ids, answer in zip(part.ids, part.answers, strict=True):
            text = [*ids[adapter.tokens :], END]
            labels = [-100] * (len(text) - len(answer)) + answer
            own = reference(input_ids=torch.tensor([text]), labels=torch.tensor([labels])).loss
            loss = loss + own * len(answer) / tokens
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        losses.append(loss.item())
    expected = {
        part: value.detach().numpy().reshape(found[part].shape)
        for part, value in parameters(reference, found).items()
    }
    assert largest_difference(found, expected) < 1e-5
    assert [p.loss for p in passes] == pytest.approx(losses, abs=1e-5)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("name", ADAPTERS)
def test_epoch_after_epoch_is_the_plan_in_one_go(name: str, plan: Plan) -> None:
    adapter, model, person = ADAPTERS[name], language_model("gpt2"), 3
    [(expected, passes)] = fitted(adapter, plan=plan, persons=[person])
    stack = stacked([started(adapter, model)[person]], model.module.device)
    draw, part = np.random.default_rng([7, person]), people(adapter)[person]
    moments: Moments = {}
    epochs = [fit_epoch(model, part, plan, draw, n, moments, (adapter, stack)) for n in range(plan.epochs)]
    found = {name: tensor[0].numpy() for name, tensor in stack.items()}
    assert largest_difference(found, expected) == 0
    assert epochs == passes


# Whole models


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5", "bart"])
def test_whole_language_models_learn_together_what_each_learns_alone(kind: str) -> None:
    model = language_model(kind)
    start = extract(model.module)
    parts = people(Ia3(), encoder_decoder=model.module.config.is_encoder_decoder)
    draws = [np.random.default_rng([7, person]) for person in range(len(parts))]
    together = fit_devices(model, [start] * len(parts), parts, PLAN, draws)
    for person in (1, 2):
        draw = np.random.default_rng([7, person])
        [(alone, _)] = fit_devices(model, [start], [parts[person]], PLAN, [draw])
        assert largest_difference(whole(together[person][0], start), whole(alone, start)) < 1e-5


@pytest.mark.parametrize("devices", [1, 2])
def test_a_tied_row_learns_as_an_output_also_where_it_is_the_padding(devices: int) -> None:
    # One step of plain SGD, where the end is the padding and begins the text: torch's embeddings give
    # this row no gradient, the product with all words does. The reference is transformers' own loss.
    module = random_model(LlamaConfig(**{**SMALL, "pad_token_id": END}, tie_word_embeddings=True))
    reads = tokenizer()
    model, start = Model(module, reads, 64), extract(module)
    examples = Examples([[END, 5, 6, 11]], np.zeros(1, dtype=np.int64), answers=[[11, END]])
    fits = fit_devices(
        model,
        [start] * devices,
        [examples] * devices,
        Plan("sgd", 0.1, 1, 1),
        [np.random.default_rng(0)] * devices,
    )
    ids, labels = torch.tensor([[END, 5, 6, 11, END]]), torch.tensor([[-100, -100, -100, 11, END]])
    module(input_ids=ids, labels=labels).loss.backward()
    table = module.get_input_embeddings().weight
    assert isinstance(table, torch.Tensor)
    assert table.grad is not None
    assert float(table.grad[END].abs().max()) > 0.01
    expected = (table.detach() - 0.1 * table.grad).numpy()
    for found, _ in fits:
        trained = whole(found, start)["model.embed_tokens.weight"]
        np.testing.assert_allclose(trained, expected, rtol=0, atol=1e-5)
