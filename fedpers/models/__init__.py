"""Models: loading, texts as tokens, parameters as arrays."""

from fedpers.models.arrays import Arrays, Rows, Trained, digest, extract, finite, insert, whole
from fedpers.models.classifier import Classifier
from fedpers.models.dropout import KeyedDropout
from fedpers.models.encoding import Batch, Examples, Vectors, collate, encode, pool, special_tokens
from fedpers.models.families import Beta, Family, Gaussian, Theta, log_densities
from fedpers.models.loading import TINY, Model, ModelSpec, load, quiet_transformers, specify
from fedpers.models.user_tokens import user_ids
from fedpers.models.words import Words

__all__ = [
    "TINY",
    "Arrays",
    "Batch",
    "Beta",
    "Classifier",
    "Examples",
    "Family",
    "Gaussian",
    "KeyedDropout",
    "Model",
    "ModelSpec",
    "Rows",
    "Theta",
    "Trained",
    "Vectors",
    "Words",
    "collate",
    "digest",
    "encode",
    "extract",
    "finite",
    "insert",
    "load",
    "log_densities",
    "pool",
    "quiet_transformers",
    "special_tokens",
    "specify",
    "user_ids",
    "whole",
]
