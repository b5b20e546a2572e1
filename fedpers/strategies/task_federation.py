"""A server that has public people's devices learn a task together, by any strategy that averages adapters.

The task stage of OPPU (Tan et al., EMNLP 2024, arXiv 2402.04401) without pooling anyone's text: the devices
train LoRA on the frozen model, Flower's strategy makes one of theirs, and after the last round it is merged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedpers.method import FROZEN, Server
from fedpers.models import Model, extract, insert, load
from fedpers.models.adapters import Adapter
from fedpers.seeds import word
from fedpers.strategies.wrapped import PartTrained


class TaskFederation(PartTrained):
    """Runs another strategy on an adapter, and sends the frozen model along with it.

    Attributes:
        inner: The strategy that samples devices and averages.
        module: The adapter so far, by name.
    """

    def __init__(self, server: Server, inner: Strategy, rounds: int, purpose: str, adapter: Adapter) -> None:
        """Gets ready; the model is loaded at the first round.

        Args:
            server: What the server knows.
            inner: A new strategy.
            rounds: After how many the adapter is merged.
            purpose: Names the random stream of the first adapter.
            adapter: What is trained.
        """
        super().__init__(inner)
        self.module: dict[str, npt.NDArray[Any]] = {}
        self._server = server
        self._rounds = rounds
        self._purpose = purpose
        self._adapter = adapter
        self._model: Model | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Sends the adapter as the inner strategy does, and the frozen model beside it."""
        self._arrays = arrays
        if not self.module:
            self.module = self._adapter.start(self._prepared().module, word(self._server.seed, self._purpose))
        messages = list(self.inner.configure_train(server_round, _record(self.module), config, grid))
        for message in messages:
            message.content[FROZEN] = arrays
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Takes over the inner strategy's adapter; the model changes after the last round only."""
        averaged, metrics = self.inner.aggregate_train(server_round, replies)
        if averaged is None:
            return None, metrics
        self.module = {name: array.numpy() for name, array in averaged.items()}
        if server_round < self._rounds:
            return self._arrays, metrics
        model = self._prepared()
        assert self._arrays is not None
        insert(model.module, {name: array.numpy() for name, array in self._arrays.items()})
        self._adapter.merge(
            model.module, {name: array.astype("float32") for name, array in self.module.items()}
        )
        return _record(extract(model.module)), metrics

    def _prepared(self) -> Model:
        if self._model is None:
            self._model = load(self._server.spec, self._server.device)
        return self._model


def _record(arrays: dict[str, npt.NDArray[Any]]) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})
