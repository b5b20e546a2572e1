"""Tuning on the device: everyone has the whole model to themselves, and nothing leaves.

The baseline of IDfree-PL (Ding et al., KDD 2025, arXiv 2501.06062): the central model, tuned on one person's
texts alone, which are few. What is kept of a person's model are the parameters that moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpers.data import Population
from fedpers.method import Device, Enrolment, Shared, State, Update
from fedpers.models import Arrays, Examples, Model, Rows, Trained, encode, insert, whole
from fedpers.training import Answers, Doubles, Plan, answer, log_odds

_INDEX, _CHANGE = "/index", "/change"  # of a table of which only some rows moved


@dataclass(frozen=True)
class OnDevice:
    """A device that tunes a model of its own.

    Attributes:
        plan: How.
    """

    plan: Plan

    def enrol(self, model: Model, population: Population, seed: int) -> Enrolment:
        """Gives everyone an empty state, which stands for the broadcast model."""
        return lambda person: {}

    def encode(self, model: Model, device: Device) -> Examples:
        """Encodes the texts alone."""
        return encode(model, device.samples)

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Update], list[State]]:
        """Tunes the broadcast model for all devices in one pass; each keeps its own."""
        parts = [self.encode(shared.model, device) for device in cohort]
        starts, draws = [shared.arrays] * len(cohort), [device.draw for device in cohort]
        fitted = shared.fit(starts, parts, self.plan, draws)
        return [], [_state_of(trained) for trained, _ in fitted]

    def predict(self, shared: Shared, cohort: Sequence[Device]) -> list[Answers]:
        """Returns the answers by everyone's own model, or by the broadcast one."""
        return [answer(model, self.encode(model, device)) for model, device in _own_models(shared, cohort)]

    def log_odds(self, shared: Shared, cohort: Sequence[Device]) -> list[Doubles]:
        """Returns the log odds of right answers by everyone's own model, or by the broadcast one."""
        return [log_odds(model, self.encode(model, device)) for model, device in _own_models(shared, cohort)]


def _own_models(shared: Shared, cohort: Sequence[Device]) -> Iterator[tuple[Model, Device]]:
    """Gives every device with the model set to its own parameters, or to the broadcast."""
    for device in cohort:
        own = whole(_trained_of(device.state, shared.arrays), shared.arrays) if device.state else {}
        insert(shared.model.module, own or shared.arrays)
        yield shared.model, device


def _state_of(trained: Trained) -> State:
    """Returns what training gave as plain arrays, two for a table of which only some rows moved."""
    state: dict[str, npt.NDArray[np.generic]] = {}
    for name, value in trained.items():
        if isinstance(value, Rows):
            state |= {f"{name}{_INDEX}": value.index, f"{name}{_CHANGE}": value.change}
        else:
            state[name] = value
    return state


def _trained_of(state: State, broadcast: Arrays) -> Trained:
    """Returns what `_state_of` made arrays of."""
    trained: dict[str, Any] = {}
    for name, table in broadcast.items():
        if name in state:
            trained[name] = state[name]
        else:
            trained[name] = Rows(state[f"{name}{_INDEX}"], state[f"{name}{_CHANGE}"], len(table))  # type: ignore[arg-type]  # integers and floats, as they went in
    return trained
