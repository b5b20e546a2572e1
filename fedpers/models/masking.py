"""Masked-language modelling: words of a text are hidden, for the model to guess (Devlin et al., NAACL 2019).

PerPLM's intermediate stage (Oba et al., arXiv 2309.07727) trains so, with the writer's prompt in place. Of
the chosen words 0.8 become the mask symbol, 0.1 a random word and 0.1 stay as they are (BERT's shares; the
paper's own are not known). Words are chosen anew for every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from fedpers.models.encoding import Batch
from fedpers.models.loading import Model

_MASKED, _RANDOM = 0.8, 0.1


@dataclass(frozen=True)
class Masking:
    """How words are hidden.

    Attributes:
        share: Share of a text's tokens that are chosen, in (0, 1).
        context: Whether tokens of a writer's other texts beside it are chosen too.
    """

    share: float = 0.15
    context: bool = False


def hide_words(batch: Batch, model: Model, masking: Masking, keys: Sequence[int]) -> Batch:
    """Returns a batch in which some words are hidden, and are what is to be answered.

    Prompts, special tokens and padding are never chosen. Which tokens are does not depend on the padding or
    on the other devices.

    Args:
        batch: The samples.
        model: Whose symbols and vocabulary hold.
        masking: How many tokens are chosen, and where.
        keys: Each device's random key of this batch.
    """
    ids = batch.ids.cpu().numpy()
    open_ = _choosable(ids, batch.mask.cpu().numpy(), model, masking)
    chosen = np.zeros(ids.shape, dtype=bool)
    hidden = ids.copy()
    vocabulary = _words(model)
    for device, key in enumerate(keys):
        draw = np.random.default_rng([key, 1])
        own = np.flatnonzero(open_[device])
        if not len(own):
            continue
        luck = draw.random(len(own))
        taken = luck < masking.share
        taken[luck.argmin()] = True  # a step without any word would be lost
        fate, words = draw.random(len(own)), draw.choice(vocabulary, size=len(own))
        before = ids[device].reshape(-1)[own]
        now = np.where(
            fate < _MASKED,
            int(model.tokenizer.mask_token_id),
            np.where(fate < _MASKED + _RANDOM, words, before),
        )
        hidden[device].reshape(-1)[own] = np.where(taken, now, before)
        chosen[device].reshape(-1)[own] = taken
    labels, places, weights = _answers(ids, chosen)
    told = {"ids": hidden, "labels": labels, "places": places, "weights": weights}
    return replace(batch, **{name: torch.from_numpy(a).to(batch.ids.device) for name, a in told.items()})


def packed(batch: Batch) -> Batch:
    """Returns a batch with hidden words whose answers stand in one row a device, without what only pads.

    Samples have different numbers of hidden words, and scoring a place with all words is most of the work.

    Args:
        batch: Samples in which words are hidden; places of the result are of all its device's tokens.
    """
    real = batch.weights.flatten(1) > 0
    most = max(1, int(real.sum(dim=1).max()))
    order = torch.argsort(~real, dim=1, stable=True)[:, :most]
    before = order // batch.places.shape[2] * batch.ids.shape[2]  # tokens of the samples before
    labels, places, weights = (
        values.flatten(1).gather(1, order)[:, None] for values in (batch.labels, batch.places, batch.weights)
    )
    return replace(batch, labels=labels, places=places + before[:, None], weights=weights)


def _choosable(
    ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], model: Model, masking: Masking
) -> npt.NDArray[np.bool_]:
    """Tells which tokens are words of a text (devices, samples, tokens)."""
    special = np.isin(ids, model.tokenizer.all_special_ids)
    found = (mask > 0) & (ids >= 0) & ~special
    if not masking.context:  # a writer's other texts stand behind the first separator
        behind = np.cumsum(ids == model.tokenizer.sep_token_id, axis=2) > 0
        found &= ~behind
    return found


def _words(model: Model) -> npt.NDArray[np.int64]:
    """Returns the ids that a random word is drawn from: all but special ones."""
    return np.setdiff1d(np.arange(len(model.tokenizer)), model.tokenizer.all_special_ids)


def _answers(
    ids: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Returns what was hidden, where, and what each counts (devices, samples, most hidden in a sample)."""
    most = max(1, int(chosen.sum(axis=2).max()))
    places = np.argsort(~chosen, axis=2, kind="stable")[..., :most]  # the chosen ones first, in order
    real = np.take_along_axis(chosen, places, axis=2)
    counts = np.maximum(real.sum(axis=(1, 2), keepdims=True), 1)
    labels = np.where(real, np.take_along_axis(ids, places, axis=2), 0)
    return labels, np.where(real, places, 0), (real / counts).astype(np.float32)
