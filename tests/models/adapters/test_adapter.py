"""Adapters of many devices in one batch; the reference is plain peft, one model for each device."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from fedpers.models.adapters import Lora, save_peft
from tests.models.adapters.peft_models import (
    ADAPTERS,
    DEVICES,
    EVEN,
    KINDS,
    OWNERS,
    PEFTS_WARNINGS,
    base,
    close,
    drawn,
    fronted,
    gradients,
    hooks,
    loss,
    parameters,
    reference,
    scored,
    stacked,
    texts,
    written,
)

pytestmark = PEFTS_WARNINGS


@pytest.mark.parametrize("rows", OWNERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ADAPTERS)
def test_each_row_is_read_as_by_its_owners_peft_model(name: str, kind: str, rows: str) -> None:
    adapter, module, owners = ADAPTERS[name], base(kind), torch.tensor(OWNERS[rows])
    devices, ids = [drawn(adapter, kind, seed) for seed in range(DEVICES)], texts(len(owners))
    with adapter.applied(module, stacked(devices), owners):
        found = scored(module, fronted(adapter, ids))
    for device, theta in enumerate(devices):
        close(found[owners == device], scored(reference(adapter, kind, theta), ids[owners == device]))


@pytest.mark.parametrize("rows", ["even", "mixed"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ADAPTERS)
def test_gradients_are_those_of_peft(name: str, kind: str, rows: str) -> None:
    adapter, module, owners = ADAPTERS[name], base(kind), torch.tensor(OWNERS[rows])
    devices, ids = [drawn(adapter, kind, seed) for seed in range(DEVICES)], texts(len(owners))
    theta = stacked(devices)
    with adapter.applied(module, theta, owners):
        torch.autograd.backward(loss(scored(module, fronted(adapter, ids))).sum())
    for device, own in enumerate(devices):
        model = reference(adapter, kind, own)
        torch.autograd.backward(loss(scored(model, ids[owners == device])).sum())
        expected = adapter.exported(module, gradients(model, own))
        found = {part: value.grad[device].numpy() for part, value in theta.items() if value.grad is not None}
        for part, value in adapter.exported(module, found).items():
            np.testing.assert_allclose(value, expected[part], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_stack_of_eight_learns_what_eight_peft_models_learn(name: str, kind: str) -> None:
    adapter, module, owners = ADAPTERS[name], base(kind), torch.arange(8).repeat_interleave(2)
    devices, ids = [drawn(adapter, kind, seed) for seed in range(8)], texts(16)
    theta = stacked(devices)
    optimizer = torch.optim.AdamW(theta.values(), lr=1e-2)
    for _ in range(5):
        optimizer.zero_grad()
        with adapter.applied(module, theta, owners):
            torch.autograd.backward(loss(scored(module, fronted(adapter, ids))).sum())
        optimizer.step()
    for device, own in enumerate(devices):
        model = reference(adapter, kind, own)
        alone = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        for _ in range(5):
            alone.zero_grad()
            torch.autograd.backward(loss(scored(model, ids[owners == device])).sum())
            alone.step()
        for part, value in parameters(model, own).items():
            close(theta[part][device].detach(), value.detach().reshape(theta[part].shape[1:]))


@pytest.mark.parametrize(("rows", "beams"), [("even", 1), ("even", 3), ("mixed", 3)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ADAPTERS)
def test_texts_are_written_as_by_peft(name: str, kind: str, rows: str, beams: int) -> None:
    adapter, module, owners = ADAPTERS[name], base(kind), torch.tensor(OWNERS[rows])
    devices, ids = [drawn(adapter, kind, seed) for seed in range(DEVICES)], texts(len(owners))
    with adapter.applied(module, stacked(devices), owners):
        found = written(module, fronted(adapter, ids), beams)
    for device, theta in enumerate(devices):
        own = owners == device
        assert torch.equal(found[own], written(reference(adapter, kind, theta), ids[own], beams))


def test_a_batch_of_other_rows_is_refused() -> None:
    adapter, module = Lora(), base("gpt2")
    theta = stacked([adapter.start(module, seed) for seed in range(2)])
    with (
        adapter.applied(module, theta, torch.tensor([0, 0, 1, 1])),
        pytest.raises(ValueError, match="3 rows are not a multiple of 2 groups"),
    ):
        scored(module, texts(3))


def test_dropout_is_told_the_layers_number_and_changes_what_lora_reads() -> None:
    adapter, module, calls = Lora(), base("gpt2"), list[tuple[tuple[int, ...], int]]()
    theta = stacked([drawn(adapter, "gpt2", 0)])

    def nothing(read: torch.Tensor, call: int) -> torch.Tensor:
        calls.append((tuple(read.shape), call))
        return torch.zeros_like(read)

    plain = scored(module, texts(4))
    with adapter.applied(module, theta, torch.zeros(4, dtype=torch.int64), nothing):
        assert torch.equal(scored(module, texts(4)), plain)
    assert calls == [((4, 7, 32), 0), ((4, 7, 32), 1)]


def test_under_autocast_adapters_keep_to_the_layers_precision() -> None:
    owners, ids = torch.tensor(EVEN), texts(6)
    for adapter in ADAPTERS.values():
        theta = stacked([drawn(adapter, "gpt2", seed) for seed in range(DEVICES)])
        with adapter.applied(base("gpt2"), theta, owners):
            exact = scored(base("gpt2"), fronted(adapter, ids))
            with torch.autocast("cpu", torch.bfloat16):
                rough = scored(base("gpt2"), fronted(adapter, ids))
        torch.autograd.backward(rough.sum())
        assert rough.dtype == torch.bfloat16
        assert all(value.grad is not None and value.grad.dtype == torch.float32 for value in theta.values())
        assert torch.corrcoef(torch.stack([rough.detach().flatten(), exact.flatten()]))[0, 1] > 0.99


# The base


@pytest.mark.parametrize("kind", KINDS)
def test_the_base_is_the_same_to_the_bit_after_all_of_it(kind: str, tmp_path: Path) -> None:
    module, owners, ids = base(kind), torch.tensor(EVEN), texts(6)
    before = copy.deepcopy(module.state_dict())
    flags = [p.requires_grad for p in module.parameters()]
    for name, adapter in ADAPTERS.items():
        devices = [drawn(adapter, kind, seed) for seed in range(DEVICES)]
        with adapter.applied(module, stacked(devices), owners):
            torch.autograd.backward(loss(scored(module, fronted(adapter, ids))).sum())
            written(module, fronted(adapter, ids), 2)
        save_peft(adapter, module, devices[0], tmp_path / name, kind)
    after = module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[part], after[part]) for part in before)
    assert flags == [p.requires_grad for p in module.parameters()]
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("name", ADAPTERS)
def test_hooks_are_gone_after_the_block_and_after_a_failure_in_it(name: str) -> None:
    adapter, module = ADAPTERS[name], base("t5")
    theta = stacked([adapter.start(module, 0)])
    before = hooks(module)
    with adapter.applied(module, theta, torch.tensor([0])):
        assert hooks(module) > before
    assert hooks(module) == before
    with pytest.raises(KeyError), adapter.applied(module, theta, torch.tensor([0])):
        raise KeyError
    assert hooks(module) == before


@pytest.mark.parametrize("name", ADAPTERS)
def test_hooks_are_gone_if_parameters_are_missing(name: str) -> None:
    adapter, module = ADAPTERS[name], base("t5")
    theta = stacked([adapter.start(module, 0)])
    _, last = theta.popitem()
    before = hooks(module)
    with pytest.raises(KeyError), adapter.applied(module, {**theta, "other": last}, torch.tensor([0])):
        pass
    assert hooks(module) == before
