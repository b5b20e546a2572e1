"""The server's half of every method: Flower strategies."""

from flwr.serverapp.strategy import Strategy

from fedpers.strategies.cloud import Cloud, Silence
from fedpers.strategies.flower import AVERAGING, averages, make, make_for_task
from fedpers.strategies.partly import Partly
from fedpers.strategies.private import Guarded, Private, Release
from fedpers.strategies.task_base import TaskBase
from fedpers.strategies.task_federation import TaskFederation

__all__ = [
    "AVERAGING",
    "Cloud",
    "Guarded",
    "Partly",
    "Private",
    "Release",
    "Silence",
    "Strategy",
    "TaskBase",
    "TaskFederation",
    "averages",
    "make",
    "make_for_task",
]
