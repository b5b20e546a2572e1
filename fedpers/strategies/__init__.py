"""The server's half of every method: Flower strategies."""

from fedpers.strategies.cloud import Cloud, Silence
from fedpers.strategies.flower import AVERAGING, averages, make

__all__ = ["AVERAGING", "Cloud", "Silence", "averages", "make"]
