"""What a model makes of many people's samples, in common batches."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import numpy.typing as npt
import torch

from fedpers.data import Ints
from fedpers.models import Examples, Model
from fedpers.training.stack import batch_of
from fedpers.training.writing import Using, write

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ranking = npt.NDArray[np.signedinteger]  # class numbers of each sample, best first (samples, classes)
Answers = Ranking | list[list[str]]  # to each sample all classes, or some texts, best first

_TOGETHER = 256  # samples
_TOGETHER_WRITTEN = 64  # of a language model, which scores all words at each place
_SURE = -1e-300  # log probability above which the odds would be infinite


def logits(model: Model, examples: Examples) -> Floats:
    """Returns the model's scores of each sample (samples, classes), in the samples' order."""
    classes = len(model.module.config.id2label or ())
    scores = np.empty((len(examples), classes), dtype=np.float32)
    by_length = np.argsort([len(sample) for sample in examples.ids], kind="stable")
    model.module.train(False)
    reader = model.reader()
    with torch.inference_mode(), model.autocast():
        for start in range(0, len(examples), _TOGETHER):
            rows = by_length[start : start + _TOGETHER]
            batch = batch_of(model, [(examples, rows)])
            scores[rows] = reader(batch.inputs.of(0))[:, 0].float().cpu().numpy()
    return scores


def log_odds(model: Model, examples: Examples, using: Using | None = None) -> Doubles:
    """Returns the log odds log p / (1 - p) of each sample's right answer (samples,).

    p is a classifier's probability of the right class, or that of all words of the right answer, its end
    included. It is not computed as such, for 1 - p would be rounded away where the model is sure: each word's
    log odds are its score less the log of the summed exponentials of all others'.

    Args:
        model: The model.
        examples: The samples, with answers where the model writes.
        using: As in `write`.
    """
    found = np.empty(len(examples))
    by_length = np.argsort([len(sample) for sample in examples.ids], kind="stable")
    together = _TOGETHER_WRITTEN if model.writes else _TOGETHER
    reader = model.reader()
    model.module.train(False)
    for start in range(0, len(examples), together):
        rows = by_length[start : start + together]
        batch = batch_of(model, [(examples, rows)])
        with torch.inference_mode(), model.autocast(), using(rows) if using else nullcontext():
            scores = reader(batch.inputs.of(0)).float()
        right = batch.labels[0][..., None]
        others = scores.scatter(2, right, -torch.inf).logsumexp(dim=-1)
        odds = (scores.gather(2, right)[..., 0] - others).double()
        each = torch.nn.functional.logsigmoid(odds) * (batch.weights[0] > 0)  # log p of each word
        log_p = each.sum(dim=1).cpu().numpy()
        found[rows] = log_p - np.log(-np.expm1(np.minimum(log_p, _SURE)))
    return found


def answer(model: Model, examples: Examples) -> Answers:
    """Returns a classifier's ranking of classes for each sample, or what a language model writes to each."""
    return write(model, examples) if model.writes else ranking(logits(model, examples))


def ranking(scores: Floats) -> Ranking:
    """Returns the class numbers of each sample, best first (samples, classes); of a tie the lower one first.

    >>> ranking(np.array([[0.1, 0.7, 0.1]], dtype=np.float32)).tolist()
    [[1, 0, 2]]
    """
    kind = np.int16 if scores.shape[1] <= np.iinfo(np.int16).max else np.int32
    ranked = np.empty(scores.shape, dtype=kind)
    for start in range(0, len(scores), _TOGETHER):  # numpy sorts into 8 bytes a class
        rows = slice(start, start + _TOGETHER)
        ranked[rows] = np.argsort(-scores[rows], axis=1, kind="stable")
    return ranked


def predict(model: Model, examples: Examples) -> Ints:
    """Returns a classifier's most likely class of each sample (samples,)."""
    classes: Ints = logits(model, examples).argmax(axis=1)
    return classes
