"""OPPU on the device: one person's module on a shared, frozen language model, trained on their history alone.

Tan et al.: Democratizing Large Language Models via Personalized Parameter-Efficient Fine-tuning, EMNLP 2024,
arXiv 2402.04401. Every text is read as a prompt, with what is retrieved from the person's earlier texts and
their profile in front if the settings say so. The module and the history never leave the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from fedpers import seeds
from fedpers.clients.plain import parted, updates_of
from fedpers.data import Ints, ItemPart, Population, Samples
from fedpers.errors import InputError
from fedpers.method import Device, Enrolment, Shared, State, Update, Upload
from fedpers.models import Arrays, Examples, Model, insert, next_tokens, pool, prompted, user_ids
from fedpers.models.adapters import Adapter
from fedpers.prompting import Prompt, Prompting
from fedpers.records import Records
from fedpers.training import Answers, Doubles, Plan, choose, log_odds, write

Found = TypeVar("Found")

Using = Callable[[Ints], AbstractContextManager[None]]
Ask = Callable[
    [Model, Sequence[Examples], Using | None], list[Found]
]  # something of several devices' samples

_EMPTY = Prompt("", (), "", "", "")


@dataclass(frozen=True)
class Prompts:
    """How a person's texts are read and answered.

    Attributes:
        asking: How the prompts of any task are made.
        choosing: Whether the most likely label is the answer, instead of what the model writes.
        part: Which part of a history's items is learned from; a part alone is learned word by word.
        cue_alone: Whether items of a history without the task's form are learned behind the answer cue, as
            the released code has it, instead of by themselves.
    """

    asking: Prompting
    choosing: bool = False
    part: ItemPart = "both"
    cue_alone: bool = False

    @property
    def repeats_texts(self) -> bool:
        """Whether a text can be in several prompts: its own, and as an item or in the profile of others."""
        return self.asking.retrieved > 0 or self.asking.profile == "computed"

    def check(self, population: Population) -> None:
        """Raises an InputError where people lack what these prompts show or these answers are chosen from."""
        if self.asking.profile == "given" and not population.profiles:
            raise InputError(
                "--profile given shows the source's own profiles (profile_user_*.json beside OPPU's released "
                "files), and this source has none: use computed or none"
            )
        if self.choosing and not population.labels:
            raise InputError("--answers chosen needs a task with labels, and this one has none: use written")

    def encode(self, model: Model, device: Device, before: Sequence[int] = ()) -> Examples:
        """Encodes texts as prompts, each with what is known from before it, and answers where they are."""
        history, earlier = device.history()
        asked, samples = replace(self.asking, task=device.task), device.samples
        prompts = asked.prompts(samples, history, earlier, device.draw, device.profile)
        return prompted(model, prompts, samples.labels, samples.targets, before)

    def practice(self, model: Model, device: Device, before: Sequence[int] = ()) -> Examples:
        """Encodes all of a person's history with its answers, for training.

        Where it lacks the task's form (citations, tweets), each item is learned word by word.
        """
        history, _ = device.history()
        answers = history.answers(device.task.labels)
        if self.part != "both" and device.task.paired:
            return next_tokens(model, history.texts if self.part == "input" else answers, before)
        if device.task.paired:
            told = replace(history, targets=answers)
            known = partial(_in_order, history)
            return self.encode(model, replace(device, samples=told, history=known), before)
        pairs = zip(history.texts, answers, strict=True)
        if self.cue_alone:
            return _behind_cue(model, device, pairs, before)
        return next_tokens(model, [text or target for text, target in pairs], before)

    def answer(
        self, model: Model, parts: Sequence[Examples], labels: Sequence[str], using: Using | None = None
    ) -> list[Answers]:
        """Answers the samples of several devices in common batches."""
        pooled = pool(parts)
        if self.choosing and labels:
            found: Answers = [[labels[number]] for number in choose(model, pooled, labels, using)]
        else:
            found = write(model, pooled, using=using)
        return parted(found, parts)

    def log_odds(self, model: Model, parts: Sequence[Examples], using: Using | None = None) -> list[Doubles]:
        """Returns the log odds of right answers, as whole texts, to the samples of several devices."""
        return parted(log_odds(model, pool(parts), using), parts)


@dataclass(frozen=True)
class Prompted:
    """A device that has nothing of its own but its history: the shared model answers its prompts.

    Attributes:
        prompts: How texts are read and answered.
    """

    prompts: Prompts

    @property
    def repeats_texts(self) -> bool:
        """Whether a text can be in several prompts."""
        return self.prompts.repeats_texts

    def enrol(self, model: Model, population: Population, seed: int) -> Enrolment:
        """Gives everyone an empty state.

        Raises:
            InputError: The people lack what the prompts need.
        """
        self.prompts.check(population)
        return lambda person: {}

    def encode(self, model: Model, device: Device) -> Examples:
        """Encodes texts as prompts."""
        return self.prompts.encode(model, device)

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[Sequence[Upload], list[State]]:
        """Does nothing: the server trains on public people's text."""
        return [], [device.state for device in cohort]

    def predict(self, shared: Shared, cohort: Sequence[Device]) -> list[Answers]:
        """Returns the shared model's answers."""
        insert(shared.model.module, shared.arrays)
        parts = [self.encode(shared.model, device) for device in cohort]
        return self.prompts.answer(shared.model, parts, cohort[0].task.labels)

    def log_odds(self, shared: Shared, cohort: Sequence[Device]) -> list[Doubles]:
        """Returns the log odds of right answers by the shared model."""
        insert(shared.model.module, shared.arrays)
        return self.prompts.log_odds(shared.model, [self.encode(shared.model, device) for device in cohort])


@dataclass(frozen=True)
class TaskTeacher(Prompted):
    """A device of a public person, which helps to learn the task and has nothing of its own either.

    Attributes:
        plan: How it trains in a round.
        adapter: What is trained on the frozen model; None trains all of the model.
    """

    plan: Plan
    adapter: Adapter | None = None

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Update], list[State]]:
        """Trains what was broadcast for all devices in one pass."""
        if self.adapter is not None:
            insert(shared.model.module, shared.frozen)
        told = [
            replace(d, samples=replace(d.samples, targets=d.samples.answers(d.task.labels))) for d in cohort
        ]
        parts = [self.encode(shared.model, device) for device in told]
        starts, draws = [shared.arrays] * len(cohort), [device.draw for device in cohort]
        fitted = shared.fit(starts, parts, self.plan, draws, self.adapter)
        return updates_of(parts, fitted), [device.state for device in cohort]


@dataclass(frozen=True)
class PersonalModule:
    """A device that trains its person's module and keeps it.

    Attributes:
        name: Tells the module from others of the same person.
        prompts: How texts are read and answered.
        adapter: The kind of module.
        plan: How it is trained.
    """

    name: str
    prompts: Prompts
    adapter: Adapter
    plan: Plan

    @property
    def repeats_texts(self) -> bool:
        """Whether a text can be in several prompts."""
        return self.prompts.repeats_texts

    def enrol(self, model: Model, population: Population, seed: int) -> Enrolment:
        """Gives everyone the same fresh module, so that trained ones can be compared (our choice)."""
        fresh = self.adapter.start(model.module, seeds.word(seed, f"module-{self.name}"))
        first: State = {f"{self.name}/{key}": array for key, array in fresh.items()}
        return lambda person: first

    def encode(self, model: Model, device: Device) -> Examples:
        """Encodes texts as prompts, behind the module's tokens if it has any."""
        return self.prompts.encode(model, device, user_ids(self.adapter.tokens))

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Records], list[State]]:
        """Trains all devices' modules in one pass, each on its own person's history; nothing leaves."""
        insert(shared.model.module, shared.arrays)
        before = user_ids(self.adapter.tokens)
        parts = [self.prompts.practice(shared.model, device, before) for device in cohort]
        starts = [self._module(device.state) for device in cohort]
        draws = [device.draw for device in cohort]
        fitted = shared.fit(starts, parts, self.plan, draws, self.adapter)
        return [], [
            {**device.state, **{f"{self.name}/{key}": np.asarray(array) for key, array in theta.items()}}
            for device, (theta, _) in zip(cohort, fitted, strict=True)
        ]

    def predict(self, shared: Shared, cohort: Sequence[Device]) -> list[Answers]:
        """Returns the answers of everyone's own module, or of the shared model for who has none."""
        labels = cohort[0].task.labels
        return self._asked(
            shared, cohort, lambda model, parts, using: self.prompts.answer(model, parts, labels, using)
        )

    def log_odds(self, shared: Shared, cohort: Sequence[Device]) -> list[Doubles]:
        """Returns the log odds of right answers by everyone's own module, or by the shared model."""
        return self._asked(shared, cohort, self.prompts.log_odds)

    def _asked(self, shared: Shared, cohort: Sequence[Device], ask: Ask[Found]) -> list[Found]:
        """Asks something of every device's samples, read with the person's module if there is one."""
        insert(shared.model.module, shared.arrays)
        modules = [self._module(device.state) for device in cohort]
        found: dict[int, Found] = {}
        for own in (True, False):
            places = [place for place, module in enumerate(modules) if bool(module) == own]
            if not places:
                continue
            encode = self.encode if own else self.prompts.encode
            parts = [encode(shared.model, cohort[place]) for place in places]
            using = self._using(shared.model, [modules[place] for place in places], parts) if own else None
            found |= zip(places, ask(shared.model, parts, using), strict=True)
        return [found[place] for place in range(len(cohort))]

    def _module(self, state: Mapping[str, npt.NDArray[np.generic]]) -> Arrays:
        """Returns a person's module out of their state, empty if there is none."""
        mine = f"{self.name}/"
        return {
            key.removeprefix(mine): np.asarray(array, dtype=np.float32)
            for key, array in state.items()
            if key.startswith(mine)
        }

    def _using(self, model: Model, modules: Sequence[Arrays], parts: Sequence[Examples]) -> Using:
        """Returns what has each sample read with its own person's module."""
        device = model.module.device
        stack = {
            name: torch.from_numpy(np.stack([module[name] for module in modules])).to(device)
            for name in modules[0]
        }
        owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])

        def using(rows: Ints) -> AbstractContextManager[None]:
            return self.adapter.applied(model.module, stack, torch.from_numpy(owners[rows]).to(device))

        return using


def _in_order(history: Samples) -> tuple[Samples, Ints]:
    """Returns a history as it stands before each of its own items."""
    return history, np.arange(len(history))


def _behind_cue(
    model: Model, device: Device, items: Iterable[tuple[str, str]], before: Sequence[int]
) -> Examples:
    """Encodes items as answers to a prompt without instruction (OPPU's released code)."""
    pairs = [(text, target) if target and text else ("", text or target) for text, target in items]
    shown = [device.task.shown(text) if text else "" for text, _ in pairs]
    prompts = [replace(_EMPTY, query=query, cue=device.task.cue) for query in shown]
    return prompted(model, prompts, np.zeros(len(prompts), np.int64), [target for _, target in pairs], before)
