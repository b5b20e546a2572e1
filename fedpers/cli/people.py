"""The personal modules of a finished run: `fedpers people`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedpers import commands
from fedpers.cli.options import Json, show
from fedpers.errors import InputError
from fedpers.report.people_tables import (
    export_text,
    forgotten_text,
    likeness_table,
    people_table,
    strata_table,
)


def people(
    run: Annotated[Path, typer.Argument(help="A finished run of oppu.", metavar="RUN")],
    compare: Annotated[bool, typer.Option("--compare", help="Tell how alike people's modules are.")] = False,
    strata: Annotated[
        bool, typer.Option("--strata", help="Tell how people fare by the length of their history.")
    ] = False,
    export: Annotated[
        str | None, typer.Option("--export", help="Take this person's module out.", metavar="PERSON")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="An empty folder for --export.", metavar="FOLDER")
    ] = None,
    forget: Annotated[
        str | None, typer.Option("--forget", help="Remove all that is this person's.", metavar="PERSON")
    ] = None,
    module: Annotated[
        str | None,
        typer.Option("--module", help="Which kind, such as 'lora k=0'. [the last]", metavar="NAME"),
    ] = None,
    json: Json = False,
) -> None:
    """Lists, compares, exports and forgets the personal modules of a run.

    Modules belong to people: --export writes one in peft's own format, for use without fedpers, and --forget
    removes a person from the run's folder and checks that nothing of them is left. What attacks on membership
    kept there goes with it, for their shadow runs tell of everyone's texts.
    """
    if sum((compare, strata, export is not None, forget is not None)) > 1:
        raise InputError("give one of --compare, --strata, --export and --forget at a time")
    if (export is None) != (to is None):
        raise InputError("--export PERSON and --to FOLDER go together")
    if compare:
        show(commands.compare_people(run, module), likeness_table, json)
    elif strata:
        if module is not None:
            raise InputError("--strata tells of every kind of module: leave out --module")
        show(commands.people_strata(run), strata_table, json)
    elif export is not None and to is not None:
        show(commands.export_person(run, export, module, to), export_text, json)
    elif forget is not None:
        if module is not None:
            raise InputError("--forget removes all modules of a person: leave out --module")
        show(commands.forget_person(run, forget), forgotten_text, json)
    else:
        show(commands.people(run, module), people_table, json)
