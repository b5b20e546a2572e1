"""Devices trained as one stack against the same devices trained alone, on seven architectures."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    T5Config,
)

from fedpers.errors import FedpersError
from fedpers.models import Arrays, Examples, Model, extract, insert, whole
from fedpers.models.reading import takes_masks
from fedpers.training import Pass, Plan, devices_at_once, fit_devices, logits
from fedpers.training.stack import _Optimizers

SIZE: dict[str, Any] = {"vocab_size": 300, "num_labels": 3}
BERT: dict[str, Any] = {
    **SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
BART: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
}
# Each architecture: its config, and the names of the layers that LoRA adapts.
KINDS: dict[str, tuple[PretrainedConfig, list[str]]] = {
    "bert": (BertConfig(**BERT), ["query", "value"]),
    "roberta": (RobertaConfig(**BERT, pad_token_id=1), ["query", "value"]),
    "distilbert": (
        DistilBertConfig(**SIZE, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
        ["q_lin", "v_lin"],
    ),
    "gpt2": (
        GPT2Config(**SIZE, n_embd=16, n_layer=2, n_head=2, pad_token_id=0, bos_token_id=0, eos_token_id=0),
        ["c_attn"],
    ),
    "llama": (
        LlamaConfig(**BERT, num_key_value_heads=1, pad_token_id=0, bos_token_id=1, eos_token_id=2),
        ["q_proj", "v_proj"],
    ),
    "t5": (
        T5Config(**SIZE, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2),
        ["q", "v"],
    ),
    "bart": (BartConfig(**SIZE, **BART, forced_eos_token_id=None), ["q_proj", "v_proj"]),
}
END = {"t5": 1, "bart": 2}  # the token from which encoder-decoders read the class
PLANS = {
    "sgd": Plan("sgd", 0.1, epochs=2, batch_size=3, momentum=0.9, clip=0.5),
    "adamw": Plan("adamw", 1e-3, epochs=2, batch_size=3, clip=0.5, warmup_share=0.2),
}


class Padding:
    """As much of a tokenizer as training needs."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id


def model_of(kind: str, *, lora: bool = False, dropout: float = 0.1) -> Model:
    torch.manual_seed(0)
    config, layers = KINDS[kind]
    for name, value in config.to_dict().items():
        if ("dropout" in name or name.endswith("pdrop")) and isinstance(value, float):
            setattr(config, name, dropout)
    config._attn_implementation = "eager"
    if kind == "t5":
        config.decoder_start_token_id = 0
    module = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]  # theirs
    assert isinstance(module, PreTrainedModel)
    if lora:
        inject_adapter_in_model(
            LoraConfig(r=2, lora_dropout=dropout, target_modules=layers, fan_in_fan_out=kind == "gpt2"),
            module,
        )
        for name, parameter in module.named_parameters():
            parameter.requires_grad_("lora_" in name)
            if "lora_B" in name:  # peft starts at 0, where half of the gradients are 0
                torch.nn.init.normal_(parameter, std=0.1)
    return Model(module, Padding(config.pad_token_id), 16)  # type: ignore[arg-type]  # enough of one


@cache
def people(kind: str, count: int) -> tuple[Examples, ...]:
    """Returns devices of 1 to 10 samples of 1 to 9 tokens, with words of their own."""
    draw = np.random.default_rng(5)
    end = [END[kind]] if kind in END else []
    parts = []
    for size in draw.integers(1, 11, size=count):
        words = draw.integers(3, 300, size=12)
        ids = [[*draw.choice(words, size=draw.integers(1, 10)).tolist(), *end] for _ in range(size)]
        parts.append(Examples(ids, draw.integers(3, size=size)))
    return tuple(parts)


def fitted(
    model: Model, parts: Sequence[Examples], plan: Plan, persons: Sequence[int]
) -> list[tuple[Arrays, list[Pass]]]:
    start = extract(model.module)
    draws = [np.random.default_rng([7, person]) for person in persons]
    results = fit_devices(model, [start] * len(persons), [parts[p] for p in persons], plan, draws)
    return [(whole(trained, start), passes) for trained, passes in results]


def largest_difference(found: Arrays, expected: Arrays) -> float:
    assert found.keys() == expected.keys()
    return max(float(np.abs(array - expected[name]).max()) for name, array in found.items())


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cohort_of_one_equals_a_cohort_of_16(kind: str, lora: bool, plan: str) -> None:
    model, parts = model_of(kind, lora=lora), people(kind, 16)
    together = fitted(model, parts, PLANS[plan], range(16))
    sizes = [len(part) for part in parts]
    for person in (0, 5, sizes.index(max(sizes)), sizes.index(min(sizes))):
        [(alone, passes)] = fitted(model, parts, PLANS[plan], [person])
        assert largest_difference(together[person][0], alone) < 1e-5
        assert [p.samples for p in together[person][1]] == [p.samples for p in passes]
        assert [p.loss for p in together[person][1]] == pytest.approx([p.loss for p in passes], abs=1e-5)


@pytest.mark.parametrize("plan", PLANS)
def test_devices_of_one_size_train_together_as_alone_without_clipping_too(plan: str) -> None:
    # Then one optimizer moves the whole stack.
    loose = replace(PLANS[plan], clip=None, weight_decay=0.1)
    model, parts = model_of("roberta"), [people("roberta", 16)[1]] * 4
    together = fitted(model, parts, loose, range(4))
    for person in range(4):
        [(alone, _)] = fitted(model, parts, loose, [person])
        assert largest_difference(together[person][0], alone) < 1e-5
    assert largest_difference(together[0][0], together[1][0]) > 1e-4  # in another order, with other masks


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_transformers_own(kind: str) -> None:
    model = model_of(kind)
    model.module.train(False)
    for part in people(kind, 4):
        expected = [model.module(torch.tensor([ids])).logits[0].tolist() for ids in part.ids]
        np.testing.assert_allclose(logits(model, part), expected, rtol=0, atol=1e-5)


def deberta() -> Model:
    torch.manual_seed(0)
    config = DebertaV2Config(**BERT, relative_attention=True, pos_att_type=["p2c", "c2p"])
    module = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]  # theirs
    assert isinstance(module, PreTrainedModel)
    return Model(module, Padding(0), 16, stackable=False)  # type: ignore[arg-type]  # enough of one


def test_it_is_noticed_that_a_model_reads_masks_in_another_way() -> None:
    assert not takes_masks(deberta().module, [5, 6, 7], list(range(5, 25)), pad_id=0)
    assert all(
        takes_masks(model_of(kind).module, [5, 6, *end], [*range(5, 25), *end], KINDS[kind][0].pad_token_id)
        for kind in KINDS
        for end in [[END[kind]] if kind in END else []]
    )


def test_a_model_that_cannot_be_stacked_trains_one_device_after_another() -> None:
    model, parts = deberta(), people("bert", 4)
    together = fitted(model, parts, PLANS["sgd"], range(4))
    for person in range(4):
        [(alone, _)] = fitted(model, parts, PLANS["sgd"], [person])
        assert largest_difference(together[person][0], alone) < 1e-6
    assert devices_at_once(model, parts, PLANS["sgd"], memory=1e12) == 1
    model.module.train(False)
    expected = [model.module(torch.tensor([ids])).logits[0].tolist() for ids in parts[0].ids]
    np.testing.assert_allclose(logits(model, parts[0]), expected, rtol=0, atol=1e-5)


def test_an_encoder_decoder_reads_the_class_at_the_last_end_of_text() -> None:
    model = model_of("bart")
    model.module.train(False)
    ids = [[5, 2, 6, 7, 2], [8, 2, 9, 2, 4]]
    expected = model.module(torch.tensor(ids)).logits
    np.testing.assert_allclose(
        logits(model, Examples(ids, np.array([0, 1]))), expected.detach(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_pieces_of_a_batch_give_the_batchs_step(micro_batch: int) -> None:
    model, parts = model_of("bert"), people("bert", 6)
    pieces = fitted(model, parts, replace(PLANS["sgd"], micro_batch=micro_batch), range(6))
    for (found, _), (expected, _) in zip(pieces, fitted(model, parts, PLANS["sgd"], range(6)), strict=True):
        assert largest_difference(found, expected) < 1e-6


def test_the_row_of_the_padding_stays_as_it_is_in_a_stack() -> None:
    # As outside of a stack: torch's embeddings give their padding_idx no gradient, even where it is text.
    model = model_of("bert")
    texts = Examples([[0, 5, 0, 6]], np.array([1]))
    for arrays, _ in fitted(model, [texts, texts], PLANS["sgd"], [0, 1]):
        table = "bert.embeddings.word_embeddings.weight"
        assert (arrays[table][0] == extract(model.module)[table][0]).all()


def test_each_device_starts_from_its_own_parameters() -> None:
    model, parts = model_of("bert"), people("bert", 2)
    starts = [extract(model.module), {n: a + 0.01 for n, a in extract(model.module).items()}]
    plan = replace(PLANS["sgd"], learning_rate=1e-9)
    for (trained, _), start in zip(
        fit_devices(model, starts, parts, plan, [np.random.default_rng(k) for k in range(2)]),
        starts,
        strict=True,
    ):
        assert largest_difference(whole(trained, start), start) < 1e-6


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_two_steps_of_a_device_in_a_stack_are_torchs_with_clipping_and_decay(optimizer: str) -> None:
    # One batch a device, so that the order of samples does not matter; the reference is torch alone.
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    plan = Plan(optimizer, 0.01, epochs=2, batch_size=10, weight_decay=0.1, clip=0.2)  # type: ignore[arg-type]
    model, parts = model_of("gpt2", lora=True, dropout=0.0), people("gpt2", 3)
    results = fitted(model, parts, plan, range(3))
    start = extract(model.module)
    for part, (found, _) in zip(parts, results, strict=True):
        insert(model.module, start)
        own = [p for p in model.module.parameters() if p.requires_grad]
        reference = kinds[optimizer](own, lr=0.01, weight_decay=0.1)
        for _ in range(2):
            reference.zero_grad()
            scores = torch.cat([model.module(torch.tensor([ids])).logits for ids in part.ids])
            torch.nn.functional.cross_entropy(scores, torch.from_numpy(part.labels)).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(own, 0.2)
            reference.step()
        assert largest_difference(found, extract(model.module)) < 1e-5
    insert(model.module, start)


def test_a_frozen_model_stays_as_it_is() -> None:
    model, parts = model_of("llama", lora=True), people("llama", 4)
    before = {name: p.detach().clone() for name, p in model.module.named_parameters()}
    found = fitted(model, parts, PLANS["adamw"], range(4))
    assert all("lora_" in name for name in found[0][0])
    assert all(torch.equal(p, before[name]) for name, p in model.module.named_parameters())


def test_a_loss_that_is_not_finite_raises_for_the_whole_stack() -> None:
    model, parts = model_of("bert"), people("bert", 2)
    starts = [extract(model.module), {n: a * math.nan for n, a in extract(model.module).items()}]
    with pytest.raises(FedpersError, match="not finite"):
        fit_devices(model, starts, parts, PLANS["sgd"], [np.random.default_rng(k) for k in range(2)])


def test_bfloat16_comes_near_float32() -> None:
    model, parts = model_of("bert", dropout=0.0), people("bert", 3)
    rough = replace(model, precision="bfloat16")
    pairs = zip(
        fitted(rough, parts, PLANS["sgd"], range(3)),
        fitted(model, parts, PLANS["sgd"], range(3)),
        strict=True,
    )
    for (found, _), (expected, _) in pairs:
        assert 0 < largest_difference(found, expected) < 0.05


@pytest.mark.parametrize("clip", [None, 1e9])
def test_a_persons_row_moves_as_on_a_device_of_its_own(clip: float | None) -> None:
    draw, rates = torch.Generator().manual_seed(3), (0.1, 0.3, 0.2, 0.1, 0.05)
    table, shared = torch.randn(3, 2, 4, generator=draw), torch.randn(5, generator=draw)
    present = ([0, 1], [1], [0, 1], [1, 2], [2])
    gradients = [torch.randn(3, 2, 4, generator=draw) for _ in rates]
    others = [torch.randn(5, generator=draw) for _ in rates]
    stack = {"prompts.own": table.clone()[None], "weight": shared.clone()[None]}
    plan = Plan(
        "adamw", 1.0, 1, 1, weight_decay=0.1, clip=clip, factors=(("own", 2.0),), decays=(("own", 0.03),)
    )
    optimizers = _Optimizers(stack, {"prompts.own": "own"}, plan, [len(rates)], {})
    alone = [nn.Parameter(row.clone()) for row in (*table, shared)]
    references = [torch.optim.AdamW([p], 1.0, weight_decay=0.03) for p in alone[:3]]
    references.append(torch.optim.AdamW(alone[3:], 1.0, weight_decay=0.1))
    for rate, rows, gradient, other in zip(rates, present, gradients, others, strict=True):
        gradient[[row for row in range(3) if row not in rows]] = 0
        optimizers.step([gradient[None], other[None]], [rate])
        for number, (parameter, reference) in enumerate(zip(alone, references, strict=True)):
            parameter.grad = gradient[number] if number in rows else other if number == 3 else None
            reference.param_groups[0]["lr"] = rate * (2.0 if number < 3 else 1.0)
            reference.step()
    torch.testing.assert_close(stack["prompts.own"][0], torch.stack([row.detach() for row in alone[:3]]))
    torch.testing.assert_close(stack["weight"][0], alone[3].detach())
