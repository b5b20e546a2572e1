"""Local training: how, many devices in one pass, and prediction."""

from fedpers.training.fit import Memory, fit, fit_devices, fit_epoch
from fedpers.training.losses import Personal
from fedpers.training.plan import Pass, Plan
from fedpers.training.prediction import (
    Answers,
    Doubles,
    Floats,
    Ranking,
    answer,
    log_odds,
    logits,
    predict,
    ranking,
)
from fedpers.training.room import devices_at_once
from fedpers.training.stack import Moments
from fedpers.training.writing import choose, write

__all__ = [
    "Answers",
    "Doubles",
    "Floats",
    "Memory",
    "Moments",
    "Pass",
    "Personal",
    "Plan",
    "Ranking",
    "answer",
    "choose",
    "devices_at_once",
    "fit",
    "fit_devices",
    "fit_epoch",
    "log_odds",
    "logits",
    "predict",
    "ranking",
    "write",
]
