"""The audit of membership as a table for a terminal 80 columns wide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from fedpers.report.plain import plain_table

_VIEWS = {
    "model": "the model that the run ended with, without anybody's state",
    "module": "the model and each person's own state",
    "rounds": "the rounds that the run kept, without anybody's state",
}


def membership_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns the attacks' table, what privacy permits, and what belongs to it."""
    rates = [rate["fpr"] for rate in result["rows"][0]["rates"]]
    title = f"Membership of a {result['of']}: how well attackers tell members from others"
    table = plain_table(title)
    table.add_column("attack", max_width=32)
    for column in ("AUC", *(f"TPR at {100 * rate:g}% FPR" for rate in rates)):
        table.add_column(column, justify="right", no_wrap=True)
    for row in result["rows"]:
        table.add_row(row["attack"], f"{row['auc']:.3f}", *(_share(rate["tpr"]) for rate in row["rates"]))
        ends = f"{row['low']:.3f} .. {row['high']:.3f}"
        table.add_row("  95 % interval", ends, *(_interval(rate) for rate in row["rates"]), style="dim")
    if permits := result["permitted"]:
        shares = (_share(rate["tpr"]) for rate in permits["rates"])
        table.add_row(f"at most, by {permits['dp']}-level privacy", f"{permits['auc']:.3f}", *shares)
    return Group(table, *_notes(result), Text(f"Run folder: {result['run']}"))


def _notes(result: Mapping[str, Any]) -> list[Text]:
    members, others = result["members"], result["non_members"]
    if result["of"] == "text":
        who = f"{members:,} training texts of clients against {others:,} test texts of theirs"
    else:
        which = "texts that were not trained on" if result["known"] == "test" else "training texts"
        who = f"{members:,} clients against {others:,} people held out, by their {which}"
    lines = [f"{who}. The attacker sees {_VIEWS[result['view']]}."]
    for rate in result["rows"][0]["rates"]:
        if rate["tpr"] is None:
            lines.append(
                f"{100 * rate['fpr']:g}% false positives mean nothing below {rate['needed']:,} non-members."
            )
    if permits := result["permitted"]:
        lines.append(f"The run spent epsilon {permits['epsilon']:.3g} at delta {permits['delta']:.1e}.")
    if result["interrupted"]:
        lines.append("LiRA is missing: its shadow runs were stopped, and the same command goes on.")
    return [Text(line) for line in (*lines, *result["notes"])]


def _interval(rate: Mapping[str, Any]) -> str:
    return "" if rate["tpr"] is None else f"{_share(rate['low'])} .. {_share(rate['high'])}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
