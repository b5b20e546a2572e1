"""People who disagree: made-up readers whose best possible accuracy is known.

Texts are drawn alike for everyone, so a text says nothing about who wrote it. Three kinds of words occur:
agreed words push everyone's label the same way, contested words push the two camps in opposite ways, plain
words say nothing (their frequencies fall off as in natural text). A person belongs to a camp and has a lean
of its own. The first camp likes somewhat more than half of the contested words, the second the others, so
the camps also differ in how often they like a text at all. With a and c the sums of the signs of a text's
agreed and contested words, strength s, camp k = -1 or 1 and lean b ~ N(0, lean^2):

    Pr(label = 1 | text, person) = sigmoid(s (a + k c) + b)

Averaging over k and b gives what can be known without the person. Everything is a function of
(seed, person): any number of people needs no memory and no file. The rule is this project's own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedpers.data.samples import Ints, People, Samples
from fedpers.seeds import stream
from fedpers.settings import SyntheticSettings

Floats = npt.NDArray[np.float64]

_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"
_SYLLABLES = tuple(consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS)
_ZIPF_EXPONENT = 1.2  # of the plain words; natural text lies near 1
_PREFIX = "reader"


@dataclass(frozen=True)
class SyntheticPeople:
    """As many people as asked for, each made from (seed, person) when looked at.

    Attributes:
        settings: The rule's numbers.
        seed: The seed of the words' signs and of every person.
        size: Number of people.
    """

    settings: SyntheticSettings
    seed: int
    size: int

    classes = ("dislikes", "likes")

    def __len__(self) -> int:
        return self.size

    def name(self, person: int) -> str:
        return f"{_PREFIX}{person:06d}"

    def counts(self) -> Ints:
        return np.full(self.size, self.settings.samples_per_person, dtype=np.int64)

    def times(self, person: int) -> None:
        return None

    def digest(self) -> str:
        first = self.samples(0)  # by the same rule as everyone's
        return hashlib.sha256(repr((self.size, first.texts, first.labels.tolist())).encode()).hexdigest()

    def samples(self, person: int) -> Samples:
        words = self._words(person)
        likes = _sigmoid(self._log_odds(person, words))
        labels = stream(self.seed, "synthetic-labels", person).random(len(words)) < likes
        return Samples([" ".join(self._spellings[row]) for row in words], labels.astype(np.int64))

    def best_accuracies(self, person: int) -> tuple[Floats, Floats]:
        """Returns the accuracy expected of the best guess on each of a person's texts.

        Returns:
            Without and with knowing the person, each (samples,), in [0.5, 1].
        """
        words = self._words(person)
        known = _sigmoid(self._log_odds(person, words))
        agreed, contested = self._sums(words)
        # Equal steps beat Gauss's nodes here: the sigmoid is steep where people lean far.
        nodes = np.linspace(-8, 8, 257)
        weights = np.exp(-(nodes**2) / 2)
        leans, weights = self.settings.lean * nodes, weights / weights.sum()
        anyone = np.zeros(len(words))
        for camp in (-1, 1):
            log_odds = self.settings.strength * (agreed + camp * contested)
            anyone += _sigmoid(log_odds[:, None] + leans) @ weights / 2
        return np.maximum(anyone, 1 - anyone), np.maximum(known, 1 - known)

    def _words(self, person: int) -> Ints:
        """Returns the words of a person's texts as numbers (samples, words of a text)."""
        rule, draw = self.settings, stream(self.seed, "synthetic-texts", person)
        shape = (rule.samples_per_person, rule.text_words)
        kind = draw.random(shape)
        opinions = rule.agreed_words + rule.contested_words
        agreed = draw.integers(rule.agreed_words, size=shape)
        contested = draw.integers(rule.agreed_words, opinions, size=shape)
        plain = opinions + np.searchsorted(self._plain_cumulative, draw.random(shape))
        return np.where(
            kind < rule.agreed_share,
            agreed,
            np.where(kind < rule.agreed_share + rule.contested_share, contested, plain),
        )

    def _log_odds(self, person: int, words: Ints) -> Floats:
        draw = stream(self.seed, "synthetic-person", person)
        camp, lean = draw.choice([-1, 1]), draw.normal(0, self.settings.lean)
        agreed, contested = self._sums(words)
        log_odds: Floats = self.settings.strength * (agreed + camp * contested) + lean
        return log_odds

    def _sums(self, words: Ints) -> tuple[Floats, Floats]:
        """Returns the sums of the signs of each text's agreed and contested words (samples,)."""
        signs = self._signs[words]
        agreed = words < self.settings.agreed_words
        return np.where(agreed, signs, 0).sum(1), np.where(agreed, 0, signs).sum(1)

    @cached_property
    def _signs(self) -> Floats:
        """The push of every word: -1 or 1 for opinion words, 0 for plain ones."""
        rule = self.settings
        agreed = _signs(rule.agreed_words, 0.5, stream(self.seed, "synthetic-agreed"))
        contested = _signs(rule.contested_words, rule.tilt, stream(self.seed, "synthetic-contested"))
        return np.concatenate([agreed, contested, np.zeros(rule.plain_words)])

    @cached_property
    def _plain_cumulative(self) -> Floats:
        frequency = np.arange(1, self.settings.plain_words + 1) ** -_ZIPF_EXPONENT
        cumulative = np.cumsum(frequency / frequency.sum())
        cumulative[-1] = 1.0
        return cumulative

    @cached_property
    def _spellings(self) -> npt.NDArray[np.str_]:
        return np.array([spell(word) for word in range(len(self._signs))])


def spell(word: int) -> str:
    """Returns the made-up word of a number: two syllables or more, another for every number.

    >>> spell(0), spell(1), spell(4900)
    ('baba', 'nizi', 'bababa')
    """
    count = len(_SYLLABLES)
    length, first = 2, 0
    while word - first >= count**length:
        first += count**length
        length += 1
    rest = (word - first) * 2657 % count**length  # spreads neighbours; 2657 has no factor of 70
    parts = []
    for _ in range(length):
        rest, syllable = divmod(rest, count)
        parts.append(_SYLLABLES[syllable])
    return "".join(reversed(parts))


def _signs(count: int, positive: float, draw: np.random.Generator) -> Floats:
    """Returns shuffled signs (count,), a given share of them 1 and the others -1."""
    signs: Floats = draw.permutation(np.where(np.arange(count) < round(positive * count), 1.0, -1.0))
    return signs


def _sigmoid(x: Floats) -> Floats:
    return (1 + np.tanh(x / 2)) / 2  # exp(-x) would overflow where an opinion is very strong


@dataclass(frozen=True)
class Ceilings:
    """The best accuracy any model can expect on given texts, in [0, 1].

    Attributes:
        without_person: For a model that sees the text only.
        with_person: For one that knows the person's camp and lean too.
        scatter: Standard deviation of the accuracy measured on so many labels around its expectation.
    """

    without_person: float
    with_person: float
    scatter: float


def ceilings(people: People, positions: dict[int, Ints]) -> Ceilings | None:
    """Returns the best possible accuracies on some texts, or None where the people are real.

    Args:
        people: Who wrote the texts.
        positions: Which of their samples, by person.
    """
    if not isinstance(people, SyntheticPeople):
        return None
    pairs = [people.best_accuracies(person) for person in positions]
    without, with_ = (
        np.concatenate([pair[which][rows] for pair, rows in zip(pairs, positions.values(), strict=True)])
        for which in (0, 1)
    )
    mean = float(without.mean())
    return Ceilings(
        mean, float(with_.mean()), float(np.sqrt(np.mean(without * (1 - without)) / len(without)))
    )
