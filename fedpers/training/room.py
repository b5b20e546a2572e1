"""How many devices train best in one pass, from what they hold and what the machine has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedpers.models import Examples, Model, Words
from fedpers.training.plan import Plan

_FLOAT = 4  # bytes
_MOMENTS = {"sgd": 1, "adam": 2, "adamw": 2}
_CACHED = 600_000  # numbers in one layer's output up to which larger stacks gain on a CPU; measured


def devices_at_once(
    model: Model, parts: Sequence[Examples], plan: Plan, memory: float, trained: int | None = None
) -> int:
    """Returns how many devices to stack, 1 or more.

    A stack must fit into the memory: parameters, gradients, optimizer moments, activations as Korthikanti et
    al. (Reducing Activation Recomputation in Large Transformer Models, MLSys 2023, arXiv 2205.05198, equation
    1) count them, twice for 4-byte numbers, and the scores of all words where masked ones are guessed. Where
    samples are hidden, each has a copy of what is trained and a gradient of its own. On a CPU a stack whose
    layers' outputs no longer fit into its caches gains nothing more, which ends it earlier.

    Args:
        model: The model.
        parts: Some typical devices' samples.
        plan: How each trains.
        memory: Bytes for one stack.
        trained: Numbers that a device trains before a frozen model; without it the model's are trained.
    """
    if not model.stackable and trained is None:
        return 1
    samples = float(np.mean([min(len(part), plan.batch_size) for part in parts]))
    tokens = float(np.mean([max(map(len, part.ids)) for part in parts]))
    config = model.module.config
    width, layers, heads = config.hidden_size, config.num_hidden_layers, config.num_attention_heads
    pieces = min(samples, plan.micro_batch or samples)
    activations = 2 * pieces * tokens * width * layers * (34 + 5 * heads * tokens / width)
    if plan.masking is not None:  # scores of all words, their logarithms and gradients
        activations += 3 * _FLOAT * pieces * tokens * plan.masking.share * config.vocab_size
    numbers = _trained(model, parts, plan) if trained is None else trained
    own = _FLOAT * numbers * (3 + _MOMENTS[plan.optimizer])
    if plan.noise is not None:
        own += 2 * _FLOAT * pieces * (_read(model, parts, plan) if trained is None else trained)
    fitting = memory / (own + activations)
    if model.module.device.type == "cpu":
        fitting = min(fitting, _CACHED / (pieces * tokens * width))
    return max(1, int(fitting))


def _trained(model: Model, parts: Sequence[Examples], plan: Plan) -> float:
    """Returns how many numbers a device trains."""
    if plan.weight_decay == 0 and plan.noise is None:
        return _read(model, parts, plan)
    return sum(p.numel() for p in model.module.parameters() if p.requires_grad)


def _read(model: Model, parts: Sequence[Examples], plan: Plan) -> float:
    """Returns how many of the numbers that are trained a device's texts need."""
    total = sum(p.numel() for p in model.module.parameters() if p.requires_grad)
    words = Words.of_each(model, parts, masked=plan.masking is not None)
    if words is None:
        return total
    rows = float(np.mean([len(own.index) for own in words]))
    return total - (words[0].height - rows) * model.module.get_parameter(words[0].table).shape[1]
