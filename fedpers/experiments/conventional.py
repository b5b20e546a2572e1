"""Conventional: one shared model, nobody told apart."""

from __future__ import annotations

from fedpers.clients import Plain
from fedpers.method import Method, Phase
from fedpers.settings import Settings
from fedpers.strategies import make


def build(settings: Settings) -> Method:
    """Returns the method: one phase of plain federated training."""
    federation = settings.federation
    phase = Phase(
        "federated", Plain(settings.local), lambda clients: make(federation, clients), federation.rounds
    )
    return Method("conventional", (phase,))
