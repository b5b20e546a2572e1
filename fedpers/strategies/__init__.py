"""The server's half of every method: Flower strategies."""

from fedpers.strategies.flower import AVERAGING, averages, make

__all__ = ["AVERAGING", "averages", "make"]
