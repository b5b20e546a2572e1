"""Personal states in few files; what is expected is what was put in."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedpers.engine.shards import (
    PEOPLE_A_FILE,
    files_of,
    people_of,
    read_file,
    read_states,
    write_file,
    write_states,
)
from fedpers.method import State


def state(number: int) -> State:
    return {"lora k=1/a": np.full((2, 3), number, np.float32), "count": np.array(number)}


def people(count: int, step: int = 1) -> Iterator[tuple[int, State]]:
    return ((number * step, state(number * step)) for number in range(count))


def assert_same(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert (found[name] == array).all()


@pytest.mark.parametrize("count", [0, 1, PEOPLE_A_FILE, PEOPLE_A_FILE + 1])
def test_everyones_state_comes_back_as_it_was(count: int, tmp_path: Path) -> None:
    write_states(tmp_path / "new", people(count, step=3))
    found = {person: own for some in read_states(tmp_path / "new") for person, own in some.items()}
    assert list(found) == [number * 3 for number in range(count)]
    for person, own in found.items():
        assert_same(own, state(person))


def test_arrays_of_every_type_and_order_of_memory_come_back(tmp_path: Path) -> None:
    kept: State = {
        "ids": np.arange(4),
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "flag": np.array(True),
        "half": np.ones(3, np.float16),
    }
    write_file(tmp_path / "one.safetensors", {7: kept})
    [(person, found)] = read_file(tmp_path / "one.safetensors")
    assert person == 7
    assert_same(found, kept)


def test_a_name_may_hold_the_mark_that_parts_it_from_the_person(tmp_path: Path) -> None:
    kept = {"a/b/c": np.ones(1), "a": np.zeros(1)}
    write_file(tmp_path / "one.safetensors", {1: kept, 12: kept})
    found = dict(read_file(tmp_path / "one.safetensors"))
    assert_same(found[1], kept)
    assert_same(found[12], kept)


def test_one_persons_state_is_read_without_the_others(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    write_file(path, dict(people(20)))
    whole = path.read_bytes()
    # Whoever reads another person's numbers finds these instead; the header stays as it was.
    end = 8 + int.from_bytes(whole[:8], "little")
    others = bytearray(whole[:end]) + bytes(len(whole) - end)
    for array in state(13).values():
        place = whole.index(array.tobytes(), end)
        others[place : place + array.nbytes] = array.tobytes()
    path.write_bytes(bytes(others))
    [(person, found)] = read_file(path, 13)
    assert person == 13
    assert_same(found, state(13))


def test_few_files_hold_many_people(tmp_path: Path) -> None:
    write_states(tmp_path / "new", people(2 * PEOPLE_A_FILE + 1))
    files = files_of(tmp_path / "new")
    assert [path.name for path in files] == ["00000.safetensors", "00001.safetensors", "00002.safetensors"]
    assert [len(people_of(path)) for path in files] == [PEOPLE_A_FILE, PEOPLE_A_FILE, 1]


def test_who_is_in_a_file_is_told_in_order(tmp_path: Path) -> None:
    write_file(tmp_path / "some.safetensors", {10: state(1), 9: state(2), 100: state(3)})
    assert people_of(tmp_path / "some.safetensors") == [9, 10, 100]


def test_a_file_that_could_not_be_finished_leaves_the_one_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.safetensors"
    write_file(path, {1: state(1)})

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fedpers.engine.shards.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, {1: state(2)})
    assert_same(dict(read_file(path))[1], state(1))
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_was_written_in_part_is_written_anew(tmp_path: Path) -> None:
    write_states(tmp_path / "new", people(PEOPLE_A_FILE + 1))
    write_states(tmp_path / "new", people(1, step=5))
    [file] = files_of(tmp_path / "new")
    [(person, found)] = read_file(file)
    assert person == 0
    assert_same(found, state(0))


def test_writing_never_holds_more_than_one_files_people(tmp_path: Path) -> None:
    alive: set[int] = set()
    most = 0

    def made() -> Iterator[tuple[int, State]]:
        nonlocal most
        for person in range(3 * PEOPLE_A_FILE):
            array = np.zeros(2)
            alive.add(person)
            weakref.finalize(array, alive.discard, person)
            most = max(most, len(alive))
            own = {"a": array}
            del array
            yield person, own

    write_states(tmp_path / "new", made())
    assert PEOPLE_A_FILE <= most <= PEOPLE_A_FILE + 1  # one more where a generator still has its last one
