"""The attacks on finished runs: `fedpers attack`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fedpers import commands
from fedpers.audit import AuditSettings, MembershipSettings, UpdateSettings
from fedpers.cli.options import Config, Json, Out, Sets, layers_of, show
from fedpers.errors import InputError
from fedpers.experiments import own_sections
from fedpers.report.attribution_tables import attribution_table
from fedpers.report.membership_tables import membership_table
from fedpers.report.progress import Reporter
from fedpers.report.update_tables import update_table
from fedpers.settings import resolve


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
    frontier of accuracy and misattribution instead; exit status 1 if somebody stopped it before its end.
    """
    own = {"audit": layer.get("audit", {})}
    given = resolve([own], {"audit": AuditSettings}).of(AuditSettings, "audit")
    rest = {name: fields for name, fields in layer.items() if name != "audit"}
    if run is not None:
        if rest or config or set or out or sweep:
            raise InputError("a finished run has its own settings: give RUN and options of the attack only")
        result = commands.audit_attribution(run, given, Reporter())
    else:
        layers = [{"run": {"method": "idfree"}}, *layers_of(config, set, rest)]
        settings = resolve(layers, own_sections())
        if sweep is not None and own["audit"]:
            raise InputError(
                f"--sweep has one attacker, who knows every distribution: leave {_flag(own['audit'])} out"
            )
        if sweep is None:
            result = commands.attack_attribution(settings, given, out, Reporter())
        else:
            result = commands.sweep_attribution(settings, sweep, out, Reporter())
    show(result, attribution_table, json)
    if result.get("interrupted"):
        raise typer.Exit(1)


def _flag(given: Mapping[str, Any]) -> str:
    """Returns the first of some settings as the command line has it."""
    return f"--{next(iter(given)).replace('_', '-')}"


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
    show(result, membership_table, json)
    if result["interrupted"]:
        raise typer.Exit(1)


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
    show(commands.attack_update(run, given, Reporter()), update_table, json)
