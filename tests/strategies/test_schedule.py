import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, Strategy

from fedpers.engine import CohortGrid, quiet
from fedpers.engine.flower import identity, reply, to_arrays, to_record
from fedpers.errors import InputError
from fedpers.method import Update
from fedpers.settings import FederationSettings
from fedpers.strategies import averages, make
from fedpers.strategies.schedule import SCHEDULES, Scheduled
from tests.strategies.test_flower import Idle, sampled

ROUNDS = 4


def scheduled(strategy: str, schedule: str, **changed: float) -> Scheduled:
    settings = FederationSettings.model_validate(
        {"strategy": strategy, "server_schedule": schedule, "rounds": ROUNDS, "server_lr": 0.5} | changed
    )
    made = make(settings, clients=4)
    assert isinstance(made, Scheduled)
    return made


def trained(strategy: Strategy, number: int, record: ArrayRecord) -> ArrayRecord:
    """Runs a round in which every device asks for 1 more than it got."""
    grid = CohortGrid(Idle(), np.arange(4), cohort_size=1, reduce=True)
    with quiet(), identity():
        [message, *_] = strategy.configure_train(number, record, ConfigRecord(), grid)
        arrays = to_arrays(record)
        update = Update({"w": arrays["w"] + 1}, examples=1, seen=1)
        aggregated, _ = strategy.aggregate_train(number, [reply(message, update, arrays)])
    assert aggregated is not None
    return aggregated


def run(strategy: Strategy, rates: list[float] | None = None) -> list[float]:
    """Returns the one parameter after each round in which devices ask for +1, setting rates by hand."""
    record, values = to_record({"w": np.zeros(1)}), []
    for number in range(1, ROUNDS + 1):
        if rates is not None:
            name = "eta" if hasattr(strategy, "eta") else "server_learning_rate"
            setattr(strategy, name, rates[number - 1])
        record = trained(strategy, number, record)
        values.append(float(to_arrays(record)["w"][0]))
    return values


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fedadagrad", "fedyogi"])
@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [(1 + math.cos(math.pi * part / 4)) / 2 for part in range(4)]),
    ],
)
def test_each_round_is_flowers_own_at_the_rate_of_that_round(
    name: str, schedule: str, shares: list[float]
) -> None:
    plain = make(FederationSettings(strategy=name, server_lr=0.5), clients=4)
    assert run(scheduled(name, schedule)) == run(plain, [0.5 * share for share in shares])


def test_a_momentum_strategy_that_starts_at_rate_one_still_follows() -> None:
    # By hand: no momentum, every round asks for +1 and gets its share of it.
    found = run(scheduled("fedavgm", "linear", server_lr=1.0, server_momentum=0.0))
    assert found == pytest.approx([1, 1.75, 2.25, 2.5])


@pytest.mark.parametrize("share", SCHEDULES.values())
def test_a_schedule_starts_at_the_peak_and_falls_towards_nothing(share: object) -> None:
    assert callable(share)
    values = [share(done / 100) for done in range(100)]
    assert values[0] == 1
    assert all(earlier > later > 0 for earlier, later in pairwise(values))


def test_a_constant_rate_is_flowers_strategy_untouched() -> None:
    assert type(make(FederationSettings(strategy="fedadam"), clients=4)) is FedAdam


def test_a_strategy_without_a_rate_says_so() -> None:
    with pytest.raises(InputError) as caught:
        make(FederationSettings(strategy="fedavg", server_schedule="linear"), clients=4)
    assert str(caught.value) == (
        "fedavg has no server learning rate to schedule: "
        "use a constant one, or fedavgm, fedadam, fedadagrad or fedyogi"
    )


def test_it_samples_as_the_strategy_does() -> None:
    plain = make(FederationSettings(clients_per_round=3), clients=10)
    assert sampled(Scheduled(plain, SCHEDULES["linear"], 5), 10) == sampled(plain, 10)


def test_it_averages_where_the_strategy_does() -> None:
    class Curious(FedAvgM):
        """Looks at every reply."""

    assert averages(scheduled("fedadam", "cosine"))
    assert not averages(Scheduled(Curious(), SCHEDULES["cosine"], 5))


class Deaf(FedAvg):
    """Notes what it is asked, and has a rate."""

    eta = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        self.asked.append(f"configure {server_round}")
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        self.asked.append(f"aggregate {server_round}")
        return None

    def summary(self) -> None:
        self.asked.append("summary")


def test_evaluation_and_summary_are_the_strategys() -> None:
    inner = Deaf()
    strategy = Scheduled(inner, SCHEDULES["linear"], 5)
    with identity():
        strategy.configure_evaluate(2, ArrayRecord(), ConfigRecord(), None)  # type: ignore[arg-type]
        strategy.aggregate_evaluate(3, [])
        strategy.summary()
    assert inner.asked == ["configure 2", "aggregate 3", "summary"]
