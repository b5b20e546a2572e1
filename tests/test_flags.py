from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from fedpers.cli import app
from fedpers.flags import with_flags
from fedpers.settings import Section, flag, option


class Garden(Section):
    trees: int = flag(3, "Trees in the garden.")
    bed_width: float | None = flag(None, "Width of a bed. [as wide as the garden]")
    fenced: bool = flag(False, "Put a fence around it.")
    soil: Literal["clay", "sand"] = flag("clay", "What it stands on.")
    hidden: int = option(1, "Reached by --set only.")


class House(Section):
    rooms: int = flag(5, "Rooms in the house.")
    trees: int = option(0, "Trees in the house, of no flag.")


SECTIONS: dict[str, type[Section]] = {"garden": Garden, "big_house": House}


class Calls:
    def __init__(self) -> None:
        self.seen: list[tuple[str, Mapping[str, Any]]] = []

    def command(self) -> Callable[..., None]:
        def build(
            layer: Mapping[str, Any], name: Annotated[str, typer.Option("--name", help="A name.")] = "none"
        ) -> None:
            """Builds a house with a garden."""
            self.seen.append((name, layer))

        return build


def invoke(calls: Calls, *arguments: str, sections: Mapping[str, type[Section]] = SECTIONS) -> Result:
    garden = typer.Typer(add_completion=False, rich_markup_mode=None)
    garden.command()(with_flags(calls.command(), sections))
    return CliRunner().invoke(garden, arguments, env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


def layer(*arguments: str) -> Mapping[str, Any]:
    calls = Calls()
    result = invoke(calls, *arguments)
    assert result.exit_code == 0, result.output
    return calls.seen[0][1]


def help_line(option: str) -> str:
    lines = invoke(Calls(), "--help").output.splitlines()
    return next(" ".join(line.split()) for line in lines if line.split()[:1] == [option])


def test_without_flags_the_layer_is_empty() -> None:
    assert layer() == {}


def test_only_the_given_flags_are_passed() -> None:
    assert layer("--trees", "4") == {"garden": {"trees": "4"}}


def test_a_flag_given_its_default_is_passed() -> None:
    assert layer("--trees", "3") == {"garden": {"trees": "3"}}


def test_flags_are_nested_by_section() -> None:
    assert layer("--rooms", "2", "--bed-width", "1.5") == {
        "garden": {"bed_width": "1.5"},
        "big_house": {"rooms": "2"},
    }


def test_values_stay_text_for_the_settings_class_to_check() -> None:
    assert layer("--trees", "many") == {"garden": {"trees": "many"}}


def test_a_yes_or_no_setting_takes_no_value() -> None:
    assert layer("--fenced") == {"garden": {"fenced": True}}


def test_the_commands_own_options_stay() -> None:
    calls = Calls()
    invoke(calls, "--name", "ann", "--trees", "1")
    assert calls.seen == [("ann", {"garden": {"trees": "1"}})]


def test_a_setting_without_a_flag_has_no_option() -> None:
    assert invoke(Calls(), "--hidden", "2").exit_code == 2


def test_a_setting_of_a_flags_name_in_another_section_does_not_take_its_value() -> None:
    reversed_too = dict(reversed(SECTIONS.items()))
    for sections in (SECTIONS, reversed_too):
        calls = Calls()
        invoke(calls, "--trees", "4", sections=sections)
        assert calls.seen[0][1] == {"garden": {"trees": "4"}}


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--trees", "--trees INT Trees in the garden. [3]"),
        ("--bed-width", "--bed-width FLOAT Width of a bed. [as wide as the garden]"),
        ("--fenced", "--fenced Put a fence around it."),
        ("--soil", "--soil clay|sand What it stands on. [clay]"),
    ],
)
def test_an_option_shows_its_kind_its_description_and_its_default(option: str, expected: str) -> None:
    assert help_line(option) == expected


def test_the_command_keeps_its_name_and_help() -> None:
    made = with_flags(Calls().command(), SECTIONS)
    assert (made.__name__, made.__doc__) == ("build", "Builds a house with a garden.")


def test_the_help_tells_what_an_argument_is() -> None:
    shown = CliRunner().invoke(app, ["attack", "membership", "--help"], env={"COLUMNS": "80"}).output
    assert "RUN  A finished run to attack.  [required]" in shown
