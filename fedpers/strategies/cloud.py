"""A cloud that trains the model itself on the anonymous records it receives.

IDfree-PL (Ding et al., KDD 2025, arXiv 2501.06062): the central stage without, the cloud stage with user
embeddings. A round is an epoch. Devices send either once, before the first epoch, as the paper's text has
it, or fresh draws before every epoch, as its released code has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy.typing as npt
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedpers.errors import FedpersError
from fedpers.method import TRAINED, Server
from fedpers.models import Model, extract, insert, load
from fedpers.records import Placement, Records, mix, read, unpack
from fedpers.seeds import stream
from fedpers.training import Moments, Plan, fit_epoch


class Silence(Strategy):
    """A server that asks every device to work, hears nothing of it, and keeps what it had."""

    def __init__(self) -> None:
        """Starts with nothing."""
        self._arrays: ArrayRecord | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Sends the model to all devices."""
        self._arrays = arrays
        config["server-round"] = server_round
        content = RecordDict({"arrays": arrays, "config": config})
        return [Message(content, dst_node_id=node, message_type="train") for node in grid.get_node_ids()]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Keeps what there was."""
        return self._arrays, None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Asks for no evaluation, for a score by device would name it."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Has nothing to do."""
        return None

    def summary(self) -> None:
        """Logs nothing."""


class Cloud(Silence):
    """Fine-tunes all of the model on pooled records, whatever order they arrive in.

    Attributes:
        received: The latest records, as arrays.
        moments: What the optimizer remembers, by parameter and name.
    """

    def __init__(
        self, server: Server, plan: Plan, placement: Placement, purpose: str, *, each_epoch: bool
    ) -> None:
        """Gets ready; the model is loaded when the first records come.

        Args:
            server: What the server knows.
            plan: How to train; its epochs are the rounds.
            placement: Where user tokens stand.
            purpose: Names the random stream, so that two clouds of one run differ.
            each_epoch: Whether devices send anew before every epoch.
        """
        super().__init__()
        self.received: dict[str, npt.NDArray[Any]] = {}
        self.moments: dict[str, npt.NDArray[Any]] = {}
        self._server = server
        self._plan = plan
        self._placement: Placement = placement
        self._purpose = purpose
        self._each_epoch = each_epoch
        self._model: Model | None = None

    def uploads(self, rounds: int) -> int:
        """Returns how many times devices send their records in so many rounds."""
        return rounds if self._each_epoch else 1

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Asks all devices for records, if any are needed."""
        if self.received and not self._each_epoch:
            self._arrays = arrays
            return []
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Trains one epoch on the records."""
        parts = [found for reply in replies if (found := unpack(reply)) is not None]
        if parts:
            self.received = mix(parts)[0].arrays()
        if not self.received:
            raise FedpersError(f"round {server_round}: no device sent a record")
        model, moments = self._prepared(), tensors_of(self.moments, self._server.device)
        passed = fit_epoch(
            model,
            read(model, Records.of(self.received), self._placement),
            self._plan,
            stream(self._server.seed, self._purpose, server_round),
            server_round - 1,
            moments,
        )
        self.moments = arrays_of(moments)
        trained = ArrayRecord({name: Array(array) for name, array in extract(model.module).items()})
        return trained, MetricRecord({"train-loss": passed.loss, TRAINED: passed.samples})

    def _prepared(self) -> Model:
        """Returns the model with the parameters of the round before."""
        if self._model is None:
            self._model = load(self._server.spec, self._server.device)
        assert self._arrays is not None
        insert(self._model.module, {name: array.numpy() for name, array in self._arrays.items()})
        self._arrays = None  # a checkpoint has them already
        return self._model


def arrays_of(moments: Moments) -> dict[str, npt.NDArray[Any]]:
    """Returns an optimizer's memory as arrays by path, as `tensors_of` reads it."""
    return {f"{i}/{name}": t.cpu().numpy() for i, m in moments.items() for name, t in m.items()}


def tensors_of(arrays: dict[str, npt.NDArray[Any]], device: str) -> Moments:
    """Returns an optimizer's memory as torch has it; the arrays themselves are left as they are."""
    moments: Moments = {}
    for path, array in arrays.items():
        number, _, name = path.partition("/")
        moments.setdefault(int(number), {})[name] = torch.tensor(array, device=device)
    return moments
