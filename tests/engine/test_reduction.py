import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpers.engine import mean
from fedpers.method import Update
from fedpers.models import Rows, Trained, whole

BROADCAST = {"dense": np.arange(3, dtype=np.float32), "table": np.ones((6, 2), dtype=np.float32)}


def update(seed: int, examples: int, rows: list[int]) -> Update:
    draw = np.random.default_rng(seed)
    dense = draw.normal(size=3).astype(np.float32)
    change = draw.normal(size=(len(rows), 2)).astype(np.float32)
    arrays: Trained = {"dense": dense, "table": Rows(np.array(rows, dtype=np.int64), change, 6)}
    return Update(arrays, examples, seen=2 * examples, metrics={"loss": float(seed)})


UPDATES = [update(1, 5, [0, 2]), update(2, 1, [2, 3, 5]), update(3, 14, [1])]


def test_the_mean_is_that_of_the_whole_arrays_weighted_by_examples() -> None:
    found = mean(UPDATES)
    assert (found.examples, found.seen) == (20, 40)
    assert found.metrics["loss"] == pytest.approx((5 * 1 + 1 * 2 + 14 * 3) / 20)
    arrays = whole(found.arrays, BROADCAST)
    for name, array in arrays.items():
        parts = [whole(one.arrays, BROADCAST)[name].astype(np.float64) * one.examples / 20 for one in UPDATES]
        np.testing.assert_allclose(array, np.sum(parts, axis=0), rtol=1e-6, atol=1e-7)
        assert array.dtype == np.float32


def test_only_rows_that_some_update_moved_are_in_the_mean() -> None:
    table = mean(UPDATES).arrays["table"]
    assert isinstance(table, Rows)
    assert table.index.tolist() == [0, 1, 2, 3, 5]
    assert table.height == 6


def test_the_mean_of_one_is_itself() -> None:
    found, expected = (whole(one.arrays, BROADCAST) for one in (mean(UPDATES[:1]), UPDATES[0]))
    assert all((found[name] == expected[name]).all() for name in BROADCAST)


@given(cut=st.integers(1, 2), order=st.permutations(range(3)))
def test_the_mean_of_means_is_the_mean_of_all(cut: int, order: list[int]) -> None:
    chosen = [UPDATES[position] for position in order]
    in_two = mean([mean(chosen[:cut]), mean(chosen[cut:])])
    at_once = mean(chosen)
    assert (in_two.examples, in_two.seen) == (at_once.examples, at_once.seen)
    for name, array in whole(in_two.arrays, BROADCAST).items():
        np.testing.assert_allclose(array, whole(at_once.arrays, BROADCAST)[name], rtol=1e-6, atol=1e-6)


def test_a_generator_of_updates_takes_the_memory_of_one() -> None:
    made: list[weakref.ref[Update]] = []
    alive: list[int] = []

    def updates() -> Iterator[Update]:
        for seed in range(1, 6):
            alive.append(sum(one() is not None for one in made))
            one = update(seed, 1, [0, 4])
            made.append(weakref.ref(one))
            yield one
            del one

    assert mean(updates()).examples == 5
    assert alive == [0, 1, 1, 1, 1]  # the last one, which the caller still holds
