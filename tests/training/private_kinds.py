"""The kinds of training that there are, each with devices of its own, for tests that hold for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from fedpers.clients import WriterPrompts
from fedpers.models import PROMPT, Arrays, Examples, Gaussian, Masking, Model, extract, whole
from fedpers.models.adapters import Adapter, Ia3, Lora, PromptTuning
from fedpers.training import Pass, Personal, Plan, fit_devices
from tests.clients import test_writer_prompts as prompts
from tests.models.test_reading import language_model
from tests.training import test_adapted as adapted
from tests.training import test_distributions as drawn
from tests.training import test_stack as stack

KINDS = (
    *("whole", "whole, tied", "hidden words"),
    *("distribution", "lora", "lora, dropout", "ia3", "prompt", "writer prompt"),
)
CLASSIFIERS = ("whole", "distribution", "lora of a classifier", "writer prompt")  # one answer a sample
_ADAPTERS: dict[str, Adapter] = {
    "lora": Lora(rank=2, alpha=4.0),
    "lora, dropout": Lora(rank=2, alpha=4.0, dropout=0.3),
    "ia3": Ia3(),
    "prompt": PromptTuning(3),
}


@dataclass(frozen=True)
class Devices:
    """Some devices and what they train."""

    model: Model
    starts: Sequence[Arrays]
    parts: Sequence[Examples]
    personal: Personal | None = None
    masking: Masking | None = None
    frozen: tuple[str, ...] = ()

    def fitted(self, plan: Plan, persons: Sequence[int], seed: int = 7) -> list[tuple[Arrays, list[Pass]]]:
        """Trains some of them together."""
        found = fit_devices(
            self.model,
            [self.starts[p] for p in persons],
            [self.parts[p] for p in persons],
            plan,
            [np.random.default_rng([seed, p]) for p in persons],
            self.personal,
        )
        return [(whole(own, self.starts[p]), passes) for p, (own, passes) in zip(persons, found, strict=True)]


@cache
def devices(kind: str, *, dropout: float = 0.1) -> Devices:
    """Returns five devices of 1 to 10 samples."""
    if kind in ("hidden words", "writer prompt"):
        return _prompted(kind, dropout)
    if kind in _ADAPTERS:
        adapter, model = _ADAPTERS[kind], language_model("gpt2")
        return Devices(model, adapted.started(adapter, model), adapted.people(adapter), adapter)
    if kind == "distribution":
        start = Gaussian().start(drawn.TOKENS, drawn.WIDTH)
        return Devices(drawn.frozen(), [start] * 5, drawn.parts_of(5), Gaussian(0.2 if dropout else 1e-7))
    tied = kind == "whole, tied"
    model = language_model("gpt2") if tied else stack.model_of("bert", dropout=dropout)
    parts = adapted.people(Ia3()) if tied else stack.people("bert", 5)
    if kind == "lora of a classifier":
        lora = _ADAPTERS["lora"]
        return Devices(model, adapted.started(lora, model), parts, lora)
    return Devices(model, [extract(model.module)] * 5, parts)


def _prompted(kind: str, dropout: float) -> Devices:
    """Returns writers with prompts of their own, who learn them or to guess hidden words."""
    model, half = prompts.model_of("prefix", dropout), WriterPrompts(0, None, None)
    states = prompts.states(model, 5)
    parts = [half.encode(model, prompts.device(person, states[person])) for person in range(5)]
    rows: list[Arrays] = [{PROMPT: np.asarray(state[PROMPT], dtype=np.float32)[None]} for state in states]
    if kind == "writer prompt":
        return Devices(model, rows, parts)
    starts = [{**extract(model.module), **row} for row in rows]
    return Devices(model, starts, parts, None, Masking(0.3), ("head", "own"))
