"""Conventional: one shared model, nobody told apart."""

from __future__ import annotations

from fedpers.clients import Plain
from fedpers.method import Method, federated
from fedpers.settings import Settings
from fedpers.strategies import make


def build(settings: Settings) -> Method:
    """Returns the method: one phase of plain federated training."""
    return Method("conventional", (federated(settings, Plain(settings.local), make),))
