"""UserIdentifier: a fixed random string before each text.

Mireshghallah et al., NAACL 2022, arXiv 2110.00135; see fedpers/clients/user_identifier.py.
"""

from __future__ import annotations

from fedpers.clients import IdentifierKind, UserIdentifier
from fedpers.method import Method, federated
from fedpers.settings import Section, Settings, flag
from fedpers.strategies import make


class Own(Section):
    """UserIdentifier: a fixed random string of tokens per person before each text."""

    identifier: IdentifierKind = flag(
        "tokens", "name, number, random digits, symbols or vocabulary tokens, or tokens nobody shares."
    )
    identifier_length: int = flag(10, "Tokens of a random identifier (paper: 5 to 200, best at 10).", ge=1)


def build(settings: Settings) -> Method:
    """Returns the method: one phase of federated training with identifiers."""
    own = settings.of(Own, "user_identifier")
    client = UserIdentifier(settings.local, own.identifier, own.identifier_length)
    return Method("user-identifier", (federated(settings, client, make),))
