"""A server that adapts the model to a task on public people's text, before anyone personalises it.

The task stage of OPPU (Tan et al., EMNLP 2024, arXiv 2402.04401): LoRA trained on people outside the target
group, merged into the weights, which are frozen from then on. Where there are no trained weights to start
from, all of the model is trained instead. A round is an epoch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy.typing as npt
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid

from fedpers.data import Part
from fedpers.errors import InputError
from fedpers.method import TRAINED, Client, Server
from fedpers.models import Examples, Model, extract, insert, load, pool
from fedpers.models.adapters import Adapter
from fedpers.seeds import stream, word
from fedpers.strategies.cloud import Silence, arrays_of, tensors_of
from fedpers.training import Moments, Plan, fit_epoch


def need_public(server: Server) -> None:
    """Raises an InputError where there is nobody to learn a task from."""
    if not server.public_people:
        raise InputError(
            "the task is learned from public people's text, and there is nobody (of citations and tweets, "
            "nobody with a query): set --public-people 1 or more, with fewer --clients where these are "
            "everyone, or --public-data"
        )


class TaskBase(Silence):
    """Trains on public people's text; the devices are not asked.

    Attributes:
        moments: What the optimizer remembers, by parameter and name.
        module: The adapter so far, by name; empty where all of the model is trained.
    """

    def __init__(
        self, server: Server, client: Client, plan: Plan, purpose: str, part: Part, adapter: Adapter | None
    ) -> None:
        """Gets ready; the model is loaded at the first round.

        Args:
            server: What the server knows.
            client: How texts are read.
            plan: How to train; its epochs are the rounds.
            purpose: Names the random stream, so that two of one run differ.
            part: Which of the public people's texts.
            adapter: What is trained and then merged; None trains all of the model.

        Raises:
            InputError: There are no public people.
        """
        need_public(server)
        super().__init__()
        self.moments: dict[str, npt.NDArray[Any]] = {}
        self.module: dict[str, npt.NDArray[Any]] = {}
        self._server = server
        self._client = client
        self._plan = plan
        self._purpose = purpose
        self._part: Part = part
        self._adapter = adapter
        self._ready: tuple[Model, Examples] | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Asks nobody."""
        self._arrays = arrays
        return []

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Trains one epoch; after the last one the adapter is merged."""
        model, examples = self._prepared()
        moments: Moments = tensors_of(self.moments, self._server.device)
        adapter = None
        if self._adapter is not None:
            started = self.module or self._adapter.start(model.module, word(self._server.seed, self._purpose))
            stack = {
                name: torch.tensor(array, device=self._server.device)[None] for name, array in started.items()
            }
            adapter = self._adapter, stack
        draw = stream(self._server.seed, self._purpose, server_round)
        passed = fit_epoch(model, examples, self._plan, draw, server_round - 1, moments, adapter)
        self.moments = arrays_of(moments)
        if adapter is not None:
            self.module = {name: tensor[0].cpu().numpy() for name, tensor in adapter[1].items()}
            if server_round == self._plan.epochs:
                adapter[0].merge(model.module, self.module)
        trained = ArrayRecord({name: Array(array) for name, array in extract(model.module).items()})
        return trained, MetricRecord({"train-loss": passed.loss, TRAINED: passed.samples})

    def _prepared(self) -> tuple[Model, Examples]:
        """Returns the model with the parameters of the round before, and the texts as it reads them."""
        if self._ready is None:
            model = load(self._server.spec, self._server.device)
            devices = self._server.public(self._part)
            parts = [self._client.encode(model, device) for device in devices]
            self._ready = model, pool([part for part in parts if len(part)])
        assert self._arrays is not None
        insert(self._ready[0].module, {name: array.numpy() for name, array in self._arrays.items()})
        self._arrays = None  # a checkpoint has them already
        return self._ready
