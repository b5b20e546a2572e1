"""Why a mixture of Beta distributions does not tell whose distributions it is made of.

Ding et al., KDD 2025, arXiv 2501.06062, theorem 1: mixtures of a family can be taken apart exactly when the
family is linearly independent (Teicher). Beta densities are dependent, since x + (1 - x) = 1:

    f_{a,b} = a / (a + b) f_{a+1,b} + b / (a + b) f_{a,b+1}.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from fedpers.errors import InputError
from fedpers.models.families import Doubles


@dataclass(frozen=True)
class BetaMixture:
    """People of Beta distributions, weighted by their shares of the uploads.

    Attributes:
        weights: Shares (people,), which add up to 1.
        alphas: First parameters (people,).
        betas: Second parameters (people,).
    """

    weights: Doubles
    alphas: Doubles
    betas: Doubles


def equal_mixtures(a: float, b: float) -> tuple[BetaMixture, BetaMixture]:
    """Returns two mixtures of the same density, both of two people, one of whom differs.

    The first holds (a, b) and (a + 1, b) half and half; the shift identity turns (a, b) into its neighbours.

    Raises:
        InputError: a or b is not above 0.
    """
    if not (a > 0 and b > 0):
        raise InputError(f"Beta({a}, {b}) is no distribution: both parameters must be above 0")
    up, down = a / (a + b), b / (a + b)
    one = BetaMixture(np.array([0.5, 0.5]), np.array([a, a + 1]), np.array([b, b]))
    other = BetaMixture(np.array([up + 1, down]) / 2, np.array([a + 1, a]), np.array([b, b + 1]))
    return one, other


def mixture_density(mixture: BetaMixture, points: Doubles) -> Doubles:
    """Returns the density at points (points,) in (0, 1)."""
    each: Doubles = beta.pdf(points[:, None], mixture.alphas, mixture.betas)
    found: Doubles = each @ mixture.weights
    return found
