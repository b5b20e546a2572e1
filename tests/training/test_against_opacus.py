"""DP-SGD steps against opacus' own, with the same batches and noise."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn import functional

from fedpers.dp import SampleNoise
from fedpers.models import Examples, extract
from fedpers.models.adapters import Ia3, Lora
from fedpers.training import Plan, fit_devices
from tests.models.test_reading import language_model
from tests.training import test_adapted as adapted
from tests.training.test_stack import largest_difference, model_of, people


def steps_of_opacus(module: nn.Module, losses: Any, plan: Plan, samples: int, seed: int) -> None:
    """Trains a module in place on the samples and with the noise that our steps draw.

    Args:
        module: The module.
        losses: Gives each loss (samples,) of some rows, from opacus' module.
        plan: How to train.
        samples: How many there are.
        seed: Of the device's draw.
    """
    assert plan.noise is not None
    hooked = GradSampleModule(module, loss_reduction="sum", strict=False)
    own = [p for _, p in sorted(hooked.named_parameters()) if p.requires_grad]  # as our noise is drawn
    draw = np.random.default_rng(seed)
    optimizer = DPOptimizer(
        torch.optim.SGD(own, plan.learning_rate, plan.momentum),
        noise_multiplier=plan.noise.noise_multiplier,
        max_grad_norm=plan.noise.clip,
        expected_batch_size=min(samples, plan.batch_size),
    )
    for _ in range(plan.all_steps(samples)):
        rows = np.flatnonzero(draw.random(samples) < min(1, plan.batch_size / samples))
        key = [int(draw.integers(2**62)), 2]
        optimizer.generator = torch.Generator().manual_seed(int(np.random.default_rng(key).integers(2**63)))
        optimizer.zero_grad()
        losses(hooked, rows).sum().backward()
        optimizer.step()
    hooked.to_standard_module()


def padded(samples: list[list[int]]) -> dict[str, torch.Tensor]:
    """Returns what opacus needs to be told: positions and segments of the batch's full shape."""
    longest = max(map(len, samples))
    shape = len(samples), longest
    return {
        "input_ids": torch.tensor([sample + [0] * (longest - len(sample)) for sample in samples]),
        "attention_mask": torch.tensor([[1] * len(s) + [0] * (longest - len(s)) for s in samples]),
        "position_ids": torch.arange(longest).expand(shape).contiguous(),
    }


def losses_of_classes(part: Examples) -> Any:
    def losses(module: Any, rows: Any) -> torch.Tensor:
        inputs = padded([part.ids[row] for row in rows])
        scores = module(**inputs, token_type_ids=torch.zeros_like(inputs["input_ids"])).logits
        return functional.cross_entropy(scores, torch.from_numpy(part.labels[rows]), reduction="none")

    return losses


def losses_of_words(part: Examples) -> Any:
    """Returns the mean of each sample's answer."""
    assert part.answers is not None
    answers = part.answers

    def losses(module: Any, rows: Any) -> torch.Tensor:
        scores = module(**padded([part.ids[row] for row in rows]), use_cache=False).logits
        found = []
        for own, row in zip(scores, rows, strict=True):
            end, count = len(part.ids[row]), len(answers[row])
            found.append(functional.cross_entropy(own[end - count : end], torch.tensor(answers[row])))
        return torch.stack(found)

    return losses


@pytest.fixture
def _no_remarks() -> Iterator[None]:
    """Silences opacus and torch on hooks."""
    with warnings.catch_warnings(action="ignore"):
        yield


SOME = Plan("sgd", 0.5, epochs=3, batch_size=4, momentum=0.9)  # of 7 samples and more


@pytest.mark.usefixtures("_no_remarks")
@pytest.mark.parametrize("noise", [SampleNoise(0.3, 0.0), SampleNoise(0.3, 1.0), SampleNoise(1e3, 1e-4)])
def test_a_classifier_learns_what_opacus_teaches_it(noise: SampleNoise) -> None:
    model, plan = model_of("bert", dropout=0.0), replace(SOME, noise=noise)
    part = max(people("bert", 8), key=len)
    start = extract(model.module)
    [(found, _)] = fit_devices(model, [start], [part], plan, [np.random.default_rng(5)])
    steps_of_opacus(model.module, losses_of_classes(part), plan, len(part), 5)
    assert largest_difference(found, extract(model.module)) < 1e-5  # type: ignore[arg-type]  # no rows
    assert largest_difference(found, start) > 1e-2  # type: ignore[arg-type]  # no rows


@pytest.mark.usefixtures("_no_remarks")
@pytest.mark.parametrize("noise", [SampleNoise(0.3, 0.0), SampleNoise(0.3, 1.0)])
def test_a_language_model_with_tied_words_learns_what_opacus_teaches_it(noise: SampleNoise) -> None:
    model, plan = language_model("gpt2"), replace(SOME, noise=noise)
    part = adapted.people(Ia3())[2]
    start = extract(model.module)
    [(found, _)] = fit_devices(model, [start], [part], plan, [np.random.default_rng(5)])
    steps_of_opacus(model.module, losses_of_words(part), plan, len(part), 5)
    assert largest_difference(found, extract(model.module)) < 1e-5  # type: ignore[arg-type]  # no rows
    assert largest_difference(found, start) > 1e-2  # type: ignore[arg-type]  # no rows


@pytest.mark.usefixtures("_no_remarks")
@pytest.mark.parametrize("noise", [SampleNoise(0.005, 0.0), SampleNoise(0.005, 1.0)])
def test_an_adapter_learns_what_opacus_teaches_pefts(noise: SampleNoise) -> None:
    model, lora, plan = (
        model_of("bert", dropout=0.0),
        Lora(rank=2, alpha=4.0),
        replace(SOME, noise=noise, learning_rate=5.0),
    )
    part = max(people("bert", 8), key=len)
    start = {name: array + np.float32(0.1) for name, array in lora.start(model.module, 3).items()}
    [(found, _)] = fit_devices(model, [start], [part], plan, [np.random.default_rng(5)], lora)
    config = LoraConfig(r=2, lora_alpha=4, lora_dropout=0.0, target_modules=["query", "value"])
    theirs = inject_adapter_in_model(config, model.module)
    parameters = {
        name.replace(".default.weight", ""): p for name, p in theirs.named_parameters() if "lora_" in name
    }
    theirs.requires_grad_(False)
    for name, parameter in parameters.items():
        parameter.data = torch.from_numpy(start[name].copy())
        parameter.requires_grad_()
    assert list(parameters) == list(start)  # the noise is drawn in this order
    steps_of_opacus(theirs, losses_of_classes(part), plan, len(part), 5)
    expected = {name: parameter.detach().numpy() for name, parameter in parameters.items()}
    assert largest_difference(found, expected) < 1e-5  # type: ignore[arg-type]  # no rows
    assert largest_difference(found, start) > 1e-2  # type: ignore[arg-type]  # no rows
