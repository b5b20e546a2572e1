"""OPPU: one private module a person on a shared, task-adapted language model.

Tan et al., EMNLP 2024, arXiv 2402.04401; see fedpers/clients/oppu.py and fedpers/strategies/task_base.py.
For every number of retrieved items there are two phases: the model learns the task from public people, then
everyone trains a module of their own on it; each module is compared with the model that it stands on.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, cast, get_args

from fedpers import lists
from fedpers.clients import PersonalModule, Prompted, Prompts, TaskTeacher
from fedpers.data import GENERAL, ItemPart, Population, find_task
from fedpers.errors import InputError, unknown
from fedpers.method import Method, Phase, Server
from fedpers.models import random_weights
from fedpers.models.adapters import Adapter, Ia3, Lora, PromptTuning
from fedpers.prompting import Prompting
from fedpers.settings import DataSettings, Section, Settings, flag, option
from fedpers.strategies import Silence, TaskBase, make_for_task
from fedpers.training import Plan

_KINDS = ("lora", "ia3", "prompt")

# Settings of the paper that go by the task: batch, epochs and weight decay.
_BATCHES = {
    "citation": 16,
    "news-category": 16,
    "movie-tag": 4,
    "rating": 3,
    "headline": 8,
    "scholarly-title": 4,
    "tweet": 8,
}
_FREE_TEXT = ("headline", "scholarly-title", "tweet")
_RELEASED: dict[str, Any] = {
    "learning_rate": 1e-4,
    "batch_size": 16,
    "weight_decay": 1e-2,
    "warmup_share": 0.1,
    "clip": 0.3,
}


class Own(Section):
    """OPPU: a private module a person on a shared, task-adapted language model."""

    retrieved: str = flag("0,1", "Items of a person's history in each prompt, k; several are run in turn.")
    module: str = flag("lora", "Kinds of personal modules, run in turn: lora, ia3, prompt.")
    retrieval: Literal["bm25", "random"] = flag("bm25", "How these items are chosen.")
    history_part: str = flag(
        "both", "What of a history's items is shown and learned from, run in turn: both, input, output."
    )
    profile: Literal["none", "computed", "given"] = flag(
        "none", "A profile in front of each prompt: computed from the history, or the source's own."
    )
    rank: int = flag(8, "Rank of LoRA.", ge=1)
    alpha: float = option(8.0, "LoRA's change is scaled by alpha / rank (the paper does not say).", gt=0)
    lora_dropout: float | None = option(
        None, "Dropout on LoRA's input. [0, the released code's is 0.05]", ge=0, lt=1
    )
    targets: str = option("", "Layers that LoRA or (IA)3 change, parted by commas. [peft's own choice]")
    prompt_tokens: int = option(20, "Tokens of prompt tuning.", ge=1)
    task_training: Literal["lora", "whole"] | None = option(
        None, "What learns the task: LoRA that is merged, or all of the model. [whole if weights are random]"
    )
    task_stage: Literal["pooled", "federated"] = flag(
        "pooled",
        "Whether public text is pooled, or stays on public people's devices, which --strategy and the other "
        "federation and local settings then rule.",
    )
    task_part: Literal["queries", "all"] = flag(
        "queries",
        "What of the public people teaches the task: the source's queries if it has any (of citations and "
        "tweets these alone), or all.",
    )
    task_epochs: int | None = flag(
        None, "Epochs on public text. [the paper's, 10 if weights are random]", ge=1
    )
    task_lr: float | None = flag(None, "Learning rate there. [1e-5, 1e-3 if weights are random]", gt=0)
    module_epochs: int | None = flag(
        None, "Passes of a device over its history. [the paper's 3 or 2, 5 if weights are random]", ge=1
    )
    module_lr: float | None = flag(None, "Learning rate there. [1e-5, 5e-3 if weights are random]", gt=0)
    module_batch_size: int | None = option(
        None, "Samples in a batch there. [the paper's, by task, 4 if weights are random]", ge=1
    )
    module_order: Literal["time", "random"] | None = flag(
        None,
        "Order of a history's items in each pass; by time the latest come last and count most. [time, the "
        "released code's is random]",
    )
    module_weight_decay: float | None = option(None, "AdamW's weight decay there. [the paper's]", ge=0)
    answers: Literal["written", "chosen"] = flag(
        "written", "Whether the model writes its answer, or the most likely label is taken."
    )
    released_code: bool = flag(
        False, "The released code's settings instead of the paper's, without its errors; see README."
    )


def build(settings: Settings) -> Method:
    """Returns the method: for every k the task, then the modules.

    Raises:
        InputError: A list holds something that is no number or no kind of module, or the task cannot be
            learned from what was asked for.
    """
    if settings.data.answer == "next-word":
        raise InputError("OPPU answers whole texts: use --answer class or text")
    own = settings.of(Own, "oppu")
    if own.task_part == "all":
        _check_pairs(settings.data)
    phases: list[Phase] = []
    for k in _numbers(own.retrieved):
        for part in _parts(own):
            prompts, base = _prompts(own, k, part), _name("base", k, part)
            if k or part == _parts(own)[0]:  # without retrieval the base knows nothing of histories
                phases.append(_task_phase(settings, own, Prompted(prompts), base))
            stands = base if k else _name("base", k, _parts(own)[0])
            for kind in _kinds(own.module):
                phases.append(_module_phase(settings, own, prompts, kind, _name(kind, k, part), stands))
    found = Method("oppu", tuple(phases), has_base=False, writes=True, owned=True)
    return replace(found, notes=_without_profile) if own.profile == "given" else found


def _without_profile(population: Population) -> tuple[str, ...]:
    """Returns a note of how many people a source says nothing of, whose prompts show no profile."""
    people = [population.people.name(int(person)) for person in population.everyone()]
    lacking = sum(name not in population.profiles for name in people)
    return (f"{lacking:,} of {len(people):,} people have no profile of the source's",) if lacking else ()


def _check_pairs(data: DataSettings) -> None:
    """Raises an InputError where a history's items have no answers that could teach the task."""
    if data.task is None or data.split != "given":
        return
    task = find_task(data.task, Path(data.task_file).expanduser() if data.task_file else None)
    if not task.paired:
        raise InputError(
            f"--task-part all learns from histories too, and those of the task {task.name} have no answers: "
            "use queries"
        )


def modules_of(own: Own) -> dict[str, str]:
    """Returns the kind of adapter of each kind of module that a run trains, by the module's name."""
    every = product(_numbers(own.retrieved), _parts(own), _kinds(own.module))
    return {_name(kind, k, part): kind for k, part, kind in every}


def adapter_of(own: Own, kind: str) -> Adapter:
    """Returns a kind of module as the settings have it."""
    targets = tuple(lists.names(own.targets))
    if kind == "lora":
        usual = 0.05 if own.released_code else 0.0
        dropout = usual if own.lora_dropout is None else own.lora_dropout
        return Lora(own.rank, own.alpha, dropout, targets)
    return Ia3(targets) if kind == "ia3" else PromptTuning(own.prompt_tokens)


def _task_phase(settings: Settings, own: Own, client: Prompted, name: str) -> Phase:
    random = random_weights(settings.model)
    whole = own.task_training == "whole" or (own.task_training is None and random)
    epochs = own.task_epochs or (10 if random else _epochs(settings, own, task=True))
    plan = _plan(settings, own, own.task_lr or (1e-3 if random else None), epochs, task=True)

    adapter = None if whole else adapter_of(own, "lora")
    if own.task_stage == "federated":
        return _federated_task(settings, own, client.prompts, name, adapter)

    def strategy(server: Server) -> TaskBase:
        return TaskBase(server, client, plan, name, own.task_part, adapter)

    return Phase(name, client, strategy, epochs, anew=True)


def _federated_task(
    settings: Settings, own: Own, prompts: Prompts, name: str, adapter: Adapter | None
) -> Phase:
    """Returns the phase in which public people's devices learn the task together."""
    plan = Plan.local(settings.local)
    return Phase(
        name,
        TaskTeacher(prompts, plan, adapter),
        lambda server: make_for_task(server, settings.federation, name, adapter),
        settings.federation.rounds,
        plan,
        frozen=adapter is not None,
        sampled=settings.federation.clients_per_round,
        anew=True,
        people="public",
        part=own.task_part,
    )


def _module_phase(settings: Settings, own: Own, prompts: Prompts, kind: str, name: str, base: str) -> Phase:
    random = random_weights(settings.model)
    usual = 5 if random and not own.released_code else _epochs(settings, own, task=False)
    epochs = own.module_epochs or usual
    plan = _plan(settings, own, own.module_lr or (5e-3 if random else None), epochs, task=False)
    client = PersonalModule(name, prompts, adapter_of(own, kind), plan)
    return Phase(name, client, lambda server: Silence(), 1, plan, frozen=True, against=base)


def _name(what: str, k: int, part: str) -> str:
    """Returns what a phase and its modules are called."""
    return f"{what} k={k}" + ("" if part == "both" else f" {part}")


def _plan(settings: Settings, own: Own, rate: float | None, epochs: int, *, task: bool) -> Plan:
    """Returns how a task or a module is trained: the paper's settings, or the released code's."""
    name = settings.data.task or ""
    decay = 1e-1 if name in _FREE_TEXT else 1e-2
    given: dict[str, Any] = {
        "learning_rate": 1e-5,
        "batch_size": _BATCHES.get(name, 16),
        "weight_decay": decay,
    }
    if own.released_code:
        given = dict(_RELEASED)
    if rate is not None:
        given["learning_rate"] = rate
    if not task and random_weights(settings.model) and not own.released_code:
        given["batch_size"] = 4
    if not task and own.module_batch_size is not None:
        given["batch_size"] = own.module_batch_size
    if not task and own.module_weight_decay is not None:
        given["weight_decay"] = own.module_weight_decay
    order = own.module_order or ("random" if own.released_code else "time")
    shuffled = task or order == "random"
    return Plan("adamw", epochs=epochs, shuffled=shuffled, **given)


def _epochs(settings: Settings, own: Own, *, task: bool) -> int:
    if own.released_code:
        return 3 if task else 2
    return 2 if settings.data.task in _FREE_TEXT else 3


def _prompts(own: Own, k: int, part: ItemPart) -> Prompts:
    asking = Prompting(GENERAL, k, own.retrieval, part, own.profile)  # the task is each device's
    return Prompts(asking, own.answers == "chosen", part, own.released_code)


def _numbers(text: str) -> list[int]:
    return lists.whole_numbers("--retrieved", text, "0,1,4")


def _parts(own: Own) -> list[ItemPart]:
    found: list[ItemPart] = []
    for part in lists.parts(own.history_part):
        if part not in get_args(ItemPart):
            raise unknown("part of a history's items", part, get_args(ItemPart))
        found.append(cast("ItemPart", part))
    return list(dict.fromkeys(found))


def _kinds(text: str) -> list[str]:
    parts = lists.parts(text)
    for part in parts:
        if part not in _KINDS:
            raise unknown("kind of module", part, _KINDS)
    return list(dict.fromkeys(parts))
