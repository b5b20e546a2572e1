import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from fedpers.models.families import Beta, Doubles, Family, Gaussian
from fedpers.privacy import attribute, cut, distributions, misattribution_bound, sample_shares
from tests.privacy.crowds import draw, line, margin, rate, simulate


def crowd(family: Family, people: int, coordinates: int, apart: float, seed: int) -> dict[str, Doubles]:
    world, shape = draw(seed), (people, coordinates)
    if isinstance(family, Gaussian):
        return {"mean": apart * world.normal(size=shape)}
    return {name: 3 * np.exp(0.5 * apart * world.normal(size=shape)) for name in ("alpha", "beta")}


FAMILIES = st.sampled_from([Gaussian(1.0), Beta()])


@settings(max_examples=60, deadline=None)
@given(
    FAMILIES, st.integers(2, 6), st.integers(1, 4), st.floats(0, 1), st.integers(1, 3), st.integers(0, 999)
)
def test_no_attack_on_equal_shares_falls_below_the_bound(
    family: Family, people: int, coordinates: int, apart: float, size: int, seed: int
) -> None:
    theta = crowd(family, people, coordinates, apart, seed)
    uploads = simulate(family, theta, 300 * size, seed)
    evidence = distributions(family, theta, uploads.vectors)
    found = attribute([evidence], uploads.senders, draw(), cut(uploads.senders, size, draw()))
    bound = misattribution_bound(family, theta, found.shares, size)
    assert rate(found) >= bound - margin(0.5, 300 * people)


@settings(max_examples=60, deadline=None)
@given(FAMILIES, st.integers(2, 6), st.floats(0, 1), st.booleans(), st.integers(0, 999))
def test_no_attack_with_known_shares_and_kinds_falls_below_the_bound(
    family: Family, people: int, apart: float, known_kinds: bool, seed: int
) -> None:
    theta = crowd(family, people, 2, apart, seed)
    uploads = simulate(family, theta, draw(seed).integers(50, 1000, people), seed)
    kinds = draw(seed + 1).integers(2, size=people) if known_kinds else None
    prior = sample_shares(uploads.senders, people)
    evidence = distributions(family, theta, uploads.vectors)
    found = attribute([evidence], uploads.senders, draw(), prior=prior, kinds=kinds)
    bound = misattribution_bound(family, theta, prior, kinds=kinds)
    assert rate(found) >= bound - margin(0.5, len(uploads.senders))


def test_the_bound_of_equal_people_is_the_chance_level() -> None:
    bound = misattribution_bound(Gaussian(), {"mean": np.ones((5, 3))}, np.full(5, 0.2))
    assert bound == pytest.approx(4 / 5)


def test_the_bound_of_two_gaussians_is_met_exactly() -> None:
    # 1 - (1 + TV) / 2 = Phi(-D / 2s), as TV = 2 Phi(D / 2s) - 1
    bound = misattribution_bound(Gaussian(0.5), {"mean": line(0, 0.8)}, np.array([0.5, 0.5]))
    assert bound == pytest.approx(ndtr(-0.8))


def test_the_bound_by_hand_with_unequal_shares_and_a_person_as_reference() -> None:
    # person 1 in the middle: 1 - 0.6 - (0.3 + 0.1) TV, against 1 - 0.6 - 0.6 TV' of the mean elsewhere
    means, shares = line(-1, 0, 1), np.array([0.3, 0.6, 0.1])
    bound = misattribution_bound(Gaussian(1.0), {"mean": means}, shares)
    assert bound == pytest.approx(1 - 0.6 - 0.4 * (2 * ndtr(0.5) - 1))


def test_the_bound_of_people_far_apart_is_0() -> None:
    assert misattribution_bound(Gaussian(0.01), {"mean": line(0, 1, 2)}, np.full(3, 1 / 3)) == 0


def test_people_alone_of_their_kind_have_no_bound() -> None:
    kinds = np.array([0, 1, 2])
    assert misattribution_bound(Gaussian(), {"mean": line(0, 0, 0)}, np.full(3, 1 / 3), kinds=kinds) == (
        pytest.approx(0)
    )


def test_people_who_sent_nothing_do_not_count() -> None:
    theta = {"mean": line(0, 0, 9)}
    assert misattribution_bound(Gaussian(1.0), theta, np.array([0.5, 0.5])) == pytest.approx(0.5)
