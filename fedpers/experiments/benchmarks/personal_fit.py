"""Personal modules on a frozen model: 1,100 devices fit a LoRA each, and a distribution of embeddings each.

Ours, one device after another with torch alone, and the limit: all samples in fused batches of 256, for one
module. All in one process with all cores. The distribution is IDfree-PL's: a Gaussian whose mean is trained,
one draw a sample and step, as a user token in front of the text.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, inject_adapter_in_model

from fedpers.data import SyntheticPeople
from fedpers.experiments.benchmarks.engine import timed
from fedpers.experiments.benchmarks.measure import CORES, Contender, in_turn, options, show
from fedpers.experiments.benchmarks.workload import Workload
from fedpers.models import (
    Examples,
    Family,
    Gaussian,
    Model,
    encode,
    extract,
    insert,
    load,
    pool,
    specify,
    user_ids,
)
from fedpers.settings import ModelSettings
from fedpers.simulation.setup import threads
from fedpers.training import Plan, devices_at_once, fit_devices

_BATCH = 8  # samples in a device's step
_FUSED = 256  # samples in a batch of the limit
_ENOUGH = 1e9  # bytes for a stack
PLAN = Plan("adamw", 1e-3, epochs=1, batch_size=_BATCH)


def main() -> None:
    """Runs the benchmark and prints its two tables."""
    given = options(
        "Time personal fits on a frozen model.",
        ("--clients", 1100, "devices [1100]"),
        ("--samples", 20, "training samples of each [20]"),
        ("--device", "cpu", "torch's name of where models work [cpu]"),
        ("--layers", 2, "layers of the BERT [2]"),
        ("--width", 128, "its hidden size [128]"),
    )
    work = Workload(samples=given.samples, layers=given.layers, width=given.width)
    families: dict[str, Family | None] = {"LoRA": None, "distribution": Gaussian()}
    for name, family in families.items():
        with work.model_folder() as folder, threads(CORES):
            model = frozen(folder, work, given.device)
            if family is None:
                add_lora(model)
            parts = people(model, work, given.clients)
            timings = in_turn(contenders(model, parts, given.device, family), given.times)
        show(f"personal fit, {name}", timings, "limit", as_json=given.json)


def contenders(
    model: Model, parts: Sequence[Examples], device: str, family: Family | None
) -> dict[str, Contender]:
    """Returns what fits all devices once, by name."""
    start = extract(model.module) if family is None else family.start(1, model.width)
    together = devices_at_once(model, parts[:32], PLAN, _ENOUGH)
    print(f"K is {together}", file=sys.stderr)

    def ours() -> None:
        for first in range(0, len(parts), together):
            some = parts[first : first + together]
            draws = [np.random.default_rng(first + k) for k in range(len(some))]
            fit_devices(model, [start] * len(some), some, PLAN, draws, family)
        _wait(device)

    def one_by_one() -> None:
        for part in parts:
            if family is None:
                insert(model.module, start)
                fit_lora(model, part)
            else:
                fit_mean(model, part)
        _wait(device)

    def limit() -> None:
        plan = Plan("adamw", 1e-3, epochs=1, batch_size=_FUSED)
        fit_devices(model, [start], [pool(parts)], plan, [np.random.default_rng(0)], family)
        _wait(device)

    work: dict[str, Callable[[], None]] = {"fedpers": ours, "limit": limit, "one by one": one_by_one}
    return {name: lambda run=run: timed(run) for name, run in work.items()}  # type: ignore[misc]  # bound early


def fit_lora(model: Model, examples: Examples) -> None:
    """Fits one device's module in place on samples of equal length, as a short script would."""
    own = [parameter for parameter in model.module.parameters() if parameter.requires_grad]
    words = model.module.get_input_embeddings()
    model.module.train()
    _fit_alone(model, examples, own, words)


def fit_mean(model: Model, examples: Examples, spread: float = 0.2) -> torch.Tensor:
    """Returns the mean (1, width) of one device's Gaussian, fitted as a short script would."""
    mean = torch.full((1, model.width), 0.1, device=model.module.device, requires_grad=True)
    words = model.module.get_input_embeddings()

    def embed(ids: torch.Tensor) -> torch.Tensor:
        drawn = mean + spread * torch.randn(len(ids), 1, model.width, device=mean.device)
        return torch.cat([words(ids[:, :1]), drawn, words(ids[:, 2:])], dim=1)

    model.module.train(False)
    _fit_alone(model, examples, [mean], embed)
    return mean.detach()


def _fit_alone(
    model: Model,
    examples: Examples,
    own: Sequence[torch.Tensor],
    embed: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    optimizer = torch.optim.AdamW(own, lr=PLAN.learning_rate, weight_decay=0.0)
    device = model.module.device
    ids, labels = torch.tensor(examples.ids).to(device), torch.from_numpy(examples.labels).to(device)
    order = torch.randperm(len(ids))
    for start in range(0, len(ids), _BATCH):
        rows = order[start : start + _BATCH]
        mask = torch.ones_like(ids[rows])
        scores = model.module(inputs_embeds=embed(ids[rows]), attention_mask=mask).logits
        loss = torch.nn.functional.cross_entropy(scores, labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()


def frozen(folder: Path, work: Workload, device: str) -> Model:
    """Loads the model and freezes it."""
    settings = ModelSettings(model=str(folder), max_tokens=work.tokens)
    model = load(specify(settings, SyntheticPeople.classes, 0, []), device)
    model.module.requires_grad_(requires_grad=False)
    return model


def add_lora(model: Model) -> None:
    """Adds a LoRA of rank 8 to the queries and values."""
    inject_adapter_in_model(LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"]), model.module)
    for name, parameter in model.module.named_parameters():
        parameter.requires_grad_("lora_" in name)


def people(model: Model, work: Workload, count: int) -> list[Examples]:
    """Returns everyone's samples; with a frozen model alone, a user token is in front of each."""
    made = SyntheticPeople(work.written(), seed=0, size=count)
    trains = any(parameter.requires_grad for parameter in model.module.parameters())
    place = [int(model.tokenizer.unk_token_id)] if trains else user_ids(1)
    everyone = (made.samples(person).take(np.arange(work.samples)) for person in range(count))
    return [encode(model, samples, prefix=place) for samples in everyone]


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
