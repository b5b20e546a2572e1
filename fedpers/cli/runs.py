"""The commands that run something, and those that tell what there is to run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fedpers import commands
from fedpers.cli.options import Config, Json, Out, Sets, layers_of, settings_of, show
from fedpers.errors import InputError
from fedpers.experiments import experiments, own_sections
from fedpers.report.data_tables import data_table
from fedpers.report.privacy_tables import tradeoff_table
from fedpers.report.progress import Reporter
from fedpers.report.result_tables import (
    comparison_table,
    methods_table,
    simulation_table,
    verification_table,
)
from fedpers.report.study_tables import studies_table, study_table
from fedpers.settings import resolve
from fedpers.verification import SMALL

Resume = Annotated[
    Path | None,
    typer.Option("--resume", help="Go on with a run that was cut off, in its folder.", metavar="RUN"),
]


def simulate(
    layer: Mapping[str, Any],
    config: Config = None,
    set: Sets = None,
    out: Out = None,
    resume: Resume = None,
    json: Json = False,
) -> None:
    """Trains one method federated over simulated people and scores it.

    Without options: 1,100 made-up people who disagree, UserIdentifier, FedAdam. What the best model could
    reach without and with knowing the person is printed beside the result.
    """
    if resume is None:
        result = commands.simulate(settings_of(config, set, layer), out, Reporter())
    elif out is None:
        result = commands.resume(resume, layers_of(config, set, layer), Reporter())
    else:
        raise InputError("--resume goes on in the run's own folder: leave out --out")
    show(result, simulation_table, json)


def compare(
    layer: Mapping[str, Any],
    methods: Annotated[
        str, typer.Option("--methods", help="Methods, parted by commas; the first is the baseline.")
    ] = "conventional,user-identifier",
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds, parted by commas.")] = "0,1,2",
    epsilons: Annotated[
        str | None,
        typer.Option(
            "--epsilons",
            help="Federated at several epsilons instead, inf without privacy, each attacked for membership.",
            metavar="LIST",
        ),
    ] = None,
    config: Config = None,
    set: Sets = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Sets methods side by side, each central and federated.

    All cells see the same people, splits and seeds; a central cell goes through as many training samples
    as its federated one. Each is judged at its best validation round or epoch. With --epsilons inf,8,2,1
    it sets accuracy beside privacy instead; the same command with the same --out goes on where it stopped.
    Exit status 1 if somebody stopped it: then what came to its end is compared.
    """
    if epsilons is not None:
        settings = settings_of(config, set, layer)
        traded = commands.compare_epsilons(settings, methods, epsilons, seeds, out, Reporter())
        show(traded, tradeoff_table, json)
        if traded["interrupted"]:
            raise typer.Exit(1)
        return
    result = commands.compare(settings_of(config, set, layer), methods, seeds, out, Reporter())
    show(result, comparison_table, json)
    if result["interrupted"]:
        raise typer.Exit(1)


def study(
    name: Annotated[
        str | None, typer.Argument(help="A study, or a TOML file of one's own.", metavar="[NAME]")
    ] = None,
    list: Annotated[bool, typer.Option("--list", help="List the studies there are.")] = False,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Seeds, parted by commas. [the study's]", metavar="TEXT")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", help="Runs at once; 0 or 1 works in this process. [one a core]", metavar="INT"
        ),
    ] = None,
    config: Config = None,
    set: Sets = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The study's folder, to go on in if it is one. [a new one in runs/]",
            metavar="FOLDER",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Runs a study: a grid of runs that ends in one table, such as a paper's.

    Without NAME it lists the studies. --config and --set give settings of all cells, to try a study small.
    Every finished run is kept: the same command with the same --out does only what is missing. Exit status
    1 if a run failed.
    """
    if name is None or list:
        listed = commands.list_studies()
        show({"studies": listed}, lambda _: studies_table(listed), json)
        return
    result = commands.study(name, layers_of(config, set, {}), seeds, out, jobs, Reporter())
    show(result, study_table, json)
    if result["interrupted"] or result["failed"]:
        raise typer.Exit(1)


def verify(layer: Mapping[str, Any], config: Config = None, set: Sets = None, json: Json = False) -> None:
    """Shows that every engine computes the same.

    Runs a few small rounds of a method device by device, in cohorts, on 1 and 2 Ray workers, and under
    Flower's stock engine, and compares the weights: the same bits on any number of workers, the same up to
    rounding otherwise. Unless told otherwise: 8 made-up people, 2 rounds of all of them, FedAvg. Exit status
    1 if an engine disagrees.
    """
    layers = [SMALL, *layers_of(config, set, layer)]
    result = commands.verify(resolve(layers, own_sections()), Reporter())
    show(result, verification_table, json)
    if not result["agree"]:
        raise typer.Exit(1)


def describe(
    source: Annotated[str, typer.Argument(help="As for --data.", metavar="SOURCE")],
    layer: Mapping[str, Any],
    config: Config = None,
    set: Sets = None,
    json: Json = False,
) -> None:
    """Shows people, samples, lengths, and classes with what simple majority rules score.

    Where texts or next words are to be written, it counts these instead of classes.
    """
    given = {**layer, "data": {**layer.get("data", {}), "data": source}}
    description = commands.describe(settings_of(config, set, given))
    show(description.record(), lambda _: data_table(description), json)


def methods(json: Json = False) -> None:
    """Lists the methods."""
    summaries = {name: found.summary for name, found in experiments().items()}
    show(summaries, methods_table, json)
