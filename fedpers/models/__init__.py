"""Models: loading, texts as tokens, parameters as arrays."""

from fedpers.models.arrays import Arrays, Rows, Trained, digest, extract, finite, insert, whole
from fedpers.models.classifier import Classifier
from fedpers.models.dropout import KeyedDropout
from fedpers.models.encoding import Batch, Examples, collate, encode, pool, special_tokens
from fedpers.models.families import Beta, Family, Gaussian, log_densities
from fedpers.models.loading import TINY, Model, ModelSpec, load, quiet_transformers, specify
from fedpers.models.prompts import PromptedEmbedding, add_prompt
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
    "PromptedEmbedding",
    "Rows",
    "Trained",
    "Words",
    "add_prompt",
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
    "whole",
]
