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
Answers = Ints | list[list[str]]  # to each sample its class, or texts, best first

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
    """Returns the most likely class of each sample (samples,), or what a language model writes to each."""
    return write(model, examples) if model.writes else predict(model, examples)


def predict(model: Model, examples: Examples) -> Ints:
    """Returns a classifier's most likely class of each sample (samples,)."""
    classes: Ints = logits(model, examples).argmax(axis=1)
    return classes
