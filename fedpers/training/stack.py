"""Devices trained in one pass: their parameters stacked, the model mapped over the stack.

Many small products of matrices become few large ones. The gradient of the sum of all devices' losses is
taken outside of `torch.vmap`, which gives each its own, for no loss depends on another's parameters, and is
faster than mapping the gradient itself. A stack of one, and a model that cannot be
mapped, skip the mapping, which then is plain training of one device after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from fedpers import seeds
from fedpers.data import Ints
from fedpers.models import (
    Batch,
    Examples,
    Family,
    Inputs,
    KeyedDropout,
    Model,
    collate,
    groups_of,
    hide_words,
)
from fedpers.models.adapters import Adapter, Dropout, Lora
from fedpers.models.dropout import kept
from fedpers.training.plan import Plan

Tensors = dict[str, torch.Tensor]
Moments = dict[int, dict[str, torch.Tensor]]  # by the number of the parameter
Taken = tuple[int, torch.Tensor]  # a device's step: its samples, and their mean loss
Personal = Family | Adapter  # what devices train in front of a frozen model, or within one


def stacked(starts: Sequence[Mapping[str, npt.NDArray[np.floating]]], device: torch.device) -> Tensors:
    """Stacks arrays of the same names; tables of fewer rows are filled up with zeros."""
    stack = {}
    for name in starts[0]:
        arrays = [start[name] for start in starts]
        rows = max(array.shape[:1] for array in arrays)
        whole = np.zeros((len(arrays), *rows, *arrays[0].shape[1:]), dtype=np.float32)
        for place, array in zip(whole, arrays, strict=True):
            place[: len(array)] = array
        stack[name] = torch.from_numpy(whole).to(device)
    return stack


def train(
    model: Model,
    stack: Tensors,
    parts: Sequence[Examples],
    plan: Plan,
    draws: Sequence[np.random.Generator],
    personal: Personal | None = None,
    moments: Moments | None = None,
    after: int = 0,
) -> Iterator[list[Taken]]:
    """Trains a stack in place, all devices that have a step left by one each time it is advanced.

    Args:
        model: What is mapped over the stack.
        stack: Parameters by name (devices, ...), devices with more steps first; those of a group that the
            plan has frozen are read only.
        parts: Each device's samples.
        plan: How each trains.
        draws: Each device's order of the samples, dropout and user embeddings.
        personal: If given, the stack holds its parameters, and the model is to be frozen.
        moments: What the optimizer remembers of earlier steps, kept up to date with each step.
        after: Steps done before.
    """
    steps = [plan.all_steps(len(part)) for part in parts]
    feeds = [_feed(len(part), plan, draw) for part, draw in zip(parts, draws, strict=True)]
    groups = groups_of(model.module)
    moving = {name: tensor for name, tensor in stack.items() if groups.get(name) not in plan.frozen}
    factors = [dict(plan.factors).get(groups.get(name, ""), 1.0) for name in moving]
    optimizers = _Optimizers(moving, factors, plan, steps, moments)
    losses_of = _losses_of(model, personal, plan)
    start = {name: tensor.clone() for name, tensor in moving.items()} if plan.radius else {}
    for step in range(after, steps[0]):
        counts = [count for count in steps if count > step]
        rows, keys = zip(*(next(feed) for feed in feeds[: len(counts)]), strict=True)
        batch = batch_of(model, list(zip(parts, rows, strict=False)))
        if plan.masking is not None:
            batch = hide_words(batch, model, plan.masking, keys)
        present = {name: tensor[: len(counts)] for name, tensor in moving.items()}
        read = {name: tensor[: len(counts)] for name, tensor in stack.items() if name not in moving}
        losses, gradients = losses_of.gradients(present, read, batch, keys)
        rates = [plan.rate(step, count) for count in counts]
        optimizers.step(gradients, rates)
        if plan.radius is not None:
            _project(present, start, plan.radius)
        if isinstance(personal, Family):
            personal.restrict(present)
        yield [(len(taken), loss) for taken, loss in zip(rows, losses, strict=True)]


def _feed(examples: int, plan: Plan, draw: np.random.Generator) -> Iterator[tuple[Ints, int]]:
    """Gives the rows of each of a device's batches, and a key for its dropout."""
    while True:
        order = draw.permutation(examples) if plan.shuffled else np.arange(examples)
        key = int(draw.integers(2**32))
        for number, start in enumerate(range(0, examples, plan.batch_size)):
            yield order[start : start + plan.batch_size], key + number


class _Losses:
    """The mean loss of every device of a stack, and its gradient."""

    def __init__(self, model: Model, plan: Plan) -> None:
        self._model = model
        self._reader = model.reader(masked=plan.masking is not None)
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
            losses = self._losses({**leaves, **fixed}, batch.samples(first, first + size), key, first)
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


class _FrozenLosses(_Losses):
    """The same where devices train something of their own and the model is frozen, which needs no mapping.

    All devices' samples go through the model as one batch. Its dropout is off: it is a fixed function here.
    """

    def __init__(self, model: Model, plan: Plan) -> None:
        super().__init__(model, plan)
        self._counts: list[int] = []
        self._keys: Sequence[int] = ()

    def _read(
        self, leaves: Tensors, batch: Batch, keys: torch.Tensor, first: int
    ) -> tuple[torch.Tensor, AbstractContextManager[None]]:
        """Returns what stands in the places of user tokens, and the block within which the batch is read."""
        raise NotImplementedError

    def _penalty(self, leaves: Tensors) -> torch.Tensor | float:
        return 0.0

    def _prepare(self, batch: Batch, keys: Sequence[int]) -> None:
        self._model.module.train(False)
        self._counts = [int(count) for count in (batch.weights[..., 0] > 0).sum(dim=1)]
        self._keys = keys

    def _losses(self, own: Tensors, batch: Batch, keys: torch.Tensor, first: int) -> torch.Tensor:
        vectors, block = self._read(own, batch, keys, first)
        with self._model.autocast(), block:
            scores = self._reader(batch.inputs._replace(vectors=vectors).flat())
        each = _entropy(scores, batch.labels.flatten(0, 1)).view_as(batch.weights)
        losses = (each * batch.weights).sum(dim=(1, 2))
        return losses if first else losses + self._penalty(own)


class _DrawnLosses(_FrozenLosses):
    """Of distributions of user embeddings, of which every sample has a fresh draw."""

    def __init__(self, model: Model, family: Family, plan: Plan) -> None:
        super().__init__(model, plan)
        self._family = family

    def _read(
        self, leaves: Tensors, batch: Batch, keys: torch.Tensor, first: int
    ) -> tuple[torch.Tensor, AbstractContextManager[None]]:
        samples = batch.ids.shape[1]
        drawn = self._family.draw(leaves, self._counts, self._keys)
        return drawn[:, first : first + samples], nullcontext()

    def _penalty(self, leaves: Tensors) -> torch.Tensor | float:
        return self._family.penalty(leaves)


class _AdaptedLosses(_FrozenLosses):
    """Of adapters within the model."""

    def __init__(self, model: Model, adapter: Adapter, plan: Plan) -> None:
        super().__init__(model, plan)
        self._adapter = adapter

    def _read(
        self, leaves: Tensors, batch: Batch, keys: torch.Tensor, first: int
    ) -> tuple[torch.Tensor, AbstractContextManager[None]]:
        devices, samples = batch.ids.shape[:2]
        owners = torch.arange(devices, device=batch.ids.device).repeat_interleave(samples)
        rate = self._adapter.dropout if isinstance(self._adapter, Lora) else 0.0
        dropout = _keyed(keys, first, samples, rate) if rate else None
        return batch.vectors, self._adapter.applied(self._model.module, leaves, owners, dropout)


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


def _losses_of(model: Model, personal: Personal | None, plan: Plan) -> _Losses:
    if personal is None:
        return _Losses(model, plan)
    kind = _DrawnLosses if isinstance(personal, Family) else _AdaptedLosses
    return kind(model, personal, plan)  # type: ignore[arg-type]  # the kind is chosen by it


def _entropy(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the cross-entropy of each answer, in nats (samples, answers)."""
    flat = functional.cross_entropy(scores.float().flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view_as(labels)


def _project(stack: Tensors, start: Tensors, radius: float) -> None:
    """Moves each device's parameters to the nearest ones within a radius of where they started."""
    apart = {name: tensor - start[name][: len(tensor)] for name, tensor in stack.items()}
    squares = torch.stack([change.flatten(1).square().sum(dim=1) for change in apart.values()])
    share = (radius / squares.sum(dim=0).sqrt()).clamp(max=1)
    for name, tensor in stack.items():
        own = share.view(-1, *[1] * (tensor.dim() - 1))
        tensor.copy_(start[name][: len(tensor)] + own * apart[name])


def _of(stack: Tensors, k: int) -> Tensors:
    """Returns one device's own parameters."""
    # Where there is only one, its gradient then is a view of the stack's and no copy.
    return {name: t.squeeze(0) if len(t) == 1 else t[k] for name, t in stack.items()}


class _Optimizers:
    """torch's own optimizer for every device of a stack, over its slices of it.

    Where all devices take the same steps and none is clipped, one over the whole stack does the same, for
    these optimizers move each number by itself.
    """

    def __init__(
        self,
        stack: Tensors,
        factors: Sequence[float],
        plan: Plan,
        steps: Sequence[int],
        moments: Moments | None,
    ) -> None:
        self._clip = plan.clip
        alone = moments is None or len(steps) == 1  # else each device has moments of its own
        self._as_one = plan.clip is None and len(set(steps)) == 1 and alone
        self._parts = self._cut(list(stack.values()))
        self._factors = sorted(set(factors))
        groups = [
            {"params": [tensor for tensor, own in zip(part, factors, strict=True) if own == factor]}
            for part in self._parts
            for factor in self._factors
        ]
        decay = plan.weight_decay
        self._optimizer: torch.optim.Optimizer
        if plan.optimizer == "sgd":
            self._optimizer = torch.optim.SGD(
                groups, plan.learning_rate, plan.momentum, weight_decay=decay, fused=True
            )
        else:
            kind = torch.optim.Adam if plan.optimizer == "adam" else torch.optim.AdamW
            self._optimizer = kind(groups, plan.learning_rate, weight_decay=decay, fused=True)
        flat = [tensor for part in self._parts for tensor in part]
        for number, tensor in enumerate(flat):
            # torch fills in what is new here at the first step, and changes it in place from then on.
            self._optimizer.state[tensor] = {} if moments is None else moments.setdefault(number, {})

    def step(self, gradients: Sequence[torch.Tensor], rates: Sequence[float]) -> None:
        """Moves the first devices of the stack, each by its own gradients at its own rate."""
        # torch's fused kernels take every tensor for contiguous, which gradients under vmap are not.
        moving = self._cut([gradient.contiguous() for gradient in gradients])
        for part, own in zip(self._parts, moving, strict=False):
            for tensor, gradient in zip(part, own, strict=True):
                tensor.grad = gradient
            if self._clip is not None:
                nn.utils.clip_grad_norm_(part, self._clip)
        for part in self._parts[len(moving) :]:  # these have come to their end
            for tensor in part:
                tensor.grad = None
        for group, (rate, factor) in zip(
            self._optimizer.param_groups, product(rates, self._factors), strict=False
        ):
            group["lr"] = rate * factor
        self._optimizer.step()

    def _cut(self, tensors: list[torch.Tensor]) -> list[list[torch.Tensor]]:
        """Returns the tensors of each device, or of all as one."""
        if self._as_one:
            return [tensors]
        return [list(slices) for slices in zip(*(tensor.unbind() for tensor in tensors), strict=True)]


def batch_of(model: Model, parts: Sequence[tuple[Examples, Ints]]) -> Batch:
    """Returns the samples of some devices at the given positions, where the model works."""
    return collate(parts, int(model.tokenizer.pad_token_id)).to(model.module.device)
