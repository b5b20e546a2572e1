"""Noise on sums of bounded updates: how much one person can move, how much noise there is, who is drawn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import ConfigRecord, Error, Message
from flwr.serverapp.strategy import FedAvg, Strategy
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpers.dp import Guard, bounded
from fedpers.engine import mean
from fedpers.engine.flower import guard_of, identity, quiet, reply, to_arrays, to_record
from fedpers.engine.nodes import Nodes
from fedpers.method import WITHIN, Update
from fedpers.strategies import Private, Release, averages

Floats = npt.NDArray[np.floating]

START: Mapping[str, Floats] = {"a": np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)}
PLAIN = Release(Guard(1.0), 0.0, "poisson", 0.5, 10, 10)


def averaging() -> FedAvg:
    return FedAvg(fraction_train=1e-12, min_train_nodes=2, min_available_nodes=2, fraction_evaluate=0.0)


def update(number: int, clip: float, scale: float = 0.5) -> Update:
    """Returns what the device of a number sends: its update, within the bound."""
    moved = START["a"] + np.random.default_rng(number).normal(0, scale, (4, 6))
    arrays, within = bounded({"a": moved.astype(np.float32)}, START, Guard(clip))
    return Update(arrays, 1, 5, {"train-loss": 0.5, WITHIN: float(within)})


class Server:
    """A strategy that is asked round after round, and what it made of the replies."""

    def __init__(self, release: Release, nodes: int = 20, seed: int = 0) -> None:
        self.strategy = Private(averaging(), release, seed, "0")
        self.grid = Nodes(nodes)

    def ask(self, number: int = 1) -> list[Message]:
        with quiet(), identity():
            asked = self.strategy.configure_train(number, to_record(START), ConfigRecord(), self.grid)
            return list(asked)

    def round(self, updates: Sequence[Update], number: int = 1, *, reduce: bool = True) -> Floats:
        self.ask(number)
        asked = self.strategy._asked
        assert asked is not None
        with quiet(), identity():
            sent = [mean(updates)] if reduce and updates else updates
            replies = [reply(asked, own, dict(START)) for own in sent]
            found, _ = self.strategy.aggregate_train(number, replies)
        assert found is not None
        return to_arrays(found)["a"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12), st.floats(0.01, 20))
def test_adding_a_person_moves_the_model_at_most_by_the_bound(seed: int, others: int, scale: float) -> None:
    release = replace(PLAIN, guard=Guard(0.7))
    updates = [update(seed + number, 0.7, scale) for number in range(others + 1)]
    without, with_person = Server(release).round(updates[:-1]), Server(release).round(updates)
    moved = np.linalg.norm(with_person.astype(np.float64) - without)
    assert moved <= 0.7 / release.devices + 1e-6  # which float32 rounds the model to


def test_the_sum_is_divided_by_the_devices_expected_whoever_came() -> None:
    updates = [update(number, 1.0) for number in range(4)]
    found = Server(PLAIN).round(updates)
    changes = sum(np.asarray(own.arrays["a"], np.float64) - START["a"] for own in updates)
    np.testing.assert_allclose(found, START["a"] + changes / 10, atol=1e-6)


def test_replies_one_by_one_give_what_their_mean_gives() -> None:
    updates = [update(number, 1.0) for number in range(7)]
    together, apart = Server(PLAIN).round(updates), Server(PLAIN).round(updates, reduce=False)
    np.testing.assert_allclose(together, apart, atol=1e-6)


def test_a_full_round_without_noise_is_the_mean_to_the_bit() -> None:
    updates = [update(number, 1.0) for number in range(10)]
    found = Server(PLAIN).round(updates)
    np.testing.assert_array_equal(found, mean(updates).arrays["a"])


@pytest.mark.parametrize(("noised_as", "came"), [(10, 10), (10, 3), (10, 0), (1000, 10)])
def test_the_noise_is_that_of_the_sum_over_the_devices_it_is_scaled_for(noised_as: int, came: int) -> None:
    release = replace(PLAIN, guard=Guard(2.0), noise_multiplier=1.5, noised_as=noised_as)
    updates = [update(number, 2.0) for number in range(came)]
    quiet_ones = Server(replace(release, noise_multiplier=0.0)).round(updates)
    noise = [Server(release, seed=seed).round(updates).astype(np.float64) - quiet_ones for seed in range(60)]
    assert float(np.std(noise)) == pytest.approx(1.5 * 2.0 / noised_as, rel=0.05)


def test_every_round_has_noise_of_its_own_and_a_seed_repeats_it() -> None:
    release, updates = replace(PLAIN, noise_multiplier=1.0), [update(number, 1.0) for number in range(3)]
    first, second = (Server(release).round(updates, number) for number in (1, 2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, Server(release).round(updates, 1))


def test_each_device_is_drawn_by_a_coin_of_its_own() -> None:
    server = Server(replace(PLAIN, rate=0.3), nodes=50)
    drawn = [{message.metadata.dst_node_id for message in server.ask(number)} for number in range(1, 401)]
    counts = [len(nodes) for nodes in drawn]
    assert float(np.mean(counts)) == pytest.approx(15, abs=0.7)  # four standard errors
    assert float(np.var(counts)) == pytest.approx(50 * 0.3 * 0.7, rel=0.3)
    both = np.mean([{3, 17} <= nodes for nodes in drawn])
    assert float(both) == pytest.approx(0.09, abs=0.06)


def test_samples_of_fixed_size_are_the_inner_strategys() -> None:
    server = Server(replace(PLAIN, sampling="fixed"))
    assert [len(server.ask(number)) for number in range(1, 6)] == [2] * 5


def test_devices_are_told_the_bound() -> None:
    server = Server(replace(PLAIN, guard=Guard(0.25, layers=True), rate=1.0))
    assert {guard_of(message.content) for message in server.ask()} == {Guard(0.25, layers=True)}


def test_an_adaptive_bound_finds_the_quantile_of_the_norms() -> None:
    release = replace(PLAIN, guard=Guard(50.0), quantile=0.5, quantile_rate=0.5, noise_multiplier=0.0)
    server, norms = Server(release), np.linspace(0.5, 3.5, 11)[:10]
    for number in range(1, 80):
        clip = server.strategy.clip
        arrays = [START["a"] + norm / math.sqrt(24) for norm in norms]
        server.round(
            [
                Update({"a": a.astype(np.float32)}, 1, 1, {WITHIN: float(norm <= clip)})
                for a, norm in zip(arrays, norms, strict=True)
            ],
            number,
        )
    assert server.strategy.clip == pytest.approx(1.8, abs=0.25)


@pytest.mark.parametrize("joins", [0.0, 1.0])
@pytest.mark.parametrize("others", [0, 3, 10])
def test_a_person_moves_the_count_behind_an_adaptive_bound_by_a_half(others: int, joins: float) -> None:
    release = replace(PLAIN, quantile=0.5, quantile_rate=1.0, noise_multiplier=0.0)
    without, with_person = Server(release), Server(release)
    come = [replace(update(n, 1.0), metrics={WITHIN: float(n % 2)}) for n in range(others)]
    without.round(come)
    with_person.round([*come, replace(update(others, 1.0), metrics={WITHIN: joins})])
    moved = math.log(with_person.strategy.clip / without.strategy.clip) * release.devices
    assert abs(moved) == pytest.approx(0.5)


def test_a_device_that_answers_with_an_error_is_left_out() -> None:
    server, updates = Server(PLAIN), [update(number, 1.0) for number in range(3)]
    expected = Server(PLAIN).round(updates)
    server.ask()
    asked = server.strategy._asked
    assert asked is not None
    with quiet(), identity():
        failed = Message(Error(code=1, reason="out of memory"), reply_to=asked)
        replies = [reply(asked, own, dict(START)) for own in [mean(updates)]]
        found, _ = server.strategy.aggregate_train(1, [failed, *replies])
    assert found is not None
    np.testing.assert_array_equal(to_arrays(found)["a"], expected)


def test_among_fewer_people_as_many_devices_come_by_other_coins() -> None:
    release = replace(PLAIN, rate=0.1, noise_multiplier=1.0)
    half = release.among(50)
    assert (half.rate, half.devices, half.noised_as, half.noise_multiplier) == (0.2, 10, 10, 1.0)
    few = replace(release, noised_as=1000).among(4)
    assert (few.rate, few.devices, few.noised_as) == (1.0, 4, 1000)


def test_an_adaptive_bound_leaves_the_accounted_noise_to_sum_and_count_together() -> None:
    release = replace(PLAIN, noise_multiplier=1.0, quantile=0.5, count_noise=2.0)
    # Two Gaussian releases of sensitivities 1 and 1/2, joined: their inverse variances add up.
    assert release.sum_noise**-2 + (2 * release.count_noise) ** -2 == pytest.approx(1.0)
    assert replace(release, quantile=None).sum_noise == 1.0


def test_it_averages_as_what_it_wraps() -> None:
    class Looks(Strategy):  # at every reply, as Krum does
        configure_train = aggregate_train = configure_evaluate = aggregate_evaluate = summary = None  # type: ignore[assignment]  # never called

    assert averages(Private(averaging(), PLAIN, 0, "0"))
    assert not averages(Private(Looks(), PLAIN, 0, "0"))
