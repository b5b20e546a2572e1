"""UserIdentifier: a fixed random token string per user before each text, one shared model.

Mireshghallah, Shrivastava, Shokouhi, Berg-Kirkpatrick, Sim, Dimitriadis: UserIdentifier: Implicit User
Representations for Simple and Effective Personalized Sentiment Analysis, NAACL 2022, arXiv 2110.00135.
The identifier is drawn from the model's own vocabulary, never trained apart from it, unique, and the same
in training and in use (section 2). Where the paper is silent the choice is ours: token ids are inserted
right behind the leading special token, an exact repeat is drawn again, and the pools leave out special,
added and unused tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from fedpers.clients.plain import Plain
from fedpers.data import Ints, Population
from fedpers.errors import InputError
from fedpers.method import Device, Enrolment
from fedpers.models import Examples, Model, encode, special_tokens
from fedpers.seeds import stream

IdentifierKind = Literal["name", "number", "digits", "symbols", "tokens", "distant"]

_SYMBOLS = 400  # size of the paper's non-alphanumeric pool


@dataclass(frozen=True)
class UserIdentifier(Plain):
    """A device that puts its person's identifier before every text.

    Attributes:
        local: How it trains in a round.
        kind: Which of the paper's identifiers (section 2.2): `name` the person's own name, `number` a
            consecutive number, `digits`, `symbols` and `tokens` L random digits, non-alphanumeric tokens
            or tokens of the whole vocabulary, `distant` tokens that no two people share.
        length: L, in tokens; `name` and `number` are as long as the tokenizer makes them.
    """

    kind: IdentifierKind = "tokens"
    length: int = 10

    def enrol(self, model: Model, population: Population, seed: int) -> Enrolment:
        """Gives everyone an identifier, different from everyone else's."""
        everyone = population.everyone()
        book = dict(zip(everyone.tolist(), self._identifiers(model, population, seed), strict=True))
        return lambda person: {"identifier": np.array(book[person], dtype=np.int64)}

    def encode(self, model: Model, device: Device) -> Examples:
        """Encodes identifier and text; without a state the text alone."""
        return encode(model, device.samples, prefix=[int(t) for t in device.state.get("identifier", ())])

    def _identifiers(self, model: Model, population: Population, seed: int) -> list[list[int]]:
        everyone = population.everyone()
        if self.kind in ("name", "number"):
            names = (
                [population.people.name(person) for person in everyone]
                if self.kind == "name"
                else [str(number) for number in range(1, len(everyone) + 1)]
            )
            return _encoded(model, names)
        _check_room(model, self.length)
        draw = stream(seed, "identifiers")
        tokens = pool_of(model.tokenizer, self.kind)
        rows = (
            draw_distant(tokens, len(everyone), self.length, draw)
            if self.kind == "distant"
            else draw_unique(tokens, len(everyone), self.length, draw)
        )
        return [[int(token) for token in row] for row in rows]


def pool_of(tokenizer: PreTrainedTokenizerBase, kind: IdentifierKind) -> Ints:
    """Returns the token ids that random identifiers of a kind are drawn from, in id order.

    Digits are the tokens of "0" to "9". The paper's rule for its 400 non-alphanumeric tokens is not
    stated; these are the first 400 without a letter or digit, filled up, where a vocabulary has fewer,
    with the first that hold at least one other character.
    """
    if kind == "digits":
        found = [tokenizer(str(digit), add_special_tokens=False)["input_ids"] for digit in range(10)]
        known = set(usable(tokenizer))  # a digit may be unknown to the vocabulary
        return np.array(sorted({ids[-1] for ids in found} & known), dtype=np.int64)
    # The written form of each usable token, without the marks that tokenizers use for word borders.
    written = {
        token: str(tokenizer.decode([token])).strip().removeprefix("##") for token in usable(tokenizer)
    }
    if kind != "symbols":
        return np.array(list(written), dtype=np.int64)
    pure = [token for token, text in written.items() if text and not any(c.isalnum() for c in text)]
    mixed = [token for token, text in written.items() if any(not c.isalnum() for c in text)]
    rest = [token for token in mixed if token not in set(pure)]
    return np.array(sorted((pure + rest)[:_SYMBOLS]), dtype=np.int64)


def usable(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Returns all token ids but special, added and unused ones, in order."""
    left_out = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    unused = {token for entry, token in tokenizer.get_vocab().items() if entry.startswith("[unused")}
    return sorted(set(tokenizer.get_vocab().values()) - left_out - unused)


def draw_unique(tokens: Ints, people: int, length: int, draw: np.random.Generator) -> Ints:
    """Draws independent uniform identifiers (people, length); an exact repeat is drawn again.

    Raises:
        InputError: There are fewer possible identifiers than people.
    """
    possible = len(tokens) ** length
    if possible < people and len(tokens) < 2:
        raise InputError(
            f"the vocabulary has {len(tokens)} tokens of this kind, too few for {people} different "
            "identifiers of any length: use --identifier tokens"
        )
    if possible < people:
        need = next(longer for longer in count(length) if len(tokens) ** longer >= people)
        raise InputError(
            f"{len(tokens)} tokens make only {possible} identifiers of length {length} for "
            f"{people} people: use a length of at least {need}"
        )
    if possible < 2 * people:  # the same law without redraws, which would seldom hit a free one
        numbers = draw.choice(possible, size=people, replace=False)
        return tokens[numbers[:, None] // len(tokens) ** np.arange(length) % len(tokens)]
    rows = draw.choice(tokens, size=(people, length))
    while True:
        _, first = np.unique(rows, axis=0, return_index=True)
        repeats = np.setdiff1d(np.arange(people), first)
        if not len(repeats):
            return rows
        rows[repeats] = draw.choice(tokens, size=(len(repeats), length))


def draw_distant(tokens: Ints, people: int, length: int, draw: np.random.Generator) -> Ints:
    """Draws identifiers (people, length) of which no two share a token.

    Cutting one permutation has the same law as the paper's refusal of identifiers that share a token with
    an earlier one, up to repeats within an identifier, and never stalls.

    Raises:
        InputError: The vocabulary is too small for so many people.
    """
    if people > len(tokens):
        raise InputError(
            f"{people} people are more than the vocabulary's {len(tokens)} tokens, so identifiers cannot be "
            "maximally distant: use --identifier tokens"
        )
    if people * length > len(tokens):
        raise InputError(
            f"{people} maximally distant identifiers of {length} tokens need {people * length} tokens, the "
            f"vocabulary has {len(tokens)}: use a length of at most {len(tokens) // people}"
        )
    return draw.permutation(tokens)[: people * length].reshape(people, length)


def _encoded(model: Model, names: list[str]) -> list[list[int]]:
    encoded = model.tokenizer(names, add_special_tokens=False, split_special_tokens=True)
    ids: list[list[int]] = encoded["input_ids"]
    _check_room(model, max(map(len, ids)))
    seen: dict[tuple[int, ...], str] = {}
    for name, row in zip(names, ids, strict=True):
        if not row or seen.setdefault(tuple(row), name) != name:
            other = seen.get(tuple(row), "nobody")
            raise InputError(
                f"the names {other!r} and {name!r} are the same tokens to this tokenizer: "
                "use --identifier tokens"
            )
    return ids


def _check_room(model: Model, length: int) -> None:
    leading, trailing = special_tokens(model)
    most = model.max_tokens - len(leading) - len(trailing) - 1
    if length > most:
        raise InputError(
            f"an identifier of {length} tokens is longer than the model's limit allows: inputs have at most "
            f"{model.max_tokens} tokens, so use at most {most}"
        )
