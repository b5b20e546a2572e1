"""A server learning rate that falls over the rounds, around any Flower strategy that has one.

Adaptive server optimizers at a constant rate end in fluctuation; Reddi et al. (ICLR 2021, arXiv
2003.00295, appendix) let rates decay. Flower's strategies have no schedule, so theirs is set before each
aggregation. Which schedule is our choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import Strategy

from fedpers.errors import InputError
from fedpers.strategies.wrapped import Wrapped

# The share of the peak rate at a round, given the share of all rounds that lie before it, in [0, 1).
SCHEDULES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "linear": lambda before: 1.0 - before,
        "cosine": lambda before: (1.0 + math.cos(math.pi * before)) / 2,
    }
)

_RATES = ("eta", "server_learning_rate")  # what Flower's strategies call it


class Scheduled(Wrapped):
    """A strategy whose server learning rate follows a schedule; all else is the strategy's own."""

    def __init__(self, inner: Strategy, share: Callable[[float], float], rounds: int) -> None:
        """Wraps a strategy.

        Args:
            inner: The strategy, with its peak rate.
            share: The schedule, one of `SCHEDULES`.
            rounds: Rounds over which the rate falls.

        Raises:
            InputError: The strategy has no server learning rate.
        """
        names = [name for name in _RATES if hasattr(inner, name)]
        if not names:
            raise InputError(
                f"{type(inner).__name__.lower()} has no server learning rate to schedule: "
                "use a constant one, or fedavgm, fedadam, fedadagrad or fedyogi"
            )
        super().__init__(inner)
        self._name = names[0]
        self._peak: float = getattr(inner, self._name)
        self._share = share
        self._rounds = rounds
        if hasattr(inner, "server_opt"):
            inner.server_opt = True  # fedavgm reads its rate only where it was not 1 at the start

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Sets the round's rate and lets the strategy aggregate."""
        setattr(self.inner, self._name, self._peak * self._share((server_round - 1) / self._rounds))
        return super().aggregate_train(server_round, replies)
