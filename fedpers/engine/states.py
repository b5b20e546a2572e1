"""Where personal states stay between rounds: on the devices' side, never with the server."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import numpy as np
from safetensors.numpy import load_file, save

from fedpers.engine.shards import PEOPLE_A_FILE
from fedpers.errors import InputError
from fedpers.method import State

_OWN = "fedpers-states"  # nothing outside of a folder of such a name is ever removed
_SUFFIX = ".safetensors"

Stamp = tuple[int, int]  # phase and round, in which a state was written
LATEST: Stamp = (sys.maxsize, 0)  # later than any round


class StateStore(Protocol):
    """Personal states by person; workers read before a cohort trains and write what changed.

    A state is stamped with the round it was written in, and a round reads what earlier rounds wrote. So a
    round that is done again, after a worker died in its middle, starts from what it started from before.
    """

    def read(self, persons: Sequence[int], before: Stamp) -> list[State | None]:
        """Returns each person's latest state of an earlier round, None where there is none."""
        ...

    def write(self, states: Mapping[int, State], at: Stamp) -> None:
        """Keeps the states of some people as of a round, and no more than one earlier state of each."""
        ...

    def persons(self) -> list[int]:
        """Returns who has a state."""
        ...

    def clear(self) -> None:
        """Forgets everything."""
        ...

    def close(self) -> None:
        """Forgets everything, and is not used any more."""
        ...


class MemoryStates:
    """States in the memory of this process."""

    def __init__(self) -> None:
        """Starts with nobody's state."""
        self._states: dict[int, list[tuple[Stamp, State]]] = {}

    def read(self, persons: Sequence[int], before: Stamp) -> list[State | None]:
        return [self._latest(person, before) for person in persons]

    def write(self, states: Mapping[int, State], at: Stamp) -> None:
        for person, state in states.items():
            earlier = [kept for kept in self._states.get(person, []) if kept[0] < at]
            self._states[person] = [*earlier[-1:], (at, state)]

    def persons(self) -> list[int]:
        return sorted(self._states)

    def clear(self) -> None:
        self._states.clear()

    def close(self) -> None:
        self.clear()

    def _latest(self, person: int, before: Stamp) -> State | None:
        return next((state for at, state in reversed(self._states.get(person, [])) if at < before), None)


class FileStates:
    """States in a folder that every node of a cluster can reach, a file for each person and round."""

    def __init__(self, folder: Path) -> None:
        """Makes a folder of its own within the one given, which other runs may use at the same time.

        Raises:
            InputError: It cannot be written.
        """
        self._folder = folder / f"{_OWN}-{uuid4().hex}"
        try:
            self.clear()
        except OSError as error:
            raise InputError(f"cannot keep personal states in {folder}: {error.strerror}") from error

    def read(self, persons: Sequence[int], before: Stamp) -> list[State | None]:
        return [self._latest(person, before) for person in persons]

    def write(self, states: Mapping[int, State], at: Stamp) -> None:
        for person, state in states.items():
            home = self._home(person)
            home.mkdir(parents=True, exist_ok=True)
            unfinished = home / "unfinished"
            unfinished.write_bytes(save({name: np.array(array, order="C") for name, array in state.items()}))
            unfinished.replace(home / f"{at[0]}-{at[1]}{_SUFFIX}")
            stamps = _stamps(home)
            earlier = [stamp for stamp in stamps if stamp < at]
            for stamp in set(stamps) - {at, *earlier[-1:]}:
                (home / f"{stamp[0]}-{stamp[1]}{_SUFFIX}").unlink()

    def persons(self) -> list[int]:
        return sorted(int(home.name) for home in self._folder.glob("*/*") if home.name.isdecimal())

    def clear(self) -> None:
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._folder.mkdir(parents=True)

    def close(self) -> None:
        # A worker that is being ended may write once more, which then stays.
        shutil.rmtree(self._folder, ignore_errors=True)

    def _latest(self, person: int, before: Stamp) -> State | None:
        home = self._home(person)
        earlier = [stamp for stamp in _stamps(home) if stamp < before]
        return load_file(home / f"{earlier[-1][0]}-{earlier[-1][1]}{_SUFFIX}") if earlier else None

    def _home(self, person: int) -> Path:
        # A thousand people a folder: file systems are slow with a million entries in one.
        return self._folder / f"{person // 1000}" / f"{person}"


def latest(store: StateStore, before: Stamp) -> Iterator[tuple[int, State]]:
    """Gives everyone's latest state of an earlier round, and holds few of them at a time."""
    persons = store.persons()
    for start in range(0, len(persons), PEOPLE_A_FILE):
        some = persons[start : start + PEOPLE_A_FILE]
        for person, state in zip(some, store.read(some, before), strict=True):
            if state is not None:
                yield person, state


def restore(store: StateStore, states: Iterable[Mapping[int, State]], at: Stamp) -> None:
    """Has a store forget everything and keep these states, some people's at a time."""
    store.clear()
    for some in states:
        store.write(some, at)


def _stamps(home: Path) -> list[Stamp]:
    """Returns when a person's states were written, in order."""
    parts = (path.name.removesuffix(_SUFFIX).split("-") for path in home.glob(f"*{_SUFFIX}"))
    return sorted((int(phase), int(number)) for phase, number in parts)
