"""What is done to an upload before it leaves a device: its norm bounded, and noise on anonymous vectors.

Bounding a person's update, so that noise on the sum hides whether they took part: McMahan et al., Learning
Differentially Private Recurrent Language Models, ICLR 2018, arXiv 1710.06963.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from fedpers.models import Rows, Trained

Floats = npt.NDArray[np.floating]

_PREFIX = "dp-"  # of a guard's numbers in a message


@dataclass(frozen=True)
class SampleNoise:
    """How a device's training hides each of its texts: DP-SGD (Abadi et al., CCS 2016, arXiv 1607.00133).

    Attributes:
        clip: Largest L2 norm of a text's gradient.
        noise_multiplier: Standard deviation of the noise on their sum, in units of `clip`.
    """

    clip: float
    noise_multiplier: float


@dataclass(frozen=True)
class Guard:
    """What a device does to its upload before it leaves.

    Attributes:
        clip: Largest L2 norm of an update, or of each vector of anonymous records; infinite for none.
        layers: Whether every parameter's array has an equal share of the bound: the bound over the root of
            their number.
        noise_multiplier: Standard deviation of the noise on each vector of anonymous records, in units of
            `clip`; of no meaning for updates, whose sum gets its noise later.
    """

    clip: float
    layers: bool = False
    noise_multiplier: float = 0.0

    def numbers(self) -> dict[str, float]:
        """Returns the guard as a message carries it."""
        return {f"{_PREFIX}{name}": float(value) for name, value in asdict(self).items()}

    @staticmethod
    def of(config: Mapping[str, object]) -> Guard | None:
        """Returns the guard that a message asks for, or None."""
        found = {name.removeprefix(_PREFIX): v for name, v in config.items() if name.startswith(_PREFIX)}
        if not found:
            return None
        clip, layers, noise = (float(str(found[name])) for name in ("clip", "layers", "noise_multiplier"))
        return Guard(clip, bool(layers), noise)


def bounded(trained: Trained, broadcast: Mapping[str, Floats], guard: Guard) -> tuple[Trained, bool]:
    """Returns an update whose change is within a guard's bound, and whether it was so before.

    The bound holds for the numbers that leave, after rounding to float32. An update within it is returned as
    it is.

    Args:
        trained: What training gave.
        broadcast: What it started from, by the same names.
        guard: The bound.
    """
    norms = {name: _norm(value, broadcast[name]) for name, value in trained.items()}
    if guard.layers:
        share = guard.clip / math.sqrt(len(norms))
        within = all(norm <= share for norm in norms.values())
        return {n: _shrunk({n: v}, broadcast, share)[n] for n, v in trained.items()}, within
    return _shrunk(trained, broadcast, guard.clip), math.hypot(*norms.values()) <= guard.clip


def noised_vectors(
    vectors: npt.NDArray[np.float32], guard: Guard, draw: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Returns embeddings cut to a guard's bound, each with Gaussian noise.

    Args:
        vectors: One embedding a record (records, user tokens, width); its norm is over all its tokens.
        guard: Bound and noise.
        draw: The device's randomness.
    """
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    cut = flat * np.minimum(1.0, guard.clip / np.maximum(norms, np.finfo(np.float64).tiny))
    if guard.noise_multiplier:
        cut += draw.standard_normal(cut.shape) * (guard.noise_multiplier * guard.clip)
    found: npt.NDArray[np.float32] = cut.astype(np.float32).reshape(vectors.shape)
    return found


def _shrunk(trained: Trained, broadcast: Mapping[str, Floats], bound: float) -> Trained:
    found, share = trained, 1.0
    while (norm := math.hypot(*(_norm(v, broadcast[n]) for n, v in found.items()))) > bound:
        share *= bound / norm * (1 - 1e-7)  # rounding may leave it a little above, so look again
        found = {name: _scaled(value, broadcast[name], share) for name, value in trained.items()}
    return found


def _norm(value: Floats | Rows, start: Floats) -> float:
    change = value.change if isinstance(value, Rows) else np.subtract(value, start, dtype=np.float64)
    return float(np.linalg.norm(change.astype(np.float64).ravel()))


def _scaled(value: Floats | Rows, start: Floats, share: float) -> Floats | Rows:
    if isinstance(value, Rows):
        return Rows(value.index, (value.change * share).astype(np.float32), value.height)
    found: Floats = (start + share * np.subtract(value, start, dtype=np.float64)).astype(np.float32)
    return found
