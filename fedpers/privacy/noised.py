"""Uploads that devices cut to a bound and noised before they left: what attackers know of those.

Known are everyone's distribution, the bound and the noise, not what was drawn. The density of an upload that
was cut has no closed form; a Gaussian of about the same mean and variance stands for it. What bounds an
attacker before uploads are cut and noised bounds it afterwards, for it could do both itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedpers.dp import Guard
from fedpers.models.families import Doubles, Family, Gaussian

_NORMAL = Gaussian(trained_spread=True)


@dataclass(frozen=True)
class Noised:
    """The density of uploads behind a guard, for attackers.

    Attributes:
        family: What they were drawn from.
        guard: Bound and noise.
    """

    family: Family
    guard: Guard

    def statistics(self, vectors: Doubles) -> Doubles:
        """Returns T(u) (uploads, 2 coordinates) of uploads (uploads, coordinates)."""
        return _NORMAL.statistics(vectors)

    def natural(self, theta: Mapping[str, Doubles]) -> tuple[Doubles, Doubles]:
        """Returns eta (people, 2 coordinates) and A(eta) (people,) of parameters (people, coordinates).

        Draws of many coordinates are all about as long as their root mean square, so each person's are cut
        to about the same share.
        """
        mean, variance = self.family.moments(theta)
        length = np.sqrt((mean**2 + variance).sum(axis=1, keepdims=True))
        share = np.minimum(1.0, self.guard.clip / np.maximum(length, np.finfo(np.float64).tiny))
        multiplier = self.guard.noise_multiplier
        noise = self.guard.clip * multiplier if multiplier else 0.0
        return _NORMAL.natural({"mean": share * mean, "spread": np.sqrt(share**2 * variance + noise**2)})

    def total_variation(
        self, theta: Mapping[str, Doubles], other: Mapping[str, Doubles], uploads: int = 1
    ) -> Doubles:
        """Returns that of the distributions themselves, an upper bound by data processing (people,)."""
        return self.family.total_variation(theta, other, uploads)
