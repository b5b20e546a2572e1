"""Models: loading, texts as tokens, parameters as arrays."""

from fedpers.models.additions import Addition, detach, groups_of, notes_of, owned, rows
from fedpers.models.arrays import OWN, Arrays, Rows, Trained, digest, extract, finite, insert, shared, whole
from fedpers.models.context import CONTEXT_SEGMENTS, ContextSegments, context_room, with_context
from fedpers.models.dropout import KeyedDropout
from fedpers.models.encoding import Batch, Examples, Vectors, collate, pool, pool_owned, special_tokens
from fedpers.models.families import Beta, Family, Gaussian, Theta, log_densities
from fedpers.models.frozen_features import FROZEN_FEATURES, FrozenFeatures, features
from fedpers.models.identifier_words import IDENTIFIER_WORDS, IdentifierTable, marked
from fedpers.models.inputs import NOBODY, Inputs
from fedpers.models.loading import (
    TINY,
    Head,
    Model,
    ModelSpec,
    load,
    quiet_transformers,
    random_weights,
    specify,
)
from fedpers.models.masked_words import MASKED_WORDS, MaskedHead, check_encoder
from fedpers.models.masking import Masking, hide_words, packed
from fedpers.models.reading import Reader
from fedpers.models.soft_prompts import PROMPT, WRITER_PROMPTS, Placement, SoftPrompts
from fedpers.models.texts import answer_tokens, encode, next_tokens, prompted, text_room, written
from fedpers.models.user_tokens import user_ids, user_tokens
from fedpers.models.words import Words, word_table
from fedpers.models.writing import Writing

__all__ = [
    "CONTEXT_SEGMENTS",
    "FROZEN_FEATURES",
    "IDENTIFIER_WORDS",
    "MASKED_WORDS",
    "NOBODY",
    "OWN",
    "PROMPT",
    "TINY",
    "WRITER_PROMPTS",
    "Addition",
    "Arrays",
    "Batch",
    "Beta",
    "ContextSegments",
    "Examples",
    "Family",
    "FrozenFeatures",
    "Gaussian",
    "Head",
    "IdentifierTable",
    "Inputs",
    "KeyedDropout",
    "MaskedHead",
    "Masking",
    "Model",
    "ModelSpec",
    "Placement",
    "Reader",
    "Rows",
    "SoftPrompts",
    "Theta",
    "Trained",
    "Vectors",
    "Words",
    "Writing",
    "answer_tokens",
    "check_encoder",
    "collate",
    "context_room",
    "detach",
    "digest",
    "encode",
    "extract",
    "features",
    "finite",
    "groups_of",
    "hide_words",
    "insert",
    "load",
    "log_densities",
    "marked",
    "next_tokens",
    "notes_of",
    "owned",
    "packed",
    "pool",
    "pool_owned",
    "prompted",
    "quiet_transformers",
    "random_weights",
    "rows",
    "shared",
    "special_tokens",
    "specify",
    "text_room",
    "user_ids",
    "user_tokens",
    "whole",
    "with_context",
    "word_table",
    "written",
]
