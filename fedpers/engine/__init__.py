"""The simulation engine: people as Flower nodes, worked on in cohorts, here or on Ray."""

from fedpers.engine.crew import Crew, LocalCrew, RayCrew, hire, worker_count
from fedpers.engine.flower import quiet
from fedpers.engine.grid import CohortGrid
from fedpers.engine.rounds import Round, federate
from fedpers.engine.worker import Order, Site, Worker, mean

__all__ = [
    "CohortGrid",
    "Crew",
    "LocalCrew",
    "Order",
    "RayCrew",
    "Round",
    "Site",
    "Worker",
    "federate",
    "hire",
    "mean",
    "quiet",
    "worker_count",
]
