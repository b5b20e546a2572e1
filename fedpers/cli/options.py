"""What commands have in common: their options, the settings they give, and how results are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import click
import typer
import typer.core
from rich.console import Console, RenderableType

from fedpers.experiments import own_sections
from fedpers.settings import Settings, parse_assignment, read_toml, resolve

Config = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings.", metavar="FILE")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting, as section.field=value.", metavar="KEY=VALUE")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="The run's folder. [a new one in runs/]", metavar="FOLDER")
]


class Command(typer.core.TyperCommand):
    """A command whose standard output is its result alone: what libraries print goes to standard error.

    Ray says so on standard output, at any time and from a thread of its own, when a worker dies.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command, with the standard output as the context's object for `show`."""
        ctx.obj = sys.stdout
        with redirect_stdout(sys.stderr):
            return super().invoke(ctx)


def settings_of(config: Path | None, sets: list[str] | None, layer: Mapping[str, Any]) -> Settings:
    """Returns the settings of a file, of assignments and of flags; later ones win."""
    return resolve(layers_of(config, sets, layer), own_sections())


def layers_of(
    config: Path | None, sets: list[str] | None, layer: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Returns the same in their order, the last to win, unresolved."""
    layers = [read_toml(config)] if config else []
    return [*layers, *(parse_assignment(text) for text in sets or []), layer]


def show(result: Mapping[str, Any], table: Any, as_json: bool) -> None:
    """Prints a command's result as one JSON object, or as the table that is made of it."""
    out = click.get_current_context().obj
    if as_json:
        out.write(json.dumps(result) + "\n")
    else:
        rendered: RenderableType = table(result)
        # People's names and labels are printed as they are, and a text's lines as long as they are.
        console = Console(file=out, highlight=False, markup=False, emoji=False)
        console.print(rendered, soft_wrap=isinstance(rendered, str))
