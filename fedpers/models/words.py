"""A model narrowed to the words of some texts, for training that can move no other word.

A device's texts hold a few hundred of a vocabulary's tens of thousands of words. Where an optimizer leaves
a word without gradient as it is, training the other rows of the word embedding, copying and sending them
is nothing but work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt
from torch import nn

from fedpers.data import Ints
from fedpers.models.additions import Added
from fedpers.models.arrays import Arrays, Rows, Trained
from fedpers.models.encoding import Examples
from fedpers.models.loading import Model
from fedpers.models.masked_words import MASKED_WORDS

_MEANING = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")  # of a config


@dataclass(frozen=True)
class Words:
    """The rows of the word embedding that some texts need.

    Attributes:
        table: Name of the embedding's parameter.
        index: The rows, rising (words,); ids that the model itself looks for keep their numbers.
        height: Words of the whole vocabulary.
    """

    table: str
    index: Ints
    height: int

    @staticmethod
    def of(model: Model, examples: Examples, *, masked: bool = False, frozen: bool = False) -> Words | None:
        """Returns the words of some texts, or None where the whole table must be trained.

        That is where something else than embeddings reads it (the tied output of a language model), where
        answers are written in whole words or hidden ones guessed, where the texts need all of it, or where it
        is frozen.

        Args:
            model: The model.
            examples: The texts.
            masked: Whether hidden words are guessed.
            frozen: Whether to tell the words even where the table is frozen in the model.
        """
        if masked or examples.answers is not None:
            return None
        weight = _table(model)
        if not (weight.requires_grad or frozen):
            return None
        if not all(isinstance(m, nn.Embedding) for m in _readers(model, weight)):
            return None
        kept = np.arange(_last_meaning(model) + 1)
        ids = np.fromiter(chain.from_iterable(examples.ids), dtype=np.int64)
        index = np.union1d(kept, ids[ids >= 0])  # ids below 0 are user tokens, which are no words
        return Words(word_table(model), index, len(weight)) if len(index) < len(weight) else None

    @staticmethod
    def of_each(
        model: Model, parts: Sequence[Examples], *, masked: bool = False, frozen: bool = False
    ) -> list[Words] | None:
        """Returns each device's words, or None where one of them needs the whole table."""
        found = [Words.of(model, part, masked=masked, frozen=frozen) for part in parts]
        words = [own for own in found if own is not None]
        return words if len(words) == len(parts) else None

    def renumber(self, examples: Examples) -> Examples:
        """Returns the same texts with rows of the narrow table as ids."""
        samples = (np.array(sample, dtype=np.int64) for sample in examples.ids)
        ids = [np.where(ids < 0, ids, np.searchsorted(self.index, ids)).tolist() for ids in samples]
        return replace(examples, ids=ids)

    def narrow(self, arrays: Mapping[str, npt.NDArray[np.floating]]) -> Arrays:
        """Returns the arrays of a narrowed model."""
        return {**arrays, self.table: arrays[self.table][self.index].astype(np.float32)}

    def trained(self, arrays: Arrays, start: Mapping[str, npt.NDArray[np.floating]]) -> Trained:
        """Returns what a narrowed model learned since its arrays were `start`."""
        change = arrays[self.table][: len(self.index)] - start[self.table]
        return {**arrays, self.table: Rows(self.index, change, self.height)}


def word_table(model: Model) -> str:
    """Returns the name of the word embedding among a model's parameters."""
    weight = _table(model)
    return next(name for name, parameter in model.module.named_parameters() if parameter is weight)


def _table(model: Model) -> nn.Parameter:
    weight = model.module.get_input_embeddings().weight
    assert isinstance(weight, nn.Parameter)
    return weight


def _readers(model: Model, weight: nn.Parameter) -> list[nn.Module]:
    """Returns the modules that hold a parameter, but for the head that guesses hidden words."""
    named = ((name, m) for name, m in model.module.named_modules() if name.partition(".")[0] != MASKED_WORDS)
    return [m for _, m in named if any(p is weight for p in m.parameters(recurse=False))]


def _last_meaning(model: Model) -> int:
    """Returns the highest id that a model's own code compares its input with, such as padding."""
    added = chain.from_iterable(part.looks_for for part in model.module.children() if isinstance(part, Added))
    named = (getattr(model.module.config, name, None) for name in _MEANING)
    ids = [model.tokenizer.pad_token_id, *added, *named]
    flat = chain.from_iterable(value if isinstance(value, list) else [value] for value in ids)
    return max(int(value) for value in flat if value is not None)
