"""A Flower Grid's nodes, by number, as far as strategies look at them when they choose whom to ask.

Flower's strategies use `get_node_ids` and `send_and_receive` only. A node's id is its partition number,
the place of a person among the clients, so a seed samples the same people on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run


class Nodes(Grid):
    """So many nodes, none of which answers."""

    def __init__(self, count: int) -> None:
        """Numbers the nodes."""
        self._count = count

    def get_node_ids(self) -> Iterable[int]:
        """Returns the partition numbers."""
        return range(self._count)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Not available: there is nobody behind the nodes."""
        raise RuntimeError("these nodes are only chosen from, and do not answer")

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Returns a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    @property
    def run(self) -> Run:
        """Not available: there is no Flower run behind this grid."""
        raise RuntimeError("a grid in memory belongs to no Flower run")

    def set_run(self, run: Run) -> None:
        """Does nothing: there is no Flower run behind this grid."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Not available: this grid answers at once, through `send_and_receive`."""
        raise RuntimeError("a grid in memory answers at once: use send_and_receive")

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Not available: this grid answers at once, through `send_and_receive`."""
        raise RuntimeError("a grid in memory answers at once: use send_and_receive")
