"""The device's half of every method, one file a method."""

from fedpers.clients.plain import Plain
from fedpers.clients.user_identifier import IdentifierKind, UserIdentifier

__all__ = ["IdentifierKind", "Plain", "UserIdentifier"]
