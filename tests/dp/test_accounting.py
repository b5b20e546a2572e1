"""Epsilon: against opacus, against dp-accounting, and by properties that every accountant has."""

import math
import warnings

import dp_accounting
import pytest
from dp_accounting import pld, rdp
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant

from fedpers.dp import Sampling, Spent, epsilon, largest, merged, noise_for, steps_within
from fedpers.dp.accounting import _ORDERS
from fedpers.errors import InputError

DELTA = 1e-5
GRID = [(0.01, 0.8, 500), (0.01, 2.0, 1000), (0.1, 1.2, 100), (0.3, 4.0, 50), (1.0, 5.0, 10)]


@pytest.mark.parametrize(("rate", "noise", "steps"), GRID)
def test_renyi_epsilon_is_opacus(rate: float, noise: float, steps: int) -> None:
    theirs = RDPAccountant()
    theirs.history = [(noise, rate, steps)]
    with warnings.catch_warnings(action="ignore"):
        expected = theirs.get_epsilon(DELTA, alphas=list(_ORDERS))
    assert epsilon([Spent(noise, rate, steps)], DELTA, "rdp") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("rate", "noise", "steps"), GRID)
def test_prv_epsilon_is_opacus(rate: float, noise: float, steps: int) -> None:
    theirs = PRVAccountant()
    theirs.history = [(noise, rate, steps)]
    by_renyi = epsilon([Spent(noise, rate, steps)], DELTA, "rdp")
    with warnings.catch_warnings(action="ignore"):
        expected = theirs.get_epsilon(DELTA, eps_error=max(1e-3, 2e-3 * by_renyi))
    assert epsilon([Spent(noise, rate, steps)], DELTA) == expected


@pytest.mark.parametrize(("rate", "noise", "steps"), GRID)
def test_prv_epsilon_is_within_one_percent_of_dp_accounting(rate: float, noise: float, steps: int) -> None:
    theirs = pld.PLDAccountant()
    release = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    theirs.compose(dp_accounting.SelfComposedDpEvent(release, steps))
    found = epsilon([Spent(noise, rate, steps)], DELTA)
    assert found == pytest.approx(theirs.get_epsilon(DELTA), rel=0.01)


def test_different_releases_compose_like_dp_accounting() -> None:
    theirs = pld.PLDAccountant()
    for rate, noise, steps in GRID[:2]:
        release = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
        theirs.compose(dp_accounting.SelfComposedDpEvent(release, steps))
    history = [Spent(noise, rate, steps) for rate, noise, steps in GRID[:2]]
    assert epsilon(history, DELTA) == pytest.approx(theirs.get_epsilon(DELTA), rel=0.01)


def fixed_by_dp_accounting(devices: int, noise: float, steps: int) -> float:
    """Returns the epsilon of releases of so many of 1,000 people."""
    theirs = rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
    # Another person in one's place is twice the bound away, which halves the noise.
    release = dp_accounting.SampledWithoutReplacementDpEvent(
        1000, devices, dp_accounting.GaussianDpEvent(noise / 2)
    )
    theirs.compose(dp_accounting.SelfComposedDpEvent(release, steps))
    return float(theirs.get_epsilon(DELTA))


@pytest.mark.parametrize(
    ("devices", "noise", "steps"), [(11, 2.0, 800), (50, 1.1, 200), (20, 4.0, 500), (100, 9.0, 500)]
)
def test_samples_of_fixed_size_are_those_of_dp_accounting(devices: int, noise: float, steps: int) -> None:
    found = epsilon([Spent(noise, devices / 1000, steps, "fixed")], DELTA)
    assert found == pytest.approx(fixed_by_dp_accounting(devices, noise, steps), rel=1e-3)


def test_a_fixed_sample_of_everybody_has_no_amplification() -> None:
    everybody = epsilon([Spent(8.0, 1.0, 5, "fixed")], DELTA)
    assert everybody == pytest.approx(epsilon([Spent(4.0, 1.0, 5)], DELTA, "rdp"), rel=1e-3)


noises = st.floats(0.6, 10)
rates = st.floats(0.005, 0.5)
steps_ = st.integers(1, 2000)
samplings: st.SearchStrategy[Sampling] = st.sampled_from(["poisson", "fixed"])


@settings(max_examples=12, deadline=None)
@given(noises, rates, steps_, samplings)
def test_epsilon_grows_with_rounds_and_rate_and_falls_with_noise(
    noise: float, rate: float, steps: int, sampling: Sampling
) -> None:
    def spent(noise: float, rate: float, steps: int) -> float:
        return epsilon([Spent(noise, rate, steps, sampling)], DELTA, "rdp")

    found, oftener = spent(noise, rate, steps), spent(noise, min(1.0, rate * 1.5), steps)
    assert spent(noise, rate, steps * 2) > found
    assert spent(noise * 1.5, rate, steps) < found
    # Large samples of fixed size are accounted as if they were everybody.
    assert oftener >= found if sampling == "fixed" else oftener > found


@settings(max_examples=8, deadline=None)
@given(st.floats(0.8, 5), st.floats(0.01, 0.3), st.integers(1, 300))
def test_prv_is_never_above_renyi(noise: float, rate: float, steps: int) -> None:
    history = [Spent(noise, rate, steps)]
    assert epsilon(history, DELTA) <= epsilon(history, DELTA, "rdp")


def test_no_release_spends_nothing_and_one_without_noise_everything() -> None:
    assert epsilon([], DELTA) == 0
    assert epsilon([Spent(1.0, 0.1, 5), Spent(0.0, 0.1, 1)], DELTA) == math.inf


def test_the_order_of_releases_does_not_matter() -> None:
    parts = [Spent(1.0, 0.1, 5), Spent(2.0, 0.1, 7), Spent(1.0, 0.1, 3)]
    assert epsilon(parts, DELTA) == epsilon(parts[::-1], DELTA)
    assert merged(parts) == (Spent(1.0, 0.1, 8), Spent(2.0, 0.1, 7))


def test_different_ways_of_sampling_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="cannot be accounted together"):
        epsilon([Spent(1.0, 0.1, 1), Spent(1.0, 0.1, 1, "fixed")], DELTA)


@pytest.mark.parametrize("sampling", ["poisson", "fixed"])
@pytest.mark.parametrize("target", [3.0])
def test_the_noise_for_a_target_is_enough_and_no_more(target: float, sampling: Sampling) -> None:
    history = [Spent(0.0, 0.02, 300, sampling), Spent(0.0, 0.1, 20, sampling)]
    noise = noise_for(target, history, DELTA)

    def spent(noise: float) -> float:
        return epsilon([Spent(noise, part.rate, part.steps, part.sampling) for part in history], DELTA)

    assert spent(noise) <= target
    assert spent(noise * 0.998) > target


def test_the_largest_is_found_where_the_quick_bound_has_another_order() -> None:
    # Who is drawn once with a large rate spends most, though eight others spend more by Rényi divergences.
    once = [Spent(1.0, 8 / 9, 1 + n) for n in range(1, 4)]
    often = [
        Spent(1.0, 8 / size, steps) for size in (62, 71, 80, 98, 116, 133) for steps in range(40, 221, 12)
    ]
    histories = [[spent] for spent in (*once, *often)]
    each = [epsilon(history, 1e-5) for history in histories]
    for chosen in (histories, histories[:40], histories[3:]):
        expected = max(each[histories.index(history)] for history in chosen)
        most, who = largest(chosen, 1e-5)
        assert most == expected
        assert epsilon(who, 1e-5) == expected
    by_bound = sorted(histories, key=lambda history: -epsilon(history, 1e-5, "rdp"))
    assert largest(by_bound, 1e-5)[0] >= epsilon(by_bound[0], 1e-5)
    assert largest([], 1e-5) == (0.0, ())


@pytest.mark.parametrize("noise", [0.02, 0.1, 300.0, 1e5])
def test_samples_of_fixed_size_have_an_epsilon_at_any_noise(noise: float) -> None:
    found = epsilon([Spent(noise, 12 / 1100, 800, "fixed")], 1e-5)
    whole = epsilon([Spent(noise / 2, 1.0, 800)], 1e-5, "rdp")
    assert 0 < found <= whole * 1.01 + 0.1  # sampling amplifies; orders end at 128, which costs up to 0.09


def test_an_epsilon_that_no_noise_reaches_is_refused() -> None:
    with pytest.raises(InputError, match="no noise makes epsilon 1e-09"):
        noise_for(1e-9, [Spent(0.0, 1.0, 1000)], DELTA)


def test_a_budget_allows_all_steps_below_it_and_none_above() -> None:
    before, step = [Spent(1.0, 0.05, 10)], Spent(1.0, 0.05, 1)
    allowed = steps_within(2.0, before, step, 500, DELTA)
    assert 0 < allowed < 500
    assert epsilon([*before, Spent(1.0, 0.05, allowed)], DELTA) <= 2.0
    assert epsilon([*before, Spent(1.0, 0.05, allowed + 1)], DELTA) > 2.0
    assert steps_within(0.01, before, step, 500, DELTA) == 0
    assert steps_within(50.0, before, step, 500, DELTA) == 500
