"""A text with further texts behind it, as an encoder of BERT's kind reads them.

    [CLS] text [SEP] first [SEP] second ... [SEP]

Text and context are a pair as the tokenizer itself builds one, so RoBERTa has two marks between them; within
the context one separator parts two texts. Models with segments read the text as the first one and the context
as the second (Devlin et al., NAACL 2019, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from fedpers.data import Samples
from fedpers.models.additions import Added
from fedpers.models.encoding import Examples, special_tokens
from fedpers.models.inputs import Inputs
from fedpers.models.loading import Model
from fedpers.models.masked_words import check_encoder

CONTEXT_SEGMENTS = "context_segments"  # the addition's name within the model


@dataclass(frozen=True)
class ContextSegments:
    """Has what stands behind the first separator read as the second segment; without segments no change."""

    def attach(self, module: PreTrainedModel) -> None:
        check_encoder(module)
        module.add_module(CONTEXT_SEGMENTS, Segments(int(module.config.sep_token_id)))


class Segments(Added):
    """Tells an encoder the segment of each token."""

    def __init__(self, separator: int) -> None:
        """Takes the id of the separator."""
        super().__init__()
        self.looks_for = (separator,)

    def reading(self, module: PreTrainedModel, inputs: Inputs) -> AbstractContextManager[None]:
        """Has the encoder read with segments."""
        if getattr(module.config, "type_vocab_size", 0) < 2:
            return nullcontext()
        marks = (inputs.ids == self.looks_for[0]).long()
        behind = marks.cumsum(dim=-1) - marks > 0  # the first separator belongs to the text
        return _segmented(module.base_model, behind.long() * inputs.mask)


@contextmanager
def _segmented(encoder: nn.Module, segments: torch.Tensor) -> Iterator[None]:
    def before(
        part: nn.Module, args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, {**named, "token_type_ids": segments}

    hook = encoder.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def context_room(model: Model) -> int:
    """Returns how many tokens a text and the first of its context may have together."""
    return model.max_tokens - sum(map(len, special_tokens(model))) - len(_between(model))


def with_context(model: Model, samples: Samples, context: Sequence[Sequence[str]], kept: int) -> Examples:
    """Encodes texts, each with as much of its context behind it as fits.

    A text is cut at its end where it is longer than `kept` and the context needs the room; the context's last
    text is cut where the model's limit is reached. A text without context is encoded alone.

    Args:
        model: Whose tokenizer and length limit hold.
        samples: The texts.
        context: Further texts for each, best first.
        kept: Tokens of a text that no context displaces.
    """
    leading, trailing = special_tokens(model)
    room = model.max_tokens - len(leading) - len(trailing)
    marks = _between(model), [int(model.tokenizer.sep_token_id)]
    ids = []
    for text, further in zip(model.tokens(samples.texts), context, strict=True):
        pieces = model.tokens(further[:room])  # each takes a token and more
        own = text[: max(kept, room - len(_joined(pieces, marks, room)))]
        ids.append([*leading, *own, *_joined(pieces, marks, room - len(own)), *trailing])
    return Examples(ids, samples.labels)


def _joined(pieces: Sequence[list[int]], marks: tuple[list[int], list[int]], room: int) -> list[int]:
    """Returns pieces behind one another within a room, the first behind another mark than the others."""
    found: list[int] = []
    for piece in filter(None, pieces):
        mark = marks[1 if found else 0]
        left = room - len(found) - len(mark)
        if left < 1:
            break
        found += [*mark, *piece[:left]]
    return found


def _between(model: Model) -> list[int]:
    """Returns the ids a tokenizer puts between the texts of a pair."""
    leading, trailing = special_tokens(model)
    [text] = model.tokens(["a"])
    pair: list[int] = model.tokenizer("a", "a")["input_ids"]
    return pair[len(leading) + len(text) : len(pair) - len(text) - len(trailing)]
