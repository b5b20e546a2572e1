import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fedpers.engine import LATEST, FileStates, MemoryStates, Stamp, StateStore
from fedpers.engine.shards import PEOPLE_A_FILE
from fedpers.engine.states import latest, restore
from fedpers.errors import InputError
from fedpers.experiments import find
from fedpers.method import State
from fedpers.models import digest
from fedpers.report.progress import Reporter
from fedpers.simulation import prepare, simulate
from tests.conftest import small


@pytest.fixture(params=["memory", "files"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    return MemoryStates() if request.param == "memory" else FileStates(tmp_path / "states")


def state(number: int) -> State:
    return {"a": np.array([number])}


def numbers(
    store: StateStore, before: tuple[int, int], persons: tuple[int, ...] = (0, 1)
) -> list[int | None]:
    return [None if kept is None else int(kept["a"][0]) for kept in store.read(persons, before)]


def test_a_round_reads_what_earlier_rounds_wrote(store: StateStore) -> None:
    store.write({0: state(10)}, at=(0, 1))
    assert numbers(store, (0, 1)) == [None, None]
    assert numbers(store, (0, 2)) == [10, None]
    assert numbers(store, LATEST) == [10, None]


def test_a_round_done_again_reads_what_it_read_before_and_its_last_writing_counts(store: StateStore) -> None:
    store.write({0: state(10)}, at=(0, 1))
    store.write({0: state(20)}, at=(0, 2))
    assert numbers(store, (0, 2)) == [10, None]
    store.write({0: state(21)}, at=(0, 2))
    assert numbers(store, (0, 2)) == [10, None]
    assert numbers(store, (0, 3)) == [21, None]


def test_a_phase_goes_on_from_the_last_round_of_the_phase_before(store: StateStore) -> None:
    store.write({0: state(1), 1: state(2)}, at=(0, 9))
    assert numbers(store, (1, 1)) == [1, 2]


def test_no_more_than_one_earlier_state_is_kept(store: StateStore) -> None:
    for number in range(1, 50):
        store.write({0: state(number)}, at=(0, number))
    assert numbers(store, (0, 49)) == [48, None]
    assert numbers(store, (0, 48)) == [None, None]


def test_everyone_who_has_a_state_is_listed_as_of_a_round(store: StateStore) -> None:
    store.write({3: state(1)}, at=(0, 1))
    store.write({3: state(2), 4: state(7)}, at=(0, 2))
    assert {person: int(kept["a"][0]) for person, kept in latest(store, (0, 2))} == {3: 1}
    assert {person: int(kept["a"][0]) for person, kept in latest(store, LATEST)} == {3: 2, 4: 7}
    assert store.persons() == [3, 4]


def test_states_are_listed_in_the_order_of_people_however_many_they_are(store: StateStore) -> None:
    everyone = [*range(PEOPLE_A_FILE + 2, 0, -1), 5000]
    store.write({person: state(person) for person in everyone}, at=(0, 1))
    found = [(person, int(kept["a"][0])) for person, kept in latest(store, LATEST)]
    assert found == [(person, person) for person in sorted(everyone)]


def test_states_are_read_some_people_at_a_time() -> None:
    asked: list[int] = []

    class Counting(MemoryStates):
        def read(self, persons: Sequence[int], before: Stamp) -> list[State | None]:
            asked.append(len(persons))
            return super().read(persons, before)

    store = Counting()
    store.write({person: state(person) for person in range(3 * PEOPLE_A_FILE)}, at=(0, 1))
    next(latest(store, LATEST))
    assert asked == [PEOPLE_A_FILE]


def test_a_store_is_replaced_as_a_whole_when_a_run_goes_on(store: StateStore) -> None:
    store.write({0: state(1), 1: state(1)}, at=(0, 3))
    restore(store, [{1: state(5)}, {2: state(6)}], at=(0, 2))
    assert numbers(store, LATEST, (0, 1, 2)) == [None, 5, 6]
    assert numbers(store, (0, 2), (0, 1, 2)) == [None, None, None]
    assert numbers(store, (0, 3), (0, 1, 2)) == [None, 5, 6]


def test_a_cleared_store_has_nobodys_state(store: StateStore) -> None:
    store.write({0: state(1)}, at=(0, 3))
    store.clear()
    assert store.persons() == []
    assert numbers(store, LATEST) == [None, None]


def test_files_keep_every_kind_of_array_and_empty_states(tmp_path: Path) -> None:
    kept: State = {"ids": np.arange(4), "matrix": np.eye(3, dtype=np.float32).T, "flag": np.array(True)}
    store = FileStates(tmp_path)
    store.write({7: kept, 8: {}}, at=(0, 1))
    store = pickle.loads(pickle.dumps(store))  # a worker's copy removes nothing
    found, nothing = store.read([7, 8], LATEST)
    assert found is not None
    assert nothing == {}
    assert all(
        np.array_equal(found[name], array) and found[name].dtype == array.dtype
        for name, array in kept.items()
    )


def test_runs_that_share_a_folder_have_their_own_states_and_remove_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "2024").mkdir()
    (tmp_path / "2024" / "thesis.txt").write_text("years of work")
    first, second = FileStates(tmp_path), FileStates(tmp_path)
    first.write({7: state(1)}, at=(0, 1))
    assert numbers(second, LATEST, (7,)) == [None]
    second.write({7: state(2)}, at=(0, 1))
    assert numbers(first, LATEST, (7,)) == [1]
    second.clear()
    assert numbers(first, LATEST, (7,)) == [1]
    assert (tmp_path / "2024" / "thesis.txt").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"^cannot keep personal states in .*file: "):
        FileStates(tmp_path / "file")


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_with_states_in_files_is_the_run_with_them_in_memory(
    workers: int, tmp_path: Path, silent: Reporter
) -> None:
    def weights(**engine: object) -> str:
        settings = small(engine={"cohort_size": 2, **engine})
        return digest(simulate(prepare(settings, find("user-identifier").build, silent), silent).arrays)

    assert weights() == weights(workers=workers, state_folder=str(tmp_path))
