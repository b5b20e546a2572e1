"""Command-line flags made from the settings classes, so that each setting is described once."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import typer
from pydantic.fields import FieldInfo

from fedpers.settings import Section, is_flag

_SHORT = {int: "INT", float: "FLOAT", str: "TEXT"}


def with_flags(
    command: Callable[..., None],
    sections: Mapping[str, type[Section]],
    only: Collection[str] | None = None,
    without: Collection[str] = (),
) -> Callable[..., None]:
    """Gives a command one option for each setting that has a flag.

    Args:
        command: Takes its own options by name and the settings as `layer`, nested by section.
        sections: The settings classes by section name.
        only: The settings to take, all that have a flag by default.
        without: Settings not to take.
    """
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "layer"
    ]
    homes, flags = {}, {}
    for section, kind in sections.items():
        for field, info in kind.model_fields.items():
            if is_flag(info) and (only is None or field in only) and field not in without:
                homes[field], flags[field] = section, _parameter(section, field, info)

    def run(**values: Any) -> None:
        layer: dict[str, dict[str, Any]] = {}
        for field in flags:
            value = values.pop(field)
            if value is not None:
                layer.setdefault(homes[field], {})[field] = value
        command(**values, layer=layer)

    parameters = [*own, *flags.values()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _parameter(section: str, field: str, info: FieldInfo) -> inspect.Parameter:
    """Returns the option of a field; values stay text, for the settings class checks them."""
    help = (info.description or "") + _default(info)
    panel = f"{section.replace('_', ' ').capitalize()} settings"
    name = f"--{field.replace('_', '-')}"
    if info.annotation is bool:
        option = typer.Option(name, help=help, rich_help_panel=panel)
        annotation: Any = typing.Annotated[bool | None, option]
    else:
        option = typer.Option(name, help=help, rich_help_panel=panel, metavar=_metavar(info.annotation))
        annotation = typing.Annotated[str | None, option]
    return inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _default(info: FieldInfo) -> str:
    if info.default is None or isinstance(info.default, bool) or "[" in (info.description or ""):
        return ""
    return f" [{info.default}]"


def _metavar(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        choices = "|".join(str(choice) for choice in typing.get_args(annotation))
        return choices if len(choices) <= 24 else "NAME"
    if isinstance(annotation, types.UnionType):
        annotation = next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return _SHORT.get(annotation, "VALUE")
