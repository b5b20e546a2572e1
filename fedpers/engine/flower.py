"""Everything that knows Flower's insides: messages outside its runtime, its sampling, its log."""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedpers.dp import Guard
from fedpers.method import FROZEN, Update
from fedpers.models import Arrays, whole

SEEN = "samples-seen"  # the reply's metric of samples gone through

_LOCAL = 1  # the run, task and server node of messages that never leave this process


@contextmanager
def identity() -> Iterator[None]:
    """Lets Flower messages be made outside its runtime, and puts back what stood there."""
    before = (TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id)
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = _LOCAL
    try:
        yield
    finally:
        TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id = before


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Flower's own log to warnings; progress is shown by fedpers."""
    log = logging.getLogger("flwr")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def sampling(number: int) -> Iterator[None]:
    """Seeds the global `random` state, which Flower's strategies sample nodes with, and restores it."""
    state = random.getstate()
    random.seed(number)
    try:
        yield
    finally:
        random.setstate(state)


def to_record(arrays: Mapping[str, npt.NDArray[Any]]) -> ArrayRecord:
    """Packs named arrays as Flower sends them."""
    return ArrayRecord({name: Array(value) for name, value in arrays.items()})


def to_arrays(record: ArrayRecord) -> Arrays:
    """Unpacks what Flower sent."""
    return {name: array.numpy() for name, array in record.items()}


def broadcast_of(content: RecordDict) -> Arrays:
    """Returns the arrays that a message asks a device to train or to predict with."""
    records = content.array_records
    return to_arrays(next(record for name, record in records.items() if name != FROZEN))


def frozen_of(content: RecordDict) -> Arrays:
    """Returns the arrays that a message sends to be read only, none in most."""
    return to_arrays(content.array_records.get(FROZEN, ArrayRecord()))


def guard_of(content: RecordDict) -> Guard | None:
    """Returns what a message asks a device to do to its upload before it leaves."""
    return Guard.of(next(iter(content.config_records.values())))


def reply(
    message: Message, update: Update, broadcast: Arrays, told: Collection[str] | None = None
) -> Message:
    """Returns a training reply as Flower's averaging strategies want it: whole arrays and their weight.

    Args:
        message: What is answered.
        update: What training gave.
        broadcast: What it started from.
        told: Names of the other numbers that go with them; without, all.
    """
    others = {SEEN: update.seen, **update.metrics}
    others = {name: value for name, value in others.items() if told is None or name in told}
    numbers = MetricRecord({"num-examples": update.examples, **others})
    return Message(
        RecordDict({"arrays": to_record(whole(update.arrays, broadcast)), "metrics": numbers}),
        reply_to=message,
    )


def samples_seen(message: Message) -> int:
    """Returns how many training samples the devices behind a reply went through."""
    counts = [numbers[SEEN] for numbers in message.content.metric_records.values() if SEEN in numbers]
    return sum(count for count in counts if isinstance(count, int))
