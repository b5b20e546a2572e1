"""Attacks on finished runs: whose an anonymous upload is, and what or who was in the training."""

from fedpers.audit.attackers import attack, completed, material
from fedpers.audit.entropy import EntropyBin, gain_by_entropy
from fedpers.audit.frontier import Point, Sweep, frontier, parse_sweep
from fedpers.audit.membership import audit_membership
from fedpers.audit.request import request_costs
from fedpers.audit.settings import AuditSettings, MembershipSettings

__all__ = [
    "AuditSettings",
    "EntropyBin",
    "MembershipSettings",
    "Point",
    "Sweep",
    "attack",
    "audit_membership",
    "completed",
    "frontier",
    "gain_by_entropy",
    "material",
    "parse_sweep",
    "request_costs",
]
