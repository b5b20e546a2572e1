"""LiRA: how likely a model's confidence is under models that were trained with a text, and without it.

Carlini, Chien, Nasr, Song, Terzis, Tramer: Membership Inference Attacks From First Principles, IEEE S&P 2022,
arXiv 2112.03570. The confidence is phi = log p / (1 - p), p being the probability of the true answer, whose
distribution over shadow models is close to a Gaussian. What is said of texts here holds for people too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedpers.models.families import Doubles

Bools = npt.NDArray[np.bool_]

_ENOUGH = 32  # shadow models on either side, from which on each text has a variance of its own (their 64)
_LEAST_VARIANCE = 1e-12  # where all shadow models say the same


def online(observed: Doubles, shadows: Doubles, inside: Bools) -> Doubles:
    """Returns the log of the likelihood ratio of each text (texts,): in over out (algorithm 1).

    Args:
        observed: The attacked model's phi (texts,).
        shadows: That of the shadow models (shadows, texts).
        inside: Whether each was trained with the text (shadows, texts); at least one was, and one was not.
    """
    return _log_density(observed, shadows, inside) - _log_density(observed, shadows, ~inside)


def offline(observed: Doubles, shadows: Doubles, inside: Bools) -> Doubles:
    """Returns how far phi lies above what is usual without a text (texts,), in standard deviations.

    It rises with the paper's 1 - Pr[Z > phi], and does not come to an end at 1. Shadow models that were
    trained with the text are not looked at.

    Args:
        observed: The attacked model's phi (texts,).
        shadows: That of the shadow models (shadows, texts).
        inside: Whether each was trained with the text (shadows, texts); at least one was not.
    """
    mean, variance = _gaussians(shadows, ~inside)
    found: Doubles = (observed - mean) / np.sqrt(variance)
    return found


def _log_density(observed: Doubles, shadows: Doubles, chosen: Bools) -> Doubles:
    mean, variance = _gaussians(shadows, chosen)
    density: Doubles = -((observed - mean) ** 2) / (2 * variance) - np.log(variance) / 2
    return density


def _gaussians(shadows: Doubles, chosen: Bools) -> tuple[Doubles, Doubles]:
    """Returns mean and variance of some shadow models' phi for each text, each (texts,).

    With few shadow models the variance is that around each text's own mean, over all texts together, as the
    paper advises below 64 models.
    """
    counts = chosen.sum(axis=0)
    mean: Doubles = np.where(chosen, shadows, 0.0).sum(axis=0) / counts
    squares = (np.where(chosen, shadows - mean, 0.0) ** 2).sum(axis=0)
    if counts.min() >= _ENOUGH:
        variance = squares / (counts - 1)
    else:
        variance = np.full(len(mean), squares.sum() / max(1, int((counts - 1).sum())))
    return mean, np.maximum(variance, _LEAST_VARIANCE)
