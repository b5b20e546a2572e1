"""On-device tuning: the central model, tuned on each person's texts alone.

The baseline of IDfree-PL (arXiv 2501.06062); its central phase is IDfree-PL's, with the same settings.
"""

from __future__ import annotations

from typing import Literal

from fedpers.clients import OnDevice
from fedpers.experiments import idfree
from fedpers.method import Method, Phase
from fedpers.settings import Section, Settings, flag, option
from fedpers.strategies import Silence
from fedpers.training import Plan


class Own(Section):
    """On-device tuning: the central model, tuned by each device for itself."""

    tune_epochs: int = flag(5, "Passes of a device over its own texts (IDfree-PL's code: 20).", ge=1)
    tune_lr: float = flag(1e-3, "Learning rate of a device's tuning (IDfree-PL's code: 5e-5).", gt=0)
    tune_batch_size: int = option(8, "Samples in a batch of a device's tuning.", ge=1)
    tune_optimizer: Literal["sgd", "adam", "adamw"] = option("adamw", "Optimizer of a device's tuning.")
    tune_weight_decay: float = option(0.0, "Weight decay; above 0 everyone keeps a whole model.", ge=0)
    tune_clip: float | None = option(None, "Largest L2 norm of the gradient in a device's tuning.", gt=0)


def build(settings: Settings) -> Method:
    """Returns the method: central model, then everyone for themselves."""
    plan = plan_of(settings.of(Own, "on_device"))
    tuning = Phase("tuning", OnDevice(plan), lambda server: Silence(), 1, plan)
    central = idfree.central_phase(settings, settings.of(idfree.Own, "idfree"))
    return Method("on-device", (central, tuning))


def plan_of(own: Own) -> Plan:
    """Returns how a device tunes."""
    return Plan(
        own.tune_optimizer,
        own.tune_lr,
        own.tune_epochs,
        own.tune_batch_size,
        weight_decay=own.tune_weight_decay,
        clip=own.tune_clip,
    )
