"""Free vectors in place of some input tokens: soft prompts, trained with the model frozen or not."""

from __future__ import annotations

import torch
from torch import nn

from fedpers.models.loading import Model


class PromptedEmbedding(nn.Module):
    """A model's word embedding with the vectors of some positions replaced by a parameter.

    Attributes:
        words: The embedding of all other tokens.
        prompt: The vectors (prompt tokens, width).
        start: The position of the first of them.
    """

    def __init__(self, words: nn.Module, prompt: torch.Tensor, start: int) -> None:
        """Wraps an embedding."""
        super().__init__()
        self.words = words
        self.prompt = nn.Parameter(prompt)
        self.start = start

    @property
    def weight(self) -> nn.Parameter:
        """The words' table, as of a plain embedding."""
        table = self.words.weight
        assert isinstance(table, nn.Parameter)
        return table

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Returns embeddings (samples, tokens, width); ids at the prompt's positions do not matter."""
        found: torch.Tensor = self.words(ids)
        end = self.start + len(self.prompt)
        prompt = self.prompt.expand(len(ids), -1, -1)
        return torch.cat([found[:, : self.start], prompt, found[:, end:]], dim=1)


def add_prompt(model: Model, prompt: torch.Tensor, start: int = 1) -> None:
    """Gives a model a prompt, which every text must keep room for: tokens of any id at its positions.

    Args:
        model: Changed in place; its other parameters stay as trainable as they are.
        prompt: The first vectors (prompt tokens, width).
        start: Position of the first; 1 is behind the leading special token.
    """
    words: nn.Module = model.module.get_input_embeddings()
    model.module.set_input_embeddings(PromptedEmbedding(words, prompt, start))
