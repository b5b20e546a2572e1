"""Models: loading, texts as tokens, parameters as arrays."""

from fedpers.models.arrays import Arrays, digest, extract, insert
from fedpers.models.encoding import Batch, Examples, collate, encode, pool, special_tokens
from fedpers.models.loading import TINY, Model, ModelSpec, load, quiet_transformers, specify

__all__ = [
    "TINY",
    "Arrays",
    "Batch",
    "Examples",
    "Model",
    "ModelSpec",
    "collate",
    "digest",
    "encode",
    "extract",
    "insert",
    "load",
    "pool",
    "quiet_transformers",
    "special_tokens",
    "specify",
]
