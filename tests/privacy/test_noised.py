"""Uploads that were cut and noised: what attackers make of them, and the bound on them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fedpers.dp import Guard, noised_vectors
from fedpers.models.families import Beta, Doubles, Family, Gaussian, log_densities
from fedpers.privacy import Noised, attribute, distributions, known_rows, misattribution_bound
from tests.privacy.crowds import Theta, draw, rate, simulate

PEOPLE, WIDTH, EACH = 20, 64, 20


def crowd(family: Family) -> Theta:
    """Returns the distributions of people who are somewhat apart."""
    if isinstance(family, Gaussian):
        return {"mean": draw(1).normal(0, 0.35, (PEOPLE, WIDTH))}
    return {name: draw(seed).uniform(1, 4, (PEOPLE, WIDTH)) for seed, name in enumerate(("alpha", "beta"))}


def arrived(vectors: Doubles, guard: Guard) -> Doubles:
    return noised_vectors(vectors.astype(np.float32), guard, draw(9)).astype(np.float64)


@pytest.mark.parametrize("multiplier", [0.0, 0.02, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("family", [Gaussian(1.0), Gaussian(0.05), Beta()], ids=["wide", "narrow", "beta"])
def test_no_attack_does_better_than_the_bound(family: Family, multiplier: float) -> None:
    theta, guard = crowd(family), Guard(1.0, noise_multiplier=multiplier)
    uploads = simulate(family, theta, EACH, 3)
    uploads = replace(uploads, vectors=arrived(uploads.vectors, guard))
    for row in known_rows(Noised(family, guard), theta, uploads, [1, 5], draw()):
        assert row.bound is not None
        assert row.misattribution_rate >= row.bound - 4 * math.sqrt(0.25 / (PEOPLE * EACH / row.uploads))


@pytest.mark.parametrize("family", [Gaussian(1.0), Beta()], ids=["gaussian", "beta"])
def test_who_knows_bound_and_noise_is_wrong_less_often_than_who_does_not(family: Family) -> None:
    theta, guard = crowd(family), Guard(1.0, noise_multiplier=0.02)
    uploads = simulate(family, theta, EACH, 3)
    vectors = arrived(uploads.vectors, guard)
    informed = attribute([distributions(Noised(family, guard), theta, vectors)], uploads.senders, draw())
    valid = np.clip(vectors, 1e-6, 1 - 1e-6) if isinstance(family, Beta) else vectors
    naive = attribute([distributions(family, theta, valid)], uploads.senders, draw())
    assert rate(informed) < rate(naive)
    assert rate(informed) < 0.5 < 1 - 1 / PEOPLE


def test_more_noise_is_attributed_wrongly_more_often() -> None:
    family = Gaussian(1.0)
    theta, uploads = crowd(family), simulate(family, crowd(family), EACH, 3)
    wrong = []
    for multiplier in (0.0, 0.2, 1.0, 5.0):
        guard = Guard(1.0, noise_multiplier=multiplier)
        vectors = arrived(uploads.vectors, guard)
        found = attribute([distributions(Noised(family, guard), theta, vectors)], uploads.senders, draw())
        wrong.append(rate(found))
    assert wrong == sorted(wrong)
    assert wrong[-1] > 0.8


@pytest.mark.parametrize("multiplier", [0.0, 0.5])
def test_within_the_bound_the_density_is_the_familys_with_the_noise_added(multiplier: float) -> None:
    theta = {"mean": draw().normal(0, 0.1, (4, 6)), "spread": draw(1).uniform(0.1, 0.3, (4, 6))}
    vectors = draw(2).normal(0, 0.2, (9, 6))
    family, guard = Gaussian(trained_spread=True), Guard(100.0, noise_multiplier=multiplier / 100)
    wider = {**theta, "spread": np.sqrt(theta["spread"] ** 2 + multiplier**2)}
    np.testing.assert_allclose(
        log_densities(Noised(family, guard), theta, vectors), log_densities(family, wider, vectors)
    )
    everything = Noised(family, Guard(math.inf))
    np.testing.assert_allclose(
        log_densities(everything, theta, vectors), log_densities(family, theta, vectors)
    )


def test_the_bound_is_that_of_what_was_drawn() -> None:
    theta, shares = crowd(Gaussian(1.0)), np.full(PEOPLE, 1 / PEOPLE)
    noised = Noised(Gaussian(1.0), Guard(1.0, noise_multiplier=3.0))
    plain = misattribution_bound(Gaussian(1.0), theta, shares)
    assert misattribution_bound(noised, theta, shares) == plain
