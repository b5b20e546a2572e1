import numpy as np
import pytest

from fedpers.audit import gain_by_entropy, request_costs
from fedpers.audit.entropy import entropy, entropy_bins
from fedpers.clients import UserTokens
from fedpers.experiments import find
from fedpers.models import Gaussian, load
from fedpers.report.progress import Reporter
from fedpers.simulation import Outcome, Setup, prepare, simulate
from tests.conftest import small


@pytest.fixture(scope="module")
def run() -> tuple[Setup, Outcome]:
    own = {"fit_epochs": 3, "pooled_epochs": 1, "cloud_epochs": 1}
    report = Reporter(silent=True)
    setup = prepare(small(run={"method": "idfree"}, idfree=own), find("idfree").build, report)
    return setup, simulate(setup, report)


def test_entropy_is_that_of_the_shares_of_the_classes() -> None:
    found = entropy(np.array([[0, 0, 0], [0, 1, 1], [0, 0, 2], [0, 1, 2]]), 3)
    by_hand = [0, np.log(2), 0.25 * np.log(4) * 2 + 0.5 * np.log(2)]
    assert found.tolist() == pytest.approx(by_hand)


def test_bins_part_the_samples_and_the_last_one_is_closed() -> None:
    entropies = np.array([0.0, 0.1, np.log(2) / 2, np.log(2)])
    found = entropy_bins(entropies, np.array([1, 0, 1, 1]), np.array([1, 1, 0, 0]), 2)
    assert [part.samples for part in found] == [2, 0, 0, 1, 0, 1]
    assert (found[0].accuracy, found[0].central_accuracy) == (0.5, 1.0)
    assert found[1].accuracy is None
    assert found[-1].high == pytest.approx(np.log(2))


def test_all_test_samples_are_in_some_bin_and_their_means_are_the_runs_accuracy(
    run: tuple[Setup, Outcome],
) -> None:
    setup, outcome = run
    client = setup.method.phases[-1].client
    central = outcome.stages["central"]
    assert outcome.crossing is not None
    found = gain_by_entropy(
        load(setup.spec),
        outcome.arrays,
        central.arrays,
        client.tokens,  # type: ignore[attr-defined]  # the last phase's client has them
        outcome.crossing,
        setup.population,
    )
    samples = sum(part.samples for part in found)
    assert samples == outcome.test.total.sum()
    right = sum(part.samples * (part.central_accuracy or 0) for part in found)
    assert right / samples == pytest.approx(central.test.accuracy)


def test_a_request_costs_four_bytes_a_coordinate(run: tuple[Setup, Outcome]) -> None:
    setup, _ = run
    found = request_costs(load(setup.spec), UserTokens(Gaussian(), count=2), "baba nizi", bandwidth=10.0)
    assert found.embedding_bytes == 4 * 2 * 16
    assert found.upload == pytest.approx(4 * 2 * 16 * 8 / 10e6 * 1e3)
    assert found.sampling > 0 < found.forward
    whole = found.sampling + found.upload + found.forward - found.forward_without
    assert found.added == pytest.approx(whole)
