import numpy as np

from fedpers.engine import LATEST, MemoryStates
from fedpers.method import State


def state(number: int) -> State:
    return {"a": np.array([number])}


def numbers(
    store: MemoryStates, before: tuple[int, int], persons: tuple[int, ...] = (0, 1)
) -> list[int | None]:
    return [None if kept is None else int(kept["a"][0]) for kept in store.read(persons, before)]


def test_a_round_reads_what_earlier_rounds_wrote() -> None:
    store = MemoryStates()
    store.write({0: state(10)}, at=(0, 1))
    assert numbers(store, (0, 1)) == [None, None]
    assert numbers(store, (0, 2)) == [10, None]
    assert numbers(store, LATEST) == [10, None]


def test_a_round_done_again_reads_what_it_read_before_and_its_last_writing_counts() -> None:
    store = MemoryStates()
    store.write({0: state(10)}, at=(0, 1))
    store.write({0: state(20)}, at=(0, 2))
    assert numbers(store, (0, 2)) == [10, None]
    store.write({0: state(21)}, at=(0, 2))
    assert numbers(store, (0, 2)) == [10, None]
    assert numbers(store, (0, 3)) == [21, None]


def test_a_phase_goes_on_from_the_last_round_of_the_phase_before() -> None:
    store = MemoryStates()
    store.write({0: state(1), 1: state(2)}, at=(0, 9))
    assert numbers(store, (1, 1)) == [1, 2]


def test_no_more_than_one_earlier_state_is_kept() -> None:
    store = MemoryStates()
    for number in range(1, 50):
        store.write({0: state(number)}, at=(0, number))
    assert len(store._states[0]) == 2
    assert numbers(store, (0, 49)) == [48, None]


def test_everyone_who_has_a_state_is_listed_as_of_a_round() -> None:
    store = MemoryStates()
    store.write({3: state(1)}, at=(0, 1))
    store.write({3: state(2), 4: state(7)}, at=(0, 2))
    assert {person: int(kept["a"][0]) for person, kept in store.everyone((0, 2)).items()} == {3: 1}
    assert {person: int(kept["a"][0]) for person, kept in store.everyone(LATEST).items()} == {3: 2, 4: 7}
