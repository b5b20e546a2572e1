from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from fedpers.dp import SampleNoise
from fedpers.models import Examples, Masking, Model
from fedpers.training import Plan, devices_at_once
from tests.training.test_stack import Padding

SGD = Plan("sgd", 0.1, epochs=1, batch_size=8)


def model() -> Model:
    config = BertConfig(
        vocab_size=1000, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    module = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]  # theirs
    return Model(module, Padding(0), 64)  # type: ignore[arg-type]  # enough of a tokenizer


def devices(samples: int, tokens: int) -> list[Examples]:
    return [Examples([list(range(5, 5 + tokens))] * samples, np.zeros(samples, dtype=np.int64))] * 3


def test_a_stack_holds_parameters_gradients_moments_and_activations() -> None:
    # By hand: 8 samples of 20 tokens; activations 2 * 8 * 20 * 32 * 2 * (34 + 5 * 2 * 20 / 32) bytes; 21 of
    # 1,000 words are trained (20 and the padding); 4 bytes, of parameter, copy, gradient and moment.
    small = model()
    trained = sum(p.numel() for p in small.module.parameters()) - (1000 - 21) * 32
    bytes_each = 824_320 + 4 * 4 * trained
    assert devices_at_once(small, devices(10, 20), SGD, memory=3.5 * bytes_each) == 3


def test_guessing_masked_words_takes_all_of_the_table_and_the_scores_of_all_words() -> None:
    # As above with all of 1,000 words trained; 0.25 of 8 x 20 tokens have 1,000 scores of 4 bytes, with their
    # logarithms and gradients.
    small, plan = model(), replace(SGD, masking=Masking(0.25))
    trained = sum(p.numel() for p in small.module.parameters())
    bytes_each = 824_320 + 4 * 4 * trained + 3 * 4 * 40 * 1000
    assert devices_at_once(small, devices(10, 20), plan, memory=3.5 * bytes_each) == 3


def test_decay_needs_whole_tables_and_adam_a_second_moment() -> None:
    few = [
        devices_at_once(model(), devices(10, 20), plan, memory=2e7)
        for plan in (SGD, replace(SGD, optimizer="adam"), replace(SGD, optimizer="adamw", weight_decay=0.1))
    ]
    assert few == sorted(few, reverse=True)
    assert len(set(few)) == 3


def test_before_a_frozen_model_only_the_devices_own_numbers_count() -> None:
    # The activations as above, and 100 numbers of 4 bytes with copy, gradient and moment.
    bytes_each = 824_320 + 4 * 4 * 100
    assert devices_at_once(model(), devices(10, 20), SGD, memory=7.5 * bytes_each, trained=100) == 7


def test_samples_that_are_hidden_have_a_copy_and_a_gradient_each_and_noise_moves_all_words() -> None:
    # As above with all of 1,000 words trained, of which each of 8 samples reads 21.
    small, plan = model(), replace(SGD, noise=SampleNoise(1.0, 1.0))
    trained = sum(p.numel() for p in small.module.parameters())
    bytes_each = 824_320 + 4 * 4 * trained + 2 * 4 * 8 * (trained - (1000 - 21) * 32)
    assert devices_at_once(small, devices(10, 20), plan, memory=3.5 * bytes_each) == 3
    bytes_each = 824_320 + 4 * 4 * 100 + 2 * 4 * 8 * 100
    assert devices_at_once(small, devices(10, 20), plan, memory=7.5 * bytes_each, trained=100) == 7


def test_one_device_trains_however_large_it_is() -> None:
    assert devices_at_once(model(), devices(10, 20), SGD, memory=1.0) == 1


def test_on_a_cpu_a_stack_ends_where_the_caches_do() -> None:
    # 600,000 numbers by hand: 8 samples of 20 tokens, 32 wide, are 5,120.
    assert devices_at_once(model(), devices(10, 20), SGD, memory=1e12) == 117


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_only_memory_ends_a_stack() -> None:
    small = model()
    small.module.to("cuda")  # type: ignore[arg-type]  # transformers' wrapper hides self
    assert devices_at_once(small, devices(10, 20), SGD, memory=1e12) > 117
