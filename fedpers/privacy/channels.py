"""Side channels: what else reaches the attacker, as kinds of people that it can tell apart, or as links.

Kinds are numbers (people,): where the kind of an upload's sender is known, only people of it are candidates.
"""

from __future__ import annotations

import numpy as np

from fedpers.data import Ints
from fedpers.errors import InputError
from fedpers.privacy.links import Groups, linked


def device_class(people: int, classes: int, draw: np.random.Generator) -> Ints:
    """Deals people out to classes of devices as evenly as can be, by a random draw (people,).

    Raises:
        InputError: There are more classes than people, or none.
    """
    if not 1 <= classes <= people:
        raise InputError(f"{classes} device classes: there must be 1 to {people}, the number of people")
    return _dealt(people, classes, draw)


def batch(people: int, size: int, draw: np.random.Generator) -> Ints:
    """Deals people out to batches of at least a size, whose uploads the border releases together (people,).

    Who is in a batch is taken to be known. A remainder is spread over the batches, as a small batch of its
    own would be told apart most easily.

    Raises:
        InputError: A batch would be larger than all people, or empty.
    """
    if not 1 <= size <= people:
        raise InputError(f"batches of {size} people: they must have 1 to {people}, the number of people")
    return _dealt(people, people // size, draw)


def count(senders: Ints, people: int) -> Ints:
    """Returns each person's number of uploads as their kind (people,).

    It leaks where uploads are linked (`time`): candidates are those with the same number.
    """
    return np.bincount(senders, minlength=people)


def time(senders: Ints, messages: Ints | None = None) -> Groups:
    """Links the uploads that arrive together: all that a person sends in a message.

    Args:
        senders: The person of each upload (uploads,).
        messages: The message of each upload (uploads,); without, a person sends everything in one.
    """
    return linked(senders, messages)


def together(*kinds: Ints) -> Ints:
    """Returns the kinds (people,) of an attacker who learns several.

    >>> together(np.array([0, 0, 1, 1]), np.array([5, 7, 7, 7])).tolist()
    [0, 1, 2, 2]
    """
    return np.unique(np.stack(kinds), axis=1, return_inverse=True)[1].reshape(-1)


def _dealt(people: int, parts: int, draw: np.random.Generator) -> Ints:
    """Deals people out to parts whose sizes differ by one at most (people,)."""
    return draw.permutation(people) % parts
