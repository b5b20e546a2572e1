"""How seldom an attacker can misattribute at least: a lower bound from distances between distributions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedpers.data import Ints
from fedpers.models.families import Density, Doubles

_ROUNDING = 1e-12  # of sums over people; without it a bound of 0 would come out above it


def misattribution_bound(
    density: Density,
    theta: Mapping[str, Doubles],
    shares: Doubles,
    uploads: int = 1,
    kinds: Ints | None = None,
    references: int = 8,
) -> float:
    """Returns a lower bound of the expected misattribution of whoever knows distributions and shares.

    Person m has the density f_m and a share p_m of the decisions. Any rule decides on one person at a
    point u, so its success is at most the integral of max_m p_m f_m. For any density g and the largest share
    p, p_m f_m <= p g + p_m (f_m - g)+, hence max_m p_m f_m <= p g + sum_m p_m (f_m - g)+. The integral of
    (f_m - g)+ is the total variation TV, so that

        misattribution >= 1 - p - sum_m p_m TV(f_m, g);

    with equal shares and g a person's own density this is 1 - (1 + sum_{m != g} TV(f_m, g)) / people. The
    best g is taken among the density of the mean parameters and those of the people nearest to them. Where
    the sender's kind is known, the successes in each kind are bounded so and added up. Densities of linked
    uploads are products. Not bounded are decisions taken together, which share out a known number of uploads.

    Args:
        density: What is known of uploads; any upper bound of its total variation keeps this one true.
        theta: Everyone's parameters (people, coordinates), by name.
        shares: Share of decisions of the first people (people,); of those left out, 0.
        uploads: How many uploads each decision rests on.
        kinds: Everyone's kind (people,), where the attacker learns it.
        references: How many people are tried as g.
    """
    people = len(next(iter(theta.values())))
    weights = np.pad(shares, (0, people - len(shares)))
    of = np.zeros(people, dtype=np.int64) if kinds is None else kinds
    success = 0.0
    for kind in np.unique(of):
        own = {name: values[of == kind] for name, values in theta.items()}
        success += _success(density, own, weights[of == kind], uploads, references)
    return max(0.0, 1 - success - _ROUNDING)


def _success(
    density: Density, theta: Mapping[str, Doubles], weights: Doubles, uploads: int, references: int
) -> float:
    """Returns the bound p + sum_m p_m TV(f_m, g) for the best g, and no more than the sum of the weights."""
    mean = {name: values.mean(axis=0, keepdims=True) for name, values in theta.items()}
    away = sum(((values - mean[name]) ** 2).sum(axis=1) for name, values in theta.items())
    nearest = np.argsort(away)[:references]
    tried = [mean, *({name: values[[place]] for name, values in theta.items()} for place in nearest)]
    sums = [float(weights @ density.total_variation(theta, g, uploads)) for g in tried]
    return float(min(weights.sum(), weights.max() + min(sums)))
