"""Runs fedpers' Flower apps under Flower's stock simulation; called by tests/test_flower_app.py.

A process of its own, because the stock engine starts and ends a Ray of its own. `run_simulation` has no
run config, so the apps are wrapped to be given one.
"""

import sys

from flwr.app import Context, Message, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from fedpers import flower_app


def configured(context: Context, run_config: UserConfig) -> Context:
    """Returns a context with a run config, on the same node and with the same state."""
    return Context(context.run_id, context.node_id, context.node_config, context.state, run_config)


def main(settings: str, out: str, nodes: int) -> None:
    server, client = ServerApp(), ClientApp()

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        flower_app.serve(grid, configured(context, {"settings": settings, "out": out}))

    @client.train()
    def train(message: Message, context: Context) -> Message:
        return flower_app.train(message, configured(context, {"settings": settings}))

    @client.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        return flower_app.evaluate(message, configured(context, {"settings": settings}))

    run_simulation(server, client, nodes, backend_config={"client_resources": {"num_cpus": 1}})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
