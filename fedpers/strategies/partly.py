"""A server that trains some groups of the parameters by another strategy, and leaves the others as they are.

PerPLM (Oba et al., arXiv 2309.07727) studies models that are tuned and models that stay frozen beside their
prompts; and each of its stages has a head of its own, which the other has no use for. Only what is trained
travels both ways; the rest goes down to be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedpers.method import FROZEN, Server
from fedpers.models import groups_of, load
from fedpers.strategies.wrapped import PartTrained


class Partly(PartTrained):
    """Runs another strategy on some groups of the parameters.

    Attributes:
        inner: The strategy that samples devices and averages.
    """

    def __init__(self, server: Server, inner: Strategy, frozen: Sequence[str]) -> None:
        """Gets ready; the model is loaded at the first round, for the groups its parameters are of.

        Args:
            server: What the server knows.
            inner: A new strategy.
            frozen: The groups that stay as they are (see `fedpers.models.groups_of`).
        """
        super().__init__(inner)
        self._server = server
        self._frozen = frozenset(frozen)
        self._groups: dict[str, str] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Sends what is trained as the inner strategy does, and the rest beside it."""
        self._arrays = arrays
        if not self._groups:
            self._groups = groups_of(load(self._server.spec).module)
        trained = self._only(arrays, frozen=False)
        messages = list(self.inner.configure_train(server_round, trained, config, grid))
        kept = self._only(arrays, frozen=True)
        for message in messages:
            message.content[FROZEN] = kept
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Takes over what the inner strategy made of the trained groups."""
        averaged, metrics = self.inner.aggregate_train(server_round, replies)
        if averaged is None or self._arrays is None:
            return None, metrics
        found = ArrayRecord({name: averaged.get(name, array) for name, array in self._arrays.items()})
        self._arrays = None  # a checkpoint has them already
        return found, metrics

    def _only(self, arrays: ArrayRecord, *, frozen: bool) -> ArrayRecord:
        chosen = {n: a for n, a in arrays.items() if (self._groups[n] in self._frozen) == frozen}
        return ArrayRecord(chosen)
