"""IDfree-PL on the device: a private distribution of user embeddings, and anonymous uploads drawn from it.

Ding et al.: IDfree-Personalized-Learning, KDD 2025, arXiv 2501.06062. A device fits theta, the parameters of
its distribution, to a frozen model by reparameterised sampling, one draw a sample and step; theta never
leaves it. For every sample it uploads, and for every request, it draws a fresh embedding. Proximity of the
distributions, on which the anonymity of a family without linear dependence rests, is held by the learning
rate, clipping, the number of steps and, our addition, a radius around the common start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedpers.clients.plain import answers_of, odds_of
from fedpers.data import Population
from fedpers.errors import InputError
from fedpers.method import Device, Enrolment, Shared, State
from fedpers.models import Examples, Family, Model, encode, insert, special_tokens
from fedpers.records import Placement, Records, read, with_user_tokens
from fedpers.training import Answers, Doubles, Plan


@dataclass(frozen=True)
class UserTokens:
    """What a person's texts are read with.

    Attributes:
        family: The kind of distribution that user embeddings are drawn from.
        count: User tokens, 1 or more.
        placement: Whether they stand in front of the text or behind it.
    """

    family: Family
    count: int = 1
    placement: Placement = "front"

    def enrol(self, model: Model) -> Enrolment:
        """Gives everyone the same distribution.

        Raises:
            InputError: The tokens leave no room for text.
        """
        leading, trailing = special_tokens(model)
        most = model.max_tokens - len(leading) - len(trailing) - 1
        if self.count > most:
            raise InputError(
                f"{self.count} user tokens are more than the model's {model.max_tokens} positions allow "
                f"beside a text: use at most {most}"
            )
        start = self.family.start(self.count, model.width)
        return lambda person: start

    def draw(self, device: Device) -> Records:
        """Returns a person's samples, each with a fresh user embedding."""
        drawn = self.family.release(device.state, len(device.samples), device.draw)
        return Records.of_samples(device.samples, drawn)

    def encode(self, model: Model, device: Device) -> Examples:
        """Encodes texts with fresh user embeddings; without a state the texts alone."""
        if not device.state:
            return encode(model, device.samples)
        return read(model, self.draw(device), self.placement)


@dataclass(frozen=True)
class DistributionFit:
    """A device that fits its distribution and sends nothing.

    Attributes:
        tokens: What its person's texts are read with.
        plan: How theta is trained.
    """

    tokens: UserTokens
    plan: Plan

    def enrol(self, model: Model, population: Population, seed: int) -> Enrolment:
        """Gives everyone the distribution that training starts from."""
        return self.tokens.enrol(model)

    def encode(self, model: Model, device: Device) -> Examples:
        """Encodes texts with fresh user embeddings."""
        return self.tokens.encode(model, device)

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Records], list[State]]:
        """Fits all devices' distributions in one pass; nothing leaves."""
        insert(shared.model.module, shared.arrays)
        tokens = self.tokens
        parts = [with_user_tokens(shared.model, d.samples, tokens.count, tokens.placement) for d in cohort]
        fitted = shared.fit(
            [dict(device.state) for device in cohort],  # type: ignore[arg-type]  # theta is of floats
            parts,
            self.plan,
            [device.draw for device in cohort],
            tokens.family,
        )
        return [], [dict(theta) for theta, _ in fitted]  # type: ignore[arg-type]  # no table among them

    def predict(self, shared: Shared, cohort: Sequence[Device]) -> list[Answers]:
        """Returns the model's answers, each sample read with a draw of its own."""
        return answers_of(self, shared, cohort)


@dataclass(frozen=True)
class AnonymousUpload:
    """A device that sends its samples as anonymous records.

    Attributes:
        tokens: What its person's texts are read with; None sends texts and labels alone.
    """

    tokens: UserTokens | None = None

    def enrol(self, model: Model, population: Population, seed: int) -> Enrolment:
        """Gives everyone the distribution that a fit starts from, or nothing."""
        return self.tokens.enrol(model) if self.tokens else lambda person: {}

    def encode(self, model: Model, device: Device) -> Examples:
        """Encodes texts with fresh user embeddings, or alone."""
        return self.tokens.encode(model, device) if self.tokens else encode(model, device.samples)

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Records], list[State]]:
        """Draws a fresh embedding for every sample and hands all to the border."""
        tokens = self.tokens
        uploads = [tokens.draw(d) if tokens else Records.without_vectors(d.samples) for d in cohort]
        return uploads, [device.state for device in cohort]

    def predict(self, shared: Shared, cohort: Sequence[Device]) -> list[Answers]:
        """Returns the model's answers, each sample read with a draw of its own."""
        return answers_of(self, shared, cohort)

    def log_odds(self, shared: Shared, cohort: Sequence[Device]) -> list[Doubles]:
        """Returns the log odds of right answers, each sample read with a draw of its own."""
        return odds_of(self, shared, cohort)
