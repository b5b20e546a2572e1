"""Trainable user embeddings: UserIdentifier's identifiers, read with a second word table.

A baseline of Mireshghallah et al., NAACL 2022, arXiv 2110.00135; see fedpers/clients/user_embeddings.py. Kind
and length of identifiers are UserIdentifier's own settings.
"""

from __future__ import annotations

from typing import Literal

from fedpers.clients import UserEmbeddings
from fedpers.experiments import user_identifier
from fedpers.method import Method, federated
from fedpers.models import IdentifierTable
from fedpers.settings import Section, Settings, option
from fedpers.strategies import make


class Own(Section):
    """Trainable user embeddings: a second word table for identifiers."""

    table_start: Literal["random", "copy"] = option(
        "random", "Where the second table starts: at random, or as a copy of the model's own."
    )


def build(settings: Settings) -> Method:
    """Returns the method: one phase of federated training with identifiers in the second table."""
    own = settings.of(Own, "user_embeddings")
    identifiers = settings.of(user_identifier.Own, "user_identifier")
    client = UserEmbeddings(settings.local, identifiers.identifier, identifiers.identifier_length)
    phases = (federated(settings, client, make),)
    return Method("user-embeddings", phases, additions=(IdentifierTable(own.table_start),))
