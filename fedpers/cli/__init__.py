"""The commands: parse, call, print."""

from __future__ import annotations

import sys

import click
import typer
import typer.core

from fedpers.audit import AuditSettings, MembershipSettings, UpdateSettings
from fedpers.cli.attacks import attribution, membership, update
from fedpers.cli.options import Command
from fedpers.cli.people import people
from fedpers.cli.runs import compare, describe, methods, simulate, study, verify
from fedpers.errors import FedpersError
from fedpers.experiments import own_sections
from fedpers.flags import with_flags
from fedpers.models import quiet_transformers
from fedpers.settings import DataSettings, all_sections

__all__ = ["app", "main"]

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

_ALL = all_sections(own_sections())
app.command(cls=Command)(with_flags(simulate, _ALL))
app.command(cls=Command)(with_flags(compare, _ALL, without=("method", "seed", "checkpoint_every")))
app.command(cls=Command)(study)
app.command(cls=Command)(people)
app.command(cls=Command)(with_flags(verify, _ALL, without=_VERIFY_DECIDES))
app.command(cls=Command)(methods)
attack_app.command(cls=Command)(
    with_flags(attribution, {"audit": AuditSettings, **_ALL}, without=("method",))
)
attack_app.command(cls=Command)(with_flags(membership, {"membership": MembershipSettings}))
attack_app.command(cls=Command)(with_flags(update, {"updates": UpdateSettings}))
data_app.callback()(lambda: None)  # a group of one command would be that command
data_app.command(cls=Command)(with_flags(describe, {"data": DataSettings}, _READING))


def main() -> None:
    """Runs the command line; a mistake is one line on standard error and exit status 2."""
    quiet_transformers()
    try:
        status = app(prog_name="fedpers", standalone_mode=False)
        if status == _STOPPED:  # how typer hands Ctrl-C on
            _fail("stopped by Ctrl-C", _STOPPED)
    except FedpersError as error:
        status = _fail(str(error), error.exit_status)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        status = error.exit_code
    except click.ClickException as error:
        status = _fail(error.format_message(), error.exit_code)
    sys.exit(status or 0)


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return status
