"""The commands: parse, call, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import click
import typer
import typer.core
from rich.console import Console, RenderableType

from fedpers import commands
from fedpers.audit import AuditSettings, MembershipSettings, UpdateSettings
from fedpers.errors import FedpersError, InputError
from fedpers.experiments import experiments, own_sections
from fedpers.flags import with_flags
from fedpers.models import quiet_transformers
from fedpers.report.attribution_tables import attribution_table
from fedpers.report.data_tables import data_table
from fedpers.report.membership_tables import membership_table
from fedpers.report.people_tables import (
    export_text,
    forgotten_text,
    likeness_table,
    people_table,
    strata_table,
)
from fedpers.report.privacy_tables import tradeoff_table
from fedpers.report.progress import Reporter
from fedpers.report.result_tables import (
    comparison_table,
    methods_table,
    simulation_table,
    verification_table,
)
from fedpers.report.study_tables import studies_table, study_table
from fedpers.report.update_tables import update_table
from fedpers.settings import (
    DataSettings,
    Settings,
    all_sections,
    parse_assignment,
    read_toml,
    resolve,
)
from fedpers.verification import SMALL

_READING = (
    *("format", "user_column", "text_column", "label_column", "answer", "hashtags", "task_file"),
    *("time_column", "drop_empty"),
)

# What verify itself decides: every engine gets the same devices, and Flower's stock engine loses none.
_VERIFY_DECIDES = (
    *("workers", "checkpoint_every", "eval_every", "clients_per_round"),
    *("dropout_rate", "allow_dropout", "held_out_people"),
)

_STOPPED = 130

typer.core.HAS_RICH = False  # with rich, typer puts a backslash before the brackets of plain help

app = typer.Typer(
    name="fedpers",
    help="Simulates federated learning of personalised language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Looks at people and their text.", no_args_is_help=True)
app.add_typer(data_app, name="data")
attack_app = typer.Typer(help="Attacks what leaves the devices.", no_args_is_help=True)
app.add_typer(attack_app, name="attack")

Config = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings.", metavar="FILE")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting, as section.field=value.", metavar="KEY=VALUE")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="The run's folder. [a new one in runs/]", metavar="FOLDER")
]
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
        result = commands.simulate(_settings(config, set, layer), out, Reporter())
    elif out is None:
        result = commands.resume(resume, _layers(config, set, layer), Reporter())
    else:
        raise InputError("--resume goes on in the run's own folder: leave out --out")
    _print(result, simulation_table, json)


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
    """
    if epsilons is not None:
        settings = _settings(config, set, layer)
        traded = commands.compare_epsilons(settings, methods, epsilons, seeds, out, Reporter())
        _print(traded, tradeoff_table, json)
        if traded["interrupted"]:
            raise typer.Exit(1)
        return
    result = commands.compare(_settings(config, set, layer), methods, seeds, out, Reporter())
    _print(result, comparison_table, json)


def verify(layer: Mapping[str, Any], config: Config = None, set: Sets = None, json: Json = False) -> None:
    """Shows that every engine computes the same.

    Runs a few small rounds of a method device by device, in cohorts, on 1 and 2 Ray workers, and under
    Flower's stock engine, and compares the weights: the same bits on any number of workers, the same up to
    rounding otherwise. Unless told otherwise: 8 made-up people, 2 rounds of all of them, FedAvg. Exit status
    1 if an engine disagrees.
    """
    layers = [SMALL, *_layers(config, set, layer)]
    result = commands.verify(resolve(layers, own_sections()), Reporter())
    _print(result, verification_table, json)
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
    description = commands.describe(_settings(config, set, given))
    _print(description.record(), lambda _: data_table(description), json)


def attribution(
    layer: Mapping[str, Any],
    run: Annotated[
        Path | None, typer.Argument(help="A finished run to audit. [a new one is made]", metavar="[RUN]")
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", help="Many runs instead: a setting and its values.", metavar="NAME=A,B,C"),
    ] = None,
    config: Config = None,
    set: Sets = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Measures how often anonymous uploads are attributed to the wrong person.

    Takes a run of IDfree-PL, or makes one with the settings given, and lets attackers try: from those who
    know everyone's distribution to those who know nothing. With --sweep noise=0.02,0.08,0.32 it draws the
    frontier of accuracy and misattribution instead.
    """
    own = {"audit": layer.get("audit", {})}
    given = resolve([own], {"audit": AuditSettings}).of(AuditSettings, "audit")
    rest = {name: fields for name, fields in layer.items() if name != "audit"}
    if run is not None:
        if rest or config or set or out or sweep:
            raise InputError("a finished run has its own settings: give RUN and options of the attack only")
        result = commands.audit_attribution(run, given, Reporter())
    else:
        layers = [{"run": {"method": "idfree"}}, *_layers(config, set, rest)]
        settings = resolve(layers, own_sections())
        if sweep is None:
            result = commands.attack_attribution(settings, given, out, Reporter())
        else:
            result = commands.sweep_attribution(settings, sweep, out, Reporter())
    _print(result, attribution_table, json)


def update(
    run: Annotated[Path, typer.Argument(help="A finished run to attack.", metavar="RUN")],
    layer: Mapping[str, Any],
    json: Json = False,
) -> None:
    """Measures what a device's update reveals: the words of its texts, and the person's identifier.

    A word's row in the embedding table moves only if the device read the word, and an identifier's tokens,
    which are in every text, move most. Devices of a finished run train one more round; their updates are
    attacked as they are, then cut to a bound with noise on each, then as sums of a cohort with noise on the
    sum. Methods whose devices send no updates have nothing to attack.
    """
    own = {"updates": layer.get("updates", {})}
    given = resolve([own], {"updates": UpdateSettings}).of(UpdateSettings, "updates")
    _print(commands.attack_update(run, given, Reporter()), update_table, json)


def membership(
    layer: Mapping[str, Any],
    run: Annotated[Path, typer.Argument(help="A finished run to attack.", metavar="RUN")],
    json: Json = False,
) -> None:
    """Measures how well an attacker tells what, or who, was in the training of a run.

    A text: training texts of the clients against test texts of theirs. A person: clients against people who
    were held out. The attacker goes by the loss, by the loss less that of the base the run started from, and
    with --shadows by LiRA. What is permitted by the run's differential privacy, if it has any, stands below.
    Finished shadow runs stay in the run's folder, so that the same command goes on with what is missing.
    Exit status 1 if somebody stopped it before.
    """
    given = resolve([layer], {"membership": MembershipSettings}).of(MembershipSettings, "membership")
    result = commands.attack_membership(run, given, Reporter())
    _print(result, membership_table, json)
    if result["interrupted"]:
        raise typer.Exit(1)


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
    removes a person from the run's folder and checks that nothing of them is left.
    """
    if sum((compare, strata, export is not None, forget is not None)) > 1:
        raise InputError("give one of --compare, --strata, --export and --forget at a time")
    if (export is None) != (to is None):
        raise InputError("--export PERSON and --to FOLDER go together")
    if compare:
        _print(commands.compare_people(run, module), likeness_table, json)
    elif strata:
        if module is not None:
            raise InputError("--strata tells of every kind of module: leave out --module")
        _print(commands.people_strata(run), strata_table, json)
    elif export is not None and to is not None:
        _print(commands.export_person(run, export, module, to), export_text, json)
    elif forget is not None:
        if module is not None:
            raise InputError("--forget removes all modules of a person: leave out --module")
        _print(commands.forget_person(run, forget), forgotten_text, json)
    else:
        _print(commands.people(run, module), people_table, json)


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
        _print({"studies": listed}, lambda _: studies_table(listed), json)
        return
    result = commands.study(name, _layers(config, set, {}), seeds, out, jobs, Reporter())
    _print(result, study_table, json)
    if result["interrupted"] or result["failed"]:
        raise typer.Exit(1)


@app.command()
def methods(json: Json = False) -> None:
    """Lists the methods."""
    summaries = {name: found.summary for name, found in experiments().items()}
    _print(summaries, methods_table, json)


app.command()(with_flags(simulate, all_sections(own_sections())))
app.command()(
    with_flags(compare, all_sections(own_sections()), without=("method", "seed", "checkpoint_every"))
)
app.command()(study)
app.command()(people)
app.command()(with_flags(verify, all_sections(own_sections()), without=_VERIFY_DECIDES))
attack_app.command()(
    with_flags(attribution, {"audit": AuditSettings, **all_sections(own_sections())}, without=("method",))
)
attack_app.command()(with_flags(update, {"updates": UpdateSettings}))


attack_app.command()(with_flags(membership, {"membership": MembershipSettings}))
# A group of one command would be that command.
attack_app.callback()(lambda: None)
data_app.command()(with_flags(describe, {"data": DataSettings}, _READING))


def main() -> None:
    """Runs the command line; a mistake is one line on standard error and exit status 2."""
    quiet_transformers()
    try:
        status = app(prog_name="fedpers", standalone_mode=False)
    except FedpersError as error:
        status = _fail(str(error), error.exit_status)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        status = error.exit_code
    except click.ClickException as error:
        status = _fail(error.format_message(), error.exit_code)
    if status == _STOPPED:  # how typer hands Ctrl-C on
        _fail("stopped before there was anything to score", _STOPPED)
    sys.exit(status or 0)


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return status


def _settings(config: Path | None, sets: list[str] | None, layer: Mapping[str, Any]) -> Settings:
    return resolve(_layers(config, sets, layer), own_sections())


def _layers(config: Path | None, sets: list[str] | None, layer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    layers = [read_toml(config)] if config else []
    return [*layers, *(parse_assignment(text) for text in sets or []), layer]


def _print(result: Mapping[str, Any], table: Any, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        rendered: RenderableType = table(result)
        # People's names and labels are printed as they are, and a text's lines as long as they are.
        console = Console(highlight=False, markup=False, emoji=False)
        console.print(rendered, soft_wrap=isinstance(rendered, str))
