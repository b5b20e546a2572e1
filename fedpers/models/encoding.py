"""Texts as token ids, with room kept for tokens beside them, and answers to be written behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch

from fedpers.data import Ints
from fedpers.models.inputs import NOBODY, Inputs
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
        answers: Token ids that a language model is to write, one at each sample's last places: a sample ends
            with all of its answer but the last token, which is predicted only. An encoder-decoder's samples
            hold nothing of their answers. None where the answer is a class.
        owner: Which row of a table of people's own parameters each sample is read with (samples,); None for
            none of them.
    """

    ids: list[list[int]]
    labels: Ints
    vectors: Vectors | None = None
    answers: list[list[int]] | None = None
    owner: Ints | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """One step's samples of some devices, padded to the same shape.

    Attributes:
        ids: Token ids (devices, samples, tokens).
        mask: 1 for a token, 0 for padding (devices, samples, tokens).
        labels: What is right (devices, samples, answers): the class, or the tokens to be written.
        weights: What each answer counts in its device's mean (devices, samples, answers), 0 for padding.
        places: The token that each answer is read off (devices, samples, answers); of no meaning to a
            classifier, which has one answer a sample.
        vectors: What stands in the places of user tokens (devices, samples, user tokens, width).
        owners: The row of a table of people's own parameters that each sample is read with (devices,
            samples), or `NOBODY`.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    places: torch.Tensor
    vectors: torch.Tensor
    owners: torch.Tensor

    @property
    def inputs(self) -> Inputs:
        """What the model reads of it."""
        return Inputs(self.ids, self.mask, self.vectors, self.labels, self.places, self.owners)

    def to(self, device: torch.device) -> Batch:
        """Returns the batch on a device."""
        return Batch(*(getattr(self, part.name).to(device) for part in fields(self)))

    def samples(self, start: int, end: int) -> Batch:
        """Returns the samples from start to end of every device."""
        return Batch(*(getattr(self, part.name)[:, start:end] for part in fields(self)))


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
    answers = [part.answers for part in parts if part.answers is not None]
    owners = [part.owner for part in parts if part.owner is not None]
    return Examples(
        ids,
        np.concatenate([part.labels for part in parts]),
        np.concatenate(vectors) if len(vectors) == len(parts) else None,
        list(chain.from_iterable(answers)) if len(answers) == len(parts) else None,
        np.concatenate(owners) if len(owners) == len(parts) else None,
    )


def pool_owned(parts: Sequence[Examples]) -> Examples:
    """Joins the samples of many people, each read with the row of their place in the order."""
    return pool([replace(part, owner=np.full(len(part), row)) for row, part in enumerate(parts)])


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
    written = [_answers(examples, positions) for examples, positions in parts]
    answered = *shape[:2], max(len(answer) for answers in written for answer in answers)
    labels, places = np.zeros(answered, dtype=np.int64), np.zeros(answered, dtype=np.int64)
    weights, owners = np.zeros(answered, dtype=np.float32), np.full(shape[:2], NOBODY, dtype=np.int64)
    own = next((examples.vectors for examples, _ in parts if examples.vectors is not None), _NO_VECTORS)
    vectors = np.zeros((*shape[:2], *own.shape[1:]), dtype=np.float32)
    for device, ((examples, positions), samples) in enumerate(zip(parts, chosen, strict=True)):
        each = 1 / sum(map(len, written[device]))
        for row, (sample, answer) in enumerate(zip(samples, written[device], strict=True)):
            ids[device, row, : len(sample)] = sample
            mask[device, row, : len(sample)] = 1
            labels[device, row, : len(answer)] = answer
            weights[device, row, : len(answer)] = each
            places[device, row, : len(answer)] = np.arange(len(sample) - len(answer), len(sample))
        if examples.vectors is not None:
            vectors[device, : len(samples)] = examples.vectors[positions]
        if examples.owner is not None:
            owners[device, : len(samples)] = examples.owner[positions]
    return Batch(*map(torch.from_numpy, (ids, mask, labels, weights, places, vectors, owners)))


def _answers(examples: Examples, positions: Ints) -> list[list[int]]:
    """Returns what is right for some samples: tokens to be written, or one class each."""
    if examples.answers is None:
        return [[label] for label in examples.labels[positions].tolist()]
    return [examples.answers[position] for position in positions]
