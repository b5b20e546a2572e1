"""Differential privacy: bounds on what leaves a device or a text, noise on it, and the epsilon of both."""

from fedpers.dp.accounting import (
    Accountant,
    Sampling,
    Spent,
    epsilon,
    largest,
    merged,
    noise_for,
    steps_within,
)
from fedpers.dp.guards import Guard, SampleNoise, bounded, noised_vectors

__all__ = [
    "Accountant",
    "Guard",
    "SampleNoise",
    "Sampling",
    "Spent",
    "bounded",
    "epsilon",
    "largest",
    "merged",
    "noise_for",
    "noised_vectors",
    "steps_within",
]
