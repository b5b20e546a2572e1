"""User-level differential privacy around any strategy that averages, and bounds on anonymous records.

DP-FedAvg (McMahan et al., ICLR 2018, arXiv 1710.06963): devices bound the norm of their updates, all weigh
alike, and Gaussian noise goes on the sum, which is divided by the number of devices expected in a round, a
fixed number. Each device is drawn by a coin of its own (Poisson sampling), or always as many. Bounds that
follow a quantile of the norms: Andrew et al., NeurIPS 2021, arXiv 1905.03871. Noise as in a larger round:
Granqvist et al. (pfl-research), NeurIPS 2024, arXiv 2404.06430.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedpers.dp import Guard, Sampling
from fedpers.method import FROZEN, WITHIN
from fedpers.seeds import stream
from fedpers.strategies.wrapped import Wrapped

_EXAMPLES = "num-examples"


class Guarded(Wrapped):
    """Asks devices to do something to their uploads before they leave; all else is the inner strategy's."""

    def __init__(self, inner: Strategy, guard: Guard) -> None:
        """Wraps a strategy."""
        super().__init__(inner)
        self._guard = guard

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Adds what devices are to do to the inner strategy's messages."""
        config.update(self._guard.numbers())
        return super().configure_train(server_round, arrays, config, grid)


@dataclass(frozen=True)
class Release:
    """How a round's updates are released.

    Attributes:
        guard: The bound on each of them; the first one where it adapts.
        noise_multiplier: Standard deviation of the noise on their sum, in units of the bound, as accounted.
        sampling: How devices are drawn.
        rate: Each device's probability of taking part, or the share that does.
        devices: How many are expected in a round; the sum is divided by it.
        noised_as: How many devices the noise is scaled for; `devices` unless a larger round is simulated.
        quantile: Of the norms that the bound follows; None keeps it.
        quantile_rate: How fast.
        count_noise: Standard deviation of the noise on how many norms are within the bound.
    """

    guard: Guard
    noise_multiplier: float
    sampling: Sampling
    rate: float
    devices: int
    noised_as: int
    quantile: float | None = None
    quantile_rate: float = 0.2
    count_noise: float = 0.0

    def among(self, people: int) -> Release:
        """Returns the same noise and number of devices where there are so many people."""
        devices = min(self.devices, people)
        noised_as = devices if self.noised_as == self.devices else self.noised_as
        return replace(self, rate=devices / people, devices=devices, noised_as=noised_as)

    @property
    def sum_noise(self) -> float:
        """The noise multiplier of the sum, larger where a count is released beside it (theorem 1).

        A person moves the count, from which half of all is taken, by a half.
        """
        if self.quantile is None or not self.noise_multiplier:
            return self.noise_multiplier
        return 1 / math.sqrt(self.noise_multiplier**-2 - (2 * self.count_noise) ** -2)


class Private(Guarded):
    """Draws devices, bounds their updates, and puts noise on what the inner strategy gets.

    Attributes:
        clip: The bound of the next round.
    """

    def __init__(self, inner: Strategy, release: Release, seed: int, purpose: str) -> None:
        """Wraps a strategy that needs no more than the mean.

        Args:
            inner: The strategy.
            release: How updates are released.
            seed: The run's seed.
            purpose: Names the random streams.
        """
        super().__init__(inner, release.guard)
        self.clip = release.guard.clip
        self._release = release
        self._seed = seed
        self._purpose = purpose
        self._asked: Message | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Sends what the inner strategy would send, to the devices that were drawn."""
        self._guard = Guard(self.clip, self._release.guard.layers)
        messages = list(super().configure_train(server_round, arrays, config, grid))
        self._asked = messages[0]
        if self._release.sampling == "fixed":
            return messages
        nodes = list(grid.get_node_ids())
        coins = stream(self._seed, f"coins-{self._purpose}", server_round).random(len(nodes))
        drawn = [node for node, coin in zip(nodes, coins, strict=True) if coin < self._release.rate]
        return [Message(self._asked.content, dst_node_id=node, message_type="train") for node in drawn]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Hands the noised mean on to the inner strategy, even where nobody was drawn."""
        assert self._asked is not None
        answers = [reply for reply in replies if reply.has_content()]  # the others are errors
        count, within = _counted(answers, _EXAMPLES), _counted(answers, WITHIN)
        draw = stream(self._seed, f"noise-{self._purpose}", server_round)
        released = ArrayRecord({n: Array(a) for n, a in self._released(answers, count, draw).items()})
        numbers = MetricRecord({_EXAMPLES: max(1, round(count))})
        numbers.update(_means(answers, count))
        content = RecordDict({"arrays": released, "metrics": numbers})
        message = Message(content, reply_to=self._asked)
        self._asked = None  # a checkpoint has the arrays already
        if self._release.quantile is not None:
            self._adapt(within - count / 2, draw)
        return self.inner.aggregate_train(server_round, [message])

    def _released(
        self, replies: Sequence[Message], count: float, draw: np.random.Generator
    ) -> dict[str, npt.NDArray[np.floating]]:
        """Returns the broadcast, moved by the noised sum of all changes over the devices expected."""
        assert self._asked is not None
        release = self._release
        broadcast, means = _arrays(self._asked), _mean(replies, count)
        spread = release.sum_noise * self.clip / release.noised_as if release.noise_multiplier else 0.0
        found = {}
        for name in sorted(broadcast):
            start, end = broadcast[name], means.get(name, broadcast[name])
            if count != release.devices:
                end = start + count / release.devices * np.subtract(end, start, dtype=np.float64)
            if spread:
                end = end + spread * draw.standard_normal(end.shape)
            found[name] = end.astype(np.float32)
        return {name: found[name] for name in broadcast}

    def _adapt(self, surplus: float, draw: np.random.Generator) -> None:
        """Moves the bound towards the quantile, by a noised share of the norms within it.

        Args:
            surplus: How many more were within it than half of all. A person's norm moves that by a half.
            draw: The noise.
        """
        release = self._release
        assert release.quantile is not None
        scale = release.devices / release.noised_as
        noise = release.count_noise * scale * draw.standard_normal() if release.noise_multiplier else 0.0
        share = (surplus + noise) / release.devices + 0.5
        self.clip *= math.exp(-release.quantile_rate * (share - release.quantile))


def _arrays(message: Message) -> dict[str, npt.NDArray[np.floating]]:
    records = message.content.array_records
    record = next(record for name, record in records.items() if name != FROZEN)
    return {name: array.numpy() for name, array in record.items()}


def _numbers(message: Message) -> dict[str, float]:
    return {
        name: float(value)
        for record in message.content.metric_records.values()
        for name, value in record.items()
        if isinstance(value, int | float)
    }


def _counted(replies: Sequence[Message], name: str) -> float:
    """Returns a number's sum over the devices behind some replies, each of which may be a mean of several."""
    numbers = [_numbers(reply) for reply in replies]
    return sum(own[_EXAMPLES] * (own.get(name, 0) if name != _EXAMPLES else 1) for own in numbers)


def _means(replies: Sequence[Message], count: float) -> dict[str, float]:
    """Returns the means of all other metrics over the devices."""
    names = [name for reply in replies[:1] for name in _numbers(reply) if name not in (_EXAMPLES, WITHIN)]
    return {name: _counted(replies, name) / count for name in names}


def _mean(replies: Sequence[Message], count: float) -> dict[str, npt.NDArray[np.floating]]:
    """Returns the mean over the devices behind some replies; a single reply's as it is."""
    if len(replies) < 2:
        return _arrays(replies[0]) if replies else {}
    sums: dict[str, npt.NDArray[np.floating]] = {}
    for reply in replies:
        weight = _numbers(reply)[_EXAMPLES]
        for name, array in _arrays(reply).items():
            sums[name] = sums.get(name, np.zeros(1)) + np.multiply(array, weight, dtype=np.float64)
    return {name: total / count for name, total in sums.items()}
