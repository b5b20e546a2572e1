"""What a model makes of many people's samples, in common batches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from fedpers.data import Ints
from fedpers.models import Examples, Model
from fedpers.training.stack import batch_of
from fedpers.training.writing import write

Floats = npt.NDArray[np.float32]
Ranking = npt.NDArray[np.signedinteger]  # class numbers of each sample, best first (samples, classes)
Answers = Ranking | list[list[str]]  # to each sample all classes, or some texts, best first

_TOGETHER = 256  # samples


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
