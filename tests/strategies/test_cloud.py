"""The cloud's training on anonymous records: by what it is decided, and what it remembers."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message

from fedpers.data import Samples
from fedpers.engine import federate, recall, remind, to_arrays, to_record
from fedpers.engine.flower import identity
from fedpers.engine.nodes import Nodes
from fedpers.errors import FedpersError
from fedpers.method import TRAINED, Server
from fedpers.models import Arrays, ModelSpec, extract, load, specify
from fedpers.records import Records, mix, pack, read
from fedpers.seeds import stream
from fedpers.settings import ModelSettings
from fedpers.strategies import Cloud, Silence, averages
from fedpers.training import Plan, fit

WORDS = "the cat sat on a mat and dogs ran by".split()
PLAN = Plan("adamw", 1e-2, epochs=2, batch_size=4, weight_decay=0.01, warmup_share=0.2, clip=1.0)


@cache
def spec() -> ModelSpec:
    settings = ModelSettings(hidden_size=16, heads=2, max_tokens=16, dropout=0.1)
    return specify(settings, ["a", "b"], 0, [" ".join(WORDS)] * 2)


@cache
def base() -> Arrays:
    return extract(load(spec()).module)


def records(count: int = 11, seed: int = 0) -> Records:
    draw = np.random.default_rng(seed)
    texts = tuple(" ".join(draw.choice(WORDS, size=draw.integers(1, 6))) for _ in range(count))
    return Records(texts, draw.integers(2, size=count), draw.normal(size=(count, 1, 16)).astype(np.float32))


def cloud(plan: Plan = PLAN, *, each_epoch: bool = False, seed: int = 5, purpose: str = "cloud") -> Cloud:
    return Cloud(Server(3, spec(), seed), plan, "front", purpose, each_epoch=each_epoch)


def cut(whole: Records, order: Sequence[int], ends: Sequence[int]) -> list[Message]:
    """Returns messages with some records each, in some order."""
    rows = np.array(order)
    with identity():
        return [
            Message(
                pack(Records(tuple(whole.texts[i] for i in own), whole.labels[own], whole.vectors[own])),
                0,
                "train",
            )
            for own in np.split(rows, ends)
        ]


def epoch(strategy: Cloud, number: int, arrays: Arrays, messages: Sequence[Message]) -> tuple[Arrays, Any]:
    """Lets a cloud train one epoch on what came."""
    with identity():
        list(strategy.configure_train(number, to_record(arrays), ConfigRecord(), Listening(3)))
        aggregated, metrics = strategy.aggregate_train(number, messages)
    assert aggregated is not None
    return to_arrays(aggregated), metrics


def two_epochs(strategy: Cloud, messages: Sequence[Message]) -> Arrays:
    first, _ = epoch(strategy, 1, base(), messages)
    return epoch(strategy, 2, first, [])[0]


def assert_same(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    assert all(array.tobytes() == expected[name].tobytes() for name, array in found.items())


# By what it is decided


@pytest.mark.parametrize("order", [range(10, -1, -1), [3, 0, 6, 10, 1, 5, 2, 4, 9, 7, 8]], ids=str)
@pytest.mark.parametrize("ends", [[], [5], [1, 2, 9]], ids=str)
def test_neither_the_order_of_records_nor_their_cuts_into_messages_matter(
    order: Sequence[int], ends: Sequence[int]
) -> None:
    expected = two_epochs(cloud(), cut(records(), range(11), []))
    assert_same(two_epochs(cloud(), cut(records(), order, ends)), expected)


def test_other_vectors_are_another_model() -> None:
    one, other = records(), records()
    other.vectors[0] += 1
    first, second = (epoch(cloud(), 1, base(), cut(r, range(11), []))[0] for r in (one, other))
    assert any((first[name] != second[name]).any() for name in first)


@pytest.mark.parametrize("changed", [{"seed": 6}, {"purpose": "central"}], ids=str)
def test_seed_and_purpose_choose_the_draws(changed: dict[str, Any]) -> None:
    came = cut(records(), range(11), [])
    first, second = (epoch(c, 1, base(), came)[0] for c in (cloud(), cloud(**changed)))
    assert any((first[name] != second[name]).any() for name in first)


class CloudsDraws(np.random.Generator):
    """One stream of the cloud's draws for a whole fit: at each epoch's permutation the next round's."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))
        self.round = 0
        self.own = np.random.default_rng(0)

    def permutation(self, x: Any, axis: int = 0) -> Any:
        self.round += 1
        self.own = stream(5, "cloud", self.round)
        return self.own.permutation(x, axis)

    def integers(self, *args: Any, **options: Any) -> Any:
        return self.own.integers(*args, **options)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_rounds_equal_a_fit_of_two_epochs_with_the_same_draws(optimizer: str) -> None:
    plan = Plan(optimizer, 1e-2, epochs=2, batch_size=4, momentum=0.9, warmup_share=0.2)  # type: ignore[arg-type]
    found = two_epochs(cloud(plan), cut(records(), range(11), []))
    model = load(spec())
    list(fit(model, read(model, mix([records()])[0], "front"), plan, CloudsDraws()))
    assert_same(found, extract(model.module))


def test_records_without_vectors_are_trained_on_as_their_texts() -> None:
    plain = Records.without_vectors(Samples(["the cat", "a mat", "dogs ran by"], np.array([0, 1, 1])))
    found, metrics = epoch(cloud(), 1, base(), cut(plain, range(3), [2]))
    assert any((found[name] != base()[name]).any() for name in found)
    assert metrics[TRAINED] == 3


def test_epochs_lower_the_loss() -> None:
    plan = Plan("adamw", 1e-2, epochs=40, batch_size=4)
    strategy, arrays, losses = cloud(plan), base(), []
    for number in range(1, 41):
        came = cut(records(), range(11), []) if number == 1 else []
        arrays, metrics = epoch(strategy, number, arrays, came)
        losses.append(metrics["train-loss"])
    assert losses[-1] < 0.5 * losses[0]


# Whom it asks, and when


@pytest.mark.parametrize(("each_epoch", "asked"), [(False, [3, 0, 0]), (True, [3, 3, 3])])
def test_devices_are_asked_once_or_before_each_epoch(each_epoch: bool, asked: list[int]) -> None:
    strategy, found = cloud(Plan("sgd", 0.1, 3, 4), each_epoch=each_epoch), []
    for number in (1, 2, 3):
        with identity():
            messages = list(strategy.configure_train(number, to_record(base()), ConfigRecord(), Listening(3)))
            replies = cut(records(), range(11), []) if messages else []
            strategy.aggregate_train(number, replies)
        found.append(len(messages))
        assert all(message.content is messages[0].content for message in messages)
    assert found == asked


def test_with_fresh_records_the_last_ones_are_trained_on() -> None:
    strategy = cloud(each_epoch=True)
    first, _ = epoch(strategy, 1, base(), cut(records(seed=1), range(11), []))
    epoch(strategy, 2, first, cut(records(seed=2), range(11), []))
    expected, _ = mix([records(seed=2)])
    assert Records.of(strategy.received).texts == expected.texts


def test_no_record_at_all_is_an_error() -> None:
    with pytest.raises(FedpersError, match=r"^round 1: no device sent a record$"):
        epoch(cloud(), 1, base(), [])


def test_a_cloud_asks_for_no_evaluation_and_needs_every_reply() -> None:
    with identity():
        assert list(cloud().configure_evaluate(1, to_record(base()), ConfigRecord(), Listening(3))) == []
    assert cloud().aggregate_evaluate(1, []) is None
    assert not averages(cloud())


def test_silence_asks_everyone_and_keeps_the_model_as_it_is() -> None:
    grid = Listening(3)
    [done] = federate(grid, Silence(), base(), 1, 0)
    assert grid.asked == [0, 1, 2]
    assert_same(done.arrays, base())
    assert done.samples == 0


class Listening(Nodes):
    """Nodes that work and answer nothing."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.asked: list[int] = []

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> list[Message]:
        self.asked += [message.metadata.dst_node_id for message in messages]
        return []


# What it remembers


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_checkpoint_between_two_epochs_changes_no_bit(optimizer: str) -> None:
    plan = Plan(optimizer, 1e-2, epochs=3, batch_size=4, momentum=0.9, warmup_share=0.2)  # type: ignore[arg-type]
    strategy = cloud(plan)
    first, _ = epoch(strategy, 1, base(), cut(records(), range(11), [4]))
    numbers, notes = recall(strategy)
    kept = {path: array.copy() for path, array in numbers.items()}
    second, _ = epoch(strategy, 2, first, [])
    expected, _ = epoch(strategy, 3, second, [])
    resumed = cloud(plan)
    remind(resumed, kept, notes)
    again, _ = epoch(resumed, 2, first, [])
    assert_same(again, second)
    assert_same(epoch(resumed, 3, again, [])[0], expected)


def test_the_arrays_of_a_checkpoint_are_not_written_into_later() -> None:
    strategy = cloud()
    first, _ = epoch(strategy, 1, base(), cut(records(), range(11), []))
    numbers, _ = recall(strategy)
    before = {path: array.copy() for path, array in numbers.items()}
    epoch(strategy, 2, first, [])
    assert numbers.keys() == before.keys()
    assert all((array == before[path]).all() for path, array in numbers.items())
