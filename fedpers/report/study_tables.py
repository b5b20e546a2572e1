"""What came out of a study, as tables for a terminal 80 columns wide, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedpers.report.plain import plain_table

_NONE = "-"
_GAIN = ("gain", "95 % interval", "better", "same", "worse")


def studies_table(listed: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Returns the studies there are."""
    table = plain_table(None)
    table.add_column("study", no_wrap=True)
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("title")
    for study in listed:
        table.add_row(study["name"], f"{study['runs']}", study["title"])
    return table


def study_table(result: Mapping[str, Any]) -> RenderableType:
    """Returns a row for each cell, the gains, and what belongs to them."""
    headers, rows = _cells(result)
    parts = [_filled(result["title"], headers, rows, len(result["columns"]))]
    for gains in result["gains"]:
        headers, rows = _gains(result, gains)
        if rows:
            parts.append(_filled(_gain_title(gains), headers, rows, len(result["columns"])))
    return Group(*parts, *(Text(note) for note in _notes(result)))


def study_markdown(result: Mapping[str, Any]) -> str:
    """Returns the same as Markdown."""
    lines = [f"# {result['title']}", "", " ".join(result["about"].split()), "", *_pipes(*_cells(result))]
    for gains in result["gains"]:
        headers, rows = _gains(result, gains)
        if rows:
            lines += ["", _gain_title(gains), "", *_pipes(headers, rows)]
    for note in _notes(result):
        lines += ["", note]
    return "\n".join(lines) + "\n"


def study_csv(result: Mapping[str, Any]) -> str:
    """Returns a row for each cell with unrounded numbers."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    measures, gains = result["headings"], result["gains"]
    published = [paper["heading"] for paper in result["published"]]
    parts = ("mean", "spread", "low", "high")
    table.writerow(
        [*result["columns"], "where", "seeds"]
        + [f"{heading} {part}" for heading in measures for part in parts]
        + [f"{g['heading']} {part}" for g in gains for part in _CHANGE]
        + [f"published {heading}" for heading in published]
    )
    for cell in result["cells"]:
        taken = [cell["measures"][heading] or {} for heading in measures]
        gained = [_of(cell, table["rows"]) or {} for table in gains]
        table.writerow(
            [*cell["labels"].values(), cell["where"], " ".join(map(str, cell["seeds"]))]
            + [measure.get(part) for measure in taken for part in parts]
            + [gain.get(part) for gain in gained for part in _CHANGE]
            + [(_of(cell, paper["figures"]) or {}).get("value") for paper in result["published"]]
        )
    return written.getvalue()


_CHANGE = ("difference", "low", "high", "better", "same", "worse")


def _cells(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns the heads of the columns and the cells' rows."""
    first, *others = result["headings"]
    several, interval = len(result["seeds"]) > 1, _has_interval(result)
    headers = [*result["columns"], first]
    headers += ["95 % interval"] * interval + ["± seeds"] * several + others
    headers += [paper["heading"] for paper in result["published"]]
    rows = []
    failed = {failure["cell"] for failure in result["failed"]}
    for cell in result["cells"]:
        measured = cell["measures"][first]
        nothing = "failed" if cell["name"] in failed and not cell["seeds"] else _NONE
        row = [*cell["labels"].values(), nothing if measured is None else f"{measured['mean']:.3f}"]
        row += [_interval(measured)] * interval
        row += [_NONE if measured is None else f"{measured['spread']:.3f}"] * several
        row += [_number(cell["measures"][heading], "mean") for heading in others]
        row += [_number(_of(cell, paper["figures"]), "value") for paper in result["published"]]
        rows.append(row)
    return headers, rows


def _gains(result: Mapping[str, Any], gains: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            *gain["labels"].values(),
            f"{gain['difference']:+.3f}",
            _interval(gain),
            *(f"{gain[share]:.1%}" for share in _GAIN[2:]),
        ]
        for gain in gains["rows"]
    ]
    return [*result["columns"], *_GAIN], rows


def _gain_title(gains: Mapping[str, Any]) -> str:
    against = list(dict.fromkeys(row["against"] for row in gains["rows"]))
    over = against[0] if len(against) == 1 else "each one's baseline"
    return f"{gains['heading']}: {gains['of']} against {over}, person by person"


def _notes(result: Mapping[str, Any]) -> list[str]:
    seeds = result["seeds"]
    where = " and ".join(dict.fromkeys(cell["where"] for cell in result["cells"]))
    notes = [f"{where.capitalize()} training, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}."]
    if result["ceilings"]:
        best = result["ceilings"]
        notes.append(
            f"Best possible without knowing the person {best['without_person']:.3f}, "
            f"with it {best['with_person']:.3f}."
        )
    notes += [f"{paper['heading']}: published, {paper['source']}." for paper in result["published"]]
    notes += [f"Failed: {f['cell']}, seed {f['seed']}: {f['reason']}" for f in result["failed"]]
    state = "Stopped with" if result["interrupted"] else "Finished"
    notes.append(
        f"{state} {result['finished']} of {result['runs']} runs, {result['finished_before']} of them before, "
        f"in {result['seconds']:.0f} s; they take {result['work_seconds']:.0f} s one after another."
    )
    notes += [f"Drawn: {', '.join(result['files'])}"] if result.get("files") else []
    return [*notes, f"Folder: {result['run']}"]


def _of(cell: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Returns what is told of a cell among rows with labels."""
    return next((row for row in rows if row["labels"] == cell["labels"]), None)


def _has_interval(result: Mapping[str, Any]) -> bool:
    first = result["headings"][0]
    return any((cell["measures"][first] or {}).get("low") is not None for cell in result["cells"])


def _interval(bounds: Mapping[str, Any] | None) -> str:
    return _NONE if not bounds or bounds["low"] is None else f"{bounds['low']:.3f} .. {bounds['high']:.3f}"


def _number(found: Mapping[str, Any] | None, name: str) -> str:
    return _NONE if found is None else f"{found[name]:.3f}"


def _filled(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], labels: int) -> Table:
    table = plain_table(title)
    for place, header in enumerate(headers):
        table.add_column(header, justify="left" if place < labels else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _pipes(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[text.replace("|", "\\|") for text in row] for row in (headers, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return [lines[0], "|" + "---|" * len(headers), *lines[1:]]
