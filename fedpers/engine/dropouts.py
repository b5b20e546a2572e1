"""Devices that do not reply: those that fail, where that is allowed, and those lost by a seeded draw."""

from __future__ import annotations

from dataclasses import dataclass

from fedpers.seeds import stream

DROPPED = "dropped out"  # the reason of a device lost by the draw


@dataclass(frozen=True)
class Dropouts:
    """Which devices may fail to reply; by default none.

    Attributes:
        allow: Whether a device that fails is left out, instead of ending the run.
        rate: Share of the sampled devices that drop out by themselves, in [0, 1), each independently in
            each round, such as stragglers that a server does not wait for.
        seed: The run's seed.
    """

    allow: bool = False
    rate: float = 0.0
    seed: int = 0

    def drops(self, phase: int, round: int, person: int) -> bool:
        """Tells whether a sampled device drops out by itself; the same in any process."""
        return self.rate > 0 and stream(self.seed, "dropout", phase, round, person).random() < self.rate
