"""Flower's averaging strategies by name, as they are, with the run's settings filled in.

FedAvg: McMahan et al., AISTATS 2017, arXiv 1602.05629. FedAvgM: Hsu et al., 2019, arXiv 1909.06335.
FedAdagrad, FedAdam, FedYogi: Reddi et al., Adaptive Federated Optimization, ICLR 2021, arXiv 2003.00295.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi, Strategy

from fedpers.errors import unknown
from fedpers.method import Server
from fedpers.models.adapters import Adapter
from fedpers.settings import FederationSettings
from fedpers.strategies.schedule import SCHEDULES, Scheduled
from fedpers.strategies.task_base import need_public
from fedpers.strategies.task_federation import TaskFederation
from fedpers.strategies.wrapped import Wrapped

AVERAGING = (FedAvg, FedAvgM, FedAdam, FedAdagrad, FedYogi)

_OWN_ARGUMENTS: dict[str, Callable[[FederationSettings], dict[str, Any]]] = {
    "fedavg": lambda s: {},
    "fedavgm": lambda s: {"server_learning_rate": s.server_lr, "server_momentum": s.server_momentum},
    "fedadam": lambda s: {
        "eta": s.server_lr,
        "beta_1": s.server_momentum,
        "beta_2": s.server_beta_2,
        "tau": s.server_tau,
    },
    "fedadagrad": lambda s: {"eta": s.server_lr, "tau": s.server_tau},
    "fedyogi": lambda s: {
        "eta": s.server_lr,
        "beta_1": s.server_momentum,
        "beta_2": s.server_beta_2,
        "tau": s.server_tau,
    },
}


def make(settings: FederationSettings, clients: int) -> Strategy:
    """Returns a new strategy that samples the settings' number of clients in each round.

    Args:
        settings: Which strategy, its numbers, and the schedule of its learning rate.
        clients: How many clients there are; a round never samples more.

    Raises:
        InputError: No strategy of that name, or a schedule for one without a learning rate.
    """
    if settings.strategy not in _OWN_ARGUMENTS:
        raise unknown("strategy", settings.strategy, _OWN_ARGUMENTS)
    kind = {strategy.__name__.lower(): strategy for strategy in AVERAGING}[settings.strategy]
    sampled = min(settings.clients_per_round, clients)
    # Flower rounds fraction x clients down; a vanishing fraction makes min_train_nodes the exact number.
    strategy = kind(
        fraction_train=1e-12,
        min_train_nodes=sampled,
        min_available_nodes=sampled,
        fraction_evaluate=1e-12,
        min_evaluate_nodes=sampled,
        **_OWN_ARGUMENTS[settings.strategy](settings),
    )
    if settings.server_schedule == "constant":
        return strategy
    return Scheduled(strategy, SCHEDULES[settings.server_schedule], settings.rounds)


def make_for_task(
    server: Server, settings: FederationSettings, purpose: str, adapter: Adapter | None
) -> Strategy:
    """Returns a new strategy by which public people's devices learn a task.

    Args:
        server: What the server knows.
        settings: As for `make`.
        purpose: Names the random stream of the first adapter.
        adapter: What is trained and then merged; None trains all of the model.

    Raises:
        InputError: There are no public people, or the settings are none for `make`.
    """
    need_public(server)
    inner = make(settings, server.public_people)
    return inner if adapter is None else TaskFederation(server, inner, settings.rounds, purpose, adapter)


def averages(strategy: Strategy) -> bool:
    """Tells whether a strategy needs no more than the weighted mean of the replies.

    True for Flower's own classes only, whatever is around them: a subclass may look at every reply.
    """
    while isinstance(strategy, Wrapped):
        strategy = strategy.inner
    return type(strategy) in AVERAGING
