"""A round of federated averaging: ours, Flower's stock engine, pfl-research, a plain loop, and the limit.

The limit is one pass over the same samples in batches of 256, with all cores: what the arithmetic takes
where nothing is federated.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from fedpers.data import Ints, Population
from fedpers.engine import CohortGrid, Site, federate, hire, quiet
from fedpers.experiments import find
from fedpers.experiments.benchmarks.measure import CORES, Contender, in_turn, options, show
from fedpers.experiments.benchmarks.workload import Workload
from fedpers.models import Examples, Model, encode, extract, insert, load, pool
from fedpers.report.progress import Reporter
from fedpers.settings import Settings, to_toml
from fedpers.simulation import Setup, prepare
from fedpers.simulation.setup import threads
from fedpers.training import Plan, fit

HERE = Path(__file__).parent
_FUSED = 256  # samples in a batch of the limit


def main(title: str = "engine", workload: Workload | None = None) -> None:
    """Runs the benchmark and prints its table."""
    given = options(
        f"Time {title}: one round of federated averaging.",
        ("--pfl-python", None, "Python of an environment with pfl 0.6; without it pfl is left out"),
        ("--workers", CORES, "Ray workers of ours [one a core]"),
    )
    work = workload or Workload()
    with work.model_folder() as folder, TemporaryDirectory() as scratch:
        settings = work.settings(folder, engine={"workers": given.workers, "checkpoint_every": 0})
        setup = prepare(settings, find("conventional").build, Reporter(silent=True))
        print(f"K is {setup.cohort_sizes[0]}, {given.workers} Ray workers", file=sys.stderr)
        with ours(setup) as round_of_ours:
            contenders: dict[str, Contender] = {
                "fedpers": round_of_ours,
                "limit": limit(setup, work),
                "plain loop": plain_loop(setup, work),
                "Flower": stock_flower(settings),
            }
            if given.pfl_python:
                data = save_data(setup, Path(scratch) / "data.npz")
                for processes in sorted({1, CORES}):
                    name = f"pfl, {processes} process{'es' * (processes > 1)}"
                    contenders[name] = pfl(given.pfl_python, data, folder, work, processes)
            timings = in_turn(contenders, given.times)
    show(title, timings, "limit", as_json=given.json)


@contextmanager
def ours(setup: Setup) -> Iterator[Contender]:
    """Yields what does one more round with our engine, started and warm."""
    engine, population = setup.settings.engine, setup.population
    phase = setup.method.phases[0]
    crew = hire(Site(setup.spec, population, (phase.client,), 0, engine.threads, engine.device), engine)
    sizes = population.people.counts()[population.clients]
    grid = CohortGrid(crew, population.clients, setup.cohort_sizes[0], reduce=True, sizes=sizes)
    strategy = phase.strategy(setup.server)
    rounds = federate(grid, strategy, setup.base, phase.rounds, seed=0)
    with quiet():
        next(rounds)  # the workers load the model
        yield lambda: timed(lambda: next(rounds))
    crew.close()


def limit(setup: Setup, work: Workload) -> Contender:
    """Returns what trains one model on a round's samples in batches of 256."""
    model = load(setup.spec)
    plan = Plan("sgd", work.local_lr, epochs=1, batch_size=_FUSED)

    def run() -> float:
        examples = pool([_samples(setup.population, model, p) for p in _sampled(setup.population, work)])
        insert(model.module, setup.base)
        with threads(CORES):
            return timed(lambda: list(fit(model, examples, plan, np.random.default_rng(0))))

    return run


def plain_loop(setup: Setup, work: Workload) -> Contender:
    """Returns what trains a round's devices one after another with torch alone, and averages them."""
    model = load(setup.spec)

    def run() -> float:
        parts = [_samples(setup.population, model, p) for p in _sampled(setup.population, work)]

        def train() -> None:
            sums: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
            for part in parts:
                insert(model.module, setup.base)
                train_alone(model, part, work)
                for name, array in extract(model.module).items():
                    sums[name] = sums.get(name, 0) + array / np.float64(len(parts))

        with threads(CORES):
            return timed(train)

    return run


def train_alone(model: Model, examples: Examples, work: Workload) -> None:
    """Trains a model in place on samples of equal length, as a short script would."""
    optimizer = torch.optim.SGD(model.module.parameters(), lr=work.local_lr)
    ids, labels = torch.tensor(examples.ids), torch.from_numpy(examples.labels)
    model.module.train()
    order = torch.randperm(len(ids))
    for start in range(0, len(ids), work.batch_size):
        rows = order[start : start + work.batch_size]
        scores = model.module(input_ids=ids[rows], attention_mask=torch.ones_like(ids[rows])).logits
        loss = torch.nn.functional.cross_entropy(scores, labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()


def stock_flower(settings: Settings) -> Contender:
    """Returns what runs two rounds under Flower's stock engine; the second one counts."""

    def run() -> float:
        federation = settings.federation.model_copy(update={"rounds": 2})
        few = settings.model_copy(update={"federation": federation})
        return _last_seconds([sys.executable, str(HERE / "flower_contender.py"), to_toml(few)])

    return run


def pfl(python: str, data: Path, model: Path, work: Workload, processes: int) -> Contender:
    """Returns what runs three rounds with pfl-research in its own environment; the last one counts."""
    arguments = {
        "clients-per-round": work.per_round,
        "rounds": 3,
        "batch-size": work.batch_size,
        "lr": work.local_lr,
        "processes": processes,
    }
    flags = [f"--{name}={value}" for name, value in arguments.items()]
    return lambda: _last_seconds([python, str(HERE / "pfl_contender.py"), str(data), str(model), *flags])


def save_data(setup: Setup, path: Path) -> Path:
    """Writes every client's encoded samples into a file that needs nothing of ours to be read."""
    model = load(setup.spec)
    parts = [_samples(setup.population, model, p) for p in setup.population.clients]
    np.savez(path, ids=np.array([part.ids for part in parts]), labels=np.stack([p.labels for p in parts]))
    return path


def _samples(population: Population, model: Model, person: int) -> Examples:
    return encode(model, population.samples(person, "train"))


def _sampled(population: Population, work: Workload) -> Ints:
    return np.random.default_rng(0).choice(population.clients, work.per_round, replace=False)


def timed(work: Callable[[], object]) -> float:
    """Returns the seconds that a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _last_seconds(command: list[str]) -> float:
    """Runs a contender's script and returns the seconds of its last round."""
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    done = subprocess.run(command, env={**os.environ, **quiet}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[:2]} failed:\n{done.stderr[-2000:]}")
    seconds: list[float] = json.loads(done.stdout.strip().splitlines()[-1])["seconds"]
    return seconds[-1]


if __name__ == "__main__":
    main()
