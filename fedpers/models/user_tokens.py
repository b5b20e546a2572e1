"""User tokens: vectors of a person's own in place of words, a set of them for every sample.

A user token has an id of its own, below 0, so that it can stand anywhere in a text, and everything that goes
by ids (padding, ends of text, a decoder's shift) treats it as one more word. While a model reads, its word
embeddings put the sample's vectors where these ids stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


def user_ids(tokens: int) -> list[int]:
    """Returns the ids of so many user tokens.

    >>> user_ids(3)
    [-1, -2, -3]
    """
    return [-1 - token for token in range(tokens)]


@contextmanager
def user_tokens(module: PreTrainedModel, vectors: torch.Tensor) -> Iterator[None]:
    """Lets a model read user tokens within a block.

    Args:
        module: Whose word embeddings, those of a decoder too, are to take them.
        vectors: The vectors of each sample (samples, user tokens, width); with none nothing changes.
    """

    def look_up(ids: torch.Tensor) -> torch.Tensor:
        own = vectors
        if len(ids) != len(own):  # a search for answers has several rows of each sample
            own = own.repeat_interleave(len(ids) // len(own), dim=0)
        places = (-1 - ids).clamp(min=0)[..., None].expand(-1, -1, own.shape[-1])
        return own.gather(1, places)

    if vectors.shape[-2] == 0:
        yield
        return
    with read_below_zero(module, look_up):
        yield


@contextmanager
def read_below_zero(
    module: PreTrainedModel, look_up: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """Has ids below 0 go round a model's word embeddings within a block.

    Args:
        module: Whose word embeddings, those of a decoder too, see such ids.
        look_up: Gives the vectors (samples, tokens, width) of ids (samples, tokens); of any others too, which
            are not used.
    """
    weight = module.get_input_embeddings().weight
    tables = [m for m in module.modules() if isinstance(m, nn.Embedding) and m.weight is weight]
    with ExitStack() as hooks:
        for table in tables:
            slots = _Slots(look_up)
            hooks.enter_context(_removed(table.register_forward_pre_hook(slots.before)))
            hooks.enter_context(_removed(table.register_forward_hook(slots.after)))
        yield


class _Slots:
    """Hooks around one word embedding: ids below 0 go round it."""

    def __init__(self, look_up: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._look_up = look_up
        self._ids = torch.zeros(0)

    def before(self, table: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self._ids = args[0]
        return (self._ids.clamp(min=0), *args[1:])

    def after(self, table: nn.Module, args: tuple[Any, ...], found: torch.Tensor) -> torch.Tensor:
        ours = self._look_up(self._ids).to(found.dtype)
        return torch.where((self._ids < 0)[..., None], ours, found)


@contextmanager
def _removed(hook: torch.utils.hooks.RemovableHandle) -> Iterator[None]:
    """Removes a hook at the end of a block."""
    try:
        yield
    finally:
        hook.remove()
