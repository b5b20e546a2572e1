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


@pytest.mark.parametrize(
    "command", ["simulate", "compare", "data describe", "attack attribution", "study", "people"]
)
def test_the_readme_shows_the_help_as_it_is(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "80"})
    expected = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
    readme = (ROOT / "README.md").read_text()
    assert f"$ fedpers {command} --help\n{expected.replace('Usage: root', 'Usage: fedpers')}\n```" in readme


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
