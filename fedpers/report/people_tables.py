"""Tables about personal modules, for a terminal 80 columns wide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedpers.report.plain import plain_table
from fedpers.report.result_tables import spoken

_SHOWN = 20


def people_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns who has modules in a run, most test texts first, and what the modules stand on."""
    people = sorted(result["people"], key=lambda owner: -owner["samples"])
    total = sum(owner["bytes"] for owner in people)
    table = _table(f"{len(people):,} people with modules, {_size(total)} in all")
    table.add_column("person", no_wrap=True, max_width=36)
    for column in ("test texts", spoken(result["measure"]), "size"):
        table.add_column(column, justify="right")
    for owner in people[:_SHOWN]:
        score = "" if owner["score"] is None else f"{owner['score']:.3f}"
        table.add_row(owner["name"], f"{owner['samples']:,}", score, _size(owner["bytes"]))
    rest = len(people) - _SHOWN
    notes = [f"... and {rest:,} more: --json has all."] if rest > 0 else []
    notes.append(f"The {spoken(result['measure'])} is that with {result['module']}.")
    kinds = _table("Modules")
    for column in ("module", "model it stands on", "SHA-256 of its weights"):
        kinds.add_column(column, no_wrap=True)
    for kind in result["modules"]:
        kinds.add_row(kind["name"], kind["base"], f"{kind['sha256'][:12]}...")
    return Group(table, *map(Text, notes), Text(""), kinds)


def likeness_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns how alike people's modules are: the spread, and the pairs at both ends."""
    pairs = result["pairs"]
    cosines = np.array([pair["cosine"] for pair in pairs])
    low, median, high = np.quantile(cosines, [0.05, 0.5, 0.95])
    table = _table(f"{result['module']}: cosine of {len(pairs):,} pairs of people")
    for column in ("one", "another"):
        table.add_column(column, no_wrap=True, max_width=30)
    table.add_column("cosine", justify="right")
    ends = pairs if len(pairs) <= 10 else [*pairs[:5], None, *pairs[-5:]]
    for pair in ends:
        row = (
            ("...", "...", "...")
            if pair is None
            else (pair["first"], pair["second"], f"{pair['cosine']:.3f}")
        )
        table.add_row(*row)
    spread = f"Mean {cosines.mean():.3f}, median {median:.3f}, 90 % of pairs within {low:.3f} .. {high:.3f}."
    return Group(table, Text(spread))


def strata_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns how people fare by the length of their history: a column for each quarter of them."""
    strata = result["strata"]
    table = _table(f"Mean {spoken(result['measure'])} over people, by the length of their history")
    table.add_column("items", no_wrap=True)
    for stratum in strata:
        table.add_column(f"{stratum['fewest']} .. {stratum['most']}", justify="right", no_wrap=True)
    table.add_row("people", *(f"{stratum['people']:,}" for stratum in strata))
    for phase in strata[0]["means"]:
        table.add_row(phase, *(f"{stratum['means'][phase]:.3f}" for stratum in strata))
    return table


def export_text(result: Mapping[str, Any]) -> str:
    """Says where a module is, and how to use it; lines are not wrapped, for they are to be copied."""
    return (
        f"The module {result['module']} of {result['person']} is in {result['to']}.\n"
        f"It stands on the model in {result['base']}:\n\n"
        "  from peft import PeftModel\n"
        f"  from transformers import {result['class']}\n"
        f"  base = {result['class']}.from_pretrained({result['base']!r})\n"
        f"  model = PeftModel.from_pretrained(base, {result['to']!r})"
    )


def forgotten_text(result: Mapping[str, Any]) -> RenderableType:
    """Says what was removed."""
    arrays = sum("/" in part for part in result["removed"])
    rest = ", ".join(f"the {part}" for part in result["removed"] if "/" not in part)
    return Text(
        f"Forgot {result['person']}: {arrays} arrays, {rest}.\n"
        "No file of the run holds the name or an array of the modules any more."
    )


def _table(title: str) -> Table:
    """Returns an empty table that is at least as wide as its title."""
    table = plain_table(title)
    table.min_width = len(title)
    return table


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"
