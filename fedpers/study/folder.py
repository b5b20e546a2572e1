"""A study's folder, in which it goes on where it stopped.

study.json       the study as it was described, and what was set beside it
versions.json    fedpers, its commit, and the libraries that can change a number, at the last command
cells/           a JSON file for every finished run of a cell, with settings, versions and everyone's scores;
                 of a run that failed, where it did, as text
table.md table.csv result.json    what came out, and pictures if the study has any
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from fedpers import runs
from fedpers.errors import InputError, WriteError
from fedpers.files import write_whole
from fedpers.report.progress import Reporter
from fedpers.study.cell import Failure
from fedpers.study.grid import Task

_STUDY, _VERSIONS, _CELLS = "study.json", "versions.json", "cells"


def open_folder(out: Path | None, name: str, description: Mapping[str, Any], report: Reporter) -> Path:
    """Makes a study's folder, or opens the one there is to go on in it.

    Args:
        out: Where; by default a new folder under runs/.
        name: The study's name.
        description: What is run, to be kept.
        report: Where it is told what has changed since.

    Raises:
        InputError: The folder holds something else, or cannot be written.
    """
    folder = out or runs.unused(Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-study-{name}")
    versions = runs.versions()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            _check_same(folder, name)
            _tell_changes(folder, versions, report)
        (folder / _CELLS).mkdir(parents=True, exist_ok=True)
        write_whole(folder / _STUDY, json.dumps({"name": name, **description}, indent=2) + "\n")
        write_whole(folder / _VERSIONS, json.dumps(versions, indent=2) + "\n")
    except OSError as error:
        raise InputError(
            f"cannot write to the study's folder {folder}: {error.strerror}; give another --out"
        ) from error
    except WriteError as error:
        raise InputError(f"{error}; give another --out") from error
    return folder


def drop_if_empty(folder: Path) -> None:
    """Removes a study's folder if no cell was finished in it."""
    if not any((folder / _CELLS).iterdir()) and not (folder / "result.json").exists():
        shutil.rmtree(folder)


def read_cell(folder: Path, task: Task) -> dict[str, Any] | None:
    """Returns the record of a run of a cell, None if it is to be run."""
    try:
        record: dict[str, Any] = json.loads((folder / _CELLS / task.file).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if record.get("digest") == task.digest else None


def write_cell(folder: Path, task: Task, result: Mapping[str, Any] | Failure) -> None:
    """Keeps the record of a run of a cell, or where it failed."""
    path = folder / _CELLS / task.file
    trace = path.with_suffix(".txt")
    if isinstance(result, Failure):
        write_whole(trace, result.trace)
    else:
        write_whole(path, json.dumps(result) + "\n")
        trace.unlink(missing_ok=True)


def _check_same(folder: Path, name: str) -> None:
    try:
        before = json.loads((folder / _STUDY).read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, KeyError):
        raise InputError(
            f"{folder} is not empty, and holds no study to go on with: give another --out"
        ) from None
    if before != name:
        raise InputError(f"{folder} holds the study {before!r}: give another --out for {name!r}")


def _tell_changes(folder: Path, now: Mapping[str, Any], report: Reporter) -> None:
    try:
        before = json.loads((folder / _VERSIONS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for name, version in now.items():
        if before.get(name) != version:
            report.say(f"{name} was {before.get(name)} and is {version}: cells run now may differ for that")
