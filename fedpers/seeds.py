"""A random stream for each place in a run, named by what it is for.

Streams are derived, never shared, so a draw depends on neither the number of workers nor the order in
which devices train. Every stream is keyed by (seed, purpose, *numbers), usually round and person.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def _sequence(seed: int, purpose: str, *numbers: int) -> np.random.SeedSequence:
    # A spawn key, because plain entropy is padded with zeros: (1,) and (1, 0) would be the same place.
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()), *numbers))


def stream(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Returns the generator of one place in a run; equal arguments give equal draws in any process.

    Args:
        seed: The run's seed, 0 or more.
        purpose: What the draws are for, such as "split" or "identifiers".
        numbers: What tells apart places of one purpose, such as round and person; 0 or more each.

    >>> int(stream(0, "example", 3).integers(1000)) == int(stream(0, "example", 3).integers(1000))
    True
    """
    return np.random.default_rng(_sequence(seed, purpose, *numbers))


def word(seed: int, purpose: str, *numbers: int) -> int:
    """Returns one 32-bit number of a place, for generators that are not numpy's."""
    return int(_sequence(seed, purpose, *numbers).generate_state(1)[0])


@contextmanager
def torch_stream(number: int) -> Iterator[None]:
    """Runs a block with torch's generator (dropout, initial weights) seeded, and restores it after.

    transformers' modules draw from torch's global generator and take no other, so it is forked here
    instead of being seeded for the process.
    """
    with torch.random.fork_rng():
        torch.manual_seed(number)
        yield
