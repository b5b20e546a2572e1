"""What a run's guarantee of differential privacy permits the attackers of its membership."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fedpers.audit.settings import MembershipSettings
from fedpers.privacy import FALSE_POSITIVES, largest_auc, largest_tpr

_LARGE = 700.0  # an exponent of e that a float can still hold
_SIMULATED = "Epsilon is that of a larger federation, which was simulated: it does not bind this run."


def permitted(
    privacy: Mapping[str, Any] | None, given: MembershipSettings
) -> tuple[dict[str, Any] | None, list[str]]:
    """Returns the largest AUC and true positives that a guarantee permits, or None and why there are none.

    Args:
        privacy: What a run's record says of its privacy, if anything.
        given: What is asked, and what the attacker sees.
    """
    privacy = privacy or {}
    kind, epsilon, delta = privacy.get("dp", "none"), privacy.get("epsilon"), privacy.get("delta")
    if kind == "none" or epsilon is None or delta is None:
        return None, []
    simulated = privacy.get("noised_as") is not None
    if why := _SIMULATED if simulated else _not_bounded(privacy, given):
        return None, [why]
    notes = []
    if kind == "user" and given.of == "text" and privacy.get("sampling") == "poisson":
        # Neighbours differ by a person who is there or not. One with another text is two such steps away.
        delta = min(1.0, delta * (1 + math.exp(min(epsilon, _LARGE))))
        epsilon = 2 * epsilon
        notes.append("Of a text, a person with it against the same one without, the bound is two persons'.")
    rates = [{"fpr": fpr, "tpr": largest_tpr(fpr, epsilon, delta)} for fpr in FALSE_POSITIVES]
    found = {"dp": kind, "epsilon": epsilon, "delta": delta, "auc": largest_auc(epsilon, delta)}
    return {**found, "rates": rates}, notes


def _not_bounded(privacy: Mapping[str, Any], given: MembershipSettings) -> str | None:
    """Returns why a guarantee says nothing about an attack, None if it does."""
    kind = privacy["dp"]
    if kind == "local":
        return "Noise on embeddings hides no text: it is uploaded as it is, so no bound holds here."
    if kind == "user" and given.view == "module":
        return "User-level privacy is of what leaves a device, not of a module that stays: no bound holds."
    if kind == "sample" and given.of == "person":
        return (
            "Sample-level privacy bounds attacks on one text. Of a person with n texts it says by group "
            "privacy n times epsilon, which is left out."
        )
    if privacy["texts_leave"]:
        return "The texts themselves are uploaded, and train what is seen here: no bound holds."
    if privacy["unit"] == "example":
        return "One text is in several training examples, and epsilon is of one of them: no bound holds."
    return None
