"""Which uploads an attacker knows to be one person's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from fedpers.data import Ints
from fedpers.errors import InputError


@dataclass(frozen=True)
class Groups:
    """Uploads that are linked, group after group.

    Attributes:
        members: Places of the uploads (linked uploads,).
        starts: Where each group begins in members, and the end of the last (groups + 1,).
    """

    members: Ints
    starts: Ints

    @property
    def sizes(self) -> Ints:
        """How many uploads each group has (groups,)."""
        return np.diff(self.starts)

    @property
    def first(self) -> Ints:
        """The first upload of each group (groups,)."""
        return self.members[self.starts[:-1]]

    def block(self, rows: slice) -> tuple[Ints, csr_array]:
        """Returns the uploads of some groups, and the matrix (groups, uploads) of ones that adds them up."""
        starts = self.starts[rows.start : rows.stop + 1]
        members = self.members[starts[0] : starts[-1]]
        ones, columns = np.ones(len(members)), np.arange(len(members))
        return members, csr_array((ones, columns, starts - starts[0]), shape=(len(starts) - 1, len(members)))


def singles(uploads: int) -> Groups:
    """Returns groups of one upload each: nothing is linked."""
    return Groups(np.arange(uploads), np.arange(uploads + 1))


def turns(senders: Ints, draw: np.random.Generator) -> Ints:
    """Deals each person's uploads out in a random order, 0, 1, 2 and so on (uploads,).

    Args:
        senders: The person of each upload (uploads,).
        draw: The order.
    """
    order = draw.permutation(len(senders))
    order = order[np.argsort(senders[order], kind="stable")]
    counts = np.bincount(senders)
    found = np.empty(len(senders), dtype=np.int64)
    found[order] = np.arange(len(senders)) - np.repeat(np.cumsum(counts) - counts, counts)
    return found


def cut(senders: Ints, size: int, draw: np.random.Generator) -> Groups:
    """Cuts each person's uploads, in a random order, into groups of a size; what remains is left out.

    Args:
        senders: The person of each upload (uploads,).
        size: Uploads of a group, 1 or more.
        draw: The order.

    Raises:
        InputError: Nobody has so many uploads.
    """
    counts, place = np.bincount(senders), turns(senders, draw)
    if not 1 <= size <= counts.max():
        raise InputError(
            f"groups of {size} linked uploads cannot be made: the size must be 1 to {counts.max()}, "
            "the most uploads that anybody has"
        )
    order = np.lexsort((place, senders))
    members = order[place[order] < counts[senders[order]] // size * size]
    return Groups(members, np.arange(0, len(members) + 1, size))


def linked(senders: Ints, messages: Ints | None = None) -> Groups:
    """Links all uploads of a person that came in one message.

    Args:
        senders: The person of each upload (uploads,).
        messages: The message of each upload (uploads,); without, a person sends everything in one.
    """
    message = np.zeros_like(senders) if messages is None else messages
    order = np.lexsort((message, senders))
    new = np.diff(senders[order], prepend=-1) | np.diff(message[order], prepend=-1)
    return Groups(order, np.append(np.flatnonzero(new), len(order)))
