"""Hard prompts: every text is read with its writer's earlier texts behind it, in training and in use.

Oba, Yoshinaga, Toyoda: PerPLM: Personalized Fine-tuning of Pretrained Language Models via Writer-specific
Intermediate Learning and Prompts, arXiv 2309.07727, 2023. The paper appends a writer's plain earlier texts,
in a static order or by their similarity to the input; limits, orders and the similarity are our choice, for
we found none of them in it. A writer's texts are a state like any other: they never leave the device, a
stranger has none, and with another's state one is read as that other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedpers.clients.plain import Plain
from fedpers.data import Population
from fedpers.errors import InputError
from fedpers.method import Device, Enrolment, State
from fedpers.models import Examples, Model, check_encoder, context_room, features, with_context
from fedpers.prompting import cosines, tfidf_likeness
from fedpers.records import letters, spelled
from fedpers.seeds import stream

ContextOrder = Literal["static", "tfidf", "features"]
ContextOf = Literal["own", "another"]

Floats = npt.NDArray[np.float64]

_TEXTS = "context-"  # how the names of a state's texts begin
_TIMES = "context-times"
_DIGITS = 5  # of a similarity, so that rounding, which hangs on the batch, decides no order


@dataclass(frozen=True)
class HardPrompts(Plain):
    """A device that puts its person's other texts behind every text.

    Attributes:
        local: How it trains in a round.
        order: Which of them come first: `static` the newest or, without times, those of one random order a
            person; `tfidf` and `features` those most like the text, by tf-idf within the person's texts or by
            the encoder as loaded, of equals in the static order.
        whose: Whose texts they are: the person's own, or as a control those of other people, as many, from
            one random person after another.
        context_share: Share of the model's longest input that they may fill whatever the text's length, in
            (0, 1); shorter texts leave them more.
    """

    order: ContextOrder = "tfidf"
    whose: ContextOf = "own"
    context_share: float = 0.5

    def enrol(self, model: Model, population: Population, seed: int) -> Enrolment:
        """Gives everyone their training texts, in the static order, or another's.

        Raises:
            InputError: The model is no encoder, or text or context has no room.
        """
        check_encoder(model.module)
        self._kept(model)
        return lambda person: self._shelf(population, person, seed)

    def encode(self, model: Model, device: Device) -> Examples:
        """Encodes each text with its context; without a state the text alone."""
        return with_context(model, device.samples, self.context(model, device), self._kept(model))

    def context(self, model: Model, device: Device) -> list[list[str]]:
        """Returns the context of each sample, best first: earlier texts, and never the sample's own text."""
        texts = device.samples.texts
        if f"{_TEXTS}ends" not in device.state:
            return [[] for _ in texts]
        shelf = spelled(device.state, _TEXTS)
        written = device.state.get(_TIMES)
        times = None if written is None else np.asarray(written, dtype=np.float64)
        open_ = allowed(texts, device.times(), shelf, times)
        order = np.argsort(-self._likeness(model, texts, shelf).round(_DIGITS), axis=1, kind="stable")
        return [
            [shelf[place] for place in row[chosen[row]]] for row, chosen in zip(order, open_, strict=True)
        ]

    @property
    def repeats_texts(self) -> bool:
        """Whether a text can be in several training examples: its own, and as the context of others."""
        return True

    @property
    def shows_others(self) -> bool:
        """Whether texts are read with those of other people."""
        return self.whose == "another"

    def notes(self, population: Population) -> tuple[str, ...]:
        """Tells how many people are read without any context, for want of earlier texts."""
        people = population.clients
        alone = sum(not _has_context(population, int(person)) for person in people)
        if not alone:
            return ()
        return (f"{alone:,} of {len(people):,} people have no earlier text: they are read without context",)

    def _likeness(self, model: Model, texts: list[str], shelf: tuple[str, ...]) -> Floats:
        """Returns how much each text is like each of the shelf (texts, shelf)."""
        if self.order == "static":
            return np.zeros((len(texts), len(shelf)))
        if self.order == "tfidf":
            return tfidf_likeness(texts, shelf)
        return cosines(features(model, texts), features(model, shelf))

    def _shelf(self, population: Population, person: int, seed: int) -> State:
        """Returns the texts that a person's are read with, and their times where these are known.

        Another's texts stand in the places of the person's own, as many and of the same times, so that the
        control has as much context; texts that both wrote are left out.
        """
        texts, times = _static(population, person, seed)
        if self.whose == "another":
            known = set(population.samples(person, "all").texts)
            texts = [*islice(_others(population, person, seed, known), len(texts))]
        shelf = letters(texts, _TEXTS)
        return shelf if times is None else {**shelf, _TIMES: times[: len(texts)]}

    def _kept(self, model: Model) -> int:
        """Returns the tokens of a text that no context displaces."""
        kept = int(round((1 - self.context_share) * model.max_tokens, 9))
        most = context_room(model) - 1
        if most < 1:
            raise InputError(
                f"inputs of {model.max_tokens} tokens have no room for a text and another: set --max-tokens "
                f"to {model.max_tokens + 1 - most} or more"
            )
        if 1 <= kept <= most:
            return kept
        what, nearest = ("text", math.floor(100 - 100 / model.max_tokens) / 100)
        if kept:
            what, nearest = "context", math.ceil(100 - 100 * most / model.max_tokens) / 100
        raise InputError(
            f"--context-share {self.context_share} leaves no room for any {what} within {model.max_tokens} "
            f"tokens (nearest: {nearest})"
        )


def allowed(
    texts: list[str], times: Floats | None, shelf: tuple[str, ...] | list[str], written: Floats | None
) -> npt.NDArray[np.bool_]:
    """Tells which texts of a shelf a text may be read with (texts, shelf): others, and earlier ones.

    Args:
        texts: The texts to be read.
        times: When they were written (texts,), None if that is not known.
        shelf: A person's training texts.
        written: When these were written (shelf,), None if that is not known.
    """
    different = [[other != text for other in shelf] for text in texts]
    found = np.array(different, dtype=bool).reshape(len(texts), len(shelf))
    if times is None or written is None:
        return found
    return found & (written < times[:, None])


def _static(population: Population, person: int, seed: int) -> tuple[list[str], Floats | None]:
    """Returns a person's training texts, newest first or in one random order, and their times."""
    samples, times = population.samples(person, "train"), population.times(person, "train")
    if times is None:
        order = stream(seed, "context-order", person).permutation(len(samples))
        return samples.take(order).texts, None
    order = np.argsort(-times, kind="stable")
    return samples.take(order).texts, times[order]


def _others(population: Population, person: int, seed: int, known: set[str]) -> Iterator[str]:
    """Gives the training texts of other people of the same role, one person after another at random.

    Args:
        population: The people.
        person: Whose place they are to take.
        seed: The run's.
        known: Texts that are left out, to which those that were given are added.
    """
    roles = population.clients, population.public, population.held_out
    others = np.setdiff1d(next(people for people in roles if person in people), [person])
    for other in stream(seed, "another-writer", person).permutation(others):
        for text in _static(population, int(other), seed)[0]:
            if text not in known:
                known.add(text)
                yield text


def _has_context(population: Population, person: int) -> bool:
    """Tells whether any training or test text of a person may be read with another one."""
    shelf, written = population.samples(person, "train").texts, population.times(person, "train")
    return any(
        allowed(population.samples(person, part).texts, population.times(person, part), shelf, written).any()
        for part in ("test", "train")
    )
