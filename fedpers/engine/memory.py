"""What a Flower strategy remembers between rounds, taken out and put back.

Flower's strategies keep their optimizer's moments in plain attributes and have no way to save them. Numbers,
arrays, lists and dicts of arrays, array records and strategies inside strategies are taken; functions are
not, for a new strategy of the same settings has the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord
from flwr.serverapp.strategy import Strategy

from fedpers.engine.flower import to_arrays, to_record

Numbers = dict[str, npt.NDArray[Any]]
Notes = dict[str, Any]


def recall(strategy: Strategy) -> tuple[Numbers, Notes]:
    """Returns a strategy's arrays by path, and notes in JSON's types that tell where each belongs."""
    numbers: Numbers = {}
    notes: Notes = {}
    for name, value in vars(strategy).items():
        if isinstance(value, Strategy):
            inner, note = recall(value)
            numbers |= {f"{name}/{path}": array for path, array in inner.items()}
            notes[name] = {"strategy": note}
        elif value is None or isinstance(value, bool | int | float | str):
            notes[name] = {"value": value}
        elif (parts := _parts(value)) is not None:
            kind, arrays = parts
            numbers |= {f"{name}/{key}": array for key, array in arrays.items()}
            notes[name] = {kind: list(arrays)}
    return numbers, notes


def remind(strategy: Strategy, numbers: Mapping[str, npt.NDArray[Any]], notes: Mapping[str, Any]) -> None:
    """Gives a new strategy of the same settings what `recall` took from another one."""
    for name, note in notes.items():
        [(kind, content)] = note.items()
        if kind == "strategy":
            inner = {
                path.removeprefix(f"{name}/"): array
                for path, array in numbers.items()
                if path.startswith(f"{name}/")
            }
            remind(getattr(strategy, name), inner, content)
        elif kind == "value":
            setattr(strategy, name, content)
        else:
            setattr(strategy, name, _whole(kind, {key: numbers[f"{name}/{key}"] for key in content}))


def _parts(value: object) -> tuple[str, Numbers] | None:
    """Returns what kind of thing holds arrays, and the arrays by key; None if it holds anything else."""
    if isinstance(value, ArrayRecord):
        return "record", dict(to_arrays(value))
    if isinstance(value, np.ndarray):
        return "array", {"0": value}
    if isinstance(value, dict) and all(isinstance(part, np.ndarray) for part in value.values()):
        return "dict", value
    if isinstance(value, list) and all(isinstance(part, np.ndarray) for part in value):
        return "list", {str(position): part for position, part in enumerate(value)}
    return None


def _whole(kind: str, arrays: Numbers) -> object:
    if kind == "record":
        return to_record(arrays)
    if kind == "array":
        return arrays["0"]
    return arrays if kind == "dict" else list(arrays.values())
