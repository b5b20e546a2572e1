"""How a model is trained on some samples, and what an epoch of it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from fedpers.dp import SampleNoise
from fedpers.models import Masking
from fedpers.settings import CentralSettings, LocalSettings


@dataclass(frozen=True)
class Plan:
    """How a model is trained on some examples.

    Attributes:
        optimizer: torch's SGD, Adam or AdamW, fresh at the start.
        learning_rate: Peak learning rate.
        epochs: Passes over the examples.
        batch_size: Samples in a step; the last batch of a pass may be smaller.
        steps: Stop after so many steps, or None.
        momentum: SGD's momentum, in [0, 1).
        weight_decay: The optimizer's weight decay.
        warmup_share: Share of all steps over which the rate rises linearly, before it falls linearly to
            0; None keeps it constant.
        clip: Largest L2 norm of a device's gradient, or None.
        micro_batch: Samples of a device's step that go through the model at once, or None for all.
        shuffled: Whether every pass has an order of its own; without, samples come as they are given.
        radius: Farthest, in L2 norm, that a device's parameters may come from where they started, or None.
        masking: How words are hidden, for a model that is to guess them instead of answering; or None.
        frozen: Groups of parameters (see `fedpers.models.groups_of`) that stay as they are.
        factors: What the rate is multiplied by for some groups of parameters.
        decays: The weight decay of some groups of parameters, in place of the others'.
        noise: How each sample is hidden (DP-SGD), or None. Every step then draws each sample by a coin of
            its own, `batch_size` of them on average.
    """

    optimizer: Literal["sgd", "adam", "adamw"]
    learning_rate: float
    epochs: int
    batch_size: int
    steps: int | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    warmup_share: float | None = None
    clip: float | None = None
    micro_batch: int | None = None
    radius: float | None = None
    shuffled: bool = True
    masking: Masking | None = None
    frozen: tuple[str, ...] = ()
    factors: tuple[tuple[str, float], ...] = ()
    decays: tuple[tuple[str, float], ...] = ()
    noise: SampleNoise | None = None

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
            warmup_share=settings.local_warmup_share,
            clip=settings.local_clip,
            micro_batch=settings.micro_batch_size,
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
            clip=settings.central_clip,
        )

    def batches(self, examples: int) -> int:
        """Returns the steps of one pass over so many examples."""
        return math.ceil(examples / self.batch_size)

    def all_steps(self, examples: int) -> int:
        """Returns the steps of the whole plan."""
        steps = self.epochs * self.batches(examples)
        return min(steps, self.steps or steps)

    def share(self, examples: int) -> float:
        """Returns the probability, in (0, 1], with which a step that hides samples draws each of so many."""
        return self.batch_size / examples if examples > self.batch_size else 1.0

    def rate(self, step: int, steps: int) -> float:
        """Returns the learning rate of a step, from 0, of so many: a rise and a fall in straight lines."""
        if self.warmup_share is None:
            return self.learning_rate
        warmup = self.warmup_share * steps
        share = min((step + 1) / (warmup + 1), (steps - step) / max(1.0, steps - warmup), 1.0)
        return self.learning_rate * share


@dataclass(frozen=True)
class Pass:
    """One epoch that was trained, whole or cut short.

    Attributes:
        samples: Samples gone through.
        loss: Their mean training loss, in nats; 0 where no sample was drawn.
    """

    samples: int
    loss: float
