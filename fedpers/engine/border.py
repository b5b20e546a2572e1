"""The border between devices and strategy in an anonymous phase: what crosses it names nobody.

Records of a whole round are pooled, put into an order that only their contents decide, and handed on as one
message in nobody's name. So the strategy gets a function of the set of records: no sender, no partition, no
order, no message of one device's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from flwr.app import Message, RecordDict

from fedpers.data import Ints
from fedpers.errors import FedpersError
from fedpers.records import Records, mix, pack

_NOBODY = 2**62  # a node id that no partition has


def cross(uploads: Mapping[int, Records], threshold: int) -> tuple[Message, Ints]:
    """Lets the records of a round through.

    Args:
        uploads: What each person's device sent.
        threshold: Fewest devices whose records may pass together.

    Returns:
        The only message the strategy gets, and whose each record in it is (records,), which stays behind.

    Raises:
        FedpersError: Too few devices sent records.
    """
    if len(uploads) < threshold:
        raise FedpersError(
            f"{len(uploads)} devices sent records, and the border lets none through below {threshold}: "
            "lower federation.border_threshold"
        )
    persons = list(uploads)
    records, order = mix([uploads[person] for person in persons])
    senders = np.repeat(persons, [len(uploads[person]) for person in persons])[order]
    asked = Message(RecordDict(), dst_node_id=_NOBODY, message_type="train")
    return Message(pack(records), reply_to=asked), senders
