"""Personal modules on a frozen model: 1,100 devices fit a LoRA each, and a vector before the text each.

Ours, one device after another with torch alone, and the limit: all samples in fused batches of 256, for one
module. All in one process with all cores.
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
from fedpers.models import Examples, Model, add_prompt, encode, extract, insert, load, pool, specify
from fedpers.settings import ModelSettings
from fedpers.simulation.setup import threads
from fedpers.training import Plan, devices_at_once, fit, fit_devices

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
    for name, personalise in {"LoRA": lora, "vector": vector}.items():
        with work.model_folder() as folder, threads(CORES):
            model = personalised(folder, work, given.device, personalise)
            parts = people(model, work, given.clients)
            timings = in_turn(contenders(model, parts, given.device), given.times)
        show(f"personal fit, {name}", timings, "limit", as_json=given.json)


def contenders(model: Model, parts: Sequence[Examples], device: str) -> dict[str, Contender]:
    """Returns what fits all devices once, by name."""
    start = extract(model.module)
    together = devices_at_once(model, parts[:32], PLAN, _ENOUGH)
    print(f"K is {together}", file=sys.stderr)

    def ours() -> None:
        for first in range(0, len(parts), together):
            some = parts[first : first + together]
            draws = [np.random.default_rng(first + k) for k in range(len(some))]
            fit_devices(model, [start] * len(some), some, PLAN, draws)
        _wait(device)

    def one_by_one() -> None:
        for part in parts:
            insert(model.module, start)
            fit_alone(model, part)
        insert(model.module, start)
        _wait(device)

    def limit() -> None:
        plan = Plan("adamw", 1e-3, epochs=1, batch_size=_FUSED)
        list(fit(model, pool(parts), plan, np.random.default_rng(0)))
        insert(model.module, start)
        _wait(device)

    work: dict[str, Callable[[], None]] = {"fedpers": ours, "limit": limit, "one by one": one_by_one}
    return {name: lambda run=run: timed(run) for name, run in work.items()}  # type: ignore[misc]  # bound early


def fit_alone(model: Model, examples: Examples) -> None:
    """Fits one device's module in place on samples of equal length, as a short script would."""
    own = [parameter for parameter in model.module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=PLAN.learning_rate, weight_decay=0.0)
    device = model.module.device
    ids, labels = torch.tensor(examples.ids).to(device), torch.from_numpy(examples.labels).to(device)
    order = torch.randperm(len(ids))
    model.module.train()
    for start in range(0, len(ids), _BATCH):
        rows = order[start : start + _BATCH]
        scores = model.module(input_ids=ids[rows], attention_mask=torch.ones_like(ids[rows])).logits
        loss = torch.nn.functional.cross_entropy(scores, labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()


def personalised(folder: Path, work: Workload, device: str, change: Callable[[Model], None]) -> Model:
    """Loads the model, freezes it and adds what each device is to fit."""
    settings = ModelSettings(model=str(folder), max_tokens=work.tokens)
    model = load(specify(settings, SyntheticPeople.classes, 0, []), device)
    model.module.requires_grad_(requires_grad=False)
    change(model)
    return model


def lora(model: Model) -> None:
    """Adds a LoRA of rank 8 to the queries and values."""
    inject_adapter_in_model(LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"]), model.module)
    for name, parameter in model.module.named_parameters():
        parameter.requires_grad_("lora_" in name)


def vector(model: Model) -> None:
    """Adds one vector before the text."""
    width = model.module.config.hidden_size
    prompt = torch.randn(1, width, generator=torch.Generator().manual_seed(0)) * 0.02
    add_prompt(model, prompt.to(model.module.device))


def people(model: Model, work: Workload, count: int) -> list[Examples]:
    """Returns everyone's samples, with a token for the vector in front."""
    made = SyntheticPeople(work.written(), seed=0, size=count)
    place = [int(model.tokenizer.unk_token_id)]
    everyone = (made.samples(person).take(np.arange(work.samples)) for person in range(count))
    return [encode(model, samples, prefix=place) for samples in everyone]


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
