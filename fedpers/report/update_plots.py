"""A picture of what updates reveal under noise, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fedpers.report.attribution_plots import save

_LINES = (("words", "words of the texts", "tab:blue"), ("tokens", "tokens of the identifier", "tab:red"))


def draw_recovery(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws shares of words and identifiers found over the noise multiplier, and returns the files."""
    rows = [row for row in result["rows"] if row["noise"] is not None]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for devices in sorted({row["devices"] for row in rows}):
        of = "one device" if devices == 1 else f"sum of {devices}"
        points = sorted((row for row in rows if row["devices"] == devices), key=lambda row: row["noise"])
        for field, name, color in _LINES:
            kept = [row for row in points if row[field]]
            x = [row["noise"] for row in kept]
            y, low, high = ([100 * row[field][part] for row in kept] for part in ("mean", "low", "high"))
            if not kept:
                continue
            dashes = "-" if devices == 1 else "--"
            axes.plot(x, y, marker="o", label=f"{name}, {of}", color=color, linestyle=dashes)
            axes.fill_between(x, low, high, color=color, alpha=0.12, linewidth=0)
    positive = [row["noise"] for row in rows if row["noise"] > 0]
    axes.set_xscale("symlog", linthresh=min(positive, default=1.0))
    axes.set(xlabel="noise (standard deviation / bound)", ylabel="found (%)", ylim=(-3, 103))
    axes.legend(loc="best", frameon=False)
    return save(figure, folder, "updates")
