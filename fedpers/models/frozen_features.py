"""Vectors of texts from the encoder as it was loaded, whatever it has learned since."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from fedpers.data import Samples
from fedpers.models.additions import Added
from fedpers.models.loading import Model
from fedpers.models.masked_words import check_encoder
from fedpers.models.texts import encode

FROZEN_FEATURES = "frozen_features"  # the addition's name within the model

_KEPT = 2**26  # numbers of remembered vectors
_TOGETHER = 64  # texts


@dataclass(frozen=True)
class FrozenFeatures:
    """Adds a copy of the encoder that is no part of the model: never trained, sent or saved."""

    def attach(self, module: PreTrainedModel) -> None:
        check_encoder(module)
        module.add_module(FROZEN_FEATURES, FrozenEncoder(module))


class FrozenEncoder(Added):
    """The copy, and the vectors of the texts it has read, for every round reads its people's texts again."""

    def __init__(self, module: PreTrainedModel) -> None:
        """Copies a model's encoder."""
        super().__init__()
        encoder = cast("PreTrainedModel", copy.deepcopy(module.base_model))
        # Within a tuple it is no child, whose parameters would be the model's too.
        self._encoder = (encoder.train(False).requires_grad_(False),)
        self._known: dict[str, npt.NDArray[np.float32]] = {}

    def vectors(self, model: Model, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Returns the mean of the last layer's vectors of each text (texts, width), special tokens included.

        Args:
            model: The model that this was added to, whose tokenizer reads the texts.
            texts: The texts, read alone and cut to the model's limit.
        """
        width = int(self._encoder[0].config.hidden_size)
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if (len(self._known) + len(new)) * width > _KEPT:
            self._known.clear()
            new = list(dict.fromkeys(texts))
        new.sort(key=len)
        for start in range(0, len(new), _TOGETHER):
            some = new[start : start + _TOGETHER]
            self._known.update(zip(some, self._read(model, some), strict=True))
        return np.array([self._known[text] for text in texts], dtype=np.float32).reshape(-1, width)

    @torch.inference_mode()
    def _read(self, model: Model, texts: list[str]) -> npt.NDArray[np.float32]:
        ids = encode(model, Samples(texts, np.zeros(len(texts), np.int64))).ids
        device = self._encoder[0].device
        padding = float(model.tokenizer.pad_token_id)
        padded = pad_sequence([torch.tensor(own) for own in ids], True, padding).to(device)
        mask = pad_sequence([torch.ones(len(own), dtype=torch.int64) for own in ids], True).to(device)
        with model.autocast():
            hidden = self._encoder[0](input_ids=padded, attention_mask=mask).last_hidden_state.float()
        sums = (hidden * mask[..., None]).sum(dim=1)
        found: npt.NDArray[np.float32] = (sums / mask.sum(dim=1, keepdim=True)).cpu().numpy()
        return found


def features(model: Model, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Returns the vectors (texts, width) that the encoder as loaded has of some texts."""
    part = model.module.get_submodule(FROZEN_FEATURES)
    assert isinstance(part, FrozenEncoder)
    return part.vectors(model, texts)
