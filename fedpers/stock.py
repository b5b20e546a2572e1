"""The Flower apps under Flower's stock simulation engine, in a process of their own.

The stock engine starts and ends a Ray of its own. `run_simulation` has no run config, so the apps are
wrapped to be given one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flwr.app import Context, Message, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from fedpers import flower_app, runs
from fedpers.errors import FedpersError
from fedpers.models import Arrays
from fedpers.settings import Settings, to_toml


def simulate_stock(settings: Settings, folder: Path) -> Arrays:
    """Runs a simulation under the stock engine, one node a client, and returns the final parameters.

    Args:
        settings: All settings; as many clients as are named there.
        folder: Where to; it must not hold a run.

    Raises:
        FedpersError: It failed; says how.
    """
    command = [sys.executable, "-m", "fedpers.stock", to_toml(settings), str(folder)]
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    done = subprocess.run(command, env={**os.environ, **quiet}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise FedpersError(f"Flower's stock engine failed: {last[0]}")
    return runs.read_model(folder / "model")


def run(settings: str, out: str, nodes: int) -> None:
    """Runs the apps in this process.

    Args:
        settings: All settings in TOML.
        out: The run's folder.
        nodes: Simulated nodes, one for each client.
    """
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


def configured(context: Context, run_config: UserConfig) -> Context:
    """Returns a context with a run config, on the same node and with the same state."""
    return Context(context.run_id, context.node_id, context.node_config, context.state, run_config)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], flower_app.clients(sys.argv[1]))
