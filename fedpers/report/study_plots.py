"""Pictures of studies, as PNG and SVG: lines along an axis, and everyone's accuracy and gain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from fedpers.evaluation import Floats
from fedpers.report.attribution_plots import save

_BINS = 10  # of accuracy on [0, 1], as in UserIdentifier's figure 2
_LEAST_RATIO = 5.0  # between the largest and smallest place, from which an axis is logarithmic
_SHARES = (("worse", "tab:red"), ("same", "0.6"), ("better", "tab:green"))


@dataclass(frozen=True)
class Pair:
    """Everyone's own measure under a cell and under its baseline, the seeds one after another.

    Attributes:
        cell: The cell's name.
        baseline: What it is compared with.
        ours: A number each person and seed.
        theirs: The same of the baseline.
    """

    cell: str
    baseline: str
    ours: Floats
    theirs: Floats


def draw_lines(result: Mapping[str, Any], x: str, lines: str | None, folder: Path) -> list[Path]:
    """Draws the first measure over an axis of numbers, a line a label, and returns the files.

    Published figures are dotted, in panels of their own, for they are of other people and models: shapes
    can be compared, heights cannot.
    """
    first = result["headings"][0]
    cells = [(cell["labels"], cell["measures"][first]) for cell in result["cells"] if cell["measures"][first]]
    ours = [(labels, measured["mean"], measured) for labels, measured in cells]
    papers = [[(p["labels"], p["value"], None) for p in paper["figures"]] for paper in result["published"]]
    names = list(dict.fromkeys(labels.get(lines, first) for labels, *_ in ours if is_number(labels[x])))
    figure = Figure(figsize=(5 + 3 * len(papers), 4.2), layout="constrained")
    panels = figure.subplots(1, 1 + len(papers), squeeze=False)[0]
    titles = ["ours", *(f"published: {paper['heading']}" for paper in result["published"])]
    for panel, points, title in zip(panels, [ours, *papers], titles, strict=True):
        _draw_panel(panel, points, x, lines, names, dotted=title != "ours")
        panel.set_title(title, fontsize="medium")
    panels[0].set_ylabel(first)
    if lines is not None:
        panels[0].legend(loc="best", frameon=False, title=lines)
    return save(figure, folder, "lines")


def draw_people(pairs: Sequence[Pair], folder: Path) -> list[Path]:
    """Draws how many people have which accuracy with and without, and what each gains; returns the files."""
    figure = Figure(figsize=(9, 3.6 * len(pairs)), layout="constrained")
    for row, pair in zip(figure.subplots(len(pairs), 2, squeeze=False), pairs, strict=True):
        _draw_accuracies(row[0], pair)
        _draw_gains(row[1], pair)
    return save(figure, folder, "people")


def _draw_panel(
    panel: Axes,
    points: Sequence[tuple[Mapping[str, str], float, Mapping[str, Any] | None]],
    x: str,
    lines: str | None,
    names: Sequence[str],
    *,
    dotted: bool,
) -> None:
    """Draws one line a name, and a level line for what has no place on the axis."""
    style = ":" if dotted else "-"
    for number, name in enumerate(names):
        found = (
            (float(labels[x]), value, measured)
            for labels, value, measured in points
            if is_number(labels[x]) and (lines is None or labels[lines] == name)
        )
        own = sorted(found, key=lambda point: point[0])
        places, values = [place for place, *_ in own], [value for _, value, _ in own]
        panel.plot(places, values, linestyle=style, marker="o", color=f"C{number}", label=name)
        spans = [(place, m["low"], m["high"]) for place, _, m in own if m and m["low"] is not None]
        if spans:
            at, low, high = zip(*spans, strict=True)
            panel.fill_between(at, low, high, color=f"C{number}", alpha=0.15, linewidth=0)
    for labels, value, _ in points:
        if not is_number(labels[x]):
            name = " ".join(label for label in labels.values() if label != "-")
            panel.axhline(value, color="0.5", linestyle=style if dotted else "--", label=name)
    places = sorted({float(labels[x]) for labels, *_ in points if is_number(labels[x])})
    if places and places[0] > 0 and places[-1] / places[0] >= _LEAST_RATIO:
        panel.set_xscale("log")
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xticks(places, [f"{place:g}" for place in places])
    panel.set_xlabel(x)


def _draw_accuracies(panel: Axes, pair: Pair) -> None:
    edges = np.linspace(0, 1, _BINS + 1)
    middles, width = (edges[:-1] + edges[1:]) / 2, 0.4 / _BINS
    for name, values, shift, colour in (
        (pair.baseline, pair.theirs, -0.5, "0.6"),
        (pair.cell, pair.ours, 0.5, "tab:blue"),
    ):
        shares = shares_by_bin(values)
        panel.bar(middles + shift * width, shares, width, color=colour, label=name)
    panel.set(xlabel="a person's own accuracy", ylabel="share of people", xlim=(0, 1), xticks=edges)
    panel.tick_params(axis="x", labelsize="small")
    panel.legend(loc="upper left", frameon=False)


def _draw_gains(panel: Axes, pair: Pair) -> None:
    change = np.round(pair.ours - pair.theirs, 9)
    most = max(float(np.abs(change).max()), 0.1)
    edges = np.linspace(-most, most, 22)  # an odd number of bins: those who fare the same have one
    signs = {"worse": change < 0, "same": change == 0, "better": change > 0}
    below = np.zeros(len(edges) - 1)
    for name, colour in _SHARES:
        counts = np.histogram(change[signs[name]], edges)[0] / len(change)
        label = f"{name} ({signs[name].mean():.1%})"
        panel.bar(edges[:-1], counts, np.diff(edges), bottom=below, align="edge", color=colour, label=label)
        below += counts
    panel.set(xlabel=f"{pair.cell} minus {pair.baseline}", ylabel="share of people")
    panel.legend(loc="upper left", frameon=False)


def shares_by_bin(values: Floats) -> Floats:
    """Returns the share of people in each of 10 bins of accuracy on [0, 1]; 1 is in the last.

    >>> shares_by_bin(np.array([0.0, 0.05, 0.95, 1.0])).tolist()
    [0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]
    """
    counts, _ = np.histogram(np.round(values, 9), np.round(np.linspace(0, 1, _BINS + 1), 9))
    return counts / len(values)


def is_number(label: str) -> bool:
    """Tells whether a label can be a place on an axis of numbers.

    >>> is_number("0.5"), is_number("ten"), is_number("inf")
    (True, False, False)
    """
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False
