"""Every client under noise on its samples: that it trains, and that what it spent is told."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from fedpers.clients import HardPrompts, Plain, Prompted, Prompts
from fedpers.data import GENERAL
from fedpers.dp import SampleNoise, Spent
from fedpers.method import Update, repeats_texts
from fedpers.models import Examples
from fedpers.prompting import Prompting
from fedpers.settings import LocalSettings
from fedpers.training import Plan, fit_devices
from tests.phases import PHASES, Place, assert_close, bench, of_kinds

NOISE = SampleNoise(clip=0.5, noise_multiplier=0.8)
TRAINS = ("updates", "nothing", "hidden words", "module")

trained = of_kinds(*TRAINS)


def expected(plan: Plan, samples: int) -> Spent:
    """Returns what training on so many samples releases, by hand."""
    steps = plan.epochs * math.ceil(samples / plan.batch_size)
    return Spent(0.8, min(1.0, plan.batch_size / samples), min(steps, plan.steps or steps), "poisson")


Call = tuple[Plan, list[Examples]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Returns the plan and the parts of each training from now on."""
    found: list[Call] = []

    def seen(model: Any, starts: Any, parts: Sequence[Examples], plan: Plan, *rest: Any) -> Any:
        found.append((plan, list(parts)))
        return fit_devices(model, starts, parts, plan, *rest)

    monkeypatch.setattr("fedpers.method.fit_devices", seen)
    return found


@trained
def test_every_training_of_a_device_is_accounted_by_its_own_samples(place: Place, calls: list[Call]) -> None:
    b = bench(place)
    shared = replace(b.shared, noise=NOISE)
    b.client.train(shared, b.cohort(0, 1, 2))
    assert calls
    assert all(plan.noise == NOISE for plan, _ in calls)
    assert shared.spent == [[expected(plan, len(parts[k])) for plan, parts in calls] for k in range(3)]


@trained
def test_a_cohort_of_one_trains_with_noise_as_the_same_device_among_many(place: Place) -> None:
    b = bench(place)
    shared = replace(b.shared, noise=NOISE)
    uploads, states = b.client.train(shared, b.cohort(3, 0))
    for position, person in enumerate((3, 0)):
        alone = b.client.train(replace(b.shared, noise=NOISE), b.cohort(person))
        assert_close(alone, (uploads[position : position + 1], [states[position]]))


@of_kinds("updates")
def test_noise_moves_every_number_that_is_sent(place: Place) -> None:
    b = bench(place)
    uploads, _ = b.client.train(replace(b.shared, noise=NOISE), b.cohort(0))
    for upload in uploads:
        assert isinstance(upload, Update)
        moved = {name: np.asarray(array) != b.arrays.get(name, 0) for name, array in upload.arrays.items()}
        assert sum(map(np.sum, moved.values())) > 0.9 * sum(array.size for array in moved.values())


# Texts and examples


@trained
def test_a_text_is_in_one_example_where_the_client_does_not_say_otherwise(
    place: Place, calls: list[Call]
) -> None:
    b = bench(place)
    [device] = b.cohort(0)
    told = device.samples.texts
    b.client.train(b.shared, [b.device(0, device.samples, device.state)])
    other = replace(device.samples, texts=[told[1], *told[1:]])
    b.client.train(b.shared, [b.device(0, other, device.state)])
    half = len(calls) // 2
    for (_, [before]), (_, [after]) in zip(calls[:half], calls[half:], strict=True):
        changed = sum(one != another for one, another in zip(before.ids, after.ids, strict=True))
        assert changed >= 1
        assert changed == 1 or repeats_texts(b.client, b.population)


def test_retrieved_items_profiles_and_contexts_repeat_texts() -> None:
    people, local = bench(PHASES["conventional-federated"]).population, LocalSettings()

    def prompted(retrieved: int, profile: Literal["none", "computed", "given"]) -> bool:
        return repeats_texts(Prompted(Prompts(Prompting(GENERAL, retrieved, profile=profile))), people)

    assert [prompted(0, "none"), prompted(1, "none"), prompted(0, "computed")] == [False, True, True]
    assert not prompted(0, "given")
    assert repeats_texts(HardPrompts(local), people)
    assert not repeats_texts(Plain(local), people)


def test_each_beginning_of_a_text_is_an_example_where_next_words_are_told() -> None:
    people = replace(bench(PHASES["conventional-federated"]).population, answer="next-word")
    person = int(people.clients[0])
    assert len(people.samples(person, "train")) > len(people.positions(person, "train"))
    assert repeats_texts(Plain(LocalSettings()), people)
