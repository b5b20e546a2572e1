"""Losses of the devices of a stack, and their gradients: the model mapped over them, or read as it is.

The gradient of the sum of all devices' losses is taken outside of `torch.vmap`, which gives each its own, for
no loss depends on another's parameters, and is faster than mapping the gradient itself. A stack of one, and a
model that cannot be mapped, skip the mapping. Where devices train something of their own only, the model is
the same for all, and their samples go through it as one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from fedpers import seeds
from fedpers.models import NOBODY, Batch, Family, Inputs, KeyedDropout, Model, packed
from fedpers.models.adapters import Adapter, Dropout, Lora
from fedpers.models.dropout import kept
from fedpers.training.plan import Plan

Tensors = dict[str, torch.Tensor]
Personal = Family | Adapter  # what devices train in front of a frozen model, or within one


class Losses:
    """The mean loss of every device of a stack, and its gradient."""

    def __init__(self, model: Model, plan: Plan) -> None:
        self._model = model
        self._masked = plan.masking is not None
        self._reader = model.reader(masked=self._masked)
        self._micro_batch = plan.micro_batch

    def gradients(
        self, stack: Tensors, fixed: Tensors, batch: Batch, keys: Sequence[int]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Returns the losses (devices,), and the gradients of their sum in the order of the stack.

        Args:
            stack: The parameters that move (devices, ...).
            fixed: Further parameters of each device (devices, ...).
            batch: The samples of the step.
            keys: Each device's key for its dropout.
        """
        self._prepare(batch, keys)
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in stack.items()}
        key = torch.tensor(keys, dtype=torch.int64, device=batch.ids.device).to(torch.int32)
        samples = batch.labels.shape[1]
        size = self._micro_batch or samples
        total = torch.zeros(len(keys), device=batch.ids.device)
        sums: list[torch.Tensor] = []
        for first in range(0, samples, size):
            piece = batch.samples(first, first + size)
            if self._masked:
                piece = packed(piece)
            losses = self._losses({**leaves, **fixed}, piece, key, first)
            gradients = torch.autograd.grad(
                losses.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True
            )
            sums = [sum + own for sum, own in zip(sums, gradients, strict=True)] if first else [*gradients]
            total += losses.detach()
        return total, sums

    def _prepare(self, batch: Batch, keys: Sequence[int]) -> None:
        """Gets ready for a batch, before its pieces go through the model."""
        self._model.module.train()

    def _losses(self, own: Tensors, batch: Batch, keys: torch.Tensor, first: int) -> torch.Tensor:
        def loss(own: Tensors, key: torch.Tensor, inputs: Inputs, weights: torch.Tensor) -> torch.Tensor:
            named = {f"module.{name}": tensor for name, tensor in own.items()}
            with KeyedDropout(key, first):
                scores = functional_call(self._reader, named, (inputs,))
            return (_entropy(scores, inputs.labels) * weights).sum()

        with seeds.torch_stream(0), self._model.autocast():
            if len(keys) == 1 or not self._model.stackable:  # the same without what mapping costs
                apart = (
                    loss(_of(own, k), keys[k], batch.inputs.of(k), batch.weights[k]) for k in range(len(keys))
                )
                return torch.stack([*apart])
            with _padding_as_it_is(self._model.module):
                losses: torch.Tensor = torch.vmap(loss, randomness="same")(
                    own, keys, batch.inputs, batch.weights
                )
            return losses


class _FrozenLosses(Losses):
    """The same where devices train something of their own and the model is frozen, which needs no mapping.

    All devices' samples go through the model as one batch. Its dropout is off: it is a fixed function here.
    """

    def _scores(self, own: Tensors, batch: Batch, keys: torch.Tensor, first: int) -> torch.Tensor:
        """Returns the scores of all devices' samples (devices x samples, answers, classes or words)."""
        raise NotImplementedError

    def _prepare(self, batch: Batch, keys: Sequence[int]) -> None:
        self._model.module.train(False)

    def _losses(self, own: Tensors, batch: Batch, keys: torch.Tensor, first: int) -> torch.Tensor:
        with self._model.autocast():
            scores = self._scores(own, batch, keys, first)
        each = _entropy(scores, batch.labels.flatten(0, 1)).view_as(batch.weights)
        losses: torch.Tensor = (each * batch.weights).sum(dim=(1, 2))
        return losses


class _DrawnLosses(_FrozenLosses):
    """Of distributions of user embeddings, of which every sample has a fresh draw."""

    def __init__(self, model: Model, family: Family, plan: Plan) -> None:
        super().__init__(model, plan)
        self._family = family
        self._counts: list[int] = []
        self._keys: Sequence[int] = ()

    def _prepare(self, batch: Batch, keys: Sequence[int]) -> None:
        super()._prepare(batch, keys)
        self._counts = [int(count) for count in (batch.weights[..., 0] > 0).sum(dim=1)]
        self._keys = keys

    def _scores(self, own: Tensors, batch: Batch, keys: torch.Tensor, first: int) -> torch.Tensor:
        samples = batch.ids.shape[1]
        drawn = self._family.draw(own, self._counts, self._keys)[:, first : first + samples]
        found: torch.Tensor = self._reader(batch.inputs._replace(vectors=drawn).flat())
        return found


class _AdaptedLosses(_FrozenLosses):
    """Of adapters within the model."""

    def __init__(self, model: Model, adapter: Adapter, plan: Plan) -> None:
        super().__init__(model, plan)
        self._adapter = adapter

    def _scores(self, own: Tensors, batch: Batch, keys: torch.Tensor, first: int) -> torch.Tensor:
        samples = batch.ids.shape[1]
        rate = self._adapter.dropout if isinstance(self._adapter, Lora) else 0.0
        dropout = _keyed(keys, first, samples, rate) if rate else None
        with self._adapter.applied(self._model.module, own, _devices_of(batch), dropout):
            found: torch.Tensor = self._reader(batch.inputs.flat())
            return found


class _RowLosses(_FrozenLosses):
    """Of people's own parameters that were added to the model, a row of their table each."""

    def _scores(self, own: Tensors, batch: Batch, keys: torch.Tensor, first: int) -> torch.Tensor:
        inputs = batch.inputs.flat()
        owners = torch.where(inputs.owners == NOBODY, NOBODY, _devices_of(batch))
        tables = {f"module.{name}": rows.flatten(0, 1) for name, rows in own.items()}
        found: torch.Tensor = functional_call(self._reader, tables, (inputs._replace(owners=owners),))
        return found


def _devices_of(batch: Batch) -> torch.Tensor:
    """Returns the device of each of a batch's samples (devices x samples,)."""
    devices, samples = batch.ids.shape[:2]
    return torch.arange(devices, device=batch.ids.device).repeat_interleave(samples)


def _keyed(keys: torch.Tensor, first: int, samples: int, rate: float) -> Dropout:
    """Returns dropout whose masks are a device's own, whichever devices share the batch."""

    def drop(values: torch.Tensor, layer: int) -> torch.Tensor:
        mask = kept(keys, layer, first, (samples, *values.shape[1:]), rate).view_as(values)
        return values * (mask.to(values.dtype) / (1 - rate))

    return drop


@contextmanager
def _padding_as_it_is(module: nn.Module) -> Iterator[None]:
    """Keeps embeddings from giving the padding's row a gradient, as torch does only outside of vmap.

    The row may have one from elsewhere: a language model's tied output, where padding often is the end.
    """

    def after(table: nn.Module, args: tuple[Any, ...], found: torch.Tensor) -> torch.Tensor:
        return torch.where((args[0] == table.padding_idx)[..., None], found.detach(), found)

    with ExitStack() as hooks:
        for part in module.modules():
            if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                hooks.callback(part.register_forward_hook(after).remove)
        yield


def losses_of(model: Model, personal: Personal | None, plan: Plan, trained: set[str]) -> Losses:
    """Returns how devices are trained that move parameters of some groups."""
    if isinstance(personal, Family):
        return _DrawnLosses(model, personal, plan)
    if personal is not None:
        return _AdaptedLosses(model, personal, plan)
    return _RowLosses(model, plan) if trained == {"own"} else Losses(model, plan)


def penalised(
    family: Family, stack: Tensors, losses: torch.Tensor, gradients: list[torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Returns losses (devices,) and gradients with those of a family's penalty, which knows no samples."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in stack.items()}
    penalty = family.penalty(leaves)
    if not isinstance(penalty, torch.Tensor):
        return losses, gradients
    own = torch.autograd.grad(penalty.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
    return losses + penalty.detach(), [sum + one for sum, one in zip(gradients, own, strict=True)]


def _entropy(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the cross-entropy of each answer, in nats (samples, answers)."""
    flat = functional.cross_entropy(scores.float().flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view_as(labels)


def _of(stack: Tensors, k: int) -> Tensors:
    """Returns one device's own parameters."""
    # Where there is only one, its gradient then is a view of the stack's and no copy.
    return {name: t.squeeze(0) if len(t) == 1 else t[k] for name, t in stack.items()}
