"""The one training loop and the one prediction loop, for a device's few texts and for everyone's.

A device trains from the broadcast arrays for a few steps with a fresh optimizer; the base and the central
control run the same loop over pooled text for some epochs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from fedpers import seeds
from fedpers.data import Ints
from fedpers.errors import FedpersError
from fedpers.models import Arrays, Batch, Examples, Model, Trained, Words, collate, extract, insert
from fedpers.settings import CentralSettings, LocalSettings

Floats = npt.NDArray[np.float32]

_PREDICTION_BATCH = 256


@dataclass(frozen=True)
class Plan:
    """How a model is trained on some examples.

    Attributes:
        optimizer: torch's SGD or AdamW, fresh at the start.
        learning_rate: Peak learning rate.
        epochs: Passes over the examples.
        batch_size: Samples in a step; the last batch of a pass may be smaller.
        steps: Stop after so many steps, or None.
        momentum: SGD's momentum, in [0, 1).
        weight_decay: The optimizer's weight decay.
        warmup_share: Share of all steps over which the rate rises linearly, before it falls linearly to
            0; None keeps it constant.
    """

    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    epochs: int
    batch_size: int
    steps: int | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    warmup_share: float | None = None

    @staticmethod
    def local(settings: LocalSettings) -> Plan:
        """Returns how a device trains in one round."""
        return Plan(
            optimizer=settings.local_optimizer,
            learning_rate=settings.local_lr,
            epochs=settings.local_epochs,
            batch_size=settings.batch_size,
            steps=settings.local_steps,
            momentum=settings.local_momentum,
            weight_decay=settings.local_weight_decay,
        )

    @staticmethod
    def central(settings: CentralSettings, epochs: int) -> Plan:
        """Returns how pooled text is trained on."""
        return Plan(
            optimizer="adamw",
            learning_rate=settings.central_lr,
            epochs=epochs,
            batch_size=settings.central_batch_size,
            weight_decay=settings.central_weight_decay,
            warmup_share=settings.warmup_share,
        )


@dataclass(frozen=True)
class Pass:
    """One epoch that was trained, whole or cut short.

    Attributes:
        samples: Samples gone through.
        loss: Their mean training loss, in nats.
    """

    samples: int
    loss: float


def fit(model: Model, examples: Examples, plan: Plan, draw: np.random.Generator) -> Iterator[Pass]:
    """Trains a model in place, one epoch each time the iterator is advanced.

    Args:
        model: The model; all parameters that require a gradient are trained.
        examples: At least one.
        plan: How to train.
        draw: The order of the examples and dropout.

    Yields:
        Each epoch, the last one cut short where the plan limits the steps.

    Raises:
        FedpersError: The loss is not finite.
    """
    optimizer = _optimizer(model.module, plan)
    batches = math.ceil(len(examples) / plan.batch_size)
    steps = min(plan.epochs * batches, plan.steps or plan.epochs * batches)
    for first in range(0, steps, batches):
        model.module.train()
        seen, total = 0, 0.0
        order = draw.permutation(len(examples))
        with seeds.torch_stream(int(draw.integers(2**32))):
            for step in range(first, min(first + batches, steps)):
                start = (step - first) * plan.batch_size
                batch = _batch(model, examples, order[start : start + plan.batch_size])
                rate = plan.learning_rate * _rate_share(plan, step, steps)
                total += _step(model.module, optimizer, batch, rate) * len(batch.labels)
                seen += len(batch.labels)
        if not math.isfinite(total):
            raise FedpersError(f"the training loss is not finite ({total}): lower the learning rate")
        yield Pass(seen, total / seen)


def fit_from(
    model: Model, arrays: Arrays, examples: Examples, plan: Plan, draw: np.random.Generator
) -> tuple[Trained, list[Pass]]:
    """Trains a model from given parameters to a plan's end, and returns what it learned.

    Without weight decay, a word that is in none of the texts keeps its embedding under every optimizer of
    a plan, so only the other rows are trained and returned.

    Args:
        model: The model; its parameters are overwritten.
        arrays: Where training starts.
        examples: At least one.
        plan: How to train.
        draw: The order of the examples and dropout.

    Raises:
        FedpersError: The loss is not finite.
    """
    words = Words.of(model, examples) if plan.weight_decay == 0 else None
    if words is None:
        insert(model.module, arrays)
        passes = list(fit(model, examples, plan, draw))
        return extract(model.module), passes
    start = words.narrow(arrays)
    with words.narrowed(model):
        insert(model.module, start)
        passes = list(fit(model, words.renumber(examples), plan, draw))
        return words.trained(model, start), passes


def logits(model: Model, examples: Examples) -> Floats:
    """Returns the model's scores of each sample (samples, classes), in the samples' order."""
    classes = len(model.module.config.id2label or ())
    scores = np.empty((len(examples), classes), dtype=np.float32)
    by_length = np.argsort([len(sample) for sample in examples.ids], kind="stable")
    model.module.train(False)
    with torch.inference_mode():
        for start in range(0, len(examples), _PREDICTION_BATCH):
            rows = by_length[start : start + _PREDICTION_BATCH]
            scores[rows] = model.module(**_batch(model, examples, rows).inputs).logits.cpu().numpy()
    return scores


def predict(model: Model, examples: Examples) -> Ints:
    """Returns the most likely class of each sample (samples,)."""
    classes: Ints = logits(model, examples).argmax(axis=1)
    return classes


def _step(module: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = torch.nn.functional.cross_entropy(module(**batch.inputs).logits, batch.labels)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    optimizer.step()
    return loss.item()


def _optimizer(module: torch.nn.Module, plan: Plan) -> torch.optim.Optimizer:
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if plan.optimizer == "sgd":
        return torch.optim.SGD(
            trainable, lr=plan.learning_rate, momentum=plan.momentum, weight_decay=plan.weight_decay
        )
    return torch.optim.AdamW(trainable, lr=plan.learning_rate, weight_decay=plan.weight_decay)


def _rate_share(plan: Plan, step: int, steps: int) -> float:
    """Returns the learning rate's share of its peak: a linear rise, then a linear fall, in (0, 1]."""
    if plan.warmup_share is None:
        return 1.0
    warmup = plan.warmup_share * steps
    return min((step + 1) / (warmup + 1), (steps - step) / max(1.0, steps - warmup), 1.0)


def _batch(model: Model, examples: Examples, positions: Ints) -> Batch:
    batch = collate(examples, positions, int(model.tokenizer.pad_token_id))
    device = model.module.device
    return Batch({name: value.to(device) for name, value in batch.inputs.items()}, batch.labels.to(device))
