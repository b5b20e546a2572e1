"""Where personal states stay between rounds: on the devices' side, never with the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from fedpers.method import State


class StateStore(Protocol):
    """Personal states by person; workers read before a cohort trains and write what changed."""

    def read(self, persons: Sequence[int]) -> list[State | None]:
        """Returns each person's state, None where it was never written."""
        ...

    def write(self, states: Mapping[int, State]) -> None:
        """Keeps the states of some people."""
        ...


class MemoryStates:
    """States in the memory of this process."""

    def __init__(self) -> None:
        """Starts with nobody's state."""
        self._states: dict[int, State] = {}

    def read(self, persons: Sequence[int]) -> list[State | None]:
        return [self._states.get(person) for person in persons]

    def write(self, states: Mapping[int, State]) -> None:
        self._states.update(states)
