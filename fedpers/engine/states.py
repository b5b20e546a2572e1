"""Where personal states stay between rounds: on the devices' side, never with the server."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

from fedpers.method import State

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

    def everyone(self, before: Stamp) -> dict[int, State]:
        """Returns the latest state of an earlier round of everyone who has one."""
        latest = {person: self._latest(person, before) for person in self._states}
        return {person: state for person, state in latest.items() if state is not None}

    def _latest(self, person: int, before: Stamp) -> State | None:
        return next((state for at, state in reversed(self._states.get(person, [])) if at < before), None)
