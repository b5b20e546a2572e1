"""What came out of a study: a row for each cell over its seeds, and what cells gain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fedpers.evaluation import Scores, bootstrap_measure, change
from fedpers.report.study_plots import Pair
from fedpers.seeds import stream
from fedpers.study.description import Gain, Study
from fedpers.study.grid import Cell, baseline_of, figures_of
from fedpers.study.measures import is_summed, scores_of, split, value_of

Records = Mapping[tuple[str, int], Mapping[str, Any]]  # by cell's name and seed
_SAME = 0.02  # best possible accuracies that lie so near are told as one


def summarise(study: Study, cells: Sequence[Cell], records: Records) -> dict[str, Any]:
    """Returns what came out as JSON has it.

    Args:
        study: The study.
        cells: Its cells.
        records: What is known of them so far.
    """
    seeds = study.seeds
    figures = {name: figures_of(study.columns, p.figures) for name, p in study.published.items()}
    return {
        "title": study.title,
        "about": study.about,
        "columns": list(study.columns),
        "headings": list(study.measures),
        "seeds": list(seeds),
        "cells": [_row(study, cell, seeds, records) for cell in cells],
        "gains": [_gain_table(name, gain, cells, seeds, records) for name, gain in study.gains.items()],
        "published": [
            {
                "heading": heading,
                "source": study.published[heading].source,
                "figures": [{"labels": labels, "value": value} for labels, value in found],
            }
            for heading, found in figures.items()
        ],
        "ceilings": _ceilings(records),
        "work_seconds": sum(record["seconds"] for record in records.values()),
    }


def pairs(gain: Gain, cells: Sequence[Cell], seeds: Sequence[int], records: Records) -> list[Pair]:
    """Returns everyone's own measure under each cell and under what it is compared with."""
    found = []
    for cell, other, ours, theirs in _compared(gain, cells, seeds, records):
        against = _against(gain, cell, other)
        mine, their = (
            np.concatenate([scores.means_by_person(split(gain.of)[1]) for scores in chosen])
            for chosen in (ours, theirs)
        )
        found.append(Pair(cell.name, against, mine, their))
    return found


def shown(measure: str, record: Mapping[str, Any]) -> float | None:
    """Returns a measure of one run, None if it was not taken there."""
    return value_of(measure, _sets(record), record["ceilings"])


def _row(study: Study, cell: Cell, seeds: Sequence[int], records: Records) -> dict[str, Any]:
    done = {seed: records[cell.name, seed] for seed in seeds if (cell.name, seed) in records}
    return {
        "labels": dict(cell.labels),
        "name": cell.name,
        "where": cell.where,
        "seeds": list(done),
        "measures": {
            heading: _measured(measure, list(done.values())) for heading, measure in study.measures.items()
        },
        "samples": [record["samples"] for record in done.values()],
        "steps": [record["done"] for record in done.values()],
        "seconds": [record["seconds"] for record in done.values()],
    }


def _measured(measure: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Returns a measure's mean over seeds, its scatter, and its interval over people where it has one."""
    name = split(measure)[1]
    values = [shown(measure, record) for record in records]
    taken = [value for value in values if value is not None]
    if not taken or len(taken) < len(values):
        return None
    low = high = None
    if is_summed(measure):
        scores = [_sets(record)[split(measure)[0]] for record in records]
        low, high = bootstrap_measure(scores, stream(0, "bootstrap"), name)
    return {
        "mean": float(np.mean(taken)),
        "spread": float(np.std(taken)),
        "low": low,
        "high": high,
        "by_seed": taken,
    }


def _gain_table(
    heading: str, gain: Gain, cells: Sequence[Cell], seeds: Sequence[int], records: Records
) -> dict[str, Any]:
    measure = split(gain.of)[1]
    rows = [
        {
            "labels": dict(cell.labels),
            "name": cell.name,
            "against": _against(gain, cell, other),
            **asdict(change(ours, theirs, stream(0, "bootstrap"), measure)),
        }
        for cell, other, ours, theirs in _compared(gain, cells, seeds, records)
    ]
    return {"heading": heading, "of": gain.of, "over": gain.over or gain.of, "rows": rows}


def _compared(
    gain: Gain, cells: Sequence[Cell], seeds: Sequence[int], records: Records
) -> Iterator[tuple[Cell, Cell, list[Scores], list[Scores]]]:
    """Gives each cell with its baseline, and the scores of both for the seeds that both were run with."""
    of, over = split(gain.of)[0], split(gain.over or gain.of)[0]
    for cell in cells:
        other = baseline_of(cell, gain.baseline, cells)
        if other is None or (other is cell and of == over):
            continue
        ours = {seed: _sets(records[cell.name, seed]) for seed in seeds if (cell.name, seed) in records}
        theirs = {seed: _sets(records[other.name, seed]) for seed in seeds if (other.name, seed) in records}
        both = [s for s in seeds if s in ours and s in theirs and of in ours[s] and over in theirs[s]]
        if both:
            yield cell, other, [ours[seed][of] for seed in both], [theirs[seed][over] for seed in both]


def _against(gain: Gain, cell: Cell, other: Cell) -> str:
    return (gain.over or gain.of) if other is cell else other.name


def _ceilings(records: Records) -> dict[str, float] | None:
    """Returns the best possible accuracies, if all runs have them and nearly the same ones."""
    found = [record["ceilings"] for record in records.values()]
    if not found or None in found:
        return None
    if any(np.ptp([bounds[name] for bounds in found]) > _SAME for name in found[0]):
        return None
    return {name: float(np.mean([bounds[name] for bounds in found])) for name in found[0]}


def _sets(record: Mapping[str, Any]) -> dict[str, Scores]:
    return {name: scores_of(scores) for name, scores in record["scores"].items()}
