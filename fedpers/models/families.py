"""Families of private distributions, from which a device draws a fresh user embedding for every use.

Ding et al.: IDfree-Personalized-Learning, KDD 2025, arXiv 2501.06062. Every coordinate of every user token
has a distribution of its own. Gaussian and Beta are theirs; a family is a small class that can start, draw,
stay valid, and tell its density. All are exponential families, log f(u) = T(u).eta - A(eta) up to a term
that all people share, so that the densities of all uploads under all people are one product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import betaln, ndtr

from fedpers.models.arrays import Arrays
from fedpers.seeds import torch_stream

Theta = Mapping[str, torch.Tensor]
Known = Mapping[str, npt.NDArray[Any]]
Doubles = npt.NDArray[np.float64]

_LEAST_SPREAD = 1e-3
_LEAST_SHAPE = 1e-2  # of alpha and beta
_EDGE = 1e-6  # how near to 0 and 1 a Beta draw may come in float32


class Density(Protocol):
    """What may be known of uploads: everyone's density, and how far two of them are apart."""

    def statistics(self, vectors: Doubles) -> Doubles:
        """Returns T(u) (uploads, 2 coordinates) of uploads (uploads, coordinates)."""
        ...

    def natural(self, theta: Mapping[str, Doubles]) -> tuple[Doubles, Doubles]:
        """Returns eta (people, 2 coordinates) and A(eta) (people,) of parameters (people, coordinates)."""
        ...

    def total_variation(
        self, theta: Mapping[str, Doubles], other: Mapping[str, Doubles], uploads: int = 1
    ) -> Doubles:
        """Returns an upper bound of the total variation between pairs of people (people,).

        Args:
            theta: Parameters (people, coordinates).
            other: Those they are compared with, of the same shape or of one person.
            uploads: How many independent draws of each are compared together.
        """
        ...


@runtime_checkable
class Family(Density, Protocol):
    """A kind of distribution; a person's parameters (theta) are arrays (user tokens, width) by name."""

    def start(self, tokens: int, width: int) -> Arrays:
        """Returns the parameters that everyone starts from."""
        ...

    def release(self, theta: Known, count: int, draw: np.random.Generator) -> npt.NDArray[np.float32]:
        """Returns draws that may leave a device (count, user tokens, width).

        They are made in double precision and rounded once. In single precision, sums of a mean and torch's
        normal numbers of 24 random bits have last bits that tell which mean it was, whatever the noise; of
        this kind are the attacks of Mironov (On Significance of the Least Significant Bits for Differential
        Privacy, CCS 2012).

        Args:
            theta: One device's parameters (user tokens, width).
            count: How many.
            draw: The device's randomness.
        """
        ...

    def draw(self, theta: Theta, counts: Sequence[int], keys: Sequence[int]) -> torch.Tensor:
        """Returns draws (devices, most samples, user tokens, width), differentiable in theta, for a fit.

        They stay on the device.

        Args:
            theta: The devices' parameters (devices, user tokens, width).
            counts: Draws of each device; the rest are zeros.
            keys: Seed of each device's draws.
        """
        ...

    def penalty(self, theta: Theta) -> torch.Tensor | float:
        """Returns what is added to each device's loss (devices,)."""
        ...

    def restrict(self, theta: Theta) -> None:
        """Moves parameters, in place, to the nearest valid ones."""
        ...

    def moments(self, theta: Mapping[str, Doubles]) -> tuple[Doubles, Doubles]:
        """Returns mean and variance of every coordinate, both (people, coordinates)."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """u = mean + spread * eps, eps from the standard normal distribution.

    Attributes:
        spread: Standard deviation of the noise, above 0; where it starts if it is trained.
        mean: Where every coordinate of the mean starts (0.1 in the authors' code).
        trained_spread: Whether the spread is trained too.
        divergence_weight: Weight of the divergence from the standard normal distribution in the loss.
    """

    spread: float = 0.2
    mean: float = 0.1
    trained_spread: bool = False
    divergence_weight: float = 0.0

    def start(self, tokens: int, width: int) -> Arrays:
        mean = np.full((tokens, width), self.mean, dtype=np.float32)
        spread = np.full((tokens, width), self.spread, dtype=np.float32)
        return {"mean": mean, "spread": spread} if self.trained_spread else {"mean": mean}

    def release(self, theta: Known, count: int, draw: np.random.Generator) -> npt.NDArray[np.float32]:
        mean = theta["mean"].astype(np.float64)
        spread = theta["spread"].astype(np.float64) if self.trained_spread else self.spread
        return (mean + spread * draw.standard_normal((count, *mean.shape))).astype(np.float32)

    def draw(self, theta: Theta, counts: Sequence[int], keys: Sequence[int]) -> torch.Tensor:
        mean, most = theta["mean"], max(counts)
        noise = torch.zeros(len(keys), most, *mean.shape[1:])
        for place, count, key in zip(noise, counts, keys, strict=True):
            torch.randn(
                count, *mean.shape[1:], generator=torch.Generator().manual_seed(key), out=place[:count]
            )
        spread = theta["spread"][:, None] if self.trained_spread else self.spread
        drawn = torch.arange(most) < torch.tensor(counts)[:, None]
        return (mean[:, None] + spread * noise.to(mean.device)) * drawn.to(mean)[:, :, None, None]

    def penalty(self, theta: Theta) -> torch.Tensor | float:
        """Returns the divergence KL(N(mean, spread) || N(0, 1)) up to a constant, a mean over coordinates."""
        if not self.divergence_weight:
            return 0.0
        spread = theta.get("spread", torch.tensor(self.spread))
        each = -spread.log() + (theta["mean"] ** 2 + spread**2) / 2
        return self.divergence_weight * each.flatten(1).mean(dim=1)

    def restrict(self, theta: Theta) -> None:
        if self.trained_spread:
            theta["spread"].clamp_(min=_LEAST_SPREAD)

    def moments(self, theta: Mapping[str, Doubles]) -> tuple[Doubles, Doubles]:
        return theta["mean"], self._spread(theta) ** 2

    def statistics(self, vectors: Doubles) -> Doubles:
        return np.concatenate([vectors, vectors**2], axis=1)

    def natural(self, theta: Mapping[str, Doubles]) -> tuple[Doubles, Doubles]:
        mean, spread = theta["mean"], self._spread(theta)
        precision = spread**-2
        partition = (mean**2 * precision / 2 + np.log(spread)).sum(axis=1)
        return np.concatenate([mean * precision, -precision / 2], axis=1), partition

    def total_variation(
        self, theta: Mapping[str, Doubles], other: Mapping[str, Doubles], uploads: int = 1
    ) -> Doubles:
        """Exact where all have the same spread, by the distance of the means; else by the affinity."""
        apart = theta["mean"] - other["mean"]
        if not self.trained_spread:
            distance = np.linalg.norm(apart, axis=1) * np.sqrt(uploads) / self.spread
            exact: Doubles = 2 * ndtr(distance / 2) - 1
            return exact
        one, two = self._spread(theta) ** 2, self._spread(other) ** 2
        both = (one + two) / 2
        logs = -(apart**2) / (8 * both) - np.log(both) / 2 + (np.log(one) + np.log(two)) / 4
        return _from_affinity(uploads * logs.sum(axis=1))

    def _spread(self, theta: Mapping[str, Doubles]) -> Doubles:
        return theta["spread"] if self.trained_spread else np.full_like(theta["mean"], self.spread)


@dataclass(frozen=True)
class Beta:
    """u from Beta(alpha, beta) in (0, 1), a linearly dependent family (their theorem 1).

    Draws nearer to 0 or 1 than float32 tells are moved to the nearest it does. The density does not know of
    that, so attackers by it are weaker than they could be where parameters are below 0.3 or so.

    Attributes:
        alpha: Where every first parameter starts, above 0 (2 in the authors' code).
        beta: Where every second parameter starts, above 0 (5 in the authors' code).
    """

    alpha: float = 2.0
    beta: float = 5.0

    def start(self, tokens: int, width: int) -> Arrays:
        shape = tokens, width
        return {
            "alpha": np.full(shape, self.alpha, dtype=np.float32),
            "beta": np.full(shape, self.beta, dtype=np.float32),
        }

    def release(self, theta: Known, count: int, draw: np.random.Generator) -> npt.NDArray[np.float32]:
        alpha, beta = theta["alpha"].astype(np.float64), theta["beta"].astype(np.float64)
        drawn = draw.beta(alpha, beta, (count, *alpha.shape))
        return drawn.clip(_EDGE, 1 - _EDGE).astype(np.float32)

    def draw(self, theta: Theta, counts: Sequence[int], keys: Sequence[int]) -> torch.Tensor:
        """Draws with torch's pathwise derivative, du = -dF(u; theta) / f(u; theta), in float32."""
        alpha, beta = theta["alpha"].float(), theta["beta"].float()

        def sample(device: int, count: int) -> torch.Tensor:
            found = torch.distributions.Beta(alpha[device], beta[device], validate_args=False)
            return found.rsample((count,)).clamp(_EDGE, 1 - _EDGE)

        return _apart(sample, counts, keys)

    def penalty(self, theta: Theta) -> torch.Tensor | float:
        return 0.0

    def restrict(self, theta: Theta) -> None:
        for shape in theta.values():
            shape.clamp_(min=_LEAST_SHAPE)

    def moments(self, theta: Mapping[str, Doubles]) -> tuple[Doubles, Doubles]:
        total = theta["alpha"] + theta["beta"]
        mean = theta["alpha"] / total
        return mean, mean * (1 - mean) / (total + 1)

    def statistics(self, vectors: Doubles) -> Doubles:
        return np.concatenate([np.log(vectors), np.log1p(-vectors)], axis=1)

    def natural(self, theta: Mapping[str, Doubles]) -> tuple[Doubles, Doubles]:
        alpha, beta = theta["alpha"], theta["beta"]
        return np.concatenate([alpha - 1, beta - 1], axis=1), betaln(alpha, beta).sum(axis=1)

    def total_variation(
        self, theta: Mapping[str, Doubles], other: Mapping[str, Doubles], uploads: int = 1
    ) -> Doubles:
        middle = betaln((theta["alpha"] + other["alpha"]) / 2, (theta["beta"] + other["beta"]) / 2)
        ends = betaln(theta["alpha"], theta["beta"]) + betaln(other["alpha"], other["beta"])
        return _from_affinity(uploads * (middle - ends / 2).sum(axis=1))


def log_densities(family: Density, theta: Mapping[str, Doubles], vectors: Doubles) -> Doubles:
    """Returns the log density of every upload under every person (uploads, people), up to one term each.

    Args:
        family: The family.
        theta: Everyone's parameters (people, coordinates), by name.
        vectors: The uploads (uploads, coordinates).
    """
    eta, partition = family.natural(theta)
    found: Doubles = family.statistics(vectors) @ eta.T - partition
    return found


def _from_affinity(log_affinity: Doubles) -> Doubles:
    """Returns the bound sqrt(1 - affinity^2) of the total variation (Le Cam)."""
    bound: Doubles = np.sqrt(-np.expm1(2 * np.minimum(log_affinity, 0.0)))
    return bound


def _apart(
    sample: Callable[[int, int], torch.Tensor], counts: Sequence[int], keys: Sequence[int]
) -> torch.Tensor:
    """Returns the draws of each device under its own seed, filled up with zeros to the most."""
    parts = []
    for device, (count, key) in enumerate(zip(counts, keys, strict=True)):
        with torch_stream(key):
            own = sample(device, count)
        parts.append(torch.nn.functional.pad(own, (0, 0, 0, 0, 0, max(counts) - count)))
    return torch.stack(parts)
