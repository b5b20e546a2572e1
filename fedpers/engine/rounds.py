"""The round loop: configure, send, aggregate, once a round, with any Flower strategy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flwr.app import ConfigRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedpers.engine.flower import SEEN, identity, quiet, samples_seen, sampling, to_arrays, to_record
from fedpers.engine.nodes import Nodes
from fedpers.errors import FedpersError
from fedpers.method import TRAINED
from fedpers.models import Arrays
from fedpers.seeds import word
from fedpers.strategies import Private


@dataclass(frozen=True)
class Round:
    """What a round left behind.

    Attributes:
        number: The round, from 1.
        arrays: The server's parameters after it.
        samples: Training samples that all devices went through.
        metrics: The strategy's aggregated training metrics.
    """

    number: int
    arrays: Arrays
    samples: int
    metrics: Mapping[str, float]


def federate(
    grid: Grid, strategy: Strategy, arrays: Arrays, rounds: int, seed: int, after: int = 0
) -> Iterator[Round]:
    """Runs rounds of federated training, one each time the iterator is advanced.

    Args:
        grid: Where the devices are.
        strategy: The server's half.
        arrays: Where training starts.
        rounds: The last round's number.
        seed: Seeds which nodes are sampled in each round.
        after: The round that was done already, for a strategy that remembers it.

    Raises:
        FedpersError: The strategy gave no parameters back.
    """
    record = to_record(arrays)
    for number in range(after + 1, rounds + 1):
        with identity(), sampling(word(seed, "sampling", number)):
            messages = list(strategy.configure_train(number, record, ConfigRecord(), grid))
            replies = list(grid.send_and_receive(messages))
            # Every device dropped out: the server keeps what it has, but for noise, which is to hide that.
            if messages and not replies and not isinstance(strategy, Private):
                yield Round(number, to_arrays(record), 0, {})
                continue
            aggregated, metrics = strategy.aggregate_train(number, replies)
        if aggregated is None:
            raise FedpersError(f"round {number}: {type(strategy).__name__} aggregated nothing")
        # Flower's adaptive strategies make float64 of float32. Sent on like that, what every device rounds
        # away looks like an update, and their division by a small root makes a step of it.
        current = {name: array.astype(arrays[name].dtype) for name, array in to_arrays(aggregated).items()}
        record = to_record(current)
        numbers = _floats(metrics or {})
        samples = sum(map(samples_seen, replies)) + int(numbers.pop(TRAINED, 0))
        yield Round(number, current, samples, numbers)


def rosters(strategy: Strategy, arrays: Arrays, nodes: int, rounds: int, seed: int) -> list[list[int]]:
    """Returns the nodes that `federate` would address in each round, without addressing them.

    Args:
        strategy: A new one, of no use afterwards.
        arrays: Of the broadcast's names and shapes.
        nodes: How many there are.
        rounds: The last round's number.
        seed: As for `federate`.
    """
    record, grid, found = to_record(arrays), Nodes(nodes), []
    for number in range(1, rounds + 1):
        with quiet(), identity(), sampling(word(seed, "sampling", number)):
            messages = strategy.configure_train(number, record, ConfigRecord(), grid)
            found.append([message.metadata.dst_node_id for message in messages])
    return found


def _floats(metrics: Mapping[str, object]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and name != SEEN
    }
