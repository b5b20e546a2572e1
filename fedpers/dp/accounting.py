"""Epsilon from what was released, by opacus' accountants, and noise for a wanted epsilon.

Poisson sampling is accounted by opacus: RDP (Mironov, 2017, arXiv 1702.07476; Mironov et al., 2019, arXiv
1908.10530) or PRV (Gopi et al., NeurIPS 2021, arXiv 2106.02848). Guarantees then hold for adding or removing
a person. For samples of fixed size opacus has nothing: their Rényi divergence is bounded as by Wang et al.
(AISTATS 2019, arXiv 1808.00087, theorem 27), for replacing a person by another.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from opacus.accountants import PRVAccountant
from opacus.accountants.analysis.rdp import compute_rdp, get_privacy_spent
from scipy.special import gammaln, logsumexp

from fedpers.errors import InputError

Sampling = Literal["poisson", "fixed"]
Accountant = Literal["prv", "rdp"]

_ORDERS = (*(1 + x / 10 for x in range(1, 110)), *range(12, 64), *range(64, 257, 16), 320, 384, 512)
_FIXED_ORDERS = (*(1 + x / 10 for x in range(1, 110)), *range(12, 129))
_LEAST_ERROR, _RELATIVE_ERROR = 1e-3, 2e-3  # by which PRV's epsilon may be too large, absolute and of it
_MOST_NOISE = 1e6
_DIGITS = 500
_LEAST_LEFT = Decimal(10) ** -400  # of terms that cancel; below it rounding could be what is left


@dataclass(frozen=True)
class Spent:
    """Some releases of the same mechanism, one after another.

    Attributes:
        noise_multiplier: Standard deviation of the Gaussian noise, in units of the clipping bound.
        rate: Share of all units (people or texts) that a release draws, in (0, 1].
        steps: How many releases, 1 or more.
        sampling: How they are drawn.
    """

    noise_multiplier: float
    rate: float
    steps: int
    sampling: Sampling = "poisson"


def merged(history: Sequence[Spent]) -> tuple[Spent, ...]:
    """Returns a history with the steps of the same mechanism added up, in order of first appearance.

    >>> merged([Spent(1.0, 0.1, 2), Spent(2.0, 0.1, 1), Spent(1.0, 0.1, 3)])[0].steps
    5
    """
    steps: dict[Spent, int] = {}
    for spent in history:
        kind = replace(spent, steps=0)
        steps[kind] = steps.get(kind, 0) + spent.steps
    return tuple(replace(kind, steps=count) for kind, count in steps.items())


def epsilon(history: Sequence[Spent], delta: float, accountant: Accountant = "prv") -> float:
    """Returns the epsilon of all releases together; infinite if one of them has no noise.

    Args:
        history: What was released, in any order.
        delta: In (0, 1).
        accountant: For Poisson sampling; samples of fixed size are always composed by Rényi divergences.

    Raises:
        ValueError: Different ways of sampling, whose guarantees are of different kinds.
    """
    return _epsilon(merged(history), delta, accountant)


@lru_cache(maxsize=4096)
def _epsilon(history: tuple[Spent, ...], delta: float, accountant: Accountant) -> float:
    if not history:
        return 0.0
    if any(spent.noise_multiplier == 0 for spent in history):
        return math.inf
    kinds = {spent.sampling for spent in history}
    if len(kinds) > 1:
        raise ValueError("samples of fixed size and Poisson samples cannot be accounted together")
    if kinds == {"fixed"}:
        each = [spent.steps * _fixed_rdp(spent.noise_multiplier, spent.rate) for spent in history]
        divergence = np.sum(each, axis=0)
        return _converted(_FIXED_ORDERS, divergence, delta)
    entries = [(spent.noise_multiplier, spent.rate, spent.steps) for spent in history]
    each = [spent.steps * _poisson_rdp(spent.noise_multiplier, spent.rate) for spent in history]
    found = _converted(_ORDERS, np.sum(each, axis=0), delta)
    if accountant == "rdp":
        return found
    by_prv = PRVAccountant()
    by_prv.history = entries
    error = max(_LEAST_ERROR, found * _RELATIVE_ERROR)
    with _no_remarks():
        return min(found, float(by_prv.get_epsilon(delta, eps_error=error)))


def largest(
    histories: Iterable[Sequence[Spent]], delta: float, accountant: Accountant = "prv"
) -> tuple[float, Sequence[Spent]]:
    """Returns the largest epsilon of several histories, and whose it is; 0 and an empty one of none.

    Rényi divergences are quick and give no less than the accountant, so that the search ends with the first
    history that has not spent more even by them.
    """
    bounds = [(epsilon(history, delta, "rdp"), history) for history in histories]
    most, found = 0.0, tuple[Spent, ...]()
    for bound, history in sorted(bounds, key=lambda each: each[0], reverse=True):
        if found and bound <= most:
            break
        spent = epsilon(history, delta, accountant)
        if not found or spent > most:
            most, found = spent, tuple(history)
    return most, found


def noise_for(target: float, history: Sequence[Spent], delta: float, accountant: Accountant = "prv") -> float:
    """Returns the least noise multiplier, to 0.1 %, with which a history spends at most a target.

    Args:
        target: Epsilon, above 0.
        history: What is to be released; its noise multipliers do not count.
        delta: In (0, 1).
        accountant: As for `epsilon`.

    Raises:
        InputError: No noise is enough.
    """

    def spent(noise: float) -> float:
        return epsilon([replace(part, noise_multiplier=noise) for part in history], delta, accountant)

    # PRV needs long tables where there is little noise. What is enough by RDP is enough by it: begin there.
    high = noise_for(target, history, delta, "rdp") if accountant == "prv" else 1.0
    while spent(high) > target:
        high *= 2
        if high > _MOST_NOISE:
            raise InputError(
                f"no noise makes epsilon {target:g} at delta {delta:g}: ask for a larger epsilon, or train "
                "for fewer rounds"
            )
    low = 0.9 * high
    while spent(low) <= target:
        low, high = 0.9 * low, low
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= target else (middle, high)
    return high


def steps_within(
    budget: float,
    history: Sequence[Spent],
    step: Spent,
    most: int,
    delta: float,
    accountant: Accountant = "prv",
) -> int:
    """Returns how many more steps, at most so many, keep epsilon within a budget."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        fits = epsilon([*history, replace(step, steps=middle)], delta, accountant) <= budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


@lru_cache(maxsize=256)
def _poisson_rdp(noise_multiplier: float, rate: float) -> npt.NDArray[np.float64]:
    """Returns the Rényi divergence of one release of a Poisson sample, by order (orders,)."""
    with _no_remarks():
        found = compute_rdp(q=rate, noise_multiplier=noise_multiplier, steps=1, orders=list(_ORDERS))
    return np.asarray(found, dtype=np.float64)


@lru_cache(maxsize=256)
def _fixed_rdp(noise_multiplier: float, rate: float) -> npt.NDArray[np.float64]:
    """Returns the Rényi divergence of one release of a sample of fixed size, by order (orders,).

    Another person in one's place moves a sum by up to twice the clipping bound, so the noise counts half.
    """
    noise = noise_multiplier / 2
    orders = np.array(_FIXED_ORDERS)
    unsampled = orders / (2 * noise**2)
    if rate >= 1:
        return unsampled
    whole = range(1, int(orders[-1]) + 1)
    # (order - 1) times the divergence is convex, so between whole orders the straight line is a bound.
    bounds = np.interp(orders, whole, [_log_moment(order, noise, rate) for order in whole])
    found: npt.NDArray[np.float64] = np.minimum(bounds / (orders - 1), unsampled)
    return found


def _log_moment(order: int, noise: float, rate: float) -> float:
    """Returns the bound on (order - 1) times the divergence, by logarithms, for the terms are large."""
    apart = _log_apart(noise)
    terms = [0.0]
    for j in range(2, order + 1):
        # A third choice of the theorem's minimum is for mechanisms of bounded divergence.
        near = math.log(4) + (apart[j // 2] + apart[(j + 1) // 2]) / 2
        far = math.log(2) + (j - 1) * j / (2 * noise**2)
        terms.append(j * math.log(rate) + _log_binomial(order, j) + min(near, far))
    return float(logsumexp(terms))


@lru_cache(maxsize=256)
def _log_apart(noise: float) -> tuple[float, ...]:
    """Returns log E[(p/q - 1)^2h] of two Gaussians one sensitivity apart, for h from 0 on.

    It is a sum of large terms of alternating signs, of which little may be left: hence the many digits.
    Where too little is left it is infinite, for as a bound it is of use no more.
    """
    with localcontext(prec=_DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN):
        second = 1 / Decimal(noise) ** 2
        moments = [(i * (i - 1) * second / 2).exp() for i in range(int(_FIXED_ORDERS[-1]) + 2)]
        found = []
        for even in range(0, len(moments), 2):
            total = sum(
                ((-1) ** i * math.comb(even, i) * moments[i] for i in range(even + 1)), start=Decimal(0)
            )
            found.append(float(total.ln()) if total > _LEAST_LEFT else math.inf)
    return tuple(found)


def _log_binomial(n: int, k: int) -> float:
    return float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def _converted(orders: Sequence[float], divergence: npt.NDArray[np.float64], delta: float) -> float:
    with _no_remarks():
        found, _ = get_privacy_spent(orders=list(orders), rdp=divergence, delta=delta)
    return float(found)


def _no_remarks() -> warnings.catch_warnings[None]:
    """Silences opacus' remarks on orders at the end of the list and logarithms of 0."""
    return warnings.catch_warnings(action="ignore")
