"""Scores per person and pooled, of classes and of texts, and how two methods compare."""

from fedpers.evaluation.scores import (
    ERRORS,
    Change,
    Floats,
    Scores,
    Summary,
    bootstrap,
    bootstrap_accuracy,
    bootstrap_measure,
    change,
    merge,
    paired_test,
    score,
)
from fedpers.evaluation.texts import principal, score_texts

__all__ = [
    "ERRORS",
    "Change",
    "Floats",
    "Scores",
    "Summary",
    "bootstrap",
    "bootstrap_accuracy",
    "bootstrap_measure",
    "change",
    "merge",
    "paired_test",
    "principal",
    "score",
    "score_texts",
]
