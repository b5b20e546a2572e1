"""What updates reveal, as tables for a terminal 80 columns wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedpers.report.plain import plain_table


def update_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns tables of words, identifiers and sums, with what belongs to them."""
    alone = [row for row in result["rows"] if row["devices"] == 1]
    sums = [row for row in result["rows"] if row["devices"] > 1]
    parts: list[RenderableType] = [_words_table(alone, "Words of a device's texts, from its update alone")]
    if result["identifier"] is not None:
        parts.append(_identifiers_table(alone))
    if sums:
        title = f"Sums of {result['cohort']} devices' updates"
        parts.append(_sums_table(sums, title, result["identifier"] is not None))
    drawn = Text(f"Drawn: {', '.join(result['files'])}")
    return Group(*parts, *_notes(result, alone[0]), drawn, Text(f"Run folder: {result['run']}"))


def _words_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    table = _table(title, ("noise", "found", "95 % interval", "chance", "AUC", "95 % interval", "aimed"))
    for row in rows:
        told = row["auc"]
        table.add_row(
            _noise(row),
            _share(row["words"]),
            _interval(row["words"]),
            _share(row["chance"]),
            _number(told),
            "-" if told is None else f"{told['low']:.3f} .. {told['high']:.3f}",
            _share(row["aimed_words"]),
        )
    return table


def _identifiers_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("noise", "tokens", "95 % interval", "whole", "rare: tokens", "whole", "aimed")
    table = _table("Its identifier: the rows that moved farthest", columns)
    for row in rows:
        names = ("identifiers", "unusual_tokens", "unusual_identifiers", "aimed_tokens")
        own = [_share(row[name]) for name in names]
        table.add_row(_noise(row), _share(row["tokens"]), _interval(row["tokens"]), *own)
    return table


def _sums_table(rows: Sequence[Mapping[str, Any]], title: str, identified: bool) -> Table:
    named = ("tokens", "whole", "who: AUC", "95 % interval") if identified else ()
    table = _table(title, ("noise", "words", "chance", "AUC", *named))
    for row in rows:
        who = row["took_part"]
        own = [
            _share(row["tokens"]),
            _share(row["identifiers"]),
            _number(who),
            "-" if who is None else f"{who['low']:.3f} .. {who['high']:.3f}",
        ]
        words = [_share(row["words"]), _share(row["chance"]), _number(row["auc"])]
        table.add_row(_noise(row), *words, *(own if identified else []))
    return table


def _notes(result: Mapping[str, Any], plain: Mapping[str, Any]) -> list[RenderableType]:
    """Says what the plain update shows without any ranking, and what the columns mean."""
    notes = [
        f"{result['people']:,} people's devices train one more round from the {result['start']} model; a "
        f"text's words are {result['present']:,.0f} a person of {result['words']:,}. Plain: "
        f"{_share(plain['moved'])} of all rows moved, precision {_share(plain['precision'])}, recall "
        f"{_share(plain['recall'])}. Order is in no row.",
        f"Noise is in units of the bound, {result['dp_clip']:.3g}, which {result['within']:.0%} of the "
        "updates keep by themselves; found: share of the words among as many rows that moved farthest; "
        "aimed: the same along the two directions in which rows move on public people's devices.",
    ]
    if result["wordless"]:
        notes.append(
            f"{result['wordless']:,} of these people wrote no word that the tokenizer knows; words are "
            "scored without them."
        )
    if result["every_row"]:
        notes.append(
            "Every row moved, by an output that shares the table or by weight decay: that a row moved tells "
            "nothing, only how far."
        )
    if result["identifier"] is not None:
        notes.append(
            "Whole: people with all of their identifier among the guesses, as many as it has tokens, in "
            "whatever order. Rare: norms beside what public text leads one to expect. Who: telling a "
            "cohort's people from others by their identifiers."
        )
    if result["second_table"]:
        notes.append("Identifiers have a table of their own, whose rows that moved are theirs alone.")
    return [Text(note) for note in notes]


def _noise(row: Mapping[str, Any]) -> str:
    return "plain" if row["noise"] is None else f"{row['noise']:g}"


def _share(value: Mapping[str, float] | None) -> str:
    return "-" if value is None else f"{value['mean']:.1%}"


def _number(value: Mapping[str, float] | None) -> str:
    return "-" if value is None else f"{value['mean']:.3f}"


def _interval(value: Mapping[str, float] | None) -> str:
    return "-" if value is None else f"{value['low']:.1%} .. {value['high']:.1%}"


def _table(title: str, columns: Sequence[str]) -> Table:
    table = plain_table(title)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
