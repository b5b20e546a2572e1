"""Settings from layers of given ones, and back into a text."""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from fedpers.errors import InputError, unknown
from fedpers.settings.section import Section, is_flag
from fedpers.settings.sections import Settings

S = TypeVar("S", bound=Section)


def all_sections(own_sections: Mapping[str, type[Section]]) -> dict[str, type[Section]]:
    """Returns the classes of all sections, every run's and the methods' own, by section name."""
    core = {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    return core | dict(own_sections)


def resolve(
    layers: Iterable[Mapping[str, Any]], own_sections: Mapping[str, type[Section]] = MappingProxyType({})
) -> Settings:
    """Merges layers of settings over the defaults, later ones over earlier ones.

    Args:
        layers: Nested as in a TOML file: section -> field -> value.
        own_sections: The classes of the methods' own sections, by section name.

    Raises:
        InputError: An unknown name or a value that breaks a rule, with the nearest valid one.
    """
    classes = all_sections(own_sections)
    merged: dict[str, dict[str, Any]] = {name: {} for name in classes}
    for layer in layers:
        for name, fields in layer.items():
            if name not in classes:
                raise unknown("section of settings", name, classes)
            if not isinstance(fields, Mapping):
                raise InputError(
                    f"{name} is a section: set one of its fields, as in {_example(name, classes)}"
                )
            merged[name].update(fields)
    built = {name: _build(name, classes[name], fields) for name, fields in merged.items()}
    own = {name: built.pop(name) for name in own_sections}
    return Settings.model_validate({**built, "own": own})


def _example(section: str, classes: Mapping[str, type[Section]]) -> str:
    return f"{section}.{next(iter(classes[section].model_fields))}=..."


def _build(section: str, kind: type[S], given: Mapping[str, Any]) -> S:
    for name in given:
        if name not in kind.model_fields:
            raise unknown(
                "setting", f"{section}.{name}", [f"{section}.{field}" for field in kind.model_fields]
            )
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # a rule between several settings
            raise InputError(f"{section}: {first['msg'].removeprefix('Value error, ')}") from None
        field = str(first["loc"][0])
        shown = f"--{field.replace('_', '-')}" if is_flag(kind.model_fields[field]) else f"{section}.{field}"
        rule = first["msg"]
        raise InputError(
            f"{shown} {first['input']!r}: {rule[0].lower()}{rule[1:]}{_nearest(first)}"
        ) from None


def _nearest(error: Mapping[str, Any]) -> str:
    """Returns the nearest valid value of a broken rule, where there is one to tell."""
    context = error.get("ctx", {})
    if "expected" in context:
        choices = re.findall(r"'([^']+)'", context["expected"])
        near = difflib.get_close_matches(str(error["input"]), choices, n=1, cutoff=0.4)
        return f" (did you mean {near[0]!r}?)" if near else ""
    bound = context.get("ge", context.get("le"))
    return f" (nearest: {bound:g})" if bound is not None else ""


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file of settings."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from error


def parse_assignment(text: str) -> dict[str, Any]:
    """Turns `section.field=value` into a layer; the value is read as TOML, or else as plain text.

    >>> parse_assignment("local.local_lr=0.3")
    {'local': {'local_lr': 0.3}}
    >>> parse_assignment("model.model=bert-base-uncased")
    {'model': {'model': 'bert-base-uncased'}}
    """
    name, equals, value = text.partition("=")
    section, dot, field = name.strip().partition(".")
    if not (equals and section and dot and field):
        raise InputError(
            f"--set takes section.field=value, not {text!r}, as in --set local.local_momentum=0.9"
        )
    try:
        parsed: Any = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    return {section: {field: parsed}}


def to_toml(settings: Settings) -> str:
    """Returns settings as a TOML text from which `resolve` makes the same ones."""
    sections = settings.model_dump()
    lines = [
        f"{section}.{field} = {_written(value)}"
        for section, fields in {**sections.pop("own"), **sections}.items()
        for field, value in fields.items()
        if value is not None
    ]
    return "\n".join(lines) + "\n"


def _written(value: Any) -> str:
    """Returns a value as TOML has it: JSON's numbers, strings and booleans are TOML's too."""
    return str(value) if isinstance(value, float) and math.isinf(value) else json.dumps(value)
