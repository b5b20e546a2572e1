"""What a run has released so far under differential privacy: an append-only history, and its epsilon."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fedpers.dp import Spent, merged
from fedpers.engine import Aside
from fedpers.errors import InputError
from fedpers.simulation.guarantee import Guarantee

_KEY = "privacy"  # in a checkpoint's record


@dataclass
class Ledger:
    """The history of a run's releases; nothing in it is ever taken back.

    Attributes:
        guarantee: What the run promises.
        of_all: Releases that everybody shares, in order, equal ones after another as one with more steps.
        of_person: Releases of each person's own training.
        epsilon: An upper bound on what the worst off have spent, by Rényi divergences.
    """

    guarantee: Guarantee
    of_all: list[Spent] = field(default_factory=list)
    of_person: dict[int, list[Spent]] = field(default_factory=dict)
    epsilon: float = 0.0

    def spend(self, phase: int, kept: Aside) -> str:
        """Records what a round released, and tells how things stand."""
        step = self.guarantee.steps.get(phase)
        if step is not None and (self.guarantee.kind == "user" or kept.senders is not None):
            _append(self.of_all, step)
            self.epsilon = self.guarantee.so_far(self.of_all)
        for person, spent in kept.spent.items():
            own = self.of_person.setdefault(person, [])
            for release in spent:
                _append(own, release)
            self.epsilon = max(self.epsilon, self.guarantee.so_far(own))
        return f"epsilon < {self.epsilon:.2f}" if self.of_all or self.of_person else ""

    @property
    def finite(self) -> bool:
        """Whether there was noise on everything that was released."""
        return math.isfinite(self.epsilon)

    def copy(self) -> Ledger:
        """Returns the history as it is now, which later rounds leave alone."""
        own = {person: list(spent) for person, spent in self.of_person.items()}
        return replace(self, of_all=list(self.of_all), of_person=own)

    def record(self) -> dict[str, Any]:
        """Returns the history as a checkpoint has it."""
        return {
            _KEY: {
                "of_all": [asdict(spent) for spent in self.of_all],
                "of_person": {str(p): [asdict(spent) for spent in own] for p, own in self.of_person.items()},
                "epsilon": self.epsilon,
            }
        }

    def restore(self, record: Mapping[str, Any]) -> None:
        """Takes over the history of a checkpoint.

        Raises:
            InputError: It has none, so nobody knows what was spent.
        """
        kept = record.get(_KEY)
        if kept is None:
            raise InputError(
                "the checkpoint has no history of what was spent on privacy, so epsilon cannot be told: "
                "start the run again"
            )
        self.of_all = [Spent(**spent) for spent in kept["of_all"]]
        self.of_person = {int(p): [Spent(**spent) for spent in own] for p, own in kept["of_person"].items()}
        self.epsilon = kept["epsilon"]

    def summary(self) -> dict[str, Any]:
        """Returns what was spent in the end, as a run's record has it."""
        guarantee = self.guarantee
        found: dict[str, Any] = guarantee.summary()
        if guarantee.kind != "sample":
            found["epsilon"] = _finite(guarantee.epsilon(self.of_all))
            found["releases"] = sum(spent.steps for spent in self.of_all)
            return found
        each = sorted(map(merged, self.of_person.values()), key=guarantee.so_far)
        half = each[: math.ceil(len(each) / 2)]
        found["epsilon"] = _finite(guarantee.largest(each)[0])
        found["epsilon_median"] = _finite(guarantee.largest(half)[0])
        found["people"] = len(each)
        return found


def _finite(epsilon: float) -> float | None:
    """Returns an epsilon, or None for an infinite one, which JSON does not have."""
    return epsilon if math.isfinite(epsilon) else None


def _append(history: list[Spent], release: Spent) -> None:
    """Adds a release to a history, to the last one's steps where it is of the same kind."""
    if history and replace(history[-1], steps=release.steps) == release:
        history[-1] = replace(release, steps=history[-1].steps + release.steps)
    else:
        history.append(release)
