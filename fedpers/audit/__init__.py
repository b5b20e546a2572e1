"""How anonymous a run's anonymous uploads are: attackers, sweeps over the noise, and what it costs."""

from fedpers.audit.attackers import attack, completed, material
from fedpers.audit.entropy import EntropyBin, gain_by_entropy
from fedpers.audit.frontier import Point, Sweep, frontier, parse_sweep
from fedpers.audit.request import request_costs
from fedpers.audit.settings import AuditSettings

__all__ = [
    "AuditSettings",
    "EntropyBin",
    "Point",
    "Sweep",
    "attack",
    "completed",
    "frontier",
    "gain_by_entropy",
    "material",
    "parse_sweep",
    "request_costs",
]
