"""Devices trained in one pass: their parameters stacked, so that small products become few large ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedpers.data import Ints
from fedpers.models import (
    OWN,
    Batch,
    Examples,
    Family,
    Model,
    collate,
    groups_of,
    hide_words,
)
from fedpers.training.losses import Losses, Personal, Tensors, losses_of, penalised
from fedpers.training.plan import Plan
from fedpers.training.private_steps import PrivateSteps

Moments = dict[int, dict[str, torch.Tensor]]  # by the number of the parameter
Taken = tuple[int, torch.Tensor]  # a device's step: its samples, and their mean loss


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
    optimizers = _Optimizers(moving, groups, plan, steps, moments)
    losses = losses_of(model, personal, plan, {groups.get(name, "") for name in stack})
    together = partial(_together, model, losses, plan)
    hidden = PrivateSteps(model, plan, parts, stack, together) if plan.noise else None
    start = {name: tensor.clone() for name, tensor in moving.items()} if plan.radius else {}
    for step in range(after, steps[0]):
        counts = [count for count in steps if count > step]
        rows, keys = zip(*(next(feed) for feed in feeds[: len(counts)]), strict=True)
        present = {name: tensor[: len(counts)] for name, tensor in moving.items()}
        read = {name: tensor[: len(counts)] for name, tensor in stack.items() if name not in moving}
        if hidden is not None:
            means, gradients = hidden.gradients(present, read, rows, keys)
        else:
            means, gradients = together(present, read, list(zip(parts, rows, strict=False)), keys)
        if isinstance(personal, Family):
            means, gradients = penalised(personal, present, means, gradients)
        rates = [plan.rate(step, count) for count in counts]
        optimizers.step(gradients, rates)
        if plan.radius is not None:
            _project(present, start, plan.radius)
        if isinstance(personal, Family):
            personal.restrict(present)
        yield [(len(taken), loss) for taken, loss in zip(rows, means, strict=True)]


def _together(
    model: Model,
    losses: Losses,
    plan: Plan,
    stack: Tensors,
    fixed: Tensors,
    taken: Sequence[tuple[Examples, Ints]],
    keys: Sequence[int],
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Returns each device's mean loss (devices,) over the samples taken, and the gradients."""
    batch = batch_of(model, taken)
    if plan.masking is not None:
        batch = hide_words(batch, model, plan.masking, keys)
    return losses.gradients(stack, fixed, batch, keys)


def _feed(examples: int, plan: Plan, draw: np.random.Generator) -> Iterator[tuple[Ints, int]]:
    """Gives the rows of each of a device's batches, and a key for its dropout."""
    while plan.noise is not None:
        yield np.flatnonzero(draw.random(examples) < plan.share(examples)), int(draw.integers(2**62))
    while True:
        order = draw.permutation(examples) if plan.shuffled else np.arange(examples)
        key = int(draw.integers(2**32))
        for number, start in enumerate(range(0, examples, plan.batch_size)):
            yield order[start : start + plan.batch_size], key + number


def _project(stack: Tensors, start: Tensors, radius: float) -> None:
    """Moves each device's parameters to the nearest ones within a radius of where they started."""
    apart = {name: tensor - start[name][: len(tensor)] for name, tensor in stack.items()}
    squares = torch.stack([change.flatten(1).square().sum(dim=1) for change in apart.values()])
    share = (radius / squares.sum(dim=0).sqrt()).clamp(max=1)
    for name, tensor in stack.items():
        own = share.view(-1, *[1] * (tensor.dim() - 1))
        tensor.copy_(start[name][: len(tensor)] + own * apart[name])


class _Optimizers:
    """torch's own optimizer for every device of a stack, over its slices of it.

    Where all devices take the same steps and none is clipped, one over the whole stack does the same, for
    these optimizers move each number by itself. Where a model has a row for each of many people, a row is a
    parameter of its own, which stands still in steps that its person has no part in, as on a device.
    """

    def __init__(
        self,
        stack: Tensors,
        groups: Mapping[str, str],
        plan: Plan,
        steps: Sequence[int],
        moments: Moments | None,
    ) -> None:
        self._clip = plan.clip
        alone = moments is None or len(steps) == 1  # else each device has moments of its own
        self._as_one = plan.clip is None and len(set(steps)) == 1 and alone
        self._people = [
            len(table[0]) if name.endswith(OWN) and len(table) == 1 and len(table[0]) > 1 else 0
            for name, table in stack.items()
        ]
        self._parts = self._cut(list(stack.values()))
        factors, decays = dict(plan.factors), dict(plan.decays)
        terms = [
            (factors.get(groups.get(name, ""), 1.0), decays.get(groups.get(name, ""), plan.weight_decay))
            for name, people in zip(stack, self._people, strict=True)
            for _ in range(people or 1)
        ]
        self._terms = sorted(set(terms))
        params: list[dict[str, Any]] = [
            {
                "params": [t for t, own in zip(part, terms, strict=True) if own == term],
                "weight_decay": term[1],
            }
            for part in self._parts
            for term in self._terms
        ]
        self._optimizer: torch.optim.Optimizer
        if plan.optimizer == "sgd":
            self._optimizer = torch.optim.SGD(params, plan.learning_rate, plan.momentum, fused=True)
        else:
            kind = torch.optim.Adam if plan.optimizer == "adam" else torch.optim.AdamW
            self._optimizer = kind(params, plan.learning_rate, fused=True)
        flat = [tensor for part in self._parts for tensor in part]
        for number, tensor in enumerate(flat):
            # torch fills in what is new here at the first step, and changes it in place from then on.
            self._optimizer.state[tensor] = {} if moments is None else moments.setdefault(number, {})

    def step(self, gradients: Sequence[torch.Tensor], rates: Sequence[float]) -> None:
        """Moves the first devices of the stack, each by its own gradients at its own rate."""
        # torch's fused kernels take every tensor for contiguous, which gradients under vmap are not.
        moving = self._cut([gradient.contiguous() for gradient in gradients])
        moved = self._moves(gradients)
        for part, own in zip(self._parts, moving, strict=False):
            for tensor, gradient, moves in zip(part, own, moved, strict=True):
                tensor.grad = gradient if moves else None
            if self._clip is not None:
                nn.utils.clip_grad_norm_(part, self._clip)
        for part in self._parts[len(moving) :]:  # these have come to their end
            for tensor in part:
                tensor.grad = None
        for group, (rate, (factor, _)) in zip(
            self._optimizer.param_groups, product(rates, self._terms), strict=False
        ):
            group["lr"] = rate * factor
        self._optimizer.step()

    def _cut(self, tensors: list[torch.Tensor]) -> list[list[torch.Tensor]]:
        """Returns the tensors of each device, or of all as one, and of people's tables each row."""
        parts = [tensors] if self._as_one else zip(*(tensor.unbind() for tensor in tensors), strict=True)
        return [
            [
                piece
                for tensor, people in zip(part, self._people, strict=True)
                for piece in ((tensor[0] if self._as_one else tensor).unbind() if people else (tensor,))
            ]
            for part in parts
        ]

    def _moves(self, gradients: Sequence[torch.Tensor]) -> list[bool]:
        """Tells which parameters move: all but the rows of people whom a step has no text of."""
        return [
            moves
            for gradient, people in zip(gradients, self._people, strict=True)
            for moves in (gradient.reshape(people, -1).any(dim=1).tolist() if people else (True,))
        ]


def batch_of(model: Model, parts: Sequence[tuple[Examples, Ints]]) -> Batch:
    """Returns the samples of some devices at the given positions, where the model works."""
    return collate(parts, int(model.tokenizer.pad_token_id)).to(model.module.device)
