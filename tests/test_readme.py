import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedpers.cli import app
from fedpers.experiments import own_sections
from fedpers.settings import read_toml, resolve

ROOT = Path(__file__).resolve().parents[1]
CARDS = sorted((ROOT / "fedpers" / "experiments" / "cards").glob("*.toml"))


# Commands whose help stands in the README, those that take simulate's settings too without them.
WHOLE = ("simulate", "data describe", "attack membership", "attack update", "study", "people")
PARTLY = ("compare", "attack attribution")


def help_of(command: str) -> str:
    """Returns what a command's --help prints at 80 columns."""
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "80"})
    lines = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
    return lines.replace("Usage: root", "Usage: fedpers")


def own_help_of(command: str) -> str:
    """Returns a command's help without the settings that simulate's has word for word."""
    common = set(re.split(r"\n(?=  --)", help_of("simulate"))[1:])
    entries = re.split(r"\n(?=  --)", help_of(command))
    kept = [entry for entry in entries if entry not in common]
    assert len(kept) < len(entries)
    return "\n".join([*kept, "  and the settings of fedpers simulate"])


def shown_help(command: str) -> str:
    """Returns what the README shows of a command's help."""
    return help_of(command) if command in WHOLE else own_help_of(command)


@pytest.mark.parametrize("command", [*WHOLE, *PARTLY])
def test_the_readme_shows_the_help_as_it_is(command: str) -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"$ fedpers {command} --help\n{shown_help(command)}\n```" in readme


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_a_card_holds_valid_settings_and_begins_with_its_command(card: Path) -> None:
    settings = resolve([read_toml(card)], own_sections())
    for section, fields in tomllib.loads(card.read_text()).items():
        found = settings.own[section] if section in settings.own else getattr(settings, section)
        assert {name: getattr(found, name) for name in fields} == fields
    first = card.read_text().partition("\n")[0]
    assert first.startswith("# fedpers ")
    assert f"--config fedpers/experiments/cards/{card.name} " in first


def test_every_file_the_readme_names_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    example = {"fedpers/clients/label_prior.py", "fedpers/experiments/label_prior.py"}
    named = set(re.findall(r"(?:fedpers|tests)/[\w/]+\.(?:py|toml)", readme)) - example
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
