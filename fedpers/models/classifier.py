"""A classifier as one function of token ids and mask, written so that it can be mapped over devices.

transformers' classes branch on the values of a mask of two dimensions, and those that read the class off an
end-of-text token pick it by a boolean mask; `torch.vmap` allows neither. Here the mask is additive and has
four dimensions before the model sees it, and an encoder-decoder's token is picked by its position.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from fedpers.models.user_tokens import user_tokens


class Classifier(nn.Module):
    """A sequence classifier whose scores do not depend on padding."""

    def __init__(self, module: PreTrainedModel, *, own_mask: bool = False) -> None:
        """Wraps a classifier.

        Args:
            module: transformers' sequence classifier, whose parameters are shared.
            own_mask: Whether to leave the mask to the module, which then cannot be mapped.
        """
        super().__init__()
        self.module = module
        self._own_mask = own_mask
        self._causal = any(getattr(part, "is_causal", False) for part in module.modules())

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns scores (samples, classes).

        Args:
            ids: Token ids (samples, tokens), padded at the end.
            mask: 1 for a token, 0 for padding (samples, tokens).
            vectors: What stands in the places of user tokens (samples, user tokens, width).
        """
        with nullcontext() if vectors is None else user_tokens(self.module, vectors):
            return self._score(ids, mask)

    def _score(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self._own_mask:
            return _tensor(self.module(input_ids=ids, attention_mask=mask).logits)
        tokens = ids.shape[1]
        square = torch.ones(tokens, tokens, dtype=torch.bool, device=ids.device)
        text = mask.bool()[:, None, None, :]
        if self.module.config.is_encoder_decoder:
            return self._score_last_end(ids, _additive(text & square), _additive(text & square.tril()))
        allowed = _additive(text & (square.tril() if self._causal else square))
        return _tensor(self.module(input_ids=ids, attention_mask=allowed, **self._options()).logits)

    def _score_last_end(
        self, ids: torch.Tensor, encoder: torch.Tensor, decoder: torch.Tensor
    ) -> torch.Tensor:
        """Scores the decoder's state at the last end-of-text token, as transformers' encoder-decoders do."""
        config = self.module.config
        start = torch.full_like(ids[:, :1], config.decoder_start_token_id)
        hidden = self.module.base_model(
            input_ids=ids,
            attention_mask=encoder,
            decoder_input_ids=torch.cat([start, ids[:, :-1]], dim=1),
            decoder_attention_mask=decoder,
            **self._options(),
        ).last_hidden_state
        places = torch.arange(ids.shape[1], device=ids.device)
        last = ((ids == config.eos_token_id) * places).argmax(dim=1)
        chosen = hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[2]))[:, 0]
        head: nn.Module = self.module.get_submodule("classification_head")
        return _tensor(head(chosen))

    def _options(self) -> dict[str, Any]:
        """Turns off the cache of generation where the model has one."""
        return {"use_cache": False} if hasattr(self.module.config, "use_cache") else {}


def takes_masks(module: PreTrainedModel, short: list[int], long: list[int], pad_id: int) -> bool:
    """Tells whether a model scores padded texts through `Classifier` as it does by itself, unpadded.

    Some architectures (DeBERTa, OPT, those with local attention) read a mask of four dimensions in another
    way, and would be wrong without a word.

    Args:
        module: The sequence classifier.
        short: Token ids of a text.
        long: Token ids of a longer one.
        pad_id: Token id of the padding.
    """
    training, device = module.training, module.device
    padded = [*short, *[pad_id] * (len(long) - len(short))]
    mask = [[1] * len(short) + [0] * (len(long) - len(short)), [1] * len(long)]
    module.train(False)
    try:
        with torch.inference_mode():
            own = [module(torch.tensor([ids], device=device)).logits for ids in (short, long)]
            ours = Classifier(module)(
                torch.tensor([padded, long], device=device), torch.tensor(mask, device=device)
            )
    except (RuntimeError, ValueError, IndexError):
        return False
    finally:
        module.train(training)
    return torch.allclose(ours, torch.cat(own), rtol=1e-3, atol=1e-3)


def _additive(allowed: torch.Tensor) -> torch.Tensor:
    """Returns 0 where attention is allowed and the least float elsewhere."""
    return torch.where(allowed, 0.0, torch.finfo(torch.float32).min)


def _tensor(value: Any) -> torch.Tensor:
    assert isinstance(value, torch.Tensor)
    return value
