"""Texts as token ids, with room kept for tokens that go in front of the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch

from fedpers.data import Ints, Samples
from fedpers.errors import InputError
from fedpers.models.loading import Model

Vectors = npt.NDArray[np.float32]

_NO_VECTORS = np.zeros((0, 0, 0), dtype=np.float32)


@dataclass(frozen=True)
class Examples:
    """Encoded samples of one person or of many.

    Attributes:
        ids: Token ids of each sample, special tokens included, not padded.
        labels: Class numbers (samples,).
        vectors: What stands in the places of user tokens (samples, user tokens, width); None without any.
    """

    ids: list[list[int]]
    labels: Ints
    vectors: Vectors | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """One step's samples of some devices, padded to the same shape.

    Attributes:
        ids: Token ids (devices, samples, tokens).
        mask: 1 for a token, 0 for padding (devices, samples, tokens).
        labels: Class numbers (devices, samples), 0 for padding.
        weights: What each sample counts in its device's mean (devices, samples), 0 for padding.
        vectors: What stands in the places of user tokens (devices, samples, user tokens, width).
    """

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    vectors: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """Returns the batch on a device."""
        return Batch(*(getattr(self, part.name).to(device) for part in fields(self)))

    def samples(self, start: int, end: int) -> Batch:
        """Returns the samples from start to end of every device."""
        return Batch(*(getattr(self, part.name)[:, start:end] for part in fields(self)))


def encode(
    model: Model, samples: Samples, prefix: Sequence[int] = (), suffix: Sequence[int] = ()
) -> Examples:
    """Encodes texts as leading special tokens, prefix, text, suffix, trailing special tokens.

    The text is truncated at its end so that the whole prefix and suffix fit.

    Args:
        model: Whose tokenizer and length limit hold.
        samples: The texts.
        prefix: Token ids that go before every text, inserted as they are.
        suffix: Token ids that go behind every text.

    Raises:
        InputError: Prefix and suffix leave no room for text.
    """
    leading, trailing = special_tokens(model)
    added = len(prefix) + len(suffix)
    room = model.max_tokens - len(leading) - len(trailing) - added
    if room < 1:
        raise InputError(
            f"{added} tokens beside the text leave no room for it within {model.max_tokens} tokens: "
            f"use at most {added + room - 1}"
        )
    head, tail = [*leading, *prefix], [*suffix, *trailing]
    tokens = model.tokens(samples.texts)
    return Examples([[*head, *text[:room], *tail] for text in tokens], samples.labels)


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
    vectors = [part.vectors for part in parts if part.vectors is not None]
    return Examples(
        ids,
        np.concatenate([part.labels for part in parts]),
        np.concatenate(vectors) if len(vectors) == len(parts) else None,
    )


def collate(parts: Sequence[tuple[Examples, Ints]], pad_id: int) -> Batch:
    """Pads some devices' samples at their ends to the longest, and their number to the largest.

    Args:
        parts: Each device's samples, and the positions of those to take.
        pad_id: Token id of the padding.
    """
    chosen = [[examples.ids[position] for position in positions] for examples, positions in parts]
    longest = max(len(sample) for samples in chosen for sample in samples)
    shape = len(parts), max(map(len, chosen)), longest
    ids, mask = np.full(shape, pad_id, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    labels, weights = np.zeros(shape[:2], dtype=np.int64), np.zeros(shape[:2], dtype=np.float32)
    own = next((examples.vectors for examples, _ in parts if examples.vectors is not None), _NO_VECTORS)
    vectors = np.zeros((*shape[:2], *own.shape[1:]), dtype=np.float32)
    for device, ((examples, positions), samples) in enumerate(zip(parts, chosen, strict=True)):
        for row, sample in enumerate(samples):
            ids[device, row, : len(sample)] = sample
            mask[device, row, : len(sample)] = 1
        labels[device, : len(samples)] = examples.labels[positions]
        weights[device, : len(samples)] = 1 / len(samples)
        if examples.vectors is not None:
            vectors[device, : len(samples)] = examples.vectors[positions]
    return Batch(*map(torch.from_numpy, (ids, mask, labels, weights, vectors)))
