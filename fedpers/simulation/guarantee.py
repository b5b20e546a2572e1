"""What a run promises under differential privacy: noise for the asked epsilon, rounds within a budget, notes.

What is released is planned before the first round: who is drawn how often, and how many steps each device
takes. So the noise of a target epsilon is exact, and a budget ends training before it would be passed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from fedpers.dp import Guard, SampleNoise, Spent, epsilon, largest
from fedpers.method import Method
from fedpers.settings import PrivacySettings
from fedpers.strategies import Guarded, Private, Release, Strategy

Kind = Literal["user", "sample", "local"]
Unit = Literal["person", "text", "example", "embedding"]
_PROMISES = MappingProxyType(
    {
        "user": "privacy of people: noise multiplier {noise:.3g} on clipped sums, delta {delta:.2g}",
        "sample": "privacy of {unit}s: DP-SGD on devices, noise multiplier {noise:.3g}, delta {delta:.2g}",
        "local": "privacy of uploaded embeddings: noise multiplier {noise:.3g}, delta {delta:.2g}",
    }
)
_OUTSIDE = MappingProxyType(
    {
        "user": "outside the guarantee: what stays on a device, texts of public people, which labels there "
        "are, and what is only shown here (training loss, validation and test scores)",
        "sample": "outside the guarantee: texts of public people, which labels there are, how many texts a "
        "device has and how many a step drew, and what is only shown here (training loss, validation and "
        "test scores)",
        "local": "outside the guarantee: the texts and labels themselves, which are uploaded as they are, "
        "embeddings of later requests, and what is only shown here (scores)",
    }
)


@dataclass(frozen=True)
class Guarantee:
    """What is hidden in a run, how well, and what is not.

    Attributes:
        kind: Where noise is put.
        unit: What is hidden; of texts that are in several training examples, each example.
        settings: The run's settings of privacy.
        delta: Of the guarantee.
        noise_multiplier: In units of the bound.
        rounds: Rounds of each phase, fewer than it asks for where a budget ends it.
        seed: The run's seed.
        texts_leave: Whether the texts themselves are uploaded, which no noise hides.
        releases: How updates are released, by the phase's number; of `user` only.
        guarded: The phases whose devices train or upload with noise of their own; of `sample` and `local`.
        steps: What a round of a phase releases of everybody; not of `sample`.
    """

    kind: Kind
    unit: Unit
    settings: PrivacySettings
    delta: float
    noise_multiplier: float
    rounds: tuple[int, ...]
    seed: int
    texts_leave: bool = False
    releases: Mapping[int, Release] = field(default_factory=dict)
    guarded: frozenset[int] = frozenset()
    steps: Mapping[int, Spent] = field(default_factory=dict)

    def strategy(self, number: int, inner: Strategy) -> Strategy:
        """Returns a phase's strategy with the guarantee around it."""
        if number in self.releases:
            return Private(inner, self.releases[number], self.seed, str(number))
        if self.kind == "local" and number in self.guarded:
            return Guarded(inner, Guard(self.settings.bound, noise_multiplier=self.noise_multiplier))
        return inner

    def noise(self, number: int) -> SampleNoise | None:
        """Returns how devices hide each text while they train in a phase."""
        if self.kind != "sample" or number not in self.guarded:
            return None
        return SampleNoise(self.settings.bound, self.noise_multiplier)

    def epsilon(self, history: Sequence[Spent]) -> float:
        """Returns the epsilon of what was released, by the run's accountant."""
        return epsilon(history, self.delta, self.settings.accountant)

    def largest(self, histories: Iterable[Sequence[Spent]]) -> tuple[float, Sequence[Spent]]:
        """Returns the largest epsilon of several histories, by the run's accountant, and whose it is."""
        return largest(histories, self.delta, self.settings.accountant)

    def among(self, people: int, seed: int) -> Guarantee:
        """Returns the same noise in a run of another seed with other people, as an attacker would redo it."""
        releases = {number: release.among(people) for number, release in self.releases.items()}
        return replace(self, releases=releases, seed=seed)

    def summary(self) -> dict[str, Any]:
        """Returns the terms as a run's record has them; of numbers that are not finite none is written."""
        asked, releases = self.settings, [*self.releases.values()]
        clip = asked.bound if math.isfinite(asked.bound) else None
        return {
            "dp": self.kind,
            "unit": self.unit,
            "texts_leave": self.texts_leave,
            "delta": self.delta,
            "noise_multiplier": self.noise_multiplier,
            "clip": clip,
            "clipping": asked.clipping,
            "accountant": "rdp" if self.kind == "user" and asked.sampling == "fixed" else asked.accountant,
            "sampling": asked.sampling if self.kind == "user" else None,
            "rate": releases[0].rate if releases else None,
            "noised_as": asked.noise_cohort,
            "rounds": list(self.rounds),
        }

    def notes(self, method: Method) -> tuple[str, ...]:
        """Tells what is promised and what is not, one line each."""
        told = [_PROMISES[self.kind].format(unit=self.unit, noise=self.noise_multiplier, delta=self.delta)]
        for phase, rounds in zip(method.phases, self.rounds, strict=True):
            if rounds < phase.rounds:
                told.append(f"the budget allows {rounds} of {phase.rounds} {phase.name} rounds")
        if self.settings.noise_cohort is not None:
            told.append(
                f"simulated: noise as if {self.settings.noise_cohort} devices were in a round; epsilon is "
                "that federation's, not this one's"
            )
        if self.unit == "example":
            told.append(
                "one text is in several training examples here: epsilon is of a single example, and of a "
                "text in n of them by group privacy some 2n times that"
            )
        if self.kind == "sample" and self.texts_leave:
            told.append(
                f"{method.name} uploads its texts as they are: what is hidden is only what devices learn "
                "from them"
            )
        return (*told, _OUTSIDE[self.kind])

    def so_far(self, history: Sequence[Spent]) -> float:
        """Returns a bound on it that is quick enough for every round, by Rényi divergences."""
        return epsilon(history, self.delta, "rdp")
