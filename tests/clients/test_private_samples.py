"""Every client under noise on its samples: that it trains, and that what it spent is told."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedpers import method
from fedpers.dp import SampleNoise, Spent
from fedpers.method import Update
from fedpers.models import Examples
from fedpers.training import Plan
from tests.phases import Place, assert_close, bench, of_kinds

NOISE = SampleNoise(clip=0.5, noise_multiplier=0.8)
TRAINS = ("updates", "nothing", "hidden words", "module")

trained = of_kinds(*TRAINS)


def expected(plan: Plan, samples: int) -> Spent:
    """Returns what training on so many samples releases, by hand."""
    steps = plan.epochs * math.ceil(samples / plan.batch_size)
    return Spent(0.8, min(1.0, plan.batch_size / samples), min(steps, plan.steps or steps), "poisson")


@trained
def test_every_training_of_a_device_is_accounted_by_its_own_samples(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Plan, list[int]]] = []
    fit_devices = method.fit_devices  # type: ignore[attr-defined]  # as it stands there

    def seen(model: Any, starts: Any, parts: Sequence[Examples], plan: Plan, *rest: Any) -> Any:
        calls.append((plan, [len(part) for part in parts]))
        return fit_devices(model, starts, parts, plan, *rest)

    monkeypatch.setattr("fedpers.method.fit_devices", seen)
    b = bench(place)
    shared = replace(b.shared, noise=NOISE)
    b.client.train(shared, b.cohort(0, 1, 2))
    assert calls
    assert all(plan.noise == NOISE for plan, _ in calls)
    assert shared.spent == [[expected(plan, sizes[k]) for plan, sizes in calls] for k in range(3)]


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
