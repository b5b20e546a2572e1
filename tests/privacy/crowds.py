"""Made-up people whose distributions are known, and their uploads."""

from collections.abc import Mapping

import numpy as np

from fedpers.data import Ints
from fedpers.models.families import Beta, Doubles, Family, Gaussian
from fedpers.privacy import Decisions, Uploads, attribute, distributions

Theta = Mapping[str, Doubles]


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def uploads_of(vectors: Doubles, senders: Ints) -> Uploads:
    return Uploads(vectors, ("",) * len(senders), np.zeros_like(senders), senders)


def gaussians(means: Doubles, spread: float, each: int | Ints, seed: int = 0) -> Uploads:
    """Draws uploads of people with means (people, coordinates)."""
    senders = np.repeat(np.arange(len(means)), each)
    noise = draw(seed).normal(size=(len(senders), means.shape[1]))
    return uploads_of(means[senders] + spread * noise, senders)


def line(*places: float) -> Doubles:
    """Returns means of people on a line, in two dimensions (people, 2)."""
    return np.stack([np.array(places), np.zeros(len(places))], axis=1)


def simulate(family: Family, theta: Theta, each: int | Ints, seed: int) -> Uploads:
    if isinstance(family, Gaussian):
        return gaussians(theta["mean"], family.spread, each, seed)
    assert isinstance(family, Beta)
    senders = np.repeat(np.arange(len(theta["alpha"])), each)
    drawn = draw(seed).beta(theta["alpha"][senders], theta["beta"][senders])
    return uploads_of(np.clip(drawn, 1e-6, 1 - 1e-6), senders)


def attacked(means: Doubles, spread: float, each: int, seed: int = 0) -> Decisions:
    """Returns what the attacker who knows the distributions decides on single uploads."""
    uploads = gaussians(means, spread, each, seed)
    evidence = distributions(Gaussian(spread), {"mean": means}, uploads.vectors)
    return attribute([evidence], uploads.senders, draw(seed + 1))


def rate(decisions: Decisions) -> float:
    return float((decisions.ranks > 0).mean())


def margin(share: float, number: int) -> float:
    """Returns four standard errors of a share among independent decisions."""
    return float(4 * np.sqrt(share * (1 - share) / number))
