"""The audit of anonymous uploads as tables for a terminal 80 columns wide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from fedpers.report.plain import plain_table


def attribution_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns the attackers' table, or the points of a sweep, with what belongs to them."""
    parts = [_sweep_table(result)] if result.get("sweep") else [_attackers_table(result), *_notes(result)]
    if result.get("entropy"):
        parts.append(_entropy_table(result))
    if result.get("files"):
        parts.append(Text(f"Drawn: {', '.join(result['files'])}"))
    return Group(*parts, Text(f"Run folder: {result['run']}"))


def _attackers_table(result: Mapping[str, Any]) -> RenderableType:
    table = plain_table("Misattributed uploads: share that the attacker assigns to the wrong person")
    table.add_column("attacker", max_width=30)
    for column in ("uploads", "rate", "95 % interval", "chance", "bound"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in result["rows"]:
        table.add_row(
            row["attacker"],
            f"{row['uploads']}",
            _share(row["misattribution_rate"]),
            f"{_share(row['low'])} .. {_share(row['high'])}",
            _share(row["chance"]),
            "-" if row["bound"] is None else _share(row["bound"]),
        )
    return table


def _notes(result: Mapping[str, Any]) -> list[RenderableType]:
    costs, linked = result["request"], result["linkability"]
    pairs = (
        "No pairs to tell apart by distance: that takes two people, and two uploads of one."
        if linked is None
        else "Pairs of one person's uploads against pairs of two people's, told apart by distance: "
        f"AUC {linked:.3f}."
    )
    return [
        Text(f"{result['uploads']:,} uploads of {result['people']:,} people. {pairs}"),
        Text(
            f"A request with its embedding: {costs['embedding_bytes']:,} bytes more, "
            f"{costs['sampling']:.2f} ms to draw, {costs['upload']:.2f} ms to upload, "
            f"{costs['forward']:.2f} ms to answer ({costs['forward_without']:.2f} ms without)."
        ),
    ]


def _entropy_table(result: Mapping[str, Any]) -> RenderableType:
    table = plain_table("Test accuracy by how much an answer depends on who asks")
    for column in ("entropy (nats)", "samples", "with embedding", "central model", "gain"):
        table.add_column(column, justify="right", no_wrap=True)
    for part in result["entropy"]:
        ours, theirs = part["accuracy"], part["central_accuracy"]
        numbers = ("-",) * 3 if ours is None else (f"{ours:.3f}", f"{theirs:.3f}", f"{ours - theirs:+.3f}")
        table.add_row(f"{part['low']:.2f} .. {part['high']:.2f}", f"{part['samples']:,}", *numbers)
    return table


def _sweep_table(result: Mapping[str, Any]) -> RenderableType:
    table = plain_table(f"Accuracy against misattribution, by {result['field']}")
    for column in (result["field"], "accuracy", "gain", "95 % interval", "kept", "misattributed", "bound"):
        table.add_column(column, justify="right", no_wrap=True)
    for point in result["sweep"]:
        row = point["attribution"]
        table.add_row(
            f"{point['value']:g}",
            f"{point['accuracy']:.3f}",
            f"{point['gain']:+.3f}",
            f"{point['low']:+.3f} .. {point['high']:+.3f}",
            "-" if point["kept"] is None else f"{point['kept']:.0%}",
            _share(row["misattribution_rate"]),
            _share(row["bound"]),
        )
    central = result["sweep"][0]["central_accuracy"]
    notes = Text(
        f"Central model without embeddings {central:.3f}. Kept: share of the largest gain of the sweep. "
        "The attacker knows every distribution and sees single uploads."
    )
    return Group(table, notes)


def _share(value: float) -> str:
    return f"{value:.1%}"
