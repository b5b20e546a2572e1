"""Every method's experiment, one file a method, found by being here.

A method's file has `build(settings) -> Method` and, where the method has settings of its own, a settings
class named `Own`. Its name is the file's, with hyphens.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedpers.errors import unknown
from fedpers.method import Method
from fedpers.settings import Section, Settings

__all__ = ["Experiment", "experiments", "find", "own_sections"]


@dataclass(frozen=True)
class Experiment:
    """A method that can be run by name.

    Attributes:
        name: The method's name.
        summary: The first line of its file's docstring.
        build: Makes the method from a run's settings.
        own: The class of its own settings, or None.
    """

    name: str
    summary: str
    build: Callable[[Settings], Method]
    own: type[Section] | None


def experiments() -> Mapping[str, Experiment]:
    """Returns all methods by name."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.ispkg:
            continue
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        name = module.name.replace("_", "-")
        summary = (loaded.__doc__ or "").strip().partition("\n")[0]
        found[name] = Experiment(name, summary, loaded.build, getattr(loaded, "Own", None))
    return found


def find(name: str) -> Experiment:
    """Returns a method by name.

    Raises:
        InputError: There is none of that name.
    """
    methods = experiments()
    if name not in methods:
        raise unknown("method", name, methods)
    return methods[name]


def own_sections() -> dict[str, type[Section]]:
    """Returns the classes of the methods' own settings, by section name."""
    return {
        name.replace("-", "_"): experiment.own
        for name, experiment in experiments().items()
        if experiment.own is not None
    }
