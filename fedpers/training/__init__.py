"""Local training: how, many devices in one pass, and prediction."""

from fedpers.training.fit import fit, fit_devices
from fedpers.training.plan import Pass, Plan
from fedpers.training.prediction import Floats, logits, predict
from fedpers.training.room import devices_at_once

__all__ = ["Floats", "Pass", "Plan", "devices_at_once", "fit", "fit_devices", "logits", "predict"]
