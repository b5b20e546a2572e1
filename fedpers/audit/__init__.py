"""Attacks on what leaves the devices: anonymous uploads and their senders, updates and their words."""

from fedpers.audit.attackers import attack, completed, material
from fedpers.audit.entropy import EntropyBin, gain_by_entropy
from fedpers.audit.frontier import Point, Sweep, frontier, parse_sweep
from fedpers.audit.request import request_costs
from fedpers.audit.settings import AuditSettings, UpdateSettings
from fedpers.audit.updates import attack_updates

__all__ = [
    "AuditSettings",
    "EntropyBin",
    "Point",
    "Sweep",
    "UpdateSettings",
    "attack",
    "attack_updates",
    "completed",
    "frontier",
    "gain_by_entropy",
    "material",
    "parse_sweep",
    "request_costs",
]
