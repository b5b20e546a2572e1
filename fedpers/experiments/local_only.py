"""Local only: everyone tunes the base on their own texts, and learns from nobody else.

The other end from a shared model; how a device tunes is on-device's settings.
"""

from __future__ import annotations

from fedpers.clients import OnDevice
from fedpers.experiments import on_device
from fedpers.method import Method, Phase
from fedpers.settings import Settings
from fedpers.strategies import Silence


def build(settings: Settings) -> Method:
    """Returns the method: one round in which everyone tunes the base for themselves."""
    plan = on_device.plan_of(settings.of(on_device.Own, "on_device"))
    return Method("local-only", (Phase("tuning", OnDevice(plan), lambda server: Silence(), 1, plan),))
