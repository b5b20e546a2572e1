"""Runs what is missing of a study, and writes what came out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedpers import runs
from fedpers.engine import spread
from fedpers.errors import FedpersError
from fedpers.files import write_whole
from fedpers.report.progress import Reporter
from fedpers.report.study_plots import draw_lines, draw_people
from fedpers.report.study_tables import study_csv, study_markdown
from fedpers.study.cell import Failure, run_task
from fedpers.study.description import Layer, Study
from fedpers.study.folder import drop_if_empty, open_folder, read_cell, write_cell
from fedpers.study.grid import Cell, Task, cells_of
from fedpers.study.summary import Records, pairs, shown, summarise


def conduct(
    name: str,
    study: Study,
    layers: Sequence[Layer],
    out: Path | None,
    jobs: int | None,
    report: Reporter,
) -> dict[str, Any]:
    """Runs the cells of a study that have no result in its folder yet, and returns what came out.

    Args:
        name: The study's name.
        study: The study.
        layers: Settings of all cells that go before the file's.
        out: Its folder, to go on in if there is something; by default a new one.
        jobs: How many runs go on at once; by default as many as cores.
        report: Where progress goes.

    Raises:
        InputError: The study, a setting or the folder cannot be used.
        KeyboardInterrupt: Somebody stopped it before anything was finished.
    """
    start = time.monotonic()
    cells = cells_of(study, layers)
    # Axes mostly go from cheap to dear: the dear first, so that no long run is left alone at the end.
    tasks = [Task(cell, seed) for seed in study.seeds for cell in reversed(cells)]
    folder = open_folder(out, name, {"study": study.model_dump(), "set": list(layers)}, report)
    records = {task: record for task in tasks if (record := read_cell(folder, task))}
    before, failed, interrupted = len(records), [], False
    try:
        for task, came in _run([task for task in tasks if task not in records], before, study, jobs, report):
            write_cell(folder, task, came)
            if isinstance(came, Failure):
                failed.append({"cell": task.cell.name, "seed": task.seed, "reason": came.reason})
            else:
                records[task] = came
    except KeyboardInterrupt:
        if not records:
            drop_if_empty(folder)
            raise
        interrupted = True
    known = {(task.cell.name, task.seed): record for task, record in records.items()}
    result = {
        "study": name,
        **summarise(study, cells, known),
        "failed": failed,
        "runs": len(tasks),
        "finished": len(records),
        "finished_before": before,
        "interrupted": interrupted,
        "seconds": time.monotonic() - start,
        "run": str(folder),
        "files": [],
    }
    _write(folder, result)  # before the picture: should that fail, the numbers are there
    if drawn := _draw(study, cells, known, result, folder):
        result["files"] = [str(path) for path in drawn]
        _write(folder, result)
    return result


def _run(
    missing: Sequence[Task], before: int, study: Study, jobs: int | None, report: Reporter
) -> Iterator[tuple[Task, dict[str, Any] | Failure]]:
    """Runs cells, some at once, and yields what came out of each as it gets ready."""
    if before:
        report.say(f"{before} of {before + len(missing)} runs are in the folder already")
    if not missing:
        return
    at_once = min(len(os.sched_getaffinity(0)) if jobs is None else jobs, len(missing))
    with report.stage("runs", before + len(missing), before, each=True) as stage:
        for number, came in spread(run_task, missing, at_once, missing[0].settings.engine):
            task = missing[number]
            result = Failure(str(came), f"{came}\n") if isinstance(came, FedpersError) else came
            yield task, result
            stage.advance(f"{task.name}: {_note(study, result)}")


def _note(study: Study, came: Mapping[str, Any] | Failure) -> str:
    if isinstance(came, Failure):
        return f"failed, {came.reason}"
    heading, measure = next(iter(study.measures.items()))
    value = shown(measure, came)
    return f"{heading} -" if value is None else f"{heading} {value:.3f}"


def _write(folder: Path, result: Mapping[str, Any]) -> None:
    """Writes what came out, as tables and as JSON has it."""
    write_whole(folder / "table.md", study_markdown(result))
    write_whole(folder / "table.csv", study_csv(result))
    runs.write_result(folder, result)


def _draw(
    study: Study, cells: Sequence[Cell], records: Records, result: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Draws the study's picture, if it has one and there is something to be drawn."""
    plot = study.plot
    if plot is None or not records:
        return []
    if plot.kind == "people":
        compared = pairs(next(iter(study.gains.values())), cells, study.seeds, records)
        return draw_people(compared, folder) if compared else []
    assert plot.x is not None
    return draw_lines(result, plot.x, plot.lines, folder)
