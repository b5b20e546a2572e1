"""A model as one function of token ids and mask, written so that it can be mapped over devices.

transformers' classes branch on the values of a mask of two dimensions, and those that read the class off an
end-of-text token pick it by a boolean mask; `torch.vmap` allows neither. Here the mask is additive and has
four dimensions before the model sees it, and an encoder-decoder's token is picked by its position. A language
model's words are scored only where an answer stands, for the product with all words is most of its work.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from fedpers.models.additions import reading
from fedpers.models.inputs import Inputs
from fedpers.models.masked_words import MASKED_WORDS
from fedpers.models.user_tokens import user_tokens


class Reader(nn.Module):
    """A model that gives scores for every answer, which do not depend on padding."""

    def __init__(self, module: PreTrainedModel, *, own_mask: bool = False) -> None:
        """Wraps a model.

        Args:
            module: transformers' model, whose parameters are shared.
            own_mask: Whether to leave the mask to the module, which then cannot be mapped.
        """
        super().__init__()
        self.module = module
        self._own_mask = own_mask
        self._causal = any(getattr(part, "is_causal", False) for part in module.modules())

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Returns scores (samples, answers, classes or words) of one device's samples."""
        with user_tokens(self.module, inputs.vectors), reading(self.module, inputs):
            return self._score(inputs)

    def _score(self, inputs: Inputs) -> torch.Tensor:
        raise NotImplementedError

    def _masks(self, mask: torch.Tensor) -> torch.Tensor:
        """Returns which token may look at which, as an additive mask."""
        if self._own_mask:
            return mask
        text = mask.bool()[:, None, None, :]
        if self.module.config.is_encoder_decoder:  # of any number of queries, for the decoder looks at it too
            return _additive(text)
        square = torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool, device=mask.device)
        return _additive(text & (square.tril() if self._causal else square))

    def _decoder_inputs(self, words: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns what a decoder reads that is to predict some words, each from those before it."""
        start = torch.full_like(words[:, :1], self.module.config.decoder_start_token_id)
        ids = torch.cat([start, words[:, :-1]], dim=1)
        if self._own_mask:
            return {"decoder_input_ids": ids}
        square = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril()
        allowed = square.expand(len(ids), 1, -1, -1)
        return {"decoder_input_ids": ids, "decoder_attention_mask": _additive(allowed)}

    def _options(self) -> dict[str, Any]:
        """Turns off the cache of generation where the model has one."""
        return {"use_cache": False} if hasattr(self.module.config, "use_cache") else {}


class Classifier(Reader):
    """A sequence classifier: one answer a sample, the class."""

    def _score(self, inputs: Inputs) -> torch.Tensor:
        if self.module.config.is_encoder_decoder and not self._own_mask:
            return self._score_last_end(inputs.ids, inputs.mask)[:, None]
        options = {} if self._own_mask else self._options()
        found = self.module(input_ids=inputs.ids, attention_mask=self._masks(inputs.mask), **options)
        return _tensor(found.logits)[:, None]

    def _score_last_end(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Scores the decoder's state at the last end-of-text token, as transformers' encoder-decoders do."""
        decoder = self._decoder_inputs(ids)
        seen = mask.bool()[:, None, None, :] & (decoder["decoder_attention_mask"] == 0)
        hidden = self.module.base_model(
            input_ids=ids,
            attention_mask=self._masks(mask),
            decoder_input_ids=decoder["decoder_input_ids"],
            decoder_attention_mask=_additive(seen),
            **self._options(),
        ).last_hidden_state
        places = torch.arange(ids.shape[1], device=ids.device)
        last = ((ids == self.module.config.eos_token_id) * places).argmax(dim=1)
        chosen = hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[2]))[:, 0]
        head: nn.Module = self.module.get_submodule("classification_head")
        return _tensor(head(chosen))


class MaskedReader(Reader):
    """An encoder with a head that guesses words, at the places where some are hidden.

    Answers of several samples may stand in one row, their places then being of all these samples' tokens.
    """

    def _score(self, inputs: Inputs) -> torch.Tensor:
        found = self.module.base_model(input_ids=inputs.ids, attention_mask=self._masks(inputs.mask))
        head = self.module.get_submodule(MASKED_WORDS)
        hidden = _tensor(found.last_hidden_state)
        rows = hidden.reshape(len(inputs.places), -1, hidden.shape[-1])
        return _tensor(head(_at(rows, inputs.places)))


class Writer(Reader):
    """A language model: an answer is some words, each scored by what comes before it."""

    def _score(self, inputs: Inputs) -> torch.Tensor:
        given = {"input_ids": inputs.ids, "attention_mask": self._masks(inputs.mask), **self._options()}
        if self.module.config.is_encoder_decoder:
            return _tensor(self.module(**given, **self._decoder_inputs(inputs.labels)).logits)
        head: nn.Module = _words_of(self.module)
        # Not by base model and head, for some models scale what comes before the head or behind it.
        hook = head.register_forward_pre_hook(lambda layer, args: (_at(args[0], inputs.places), *args[1:]))
        try:
            return _tensor(self.module(**given).logits)
        finally:
            hook.remove()


def takes_masks(module: PreTrainedModel, short: list[int], long: list[int], pad_id: int) -> bool:
    """Tells whether a model scores padded texts through a `Reader` as it does by itself, unpadded.

    Some architectures (DeBERTa, OPT, those with local attention) read a mask of four dimensions in another
    way, and would be wrong without a word.

    Args:
        module: The sequence classifier or language model.
        short: Token ids of a text.
        long: Token ids of a longer one.
        pad_id: Token id of the padding.
    """
    training, device = module.training, module.device
    texts = [torch.tensor([ids], device=device) for ids in (short, long)]
    padded = torch.cat([functional.pad(ids, (0, len(long) - ids.shape[1]), value=pad_id) for ids in texts])
    places = torch.arange(len(long), device=device).expand(2, -1)
    mask = (places < torch.tensor([[len(short)], [len(long)]], device=device)).long()
    reader = Writer(module) if writes(module) else Classifier(module)
    module.train(False)
    try:
        with torch.inference_mode():
            own = [_own_scores(module, ids) for ids in texts]
            ours = reader(Inputs(padded, mask, torch.zeros(2, 0, 0), padded, places, places[:, 0]))
    except (RuntimeError, ValueError, IndexError):
        return False
    finally:
        module.train(training)
    pairs = zip(ours, own, strict=True)
    return all(torch.allclose(score[: len(alone)], alone, rtol=1e-3, atol=1e-3) for score, alone in pairs)


def writes(module: PreTrainedModel) -> bool:
    """Tells whether a model is a language model, whose scores are of words."""
    return _words_of(module) is not None


def _words_of(module: PreTrainedModel) -> Any:
    """Returns the layer that scores words, None in a classifier."""
    return module.get_output_embeddings()  # type: ignore[no-untyped-call]  # theirs


def _own_scores(module: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """Returns what a model by itself makes of one text (answers, classes or words)."""
    if writes(module) and module.config.is_encoder_decoder:
        start = torch.full_like(ids[:, :1], module.config.decoder_start_token_id)
        decoder = torch.cat([start, ids[:, :-1]], dim=1)
        return _tensor(module(input_ids=ids, decoder_input_ids=decoder).logits)[0]
    logits = _tensor(module(input_ids=ids).logits)
    return logits[0] if writes(module) else logits


def _at(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Returns the vectors (samples, answers, width) at some places of vectors (samples, tokens, width)."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[-1]))


def _additive(allowed: torch.Tensor) -> torch.Tensor:
    """Returns 0 where attention is allowed and the least float elsewhere."""
    return torch.where(allowed, 0.0, torch.finfo(torch.float32).min)


def _tensor(value: Any) -> torch.Tensor:
    assert isinstance(value, torch.Tensor)
    return value
