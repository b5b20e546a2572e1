"""A Flower Grid whose nodes are people: strategies talk to it as they talk to real devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import numpy as np
from flwr.app import Message, RecordDict

from fedpers.data import Ints, Part
from fedpers.dp import Spent
from fedpers.engine.border import cross
from fedpers.engine.crew import Crew
from fedpers.engine.dropouts import DROPPED, Dropouts
from fedpers.engine.flower import broadcast_of, frozen_of, guard_of, reply
from fedpers.engine.nodes import Nodes
from fedpers.engine.reduction import mean
from fedpers.engine.worker import Order, Whose, Work
from fedpers.errors import FedpersError
from fedpers.evaluation import Scores, merge
from fedpers.method import Update, Upload
from fedpers.models import Arrays
from fedpers.records import Records

T = TypeVar("T")

_SCORED_TOGETHER = 64  # people whose texts are predicted in common batches


@dataclass(frozen=True)
class Aside:
    """What a grid knows of the latest messages and no strategy is to know.

    Attributes:
        missing: Partitions that did not reply, and why.
        senders: Persons behind the latest anonymous records (records,), if there were any.
        spent: What each person's training released of their samples, where it hides them.
    """

    missing: Mapping[int, str]
    senders: Ints | None
    spent: Mapping[int, Sequence[Spent]] = field(default_factory=dict)


def aside(grid: CohortGrid) -> Aside:
    """Returns what a grid keeps from strategies, for the run's record and its audit."""
    return grid._aside


class CohortGrid(Nodes):
    """Sends a round's messages to people, a cohort at a time."""

    def __init__(
        self,
        crew: Crew,
        clients: Ints,
        cohort_size: int,
        phase: int = 0,
        *,
        reduce: bool,
        sizes: Ints | None = None,
        dropouts: Dropouts | None = None,
        border_threshold: int = 1,
    ) -> None:
        """Lays out the nodes.

        Args:
            crew: Who does the work.
            clients: Person number of each partition (clients,).
            cohort_size: Devices in a cohort, the same ones whatever the number of workers.
            phase: Whose clients act.
            reduce: Whether one weighted mean is the only reply; right for averaging strategies only.
            sizes: Samples of each partition (clients,), so that those of like size share a cohort, which
                pads all its devices to the largest; without them cohorts are cut in sampled order.
            dropouts: Which devices may fail to reply; without it none.
            border_threshold: Fewest devices whose anonymous records may reach the strategy together.
        """
        super().__init__(len(clients))
        # Is told how many devices have worked, of how many, after each cohort.
        self.tell: Callable[[int, int], None] = lambda done, devices: None
        self.part: Part = "train"  # of everyone's texts, to train on
        self._crew = crew
        self._clients = clients
        self._cohort_size = cohort_size
        self._phase = phase
        self._reduce = reduce
        self._sizes = np.zeros(len(clients), dtype=np.int64) if sizes is None else sizes
        self._dropouts = dropouts or Dropouts()
        self._border_threshold = border_threshold
        self._aside = Aside({}, None)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Trains the addressed devices and returns their replies, in the order of the messages.

        With `reduce`, one reply for all that got the same content, in the name of the first device. Anonymous
        records come as one reply in nobody's name. Devices that drop out, or that keep everything to
        themselves, send none.
        """
        missing: dict[int, str] = {}
        records: dict[int, Records] = {}
        spent: dict[int, Sequence[Spent]] = {}
        replies = [
            answer
            for group in _by_content(messages)
            for answer in self._train(group, missing, records, spent)
        ]
        senders: Ints | None = None
        if records:  # those of all groups cross at once, so that no group has a message of its own
            message, senders = cross(records, self._border_threshold)
            replies.append(message)
        self._aside = Aside(missing, senders, spent)
        return replies

    def _train(
        self,
        messages: Sequence[Message],
        missing: dict[int, str],
        records: dict[int, Records],
        spent: dict[int, Sequence[Spent]],
    ) -> list[Message]:
        """Trains the devices that got the same content; records are laid aside, to cross the border."""
        content = messages[0].content
        order = Order(
            "train",
            arrays=broadcast_of(content),
            phase=self._phase,
            part=self.part,
            round=_round(content),
            reduce=self._reduce,
            allow_dropout=self._dropouts.allow,
            frozen=frozen_of(content),
            guard=guard_of(content),
        )
        sent = {int(self._clients[m.metadata.dst_node_id]): m for m in messages}
        present = [person for person in sent if not self._dropouts.drops(self._phase, order.round, person)]
        lost = dict.fromkeys(sent.keys() - set(present), DROPPED)
        present.sort(key=lambda person: -self._sizes[sent[person].metadata.dst_node_id])  # keeps ties' order
        cohorts = _cut(present, self._cohort_size)
        done: list[int] = []

        def works() -> Iterator[tuple[Sequence[int], Sequence[Upload]]]:
            for cohort, work in zip(cohorts, self._crew.do(order, cohorts), strict=True):
                assert isinstance(work, Work)
                lost.update(work.missing)
                spent.update(work.spent)
                done.extend(cohort)
                self.tell(len(done), len(present))
                yield [person for person in cohort if person not in work.missing], work.uploads

        if self._reduce:
            means = (_averaged(upload) for _, uploads in works() for upload in uploads)
            first = next(means, None)
            replies = [] if first is None else [reply(messages[0], mean(chain([first], means)), order.arrays)]
        else:
            found = {p: u for left, uploads in works() if uploads for p, u in zip(left, uploads, strict=True)}
            records |= {p: upload for p, upload in found.items() if isinstance(upload, Records)}
            updates = {p: upload for p, upload in found.items() if isinstance(upload, Update)}
            replies = [
                reply(message, updates[p], order.arrays) for p, message in sent.items() if p in updates
            ]
        missing |= {sent[person].metadata.dst_node_id: why for person, why in lost.items()}
        return replies

    def score(self, arrays: Arrays, persons: Ints, part: Part, whose: Whose = "own") -> Scores:
        """Returns how well the arrays predict one part of some people's texts.

        Args:
            arrays: The shared parameters.
            persons: Person numbers, not partitions.
            part: Which of their texts.
            whose: With whose personal state they come.
        """
        order = Order("predict", arrays, self._phase, part=part, whose=whose)
        scores = self._crew.do(order, _cut(persons.tolist(), _SCORED_TOGETHER))
        return merge(part for part in scores if isinstance(part, Scores))


def _averaged(upload: Upload) -> Update:
    if isinstance(upload, Update):
        return upload
    raise FedpersError("an averaging strategy got anonymous records: their phase needs a Cloud")


def _cut(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _by_content(messages: Iterable[Message]) -> list[list[Message]]:
    """Groups messages that share one content object, in order of first appearance."""
    groups: dict[int, list[Message]] = {}
    for message in messages:
        groups.setdefault(id(message.content), []).append(message)
    return list(groups.values())


def _round(content: RecordDict) -> int:
    config = next(iter(content.config_records.values()))
    number = config["server-round"]
    assert isinstance(number, int)
    return number
