"""A Flower strategy around another one, which does what the outer one does not change."""

from __future__ import annotations

from collections.abc import Iterable

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy


class Wrapped(Strategy):
    """Leaves everything to the strategy within, and needs no more of the replies than that.

    Attributes:
        inner: The strategy.
    """

    def __init__(self, inner: Strategy) -> None:
        """Wraps a strategy."""
        self.inner = inner

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Leaves the round's messages to the strategy."""
        return self.inner.configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Leaves aggregation to the strategy."""
        return self.inner.aggregate_train(server_round, replies)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Leaves evaluation to the strategy."""
        return self.inner.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Leaves evaluation to the strategy."""
        return self.inner.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        """Logs the strategy's own summary."""
        self.inner.summary()


class PartTrained(Wrapped):
    """Has another strategy train a part of what it has, and asks for no evaluation, which needs the whole."""

    def __init__(self, inner: Strategy) -> None:
        """Wraps a strategy."""
        super().__init__(inner)
        self._arrays: ArrayRecord | None = None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Asks for no evaluation."""
        return []
