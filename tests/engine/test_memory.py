import json
from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedYogi,
    Strategy,
)

from fedpers.engine import CohortGrid, quiet
from fedpers.engine.flower import identity, reply, to_arrays, to_record
from fedpers.engine.memory import recall, remind
from fedpers.method import Update
from fedpers.models import Arrays
from fedpers.strategies.schedule import SCHEDULES, Scheduled
from tests.strategies.test_flower import Idle

MAKERS: dict[str, Callable[[], Strategy]] = {
    "fedavg": FedAvg,
    "fedavgm": lambda: FedAvgM(server_learning_rate=0.5, server_momentum=0.9),
    "fedadam": lambda: FedAdam(eta=0.1),
    "fedadagrad": lambda: FedAdagrad(eta=0.1),
    "fedyogi": lambda: FedYogi(eta=0.1),
    "scheduled": lambda: Scheduled(FedAdam(eta=0.1), SCHEDULES["linear"], 10),
    "in a wrapper": lambda: DifferentialPrivacyServerSideFixedClipping(FedAdam(eta=0.1), 0.0, 1e6, 4),
}


def moved(arrays: Arrays, draw: np.random.Generator) -> Arrays:
    return {name: array + draw.normal(size=array.shape) for name, array in arrays.items()}


def a_round(strategy: Strategy, number: int, record: ArrayRecord) -> ArrayRecord:
    """Runs a round in which devices ask for something else in every round."""
    grid = CohortGrid(Idle(), np.arange(4), cohort_size=1, reduce=False)
    draw = np.random.default_rng(number)
    with quiet(), identity():
        messages = list(strategy.configure_train(number, record, ConfigRecord(), grid))
        arrays = to_arrays(record)
        replies = [
            reply(
                message, Update({k: a + draw.normal(size=a.shape) for k, a in arrays.items()}, 1, 1), arrays
            )
            for message in messages
        ]
        aggregated, _ = strategy.aggregate_train(number, replies)
    assert aggregated is not None
    return aggregated


@pytest.mark.parametrize("name", MAKERS)
def test_a_strategy_that_is_reminded_goes_on_as_the_other_would_have(name: str) -> None:
    start = to_record({"w": np.zeros((2, 3), np.float32), "b": np.ones(2, np.float32)})
    strategy, record = MAKERS[name](), start
    for number in (1, 2):
        record = a_round(strategy, number, record)
    numbers, notes = recall(strategy)
    copied = {path: array.copy() for path, array in numbers.items()}
    expected = to_arrays(a_round(strategy, 3, record))

    other = MAKERS[name]()
    remind(other, copied, json.loads(json.dumps(notes)))
    found = to_arrays(a_round(other, 3, record))
    assert all((found[key] == expected[key]).all() for key in expected)


def test_a_strategy_that_forgot_would_not() -> None:
    record = to_record({"w": np.zeros(3, np.float32)})
    strategy = MAKERS["fedadam"]()
    record = a_round(strategy, 1, record)
    expected, forgetful = a_round(strategy, 2, record), a_round(MAKERS["fedadam"](), 2, record)
    assert (to_arrays(expected)["w"] != to_arrays(forgetful)["w"]).all()
