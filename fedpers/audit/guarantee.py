"""What a run's guarantee of differential privacy permits the attackers of its membership."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedpers.audit.settings import MembershipSettings
from fedpers.privacy import FALSE_POSITIVES, largest_auc, largest_tpr

_SIMULATED = "Epsilon is that of a larger federation, which was simulated: it does not bind this run."


def permitted(
    privacy: Mapping[str, Any] | None, given: MembershipSettings
) -> tuple[dict[str, Any] | None, list[str]]:
    """Returns the largest AUC and true positives that a guarantee permits, or None and why there are none.

    Args:
        privacy: What a run's record says of its privacy, if anything.
        given: What is asked, and what the attacker sees.
    """
    kind = (privacy or {}).get("dp", "none")
    epsilon, delta = (privacy or {}).get("epsilon"), (privacy or {}).get("delta")
    if kind == "none" or epsilon is None or delta is None:
        return None, []
    simulated = (privacy or {}).get("noised_as") is not None
    if why := _SIMULATED if simulated else _not_bounded(kind, given):
        return None, [why]
    rates = [{"fpr": fpr, "tpr": largest_tpr(fpr, epsilon, delta)} for fpr in FALSE_POSITIVES]
    found = {"dp": kind, "epsilon": epsilon, "delta": delta, "auc": largest_auc(epsilon, delta)}
    return {**found, "rates": rates}, []


def _not_bounded(kind: str, given: MembershipSettings) -> str | None:
    """Returns why a guarantee says nothing about an attack, None if it does."""
    if kind == "local":
        return "Noise on embeddings hides no text: it is uploaded as it is, so no bound holds here."
    if kind == "user" and given.view == "module":
        return "User-level privacy is of what leaves a device, not of a module that stays: no bound holds."
    if kind == "sample" and given.of == "person":
        return (
            "Sample-level privacy bounds attacks on one text. Of a person with n texts it says by group "
            "privacy n times epsilon, which is left out."
        )
    return None
