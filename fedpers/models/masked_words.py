"""A head that guesses hidden words, beside a classifier's own (the masked-language model's of its family)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForMaskedLM, PreTrainedModel

from fedpers.errors import InputError
from fedpers.models.additions import Added

MASKED_WORDS = "masked_words"  # the head's name within the model


class MaskedWords(Added):
    """Scores all words from a place's last hidden state."""

    def __init__(self, layers: nn.Sequential) -> None:
        """Takes the layers of a masked-language model's head."""
        super().__init__()
        self.layers = layers

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns scores (..., words) of hidden states (..., width)."""
        found: torch.Tensor = self.layers(hidden)
        return found


@dataclass(frozen=True)
class MaskedHead:
    """Adds the head of the same family's masked-language model, with its word scores tied to the embeddings.

    Attributes:
        pretrained: The hub name or folder whose trained head is taken; None for a random one.
    """

    pretrained: str | None = None

    def attach(self, module: PreTrainedModel) -> None:
        check_encoder(module)
        prefix = module.base_model_prefix
        kind: Any = AutoModelForMaskedLM
        missing: list[str] = []
        if self.pretrained is None:
            other = kind.from_config(module.config)
        else:
            other, info = kind.from_pretrained(
                self.pretrained,
                config=module.config,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
            missing = [name for name in info["missing_keys"] if not name.startswith(f"{prefix}.")]
        setattr(other, prefix, module.base_model)
        other.tie_weights()
        layers = [layer for name, layer in other.named_children() if name != prefix]
        head = MaskedWords(nn.Sequential(*layers)).float()
        if missing:
            head.note = f"{self.pretrained} has no trained head for masked words: it starts from a random one"
        module.add_module(MASKED_WORDS, head)


def check_encoder(module: PreTrainedModel) -> None:
    """Refuses what is no encoder of BERT's kind.

    Raises:
        InputError: It is a decoder, an encoder-decoder, or built in another way.
    """
    if not attentions(module):
        kind = module.config.model_type
        raise InputError(
            f"writer prompts, context and hidden words are for encoders of the BERT, RoBERTa and ELECTRA "
            f"families, and {kind} is none: use such a --model, or tiny with --answer class"
        )


def attentions(module: PreTrainedModel) -> list[nn.Module]:
    """Returns an encoder's self-attentions in order, none of a model of another kind."""
    if module.config.is_encoder_decoder or getattr(module.config, "is_decoder", False):
        return []
    found = [part for name, part in module.base_model.named_modules() if name.endswith("attention.self")]
    return found if all(_is_plain(part, module.config.hidden_size) for part in found) else []


def _is_plain(attention: nn.Module, width: int) -> bool:
    """Tells whether a self-attention is BERT's: without convolutions, narrow layers or words and entities."""
    layers = dict(attention.named_children())
    plain = layers.keys() == {"query", "key", "value", "dropout"}
    return plain and getattr(layers["key"], "out_features", None) == width
