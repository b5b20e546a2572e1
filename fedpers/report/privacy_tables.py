"""What a run spent on differential privacy, in words for the end of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_HIDDEN = MappingProxyType(
    {
        "person": "people",
        "text": "each text",
        "example": "each training example",
        "embedding": "each uploaded embedding",
    }
)


def privacy_notes(spent: Mapping[str, Any] | None) -> list[str]:
    """Returns lines on a run's privacy, none for a run without.

    Args:
        spent: A run's record of it.
    """
    if not spent:
        return []
    hidden = _HIDDEN[spent["unit"]]
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
        lines.append(_simulated(spent["noised_as"]))
    return lines


def tradeoff_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns methods at several epsilons: accuracy, and how far attacks on membership and senders get."""
    rows = result["rows"]
    table = Table(
        box=None, title=f"Privacy and accuracy, {_seeds(rows)}", title_justify="left", padding=(0, 1, 0, 0)
    )
    table.add_column("method", no_wrap=True)
    uploads = any(row["misattribution"] is not None for row in rows)
    columns = ["epsilon", "accuracy", "lowest", "text AUC", "person AUC", "permits"]
    for column in [*columns, "wrong"] if uploads else columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = [
            "inf" if row["epsilon"] is None else f"{row['epsilon']:.3g}",
            f"{row['accuracy']:.3f}" + (f"±{row['spread']:.3f}" if len(row["seeds"]) > 1 else ""),
            f"{row['lowest_decile']:.2f}",
            _auc(row["text"]),
            _auc(row["person"]),
            _told(row["permitted"], ".3f"),
        ]
        table.add_row(row["method"], *cells, *([_told(row["misattribution"], ".1%")] if uploads else []))
    cohorts = {row["noised_as"] for row in rows} - {None}
    notes = [
        "lowest: the accuracy below which a tenth of the people lie. AUC: how well an attacker tells "
        "training texts from test texts, and clients, by their training texts, from held-out people, going "
        "by the loss less the base's, ± half a 95 % interval. permits: the largest AUC that epsilon allows, "
        "of whole people where people are hidden."
        + (" wrong: uploads attributed to the wrong person." if uploads else ""),
        *(_simulated(cohort) for cohort in cohorts),
        f"Folder: {result['run']}",
    ]
    return Group(table, *(Text(note) for note in notes))


def _simulated(cohort: int) -> str:
    return f"Simulated: epsilon is that of a federation of {cohort:,} devices in a round."


def _seeds(rows: Sequence[Mapping[str, Any]]) -> str:
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _told(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _auc(found: Sequence[float] | None) -> str:
    return "-" if found is None else f"{found[0]:.2f}±{(found[2] - found[1]) / 2:.2f}"


def _bound(spent: Mapping[str, Any]) -> str:
    if spent["clipping"] == "adaptive":
        return f"the bound adapted from {spent['clip']:g}"
    return f"bound {spent['clip']:g}" + (" over equal shares" if spent["clipping"] == "layer" else "")


def _median(spent: Mapping[str, Any]) -> str:
    return f"{spent['epsilon_median']:.3g}"
