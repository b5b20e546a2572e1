"""Attackers of updates: what the rows of a table that moved tell, of one device or of a cohort's sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.stats import rankdata

from fedpers.audit.sights import Sight, Tables, along, norms_of, total
from fedpers.data import Ints
from fedpers.models.families import Doubles
from fedpers.privacy.updates import (
    Estimate,
    Mask,
    auc,
    estimate,
    moved_scores,
    noised_norms,
    share_found,
    took_part,
    unusual,
)


@dataclass(frozen=True)
class UpdateRow:
    """What one kind of update reveals; shares, precision, recall and AUC are in [0, 1], means over people.

    Words are scored without people who wrote none that the tokenizer knows.

    Attributes:
        noise: Standard deviation of the noise in units of the bound; None for updates as they are.
        devices: How many devices' updates the server sees as one sum.
        moved: Share of all words whose rows moved.
        precision: Share of the rows that moved that are words of the texts.
        recall: Share of the texts' words whose rows moved.
        words: Share of the texts' words among as many rows that moved farthest.
        chance: What `words` would be if rows told nothing.
        auc: How well the norm of a row's change tells words of the texts from others.
        tokens: Share of an identifier's tokens among as many rows that moved farthest as it has tokens.
        identifiers: Share of people whose whole identifier is among these, in whatever order.
        unusual_tokens: The same as tokens, rows being ranked by their norm beside what public text leads one
            to expect; None without public text or where identifiers have a table of their own.
        unusual_identifiers: The same as identifiers, so ranked.
        aimed_words: The same as words, norms being taken along the directions in which rows move on public
            people's devices only; None without public people.
        aimed_auc: The same as auc, so taken.
        aimed_tokens: The same as tokens, so taken.
        took_part: Of a sum: AUC of telling people of the cohort from others by their identifiers' rows.
    """

    noise: float | None
    devices: int
    moved: Estimate | None
    precision: Estimate | None
    recall: Estimate | None
    words: Estimate | None
    chance: Estimate | None
    auc: Estimate | None
    tokens: Estimate | None
    identifiers: Estimate | None
    unusual_tokens: Estimate | None
    unusual_identifiers: Estimate | None
    aimed_words: Estimate | None
    aimed_auc: Estimate | None
    aimed_tokens: Estimate | None
    took_part: Estimate | None


@dataclass(frozen=True)
class Attacker:
    """What an attacker knows of the words and of how updates are made.

    Attributes:
        tables: Where updates tell of words.
        shares: Each word's share of public texts (words,), or None.
        bound: The L2 norm that updates are cut to before they get noise.
        directions: Along which rows of each table move on public people's devices (width, directions), by
            the table's name; None without public people.
    """

    tables: Tables
    shares: Doubles | None
    bound: float
    directions: Mapping[str, Doubles] | None = None

    def row(
        self,
        everyone: Sequence[Sight],
        cohorts: Sequence[Sequence[Sight]],
        noise: float | None,
        draw: np.random.Generator,
    ) -> UpdateRow:
        """Attacks the sum of each cohort, and returns what all of it reveals.

        Args:
            everyone: All people that may have taken part.
            cohorts: Whose updates the server sees as one sum; a cohort of one is an update by itself.
            noise: Standard deviation of the noise on each sum in units of the bound; None for no bound.
            draw: Noise and bootstrap.
        """
        found: dict[str, list[float]] = {}
        for cohort in cohorts:
            norms = self._seen(cohort, noise, draw)
            measured = {**self._of_words(cohort, norms), **self._of_identifiers(cohort, norms)}
            if self.directions is not None:
                aimed = self._seen(cohort, noise, draw, self.directions)
                again = {**self._of_words(cohort, aimed), **self._of_identifiers(cohort, aimed)}
                measured |= {
                    f"aimed_{name}": again[name] for name in ("words", "auc", "tokens") if name in again
                }
            if len(cohort) > 1:
                measured["took_part"] = self._who(everyone, cohort, norms)
            for name, values in measured.items():
                found.setdefault(name, []).extend(values)
        names = [name for name in UpdateRow.__dataclass_fields__ if name not in ("noise", "devices")]
        estimates = {name: estimate(found.get(name, []), draw) for name in names}
        return UpdateRow(noise=noise, devices=len(cohorts[0]), **estimates)

    def _seen(
        self,
        cohort: Sequence[Sight],
        noise: float | None,
        draw: np.random.Generator,
        directions: Mapping[str, Doubles] = MappingProxyType({}),
    ) -> dict[str, Doubles]:
        """Returns how far the rows of each table moved in a cohort's sum (words,), special words left out.

        Where there are directions of a table, only along these.
        """
        sent = [sight.moved if noise is None else sight.clipped(self.bound) for sight in cohort]
        deviation = (noise or 0.0) * self.bound
        seen = {}
        for name in self.tables.names:
            rows = along(total([own[name] for own in sent]), directions.get(name))
            norms = noised_norms(norms_of(rows), rows.change.shape[1], deviation, draw)
            seen[name] = norms[self.tables.candidates]
        return seen

    def _of_words(self, cohort: Sequence[Sight], norms: Mapping[str, Doubles]) -> dict[str, list[float]]:
        """Measures how well the words of all of a cohort's texts are found, if they have any."""
        own = norms[self.tables.words]
        present = self._mask([sight.present for sight in cohort])
        moved = {"moved": [float((own > 0).mean())]}
        if not present.any():  # the tokenizer knows none of them
            return moved
        precision, recall = moved_scores(own, present)
        told = auc(own, present)
        return moved | {
            "precision": [precision],
            "recall": [recall],
            "words": [share_found(own, present, int(present.sum()))],
            "chance": [float(present.mean())],
            "auc": [] if told is None else [told],
        }

    def _of_identifiers(
        self, cohort: Sequence[Sight], norms: Mapping[str, Doubles]
    ) -> dict[str, list[float]]:
        """Measures for each of a cohort how much of their identifier is found."""
        own = norms[self.tables.identifiers]
        named = [sight for sight in cohort if len(sight.identifier)]
        guesses = sum(len(sight.identifier) for sight in named)
        wanted = [self._mask([sight.identifier]) for sight in named]
        plain = [share_found(own, mask, guesses) for mask in wanted]
        found = {"tokens": plain, "identifiers": [float(share == 1) for share in plain]}
        if self.shares is not None and self.tables.identifiers == self.tables.words:
            texts = sum(sight.texts for sight in cohort)
            rare = unusual(own, texts, self.shares[self.tables.candidates])
            shares = [share_found(rare, mask, guesses) for mask in wanted]
            found["unusual_tokens"] = shares
            found["unusual_identifiers"] = [float(share == 1) for share in shares]
        return found

    def _who(
        self, everyone: Sequence[Sight], cohort: Sequence[Sight], norms: Mapping[str, Doubles]
    ) -> list[float]:
        """Measures how well the people of a cohort are told from the others.

        Ranks, for a frequent word among an identifier's tokens moves as far as all the others together.
        """
        named = [sight for sight in everyone if len(sight.identifier)]
        ranks = rankdata(norms[self.tables.identifiers])
        standing = np.array([ranks[self._mask([sight.identifier])].mean() for sight in named])
        persons = {sight.person for sight in cohort}
        members = np.array([sight.person in persons for sight in named], dtype=bool)
        return took_part(standing, members) if members.any() and not members.all() else []

    def _mask(self, words: Sequence[Ints]) -> Mask:
        """Marks words among the candidates (words,)."""
        return np.isin(self.tables.candidates, np.concatenate(words))
