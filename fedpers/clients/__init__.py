"""The device's half of every method, one file a method."""

from fedpers.clients.hard_prompts import ContextOf, ContextOrder, HardPrompts
from fedpers.clients.idfree import AnonymousUpload, DistributionFit, UserTokens
from fedpers.clients.on_device import OnDevice
from fedpers.clients.oppu import PersonalModule, Prompted, Prompts, TaskTeacher
from fedpers.clients.plain import Plain
from fedpers.clients.user_embeddings import UserEmbeddings
from fedpers.clients.user_identifier import IdentifierKind, UserIdentifier
from fedpers.clients.writer_prompts import WriterPrompts

__all__ = [
    "AnonymousUpload",
    "ContextOf",
    "ContextOrder",
    "DistributionFit",
    "HardPrompts",
    "IdentifierKind",
    "OnDevice",
    "PersonalModule",
    "Plain",
    "Prompted",
    "Prompts",
    "TaskTeacher",
    "UserEmbeddings",
    "UserIdentifier",
    "UserTokens",
    "WriterPrompts",
]
