"""Times rounds of a method under Flower's stock simulation engine; prints one line of JSON.

A process of its own, because the stock engine starts and ends a Ray of its own. The devices run our client,
with the same model code; the rounds, their messages and their sampling are Flower's.
"""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Iterable

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from fedpers import flower_app
from fedpers.engine import to_record
from fedpers.experiments import find, own_sections
from fedpers.report.progress import Reporter
from fedpers.settings import resolve
from fedpers.simulation import prepare
from fedpers.stock import configured


class Timed(FedAvg):
    """Flower's FedAvg with a note of the time before the first round and after each."""

    def __init__(self, clients: int) -> None:
        """Samples so many clients in a round and evaluates none."""
        super().__init__(fraction_train=1e-12, min_train_nodes=clients, fraction_evaluate=0.0)
        self.times = [0.0]

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        if server_round == 1:
            self.times[0] = time.perf_counter()
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        aggregated = super().aggregate_train(server_round, replies)
        self.times.append(time.perf_counter())
        return aggregated


def main(text: str) -> None:
    """Runs the settings' rounds and prints the seconds of each."""
    settings = resolve([tomllib.loads(text)], own_sections())
    strategy = Timed(settings.federation.clients_per_round)
    server, client = ServerApp(), ClientApp()

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        setup = prepare(settings, find(settings.run.method).build, Reporter(silent=True))
        rounds = settings.federation.rounds
        strategy.start(grid, to_record(setup.base), rounds, train_config=ConfigRecord({"phase": 0}))

    @client.train()
    def train(message: Message, context: Context) -> Message:
        return flower_app.train(message, configured(context, {"settings": text}))

    nodes = settings.data.clients
    assert nodes is not None
    run_simulation(server, client, nodes, backend_config={"client_resources": {"num_cpus": 1}})
    seconds = [after - before for before, after in zip(strategy.times, strategy.times[1:], strict=False)]
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
