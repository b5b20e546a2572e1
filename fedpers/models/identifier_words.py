"""A second table of word embeddings: identifiers are read with it, texts with the model's own.

The baseline of trainable user embeddings of UserIdentifier (Mireshghallah et al., NAACL 2022, arXiv
2110.00135, section 4). Where the table starts is not in the paper: N(0, 0.02) is our choice, a copy of the
model's own table the option.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from fedpers.models.additions import Added
from fedpers.models.inputs import Inputs
from fedpers.models.user_tokens import read_below_zero

IDENTIFIER_WORDS = "identifier_words"  # the table's name within the model

_SPREAD = 0.02


def marked(tokens: list[int]) -> list[int]:
    """Returns the ids by which tokens are read with the second table.

    >>> marked([0, 7])
    [-1, -8]
    """
    return [-1 - token for token in tokens]


class IdentifierWords(Added):
    """The table (words, width)."""

    def __init__(self, table: torch.Tensor) -> None:
        """Starts from a table."""
        super().__init__()
        self.weight = nn.Parameter(table)

    def reading(self, module: PreTrainedModel, inputs: Inputs) -> AbstractContextManager[None]:
        """Has ids below 0 read with this table."""
        return read_below_zero(module, lambda ids: self.weight[(-1 - ids).clamp(min=0)])


@dataclass(frozen=True)
class IdentifierTable:
    """Adds the second table.

    Attributes:
        start: Whether it starts at random or as a copy of the model's own table.
    """

    start: Literal["random", "copy"] = "random"

    def attach(self, module: PreTrainedModel) -> None:
        own = cast("nn.Embedding", module.get_input_embeddings()).weight.detach()
        table = own.clone() if self.start == "copy" else _SPREAD * torch.randn(own.shape)
        module.add_module(IDENTIFIER_WORDS, IdentifierWords(table))
