"""Personal modules of OPPU: 40 people train a LoRA each on their history, on one frozen language model.

Ours, one person after another with peft and torch alone as a short script would, and the limit: all samples
in fused batches through one module. All in one process with all cores.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from peft import get_peft_model

from fedpers.data import GENERAL, SyntheticPeople
from fedpers.experiments.benchmarks.engine import timed
from fedpers.experiments.benchmarks.measure import CORES, Contender, in_turn, options, show
from fedpers.models import Examples, Model, load, pool, prompted, specify
from fedpers.models.adapters import Lora
from fedpers.prompting import Prompting
from fedpers.settings import ModelSettings, SyntheticSettings
from fedpers.simulation.setup import threads
from fedpers.training import Plan, devices_at_once, fit_devices

_FUSED = 256  # samples in a batch of the limit
_ENOUGH = 1e9  # bytes for a stack
PLAN = Plan("adamw", 1e-3, epochs=1, batch_size=4, weight_decay=0.01)


def main() -> None:
    """Runs the benchmark and prints its table."""
    given = options(
        "Time personal modules on a frozen language model.",
        ("--clients", 40, "people [40]"),
        ("--samples", 100, "items in the history of each [100]"),
        ("--words", 24, "words of an item [24]"),
        ("--histories", None, "time ours on histories of so many items instead, such as 10,25,50,100"),
        ("--batch", 4, "samples in a person's step [4, as with the built-in model]"),
        ("--device", "cpu", "torch's name of where models work [cpu]"),
        ("--layers", 2, "layers of the GPT-2 [2]"),
        ("--width", 128, "its width [128]"),
    )
    lengths = [int(length) for length in given.histories.split(",")] if given.histories else []
    longest = max([given.samples, *lengths])
    settings = SyntheticSettings(samples_per_person=longest, text_words=given.words)
    made = SyntheticPeople(settings, seed=0, size=given.clients)
    model = language_model(made, given.layers, given.width, given.device)
    parts, plan = histories(model, made), replace(PLAN, batch_size=given.batch)
    if lengths:
        work = {
            f"{length} items": contenders(model, [first(p, length) for p in parts], plan, given.device)[
                "fedpers"
            ]
            for length in lengths
        }
        with threads(CORES):
            timings = in_turn(work, given.times)
        show("personal modules by length of history", timings, f"{lengths[0]} items", as_json=given.json)
        return
    with threads(CORES):
        timings = in_turn(contenders(model, parts, plan, given.device), given.times)
    show("personal modules, LoRA", timings, "limit", as_json=given.json)


def first(examples: Examples, count: int) -> Examples:
    """Returns the first samples of a history."""
    assert examples.answers is not None
    return Examples(examples.ids[:count], examples.labels[:count], answers=examples.answers[:count])


def language_model(made: SyntheticPeople, layers: int, width: int, device: str) -> Model:
    """Returns a GPT-2 with random weights and a vocabulary of the people's own words."""
    texts = [text for person in range(3) for text in made.samples(person).texts]
    settings = ModelSettings(layers=layers, hidden_size=width)
    return load(specify(settings, made.classes, 0, texts, "words"), device)


def histories(model: Model, made: SyntheticPeople) -> list[Examples]:
    """Returns everyone's history as prompts with answers."""
    asking = Prompting(GENERAL, retrieved=0)
    parts = []
    for person in range(len(made)):
        own = made.samples(person)
        prompts = asking.prompts(own, own, np.arange(len(own)), np.random.default_rng(person))
        parts.append(prompted(model, prompts, own.labels, own.answers(made.classes), ()))
    return parts


def contenders(model: Model, parts: Sequence[Examples], own: Plan, device: str) -> dict[str, Contender]:
    """Returns what trains everyone's module once, by name."""
    adapter = Lora()
    start = adapter.start(model.module, 0)
    numbers = sum(array.size for array in start.values())
    together = devices_at_once(model, parts[:32], own, _ENOUGH, numbers)
    print(f"K is {together}", file=sys.stderr)
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)  # peft's
    plain = get_peft_model(copy.deepcopy(model.module), adapter.config(model.module))
    fresh = {name: value.clone() for name, value in plain.state_dict().items() if "lora_" in name}

    def ours() -> None:
        for begin in range(0, len(parts), together):
            some = parts[begin : begin + together]
            draws = [np.random.default_rng(begin + k) for k in range(len(some))]
            fit_devices(model, [start] * len(some), some, own, draws, adapter)
        _wait(device)

    def one_by_one() -> None:
        for part in parts:
            plain.load_state_dict(fresh, strict=False)
            fit_alone(plain, part, own, int(model.tokenizer.pad_token_id))
        _wait(device)

    def limit() -> None:
        fused = replace(own, batch_size=_FUSED)
        fit_devices(model, [start], [pool(parts)], fused, [np.random.default_rng(0)], adapter)
        _wait(device)

    return {
        "fedpers": partial(timed, ours),
        "limit": partial(timed, limit),
        "one by one": partial(timed, one_by_one),
    }


def fit_alone(plain: torch.nn.Module, examples: Examples, plan: Plan, pad: int) -> None:
    """Trains one person's module in place with peft's model, as a short script would."""
    assert examples.answers is not None
    device = next(plain.parameters()).device
    own = [parameter for parameter in plain.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=plan.learning_rate, weight_decay=plan.weight_decay)
    pairs = list(zip(examples.ids, examples.answers, strict=True))
    order = torch.randperm(len(pairs)).tolist()
    plain.train()
    for start in range(0, len(order), plan.batch_size):
        rows = [pairs[place] for place in order[start : start + plan.batch_size]]
        longest = max(len(ids) for ids, _ in rows) + 1
        ids = torch.full((len(rows), longest), pad)
        labels = torch.full((len(rows), longest), -100)
        for row, (text, answer) in enumerate(rows):
            whole = [*text, answer[-1]]
            ids[row, : len(whole)] = torch.tensor(whole)
            labels[row, len(whole) - len(answer) : len(whole)] = torch.tensor(answer)
        mask = (torch.arange(longest) < torch.tensor([[len(text) + 1] for text, _ in rows])).long()
        given = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        loss = plain(**{name: value.to(device) for name, value in given.items()}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
