"""The same halves as Flower apps, for Flower's own runtime: `flwr run .` and real deployments.

`server_app` and `client_app` are named in pyproject.toml. Their settings come from the run config's
`settings`, a text in TOML such as `data.clients = 4`; `out` names the folder for the final model.

Noise and draws come from the run's seed, as in a simulation, so that both give the same weights. Every node
has that seed and could take the noise away again: a deployment that is to protect anybody needs draws of its
own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedpers import runs
from fedpers.dp import SampleNoise
from fedpers.engine import (
    Order,
    Site,
    Stamp,
    Work,
    Worker,
    broadcast_of,
    frozen_of,
    guard_of,
    reply,
    to_arrays,
    to_record,
)
from fedpers.errors import FedpersError, InputError
from fedpers.evaluation import Scores
from fedpers.experiments import find, own_sections
from fedpers.method import WITHIN, State, Update
from fedpers.models import Arrays, load
from fedpers.records import pack
from fedpers.report.progress import Reporter
from fedpers.settings import resolve
from fedpers.simulation import Setup, guarantee_of, lay_out, prepare, server_of

_STATE = "personal-state"
_KNOWN_SEED = (
    "every node has the run's seed, from which the noise is drawn: this is a simulation of privacy, which "
    "protects nobody here"
)

server_app = ServerApp()
client_app = ClientApp()


@server_app.main()
def serve(grid: Grid, context: Context) -> None:
    """Trains the base, runs every phase with its strategy, and saves the final model."""
    settings = resolve([_given(context)], own_sections())
    method = find(settings.run.method)
    out = context.run_config.get("out")
    with runs.new_run(Path(str(out)) if out else None, method.name, settings) as folder:
        report = Reporter()
        setup = prepare(settings, method.build, report)
        if setup.guarantee is not None:
            report.say(_KNOWN_SEED)
        _run_phases(grid, setup, folder)


def _run_phases(grid: Grid, setup: Setup, folder: Path) -> None:
    arrays = to_record(setup.base)
    for number, phase in enumerate(setup.method.phases):
        if phase.people == "held-out":  # who has no node
            continue
        if phase.people != "clients":
            raise InputError(
                f"{phase.name}: Flower's own runtime has a node for each client only: pool public text"
            )
        if phase.anew:
            arrays = to_record(setup.base)
        config = ConfigRecord({"phase": number})
        rounds = setup.guarantee.rounds[number] if setup.guarantee else phase.rounds
        if not rounds:  # a budget of privacy is spent
            continue
        strategy = setup.strategy(number)
        result = strategy.start(grid, arrays, rounds, train_config=config, evaluate_config=config)
        if not result.arrays:
            raise FedpersError(f"{phase.name}: no device sent an update; Flower's log says why")
        arrays = result.arrays
    runs.write_model(folder / "model", setup.spec, to_arrays(arrays))


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Trains the one person this node stands for."""
    work = _do("train", message, context)
    assert isinstance(work, Work)
    if not work.uploads:
        return Message(RecordDict(), reply_to=message)
    [upload] = work.uploads
    if isinstance(upload, Update):
        return reply(message, upload, _arrays(message), _told(context))
    return Message(pack(upload), reply_to=message)


@client_app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Scores the broadcast on the person's validation texts; under differential privacy it tells nothing."""
    if _told(context) is not None:
        return Message(RecordDict({"metrics": MetricRecord({"num-examples": 1})}), reply_to=message)
    scores = _do("predict", message, context)
    assert isinstance(scores, Scores)
    metrics = MetricRecord({"num-examples": int(scores.total.sum()), "accuracy": scores.accuracy})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def clients(settings: str) -> int:
    """Returns how many clients some settings in TOML have, each of which needs a node."""
    return len(_worker(settings)[1])


class ContextStates:
    """A person's state in Flower's context, which stays on the node; Flower does no round again."""

    def __init__(self, context: Context) -> None:
        """Wraps the context of one node."""
        self._records = context.state

    def read(self, persons: Sequence[int], before: Stamp) -> list[State | None]:
        kept = self._records.get(_STATE)
        return [to_arrays(kept) if isinstance(kept, ArrayRecord) else None for _ in persons]

    def write(self, states: Mapping[int, State], at: Stamp) -> None:
        for state in states.values():
            self._records[_STATE] = to_record(state)

    def persons(self) -> list[int]:
        """Not available: a node knows no other."""
        raise RuntimeError("a node keeps one person's state only")

    def clear(self) -> None:
        """Not available: Flower goes on with no run that was cut off."""
        raise RuntimeError("a node's state is Flower's to keep")

    def close(self) -> None:
        """Leaves everything as it is, for Flower to keep."""


def _do(task: str, message: Message, context: Context) -> object:
    worker, persons = _worker(str(context.run_config.get("settings", "")))
    config = next(iter(message.content.config_records.values()))
    phase, number = int(str(config["phase"])), int(str(config["server-round"]))
    order = (
        Order(
            "train",
            _arrays(message),
            phase,
            number,
            frozen=frozen_of(message.content),
            guard=guard_of(message.content),
        )
        if task == "train"
        else Order("predict", _arrays(message), phase, number, part="validation")
    )
    partition = int(context.node_config["partition-id"])
    if partition >= len(persons):
        raise InputError(f"node {partition} stands for nobody: set data.clients to the number of nodes")
    return worker.at(ContextStates(context)).do(order, [persons[partition]])


def _told(context: Context) -> tuple[str, ...] | None:
    """Returns the numbers that may leave a node beside its update; None, which is all, without privacy."""
    privacy = resolve([_given(context)], own_sections()).privacy
    if privacy.dp == "none":
        return None
    return (WITHIN,) if privacy.clipping == "adaptive" else ()


def _arrays(message: Message) -> Arrays:
    return broadcast_of(message.content)


@lru_cache(maxsize=1)
def _worker(settings_text: str) -> tuple[Worker, list[int]]:
    """Returns this process's worker, model loaded, and the person of each partition; made once."""
    settings = resolve([_parse(settings_text)], own_sections())
    method, population, spec = lay_out(settings, find(settings.run.method).build)
    clients = tuple(phase.client for phase in method.phases)
    engine = settings.engine
    noise: tuple[SampleNoise | None, ...] = ()
    if settings.privacy.dp == "sample":
        server = server_of(settings, population, spec)
        guarantee = guarantee_of(settings, method, population, server, load(spec, engine.device))
        noise = tuple(guarantee.noise(n) for n in range(len(clients))) if guarantee else ()
    site = Site(spec, population, clients, settings.run.seed, engine.threads, engine.device, noise)
    return Worker(site, ContextStates(_nowhere())), population.clients.tolist()


def _nowhere() -> Context:
    return Context(run_id=0, node_id=0, node_config={}, state=RecordDict(), run_config={})


def _given(context: Context) -> Mapping[str, object]:
    return _parse(str(context.run_config.get("settings", "")))


def _parse(text: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the run config's settings are not TOML: {error}") from error
