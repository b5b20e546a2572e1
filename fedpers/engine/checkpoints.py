"""Checkpoints: what a run needs to go on, written whole or not at all, without pickle.

A checkpoint is a folder named by its step, with `arrays.safetensors`, `record.json` and `states/`. It is
written under another name and renamed when all of it is on the disk; the ones before it are then removed but
for one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fedpers.engine.shards import read_states, write_states
from fedpers.errors import FedpersError, InputError
from fedpers.method import State

_ARRAYS, _RECORD, _STATES = "arrays.safetensors", "record.json", "states"
_KEPT = 2


def write_checkpoint(
    folder: Path,
    step: int,
    arrays: Mapping[str, npt.NDArray[Any]],
    states: Iterable[tuple[int, State]],
    record: Mapping[str, Any],
) -> None:
    """Writes the checkpoint of a step, then removes all but the newest two.

    Args:
        folder: Where a run's checkpoints are.
        step: Orders them.
        arrays: Every number but those of states, by a path of its own.
        states: People's personal states.
        record: All else, in JSON's types.

    Raises:
        FedpersError: It cannot be written; the earlier ones are left as they were.
    """
    unfinished = folder / "unfinished"
    try:
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(parents=True)
        _write(unfinished / _ARRAYS, save({name: np.array(a, order="C") for name, a in arrays.items()}))
        write_states(unfinished / _STATES, states)
        _write(unfinished / _RECORD, json.dumps(record).encode())
        target = folder / f"{step:08d}"
        if target.exists():  # the same step again, after a run was resumed
            shutil.rmtree(target)
        unfinished.rename(target)
        for old in _steps(folder)[:-_KEPT]:
            shutil.rmtree(old)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        earlier = _steps(folder)
        rest = f"the one of step {int(earlier[-1].name)} is kept" if earlier else "there is none before it"
        raise FedpersError(
            f"cannot write the checkpoint of step {step} in {folder}: {error.strerror}; {rest}"
        ) from error


def read_checkpoint(
    folder: Path,
) -> tuple[dict[str, npt.NDArray[Any]], Iterator[Mapping[int, State]], dict[str, Any]]:
    """Returns arrays, personal states, some people's at a time, and the record of the newest checkpoint.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    steps = _steps(folder)
    if not steps:
        raise InputError(f"{folder} holds no checkpoint: the run was stopped before its first one")
    newest = steps[-1]
    try:
        record = json.loads((newest / _RECORD).read_text(encoding="utf-8"))
        return load_file(newest / _ARRAYS), read_states(newest / _STATES), record
    except (OSError, ValueError, SafetensorError) as error:
        way_out = (
            f"remove it to go on from step {int(steps[-2].name)}" if len(steps) > 1 else "start the run again"
        )
        raise InputError(f"the checkpoint {newest} cannot be read ({error}): {way_out}") from error


def has_checkpoint(folder: Path) -> bool:
    """Tells whether a run left a checkpoint."""
    return bool(_steps(folder))


def remove_checkpoints(folder: Path) -> None:
    """Removes all checkpoints of a run that has come to its end."""
    shutil.rmtree(folder, ignore_errors=True)


def _steps(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name.isdecimal()) if folder.is_dir() else []


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
