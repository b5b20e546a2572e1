"""Bounds on what leaves a device: kept by the numbers that leave, and no more done than that."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpers.dp import Guard, bounded, noised_vectors
from fedpers.models import Rows, Trained, whole

Floats = npt.NDArray[np.floating]


def update(seed: int, scale: float) -> tuple[Trained, dict[str, Floats]]:
    """Returns a broadcast of large numbers and an update of it, some rows of a table and a matrix."""
    draw = np.random.default_rng(seed)
    start = {"table": draw.normal(0, 10, (9, 4)), "matrix": draw.normal(0, 10, (3, 5))}
    broadcast: dict[str, Floats] = {name: array.astype(np.float32) for name, array in start.items()}
    rows = Rows(np.array([1, 4, 7]), draw.normal(0, scale, (3, 4)).astype(np.float32), 9)
    moved = (broadcast["matrix"] + draw.normal(0, scale, (3, 5))).astype(np.float32)
    return {"table": rows, "matrix": moved}, broadcast


def changes(trained: Trained, broadcast: dict[str, Floats]) -> dict[str, Floats]:
    return {
        name: value.change.astype(np.float64)
        if isinstance(value, Rows)
        else np.subtract(value, broadcast[name], dtype=np.float64)
        for name, value in trained.items()
    }


def norm(trained: Trained, broadcast: dict[str, Floats]) -> float:
    return math.sqrt(sum(float((change**2).sum()) for change in changes(trained, broadcast).values()))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 100), st.floats(1e-3, 10), st.booleans())
def test_the_norm_never_passes_its_bound(seed: int, scale: float, clip: float, layers: bool) -> None:
    trained, broadcast = update(seed, scale)
    found, within = bounded(trained, broadcast, Guard(clip, layers))
    assert norm(found, broadcast) <= clip * (1 + 1e-12)
    if layers:
        for change in changes(found, broadcast).values():
            assert np.linalg.norm(change) <= clip / math.sqrt(2) * (1 + 1e-12)
    else:
        assert within == (norm(trained, broadcast) <= clip)


def test_an_update_within_the_bound_is_left_as_it_is() -> None:
    trained, broadcast = update(0, 0.1)
    assert bounded(trained, broadcast, Guard(100.0)) == (trained, True)
    assert bounded(trained, broadcast, Guard(math.inf)) == (trained, True)


def test_a_shortened_update_points_the_same_way() -> None:
    trained, broadcast = update(1, 5.0)
    found, within = bounded(trained, broadcast, Guard(1.0))
    share = 1.0 / norm(trained, broadcast)
    assert not within
    for name, change in changes(trained, broadcast).items():
        np.testing.assert_allclose(changes(found, broadcast)[name], share * change, atol=2e-6)


def test_equal_shares_leave_a_short_array_alone() -> None:
    trained, broadcast = update(2, 1e-3)
    long = {**trained, "matrix": whole(trained, broadcast)["matrix"] + 5}
    found, _ = bounded(long, broadcast, Guard(1.0, layers=True))
    assert found["table"] is long["table"]


def test_a_guard_comes_through_a_message_as_it_was() -> None:
    guard = Guard(0.5, layers=True, noise_multiplier=1.25)
    assert Guard.of({**guard.numbers(), "server-round": 3}) == guard
    assert Guard.of(Guard(math.inf).numbers()) == Guard(math.inf)
    assert Guard.of({"server-round": 3}) is None


def test_embeddings_are_cut_over_all_their_tokens() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 2, 8)).astype(np.float32)
    found = noised_vectors(vectors, Guard(1.5), np.random.default_rng(1))
    norms = np.linalg.norm(found.reshape(20, -1), axis=1)
    np.testing.assert_allclose(norms, np.minimum(1.5, np.linalg.norm(vectors.reshape(20, -1), axis=1)), 1e-5)


def test_noise_on_embeddings_has_the_stated_deviation() -> None:
    found = noised_vectors(
        np.zeros((500, 2, 40), np.float32), Guard(0.5, False, 3.0), np.random.default_rng(2)
    )
    assert float(found.std()) == pytest.approx(1.5, rel=0.02)
    assert found.dtype == np.float32


def test_no_embeddings_get_no_noise() -> None:
    found = noised_vectors(np.zeros((3, 0, 0), np.float32), Guard(1.0, False, 1.0), np.random.default_rng(0))
    assert found.shape == (3, 0, 0)
