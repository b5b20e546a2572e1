"""Trainable parameters as named arrays, the form in which they travel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

Arrays = dict[str, npt.NDArray[np.floating]]


def extract(module: torch.nn.Module) -> Arrays:
    """Returns a copy of a module's trainable parameters, by name."""
    return {
        name: parameter.detach().cpu().numpy().copy()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def insert(module: torch.nn.Module, arrays: Mapping[str, npt.NDArray[np.floating]]) -> None:
    """Writes arrays into the trainable parameters of the same names.

    Raises:
        ValueError: A name or a shape does not match.
    """
    trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
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
