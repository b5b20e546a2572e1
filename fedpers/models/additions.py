"""What a method adds to a model: modules of its own, by name, that have a say while the model reads.

An addition is described by a small value, which travels with the model's description to every process, and
is made there from the same seed. Its parameters are trained, sent and averaged like the model's own, but for
those that belong to people: a table with a row for each person at hand, which never leaves the devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedModel

from fedpers.models.arrays import OWN
from fedpers.models.inputs import Inputs


class Added(nn.Module):
    """A module that a method added to a model.

    Attributes:
        looks_for: Token ids that it compares the input with.
        note: What is to be told of it before a run, if anything.
    """

    looks_for: tuple[int, ...] = ()
    note: str = ""

    def reading(self, module: PreTrainedModel, inputs: Inputs) -> AbstractContextManager[None]:
        """Returns the block within which the model reads some samples."""
        return nullcontext()


class Addition(Protocol):
    """Describes what is added to a model."""

    def attach(self, module: PreTrainedModel) -> None:
        """Adds to a model, which then has a further child; random numbers come from torch's generator.

        Raises:
            InputError: It does not go with this kind of model.
        """
        ...


@contextmanager
def reading(module: PreTrainedModel, inputs: Inputs) -> Iterator[None]:
    """Lets everything that was added to a model have its say while it reads some samples."""
    with ExitStack() as blocks:
        for part in module.children():
            if isinstance(part, Added):
                blocks.enter_context(part.reading(module, inputs))
        yield


def notes_of(module: PreTrainedModel) -> list[str]:
    """Returns what is to be told of everything that was added to a model."""
    return [part.note for part in module.children() if isinstance(part, Added) and part.note]


def detach(module: PreTrainedModel) -> None:
    """Takes away everything that was added to a model."""
    for name in [name for name, part in module.named_children() if isinstance(part, Added)]:
        delattr(module, name)


def groups_of(module: PreTrainedModel) -> dict[str, str]:
    """Returns the group of each parameter by its name: "encoder", "head", or the addition it is of.

    People's own parameters are the group "own".
    """
    added = {name for name, part in module.named_children() if isinstance(part, Added)}

    def group(name: str) -> str:
        if name.endswith(OWN):
            return "own"
        child = name.partition(".")[0]
        if child in added:
            return child
        return "encoder" if child == module.base_model_prefix else "head"

    return {name: group(name) for name, _ in module.named_parameters()}


def owned(module: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Returns the parameters that belong to people, by name; outside of `rows` the one row all start from."""
    return {name: parameter for name, parameter in module.named_parameters() if name.endswith(OWN)}


@contextmanager
def rows(
    module: PreTrainedModel,
    states: Sequence[Mapping[str, npt.NDArray[np.generic]]],
    *,
    trained: bool = False,
) -> Iterator[dict[str, nn.Parameter]]:
    """Has a model read with the parameters of some people within a block, a row each in their order.

    Args:
        module: The model.
        states: Each person's arrays, those that belong to the model under its parameters' names; who has
            none is read with the row that all start from.
        trained: Whether they are trained with the model meanwhile.
    """
    before = {name: parameter.data for name, parameter in owned(module).items()}
    try:
        for name, parameter in owned(module).items():
            each = [torch.tensor(np.asarray(s[name])) if name in s else before[name][0].cpu() for s in states]
            parameter.data = torch.stack(each).to(parameter)
            parameter.requires_grad_(trained)
        yield owned(module)
    finally:
        for name, parameter in owned(module).items():
            parameter.data = before[name]
            parameter.requires_grad_(False)
