"""Trainable user embeddings: identifiers as UserIdentifier's, but read with a second word table.

A baseline of Mireshghallah et al., NAACL 2022, arXiv 2110.00135, section 4: text goes through the model's own
embeddings, the identifier through a second table beside them; both are trained and shared.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedpers.clients.user_identifier import UserIdentifier
from fedpers.method import Device
from fedpers.models import Examples, Model, encode, marked


@dataclass(frozen=True)
class UserEmbeddings(UserIdentifier):
    """A device that puts its person's identifier before every text, in tokens of the second table."""

    def encode(self, model: Model, device: Device) -> Examples:
        """Encodes identifier and text; without a state the text alone."""
        identifier = [int(token) for token in device.state.get("identifier", ())]
        return encode(model, device.samples, prefix=marked(identifier))
