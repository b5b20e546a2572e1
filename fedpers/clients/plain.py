"""The conventional device: fine-tunes the whole shared model on its own texts and keeps nothing.

It is the baseline of every personalised method, and the shape of those that only read their input in
another way (McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data,
AISTATS 2017, arXiv 1602.05629: ClientUpdate).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import TypeVar

from fedpers.data import Population
from fedpers.method import Client, Device, Enrolment, Shared, State, Update
from fedpers.models import Examples, Masking, Model, Trained, encode, insert, pool
from fedpers.settings import LocalSettings
from fedpers.training import Answers, Doubles, Floats, Pass, Plan, answer, log_odds, logits

Whole = TypeVar("Whole", Answers, Doubles, Floats)


@dataclass(frozen=True)
class Plain:
    """A device without personalisation.

    Attributes:
        local: How it trains in a round.
        masking: How words are hidden, for a device that learns to guess them; None learns the task.
        frozen: Groups of parameters that stay as they are.
    """

    local: LocalSettings
    masking: Masking | None = field(default=None, kw_only=True)
    frozen: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def plan(self) -> Plan:
        """How it trains in a round."""
        return replace(Plan.local(self.local), masking=self.masking, frozen=self.frozen)

    def enrol(self, model: Model, population: Population, seed: int) -> Enrolment:
        """Gives everyone an empty state."""
        return lambda person: {}

    def encode(self, model: Model, device: Device) -> Examples:
        """Encodes the texts alone."""
        return encode(model, device.samples)

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Update], list[State]]:
        """Trains the shared model for all devices in one pass, each from the broadcast."""
        if shared.frozen:
            insert(shared.model.module, shared.whole)
        parts = [self.encode(shared.model, device) for device in cohort]
        starts, draws = [shared.arrays] * len(cohort), [device.draw for device in cohort]
        fitted = shared.fit(starts, parts, self.plan, draws)
        return updates_of(parts, fitted), [device.state for device in cohort]

    def predict(self, shared: Shared, cohort: Sequence[Device]) -> list[Answers]:
        """Returns the shared model's answers."""
        return answers_of(self, shared, cohort)

    def log_odds(self, shared: Shared, cohort: Sequence[Device]) -> list[Doubles]:
        """Returns the log odds that the shared model gives to right answers."""
        return odds_of(self, shared, cohort)

    def logits(self, shared: Shared, cohort: Sequence[Device]) -> list[Floats]:
        """Scores the samples of all devices in common batches; one array (samples, classes) each."""
        insert(shared.model.module, shared.whole)
        parts = [self.encode(shared.model, device) for device in cohort]
        return parted(logits(shared.model, pool(parts)), parts)


def updates_of(parts: Sequence[Examples], fitted: Sequence[tuple[Trained, Sequence[Pass]]]) -> list[Update]:
    """Returns what devices send after training on their samples."""
    return [
        Update(
            trained,
            examples=len(part),
            seen=sum(passed.samples for passed in passes),
            metrics={"train-loss": passes[-1].loss},
        )
        for part, (trained, passes) in zip(parts, fitted, strict=True)
    ]


def answers_of(client: Client, shared: Shared, cohort: Sequence[Device]) -> list[Answers]:
    """Answers the samples of all devices as a client encodes them, in common batches, by the broadcast."""
    insert(shared.model.module, shared.whole)
    parts = [client.encode(shared.model, device) for device in cohort]
    return parted(answer(shared.model, pool(parts)), parts)


def odds_of(client: Client, shared: Shared, cohort: Sequence[Device]) -> list[Doubles]:
    """Returns the log odds of right answers to all devices' samples, read as in `answers_of`."""
    insert(shared.model.module, shared.whole)
    parts = [client.encode(shared.model, device) for device in cohort]
    return parted(log_odds(shared.model, pool(parts)), parts)


def parted(found: Whole, parts: Sequence[Examples]) -> list[Whole]:
    """Returns each device's share of what was found for all devices' samples, in their order."""
    ends = accumulate(map(len, parts), initial=0)
    return [found[start:end] for start, end in pairwise(ends)]
