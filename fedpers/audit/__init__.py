"""Attacks: whose an upload is, what an update says, and what or who was in a run's training."""

from fedpers.audit.attackers import attack, completed, material
from fedpers.audit.entropy import EntropyBin, gain_by_entropy
from fedpers.audit.frontier import Point, Sweep, frontier, parse_sweep
from fedpers.audit.membership import audit_membership
from fedpers.audit.request import request_costs
from fedpers.audit.settings import AuditSettings, MembershipSettings, UpdateSettings
from fedpers.audit.updates import attack_updates
from fedpers.audit.uploads import audit_uploads

__all__ = [
    "AuditSettings",
    "EntropyBin",
    "MembershipSettings",
    "Point",
    "Sweep",
    "UpdateSettings",
    "attack",
    "attack_updates",
    "audit_membership",
    "audit_uploads",
    "completed",
    "frontier",
    "gain_by_entropy",
    "material",
    "parse_sweep",
    "request_costs",
]
