"""What a run spent on differential privacy, in words for the end of its table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_HIDDEN = MappingProxyType({"user": "people", "sample": "each text", "local": "each uploaded embedding"})


def privacy_notes(spent: Mapping[str, Any] | None) -> list[str]:
    """Returns lines on a run's privacy, none for a run without.

    Args:
        spent: A run's record of it.
    """
    if not spent:
        return []
    hidden = _HIDDEN[spent["dp"]]
    if spent["epsilon"] is None:
        return [f"Privacy of {hidden}: none, for there was no noise (epsilon is infinite)."]
    lines = [
        f"Privacy of {hidden}: epsilon {spent['epsilon']:.3g} at delta {spent['delta']:.2g} "
        f"({spent['accountant'].upper()}),",
        f"noise multiplier {spent['noise_multiplier']:.3g}, {_bound(spent)}.",
    ]
    if spent["dp"] == "sample":
        lines.append(
            f"That is of who spent most of {spent['people']:,}; half spent {_median(spent)} or less."
        )
    if spent["noised_as"] is not None:
        lines.append(f"Simulated: it is that of a federation of {spent['noised_as']:,} devices in a round.")
    return lines


def _bound(spent: Mapping[str, Any]) -> str:
    if spent["clipping"] == "adaptive":
        return f"the bound adapted from {spent['clip']:g}"
    return f"bound {spent['clip']:g}" + (" over equal shares" if spent["clipping"] == "layer" else "")


def _median(spent: Mapping[str, Any]) -> str:
    return f"{spent['epsilon_median']:.3g}"
