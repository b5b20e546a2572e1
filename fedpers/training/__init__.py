"""Local training: how, many devices in one pass, and prediction."""

from fedpers.training.fit import fit, fit_devices, fit_epoch
from fedpers.training.plan import Pass, Plan
from fedpers.training.prediction import Floats, logits, predict
from fedpers.training.room import devices_at_once
from fedpers.training.stack import Moments

__all__ = [
    "Floats",
    "Moments",
    "Pass",
    "Plan",
    "devices_at_once",
    "fit",
    "fit_devices",
    "fit_epoch",
    "logits",
    "predict",
]
