"""Personal states in few files: each holds some hundred people's, and one person's can be read alone.

A file is safetensors with the arrays of a person under `person/name`, so its header tells where each lies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fedpers.errors import InputError
from fedpers.files import beside
from fedpers.method import State

PEOPLE_A_FILE = 256


def write_states(folder: Path, states: Iterable[tuple[int, State]]) -> None:
    """Writes people's states into a new folder, and never holds more than one file's in memory."""
    if folder.exists():  # of a run that died while it was recorded, and was resumed
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    rest = iter(states)
    number = 0
    while chunk := dict(islice(rest, PEOPLE_A_FILE)):
        write_file(folder / f"{number:05d}.safetensors", chunk)
        chunk.clear()  # before the next file's people are made
        number += 1


def write_file(path: Path, states: Mapping[int, State]) -> None:
    """Writes the states of some people into one file, whole or not at all."""
    arrays = {
        f"{p}/{name}": np.array(a, order="C") for p, state in states.items() for name, a in state.items()
    }
    with beside(path) as unfinished, unfinished.open("wb") as file:
        file.write(save(arrays))
        file.flush()
        os.fsync(file.fileno())


def files_of(folder: Path) -> list[Path]:
    """Returns the files of a folder, in order."""
    return sorted(folder.glob("*.safetensors"))


def read_states(folder: Path) -> Iterator[dict[int, State]]:
    """Gives everyone's states, a file's at a time."""
    for path in files_of(folder):
        yield dict(read_file(path))


def read_file(path: Path, only: int | None = None) -> Iterator[tuple[int, State]]:
    """Gives the states of the people in a file, or of only one."""
    with _opened(path) as file:
        names: dict[int, list[str]] = {}
        for key in file.keys():  # noqa: SIM118  # it is no dict
            person, _, name = key.partition("/")
            names.setdefault(int(person), []).append(name)
        for person in sorted(names) if only is None else [only]:
            yield person, {name: file.get_tensor(f"{person}/{name}") for name in names.get(person, [])}


def people_of(path: Path) -> list[int]:
    """Returns who is in a file, by its header alone."""
    with _opened(path) as file:
        return sorted({int(key.partition("/")[0]) for key in file.keys()})  # noqa: SIM118  # it is no dict


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, "numpy")
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read the personal states in {path}: {error}") from error
