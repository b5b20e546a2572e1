"""Trainable parameters as named arrays, the form in which they travel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedpers.data import Ints

Arrays = dict[str, npt.NDArray[np.floating]]

OWN = ".own"  # how the name of a parameter ends that belongs to people, and never leaves their devices


@dataclass(frozen=True)
class Rows:
    """A table of which only some rows were trained; the others are as they were broadcast.

    Attributes:
        index: Numbers of the rows, rising (rows,).
        change: What training added to each (rows, width).
        height: Rows of the whole table.
    """

    index: Ints
    change: npt.NDArray[np.floating]
    height: int


Trained = Mapping[str, npt.NDArray[np.floating] | Rows]


def whole(trained: Trained, broadcast: Mapping[str, npt.NDArray[np.floating]]) -> Arrays:
    """Returns trained parameters with every table whole, as float32.

    Args:
        trained: What training gave.
        broadcast: What it started from, by the same names.
    """
    return {
        name: _whole(value, broadcast[name]) if isinstance(value, Rows) else np.asarray(value, np.float32)
        for name, value in trained.items()
    }


def finite(trained: Trained) -> bool:
    """Tells whether all numbers are finite."""
    values = (value.change if isinstance(value, Rows) else value for value in trained.values())
    return all(np.isfinite(value).all() for value in values)


def shared(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Returns a module's trainable parameters by name, but for those that belong to people."""
    return {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and not name.endswith(OWN)
    }


def extract(module: torch.nn.Module) -> Arrays:
    """Returns a copy of a module's shared parameters, by name."""
    return {name: parameter.detach().cpu().numpy().copy() for name, parameter in shared(module).items()}


def insert(module: torch.nn.Module, arrays: Mapping[str, npt.NDArray[np.floating]]) -> None:
    """Writes arrays into the shared parameters of the same names.

    Raises:
        ValueError: A name or a shape does not match.
    """
    trainable = shared(module)
    if trainable.keys() != arrays.keys():
        raise ValueError(f"arrays do not match the parameters: {sorted(trainable.keys() ^ arrays.keys())}")
    with torch.no_grad():
        for name, parameter in trainable.items():
            # A copy: arrays from a shared store are read-only, and torch warns of those.
            value = torch.from_numpy(np.array(arrays[name], dtype=np.float32))
            if value.shape != parameter.shape:
                raise ValueError(f"{name} has shape {tuple(value.shape)}, not {tuple(parameter.shape)}")
            parameter.copy_(value)


def digest(arrays: Mapping[str, npt.NDArray[np.floating]]) -> str:
    """Returns the SHA-256 of named arrays as float32, independent of their order."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(name.encode())
        total.update(np.ascontiguousarray(arrays[name], dtype=np.float32).tobytes())
    return total.hexdigest()


def _whole(rows: Rows, broadcast: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    table = np.array(broadcast, dtype=np.float32)
    table[rows.index] += rows.change
    return table
