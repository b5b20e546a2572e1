"""A server that learns the task from public people: what it trains, what it merges, and what it remembers."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord

from fedpers.clients import Prompted, Prompts
from fedpers.data import GENERAL, Part
from fedpers.engine import recall, remind, to_arrays, to_record
from fedpers.engine.flower import identity
from fedpers.errors import InputError
from fedpers.experiments import find
from fedpers.method import TRAINED
from fedpers.models import Arrays, Examples, extract, insert, load, pool
from fedpers.models.adapters import Lora
from fedpers.prompting import Prompting
from fedpers.report.progress import Reporter
from fedpers.simulation import Setup, prepare
from fedpers.strategies import TaskBase
from fedpers.training import Plan, fit
from fedpers.training.stack import batch_of
from tests.conftest import small
from tests.strategies.test_cloud import CloudsDraws, Listening, assert_same

PLAN = Plan("adamw", 1e-2, epochs=2, batch_size=16, weight_decay=0.01, warmup_share=0.2, clip=1.0)
CLIENT = Prompted(Prompts(Prompting(GENERAL, retrieved=1)))
LORA = Lora(rank=2, alpha=4.0, dropout=0.1)


@cache
def setup() -> Setup:
    settings = small(
        run={"method": "oppu", "seed": 5},  # and a purpose as in test_cloud.py, whose draws these are
        model={"dropout": 0.1, "max_tokens": 64, "answer_tokens": 4, "vocabulary": 400},
        data={"clients": 2, "public_people": 3, "held_out_people": 0},
    )
    return prepare(settings, find("oppu").build, Reporter(silent=True))


def base(plan: Plan = PLAN, adapter: Lora | None = None, part: Part = "all") -> TaskBase:
    return TaskBase(setup().server, CLIENT, plan, "cloud", part, adapter)


def epoch(strategy: TaskBase, number: int, arrays: Arrays) -> tuple[Arrays, Any]:
    """Lets a server train one epoch, and checks that it asks nobody."""
    with identity():
        asked = strategy.configure_train(number, to_record(arrays), ConfigRecord(), Listening(2))
        assert list(asked) == []
        aggregated, metrics = strategy.aggregate_train(number, [])
    assert aggregated is not None
    return to_arrays(aggregated), metrics


def epochs(strategy: TaskBase, count: int) -> list[Arrays]:
    """Returns the parameters after each of some epochs."""
    found = [setup().base]
    for number in range(1, count + 1):
        found.append(epoch(strategy, number, found[-1])[0])
    return found[1:]


def public_examples() -> Examples:
    model = load(setup().spec)
    return pool([CLIENT.encode(model, device) for device in setup().server.public("all")])


def scores(arrays: Arrays, theta: Arrays | None = None) -> torch.Tensor:
    """Returns a model's scores of the words of the public people's answers, with LoRA beside it if given."""
    model, examples = load(setup().spec), public_examples()
    insert(model.module, arrays)
    batch = batch_of(model, [(examples, np.arange(len(examples)))])
    written: Callable[..., torch.Tensor] = model.reader()
    model.module.train(False)
    with torch.inference_mode():
        if theta is None:
            return written(batch.inputs.of(0))
        stack = {name: torch.from_numpy(array)[None] for name, array in theta.items()}
        owners = torch.zeros(len(examples), dtype=torch.int64)
        with LORA.applied(model.module, stack, owners):
            return written(batch.inputs.of(0))


# What it trains


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_rounds_of_all_of_the_model_equal_a_fit_on_the_same_prompts(optimizer: str) -> None:
    plan = Plan(optimizer, 1e-2, epochs=2, batch_size=16, momentum=0.9, warmup_share=0.2)  # type: ignore[arg-type]
    *_, found = epochs(base(plan), 2)
    model = load(setup().spec)
    list(fit(model, public_examples(), plan, CloudsDraws()))
    assert_same(found, extract(model.module))


@pytest.mark.parametrize("adapter", [None, LORA], ids=["whole", "lora"])
def test_epochs_lower_the_loss(adapter: Lora | None) -> None:
    plan = replace(PLAN, epochs=6, learning_rate=5e-2)
    strategy, arrays, losses = base(plan, adapter), setup().base, []
    for number in range(1, 7):
        arrays, metrics = epoch(strategy, number, arrays)
        losses.append(metrics["train-loss"])
        assert metrics[TRAINED] == 3 * 12
    assert losses[-1] < losses[0] - 0.05


def test_public_people_teach_with_the_part_that_was_asked_for() -> None:
    _, metrics = epoch(base(part="train"), 1, setup().base)
    assert metrics[TRAINED] == 3 * 10


def test_without_public_people_there_is_one_line() -> None:
    server = replace(setup().server, public_people=0)
    with pytest.raises(InputError, match="set --public-people 1 or more, with fewer --clients where these"):
        TaskBase(server, CLIENT, PLAN, "cloud", "all", None)


# What it merges


def test_lora_is_merged_after_the_last_epoch_and_not_before() -> None:
    first, second = epochs(base(adapter=LORA), 2)
    assert_same(first, setup().base)
    assert any((second[name] != setup().base[name]).any() for name in second)


def test_the_merged_model_scores_as_the_base_with_lora_beside_it() -> None:
    strategy = base(adapter=LORA)
    *_, merged = epochs(strategy, 2)
    beside = scores(setup().base, {name: np.array(array) for name, array in strategy.module.items()})
    torch.testing.assert_close(scores(merged), beside, rtol=0, atol=1e-5)
    assert (beside - scores(setup().base)).abs().max() > 1e-3


def test_no_more_than_the_adapted_layers_are_changed() -> None:
    *_, merged = epochs(base(adapter=LORA), 2)
    changed = {name for name, array in merged.items() if (array != setup().base[name]).any()}
    assert changed == {f"transformer.h.{layer}.attn.c_attn.weight" for layer in (0, 1)}


# What it remembers


@pytest.mark.parametrize("adapter", [None, LORA], ids=["whole", "lora"])
def test_a_checkpoint_between_two_epochs_changes_no_bit(adapter: Lora | None) -> None:
    plan = replace(PLAN, epochs=3)
    strategy = base(plan, adapter)
    first, _ = epoch(strategy, 1, setup().base)
    numbers, notes = recall(strategy)
    kept = {path: array.copy() for path, array in numbers.items()}
    second, _ = epoch(strategy, 2, first)
    expected, _ = epoch(strategy, 3, second)
    resumed = base(plan, adapter)
    remind(resumed, kept, notes)
    again, _ = epoch(resumed, 2, first)
    assert_same(again, second)
    assert_same(epoch(resumed, 3, again)[0], expected)


@pytest.mark.parametrize("adapter", [None, LORA], ids=["whole", "lora"])
def test_the_arrays_of_a_checkpoint_are_not_written_into_later(adapter: Lora | None) -> None:
    strategy = base(adapter=adapter)
    first, _ = epoch(strategy, 1, setup().base)
    numbers, _ = recall(strategy)
    before = {path: array.copy() for path, array in numbers.items()}
    epoch(strategy, 2, first)
    assert numbers.keys() == before.keys()
    assert all((array == before[path]).all() for path, array in numbers.items())
