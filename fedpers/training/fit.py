"""Training one model in place, or one for each of several devices in one pass; both run the same loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from fedpers.errors import FedpersError
from fedpers.models import Arrays, Examples, Model, Trained, Words
from fedpers.models.adapters import Adapter
from fedpers.training.losses import Personal, Tensors
from fedpers.training.plan import Pass, Plan
from fedpers.training.private_steps import check_trained
from fedpers.training.stack import Moments, Taken, stacked, train

Memory = dict[str, npt.NDArray[np.generic]]  # an optimizer's, by the parameter's name and its own


def fit(model: Model, examples: Examples, plan: Plan, draw: np.random.Generator) -> Iterator[Pass]:
    """Trains a model in place, one epoch each time the iterator is advanced.

    Args:
        model: The model; all parameters that require a gradient are trained.
        examples: At least one.
        plan: How to train.
        draw: The order of the examples and dropout.

    Yields:
        Each epoch, the last one cut short where the plan limits the steps.

    Raises:
        FedpersError: The loss is not finite.
    """
    moments: Moments = {}
    for number in range(math.ceil(plan.all_steps(len(examples)) / plan.batches(len(examples)))):
        yield fit_epoch(model, examples, plan, draw, number, moments)


def fit_epoch(
    model: Model,
    examples: Examples,
    plan: Plan,
    draw: np.random.Generator,
    number: int,
    moments: Moments,
    adapter: tuple[Adapter, Tensors] | None = None,
) -> Pass:
    """Trains a model, or an adapter of it, in place for one epoch of a plan.

    Args:
        model: The model; all parameters that require a gradient are trained.
        examples: At least one; as many in every epoch.
        plan: How to train.
        draw: The order of the examples and dropout.
        number: The epoch, from 0.
        moments: What the optimizer remembers of the epochs before; brought up to date.
        adapter: A kind of adapter and the parameters of one (1, ...), trained instead of the model.

    Raises:
        FedpersError: The loss is not finite.
    """
    kind, stack = adapter or (None, _own_parameters(model))
    batches = plan.batches(len(examples))
    with nullcontext() if adapter is None else _frozen(model):
        steps = train(model, stack, [examples], plan, [draw], kind, moments, number * batches)
        return _passed([taken for [taken] in islice(steps, batches)])


def _own_parameters(model: Model) -> Tensors:
    """Returns a model's trainable parameters as a stack of one, which shares their memory."""
    return {name: p.detach()[None] for name, p in model.module.named_parameters() if p.requires_grad}


def fit_devices(
    model: Model,
    starts: Sequence[Mapping[str, npt.NDArray[np.floating]]],
    parts: Sequence[Examples],
    plan: Plan,
    draws: Sequence[np.random.Generator],
    personal: Personal | None = None,
    memories: Sequence[Memory] | None = None,
) -> list[tuple[Trained, list[Pass]]]:
    """Trains the model for several devices in one pass, each from its own parameters to the plan's end.

    What a device learns does not depend on the others, up to rounding. Without weight decay or noise, a word
    that is in none of a device's texts keeps its embedding under every optimizer of a plan, so only the other
    rows are trained and returned. Where samples are hidden, noise moves all words, for those that moved would
    tell what the texts are made of.

    Args:
        model: The model, which stays as it is.
        starts: Each device's parameters by name: those that are trained, and what else is the device's own;
            all others are the model's.
        parts: Each device's samples, at least one.
        plan: How each trains.
        draws: Each device's order of the samples, dropout and user embeddings.
        personal: If given, the model is frozen, and the devices' parameters are those of their distributions
            of user embeddings, or of their adapters; samples have the user tokens that these need.
        memories: What each device's optimizer remembers of earlier training, brought up to date in place;
            without them it starts afresh.

    Returns:
        What each device learned, and its epochs.

    Raises:
        FedpersError: A loss is not finite, or training that hides samples changed nothing.
        InputError: Samples are to be hidden in a model whose layers mix them.
    """
    words = None
    if personal is None and memories is None and plan.weight_decay == 0 and plan.noise is None:
        words = Words.of_each(model, parts, masked=plan.masking is not None)
    with _frozen(model):
        if words is None or words[0].table not in starts[0]:
            return [*_fit_stack(model, starts, parts, plan, draws, personal, memories)]
        narrow = [own.narrow(start) for own, start in zip(words, starts, strict=True)]
        texts = [own.renumber(part) for own, part in zip(words, parts, strict=True)]
        fitted = _fit_stack(model, narrow, texts, plan, draws)
    return [
        (own.trained(arrays, start), passes)
        for own, start, (arrays, passes) in zip(words, narrow, fitted, strict=True)
    ]


def _fit_stack(
    model: Model,
    starts: Sequence[Mapping[str, npt.NDArray[np.floating]]],
    parts: Sequence[Examples],
    plan: Plan,
    draws: Sequence[np.random.Generator],
    personal: Personal | None = None,
    memories: Sequence[Memory] | None = None,
) -> list[tuple[Arrays, list[Pass]]]:
    """Trains devices as a stack and returns each one's parameters, as high as the highest, and epochs."""
    # Longest first, so that those that still train are the first ones of the stack.
    order = sorted(range(len(parts)), key=lambda k: -plan.all_steps(len(parts[k])))
    stack = stacked([starts[k] for k in order], model.module.device)
    taken: list[list[Taken]] = [[] for _ in parts]
    own = [memories[k] for k in order] if memories else []
    moments = _moments_of(own, stack) if memories else None
    texts, chances = [parts[k] for k in order], [draws[k] for k in order]
    for step in train(model, stack, texts, plan, chances, personal, moments):
        for place, one in enumerate(step):
            taken[order[place]].append(one)
    if moments is not None:
        _remember(own, stack, moments)
    fitted = []
    for k, place in enumerate(np.argsort(order)):
        arrays = {name: tensor[place].cpu().numpy().copy() for name, tensor in stack.items()}
        if plan.noise is not None:
            check_trained(arrays, starts[k], plan, model, sum(count for count, _ in taken[k]))
        batches = plan.batches(len(parts[k]))
        fitted.append(
            (arrays, [_passed(taken[k][i : i + batches]) for i in range(0, len(taken[k]), batches)])
        )
    return fitted


def _moments_of(memories: Sequence[Memory], stack: Tensors) -> Moments:
    """Returns what devices' optimizers remember, by the number of each parameter of each device."""
    together = len(memories) == 1  # then a stack of one is what the optimizer has
    moments: Moments = {}
    for device, memory in enumerate(memories):
        for number, (name, tensor) in enumerate(stack.items(), start=device * len(stack)):
            shape = tensor.shape if together else tensor.shape[1:]
            moments[number] = {
                path.removeprefix(f"{name}/"): _restored(array, shape).to(tensor.device)
                for path, array in memory.items()
                if path.startswith(f"{name}/")
            }
    return moments


def _restored(array: npt.NDArray[np.generic], shape: torch.Size) -> torch.Tensor:
    tensor = torch.tensor(np.asarray(array))
    return tensor.view(shape) if tensor.dim() else tensor


def _remember(memories: Sequence[Memory], stack: Tensors, moments: Moments) -> None:
    """Writes what the optimizers remember back to each device's memory."""
    for device, memory in enumerate(memories):
        for number, (name, tensor) in enumerate(stack.items(), start=device * len(stack)):
            for key, value in moments[number].items():
                array = value.view(tensor.shape[1:]) if value.dim() else value
                memory[f"{name}/{key}"] = array.cpu().numpy().copy()


@contextmanager
def _frozen(model: Model) -> Iterator[None]:
    """Freezes a model's parameters for a while, so that nothing is kept for gradients nobody asks for."""
    trainable = [parameter for parameter in model.module.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def _passed(taken: Sequence[Taken]) -> Pass:
    """Sums up the steps of an epoch, which may have no samples where each is drawn by a coin."""
    samples = sum(count for count, _ in taken)
    loss = sum(count * float(loss) for count, loss in taken) / max(1, samples)
    if not math.isfinite(loss):
        raise FedpersError(f"the training loss is not finite ({loss}): lower the learning rate")
    return Pass(samples, loss)
