"""Texts as token ids, with room kept for tokens that go in front of the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from fedpers.data import Ints, Samples
from fedpers.errors import InputError
from fedpers.models.loading import Model


@dataclass(frozen=True)
class Examples:
    """Encoded samples of one person or of many.

    Attributes:
        ids: Token ids of each sample, special tokens included, not padded.
        labels: Class numbers (samples,).
    """

    ids: list[list[int]]
    labels: Ints

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """Padded samples as tensors.

    Attributes:
        inputs: `input_ids` and `attention_mask`, each (samples, tokens).
        labels: Class numbers (samples,).
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor


def encode(model: Model, samples: Samples, prefix: Sequence[int] = ()) -> Examples:
    """Encodes texts as leading special tokens, prefix, text, trailing special tokens.

    The text is truncated at its end so that the whole prefix fits.

    Args:
        model: Whose tokenizer and length limit hold.
        samples: The texts.
        prefix: Token ids that go before every text, inserted as they are.

    Raises:
        InputError: The prefix leaves no room for text.
    """
    leading, trailing = special_tokens(model)
    room = model.max_tokens - len(leading) - len(trailing) - len(prefix)
    if room < 1:
        raise InputError(
            f"{len(prefix)} tokens before the text leave no room for it within {model.max_tokens} tokens: "
            f"use at most {len(prefix) + room - 1}"
        )
    head = [*leading, *prefix]
    tokens = model.tokens(samples.texts)
    return Examples([[*head, *text[:room], *trailing] for text in tokens], samples.labels)


def special_tokens(model: Model) -> tuple[list[int], list[int]]:
    """Returns the ids a tokenizer puts before and behind a text, each list possibly empty."""
    probe = model.tokenizer("a", return_special_tokens_mask=True)
    ids, mask = probe["input_ids"], probe["special_tokens_mask"]
    first = mask.index(0)
    last = len(mask) - mask[::-1].index(0)
    return ids[:first], ids[last:]


def pool(parts: Sequence[Examples]) -> Examples:
    """Joins the samples of many people, in order."""
    ids = list(chain.from_iterable(part.ids for part in parts))
    return Examples(ids, np.concatenate([part.labels for part in parts]))


def collate(examples: Examples, positions: Ints, pad_id: int) -> Batch:
    """Pads some samples at their ends to the longest of them."""
    chosen = [examples.ids[position] for position in positions]
    longest = max(map(len, chosen))
    ids = torch.full((len(chosen), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(chosen), longest), dtype=torch.long)
    for row, sample in enumerate(chosen):
        ids[row, : len(sample)] = torch.tensor(sample)
        mask[row, : len(sample)] = 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    return Batch(inputs, torch.from_numpy(examples.labels[positions]))
