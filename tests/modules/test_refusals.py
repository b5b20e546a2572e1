"""What `fedpers people` cannot do is one line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fedpers import modules
from fedpers.clients import PersonalModule
from fedpers.errors import unknown
from fedpers.method import Device, Shared
from fedpers.strategies import TaskBase
from tests.conftest import Run
from tests.modules.owned_runs import PEFTS_WARNINGS, names_of, simulated

pytestmark = PEFTS_WARNINGS

EVERYTHING = [(), ("--compare",), ("--strata",), ("--export", "reader000000", "--to", "mine")]


@pytest.mark.parametrize("arguments", EVERYTHING, ids=str)
def test_a_run_stopped_before_its_modules_says_so(
    arguments: tuple[str, ...], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = TaskBase.aggregate_train

    def stop(self: TaskBase, server_round: int, replies: Any) -> Any:
        if server_round == 2:
            raise KeyboardInterrupt
        return train(self, server_round, replies)

    monkeypatch.setattr(TaskBase, "aggregate_train", stop)
    folder = simulated(tmp_path / "stopped")
    status, out, err = run("people", str(folder), *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_a_run_stopped_between_modules_has_those_that_everyone_trained(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, trained = PersonalModule.train, list[int]()

    def stop(self: PersonalModule, shared: Shared, cohort: Sequence[Device]) -> Any:
        trained.append(len(cohort))
        if sum(trained) > 4 + 2:  # everyone's first module, and the second one of two people
            raise KeyboardInterrupt
        return train(self, shared, cohort)

    monkeypatch.setattr(PersonalModule, "train", stop)
    folder = simulated(tmp_path / "stopped", oppu={"retrieved": "0"})
    assert [kind.name for kind in modules.kinds_of(folder)] == ["lora k=0"]
    assert len(names_of(folder)) == 4
    assert run("people", str(folder), "--compare")[0] == 0
    assert run("people", str(folder), "--export", names_of(folder)[3], "--to", "mine")[0] == 0


def test_a_run_with_one_person_has_nobody_to_compare(run: Run, copied: Path) -> None:
    for person in names_of(copied)[1:]:
        run("people", str(copied), "--forget", person)
    status, _, err = run("people", str(copied), "--compare")
    assert status == 2
    assert err == (f"error: {copied} has modules of fewer than 2 people: there is nobody to compare with\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--module", "lora k=2"], "unknown module 'lora k=2': did you mean 'lora k=1'?"),
        (
            ["--forget", "reader00000"],
            "unknown person with a module 'reader00000': did you mean 'reader000009'?",
        ),
        (["--export", "nobody", "--to", "mine"], "unknown person with a module 'nobody'"),
        (["--export", "reader000000"], "--export PERSON and --to FOLDER go together"),
        (["--to", "mine"], "--export PERSON and --to FOLDER go together"),
        (["--compare", "--forget", "reader000000"], "give one of --compare, --strata, --export and --forget"),
        (
            ["--forget", "reader000000", "--module", "lora k=0"],
            "--forget removes all modules of a person: leave out --module",
        ),
        (
            ["--strata", "--module", "lora k=0"],
            "--strata tells of every kind of module: leave out --module",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_line_and_status_2(
    arguments: list[str], message: str, run: Run, finished: Path
) -> None:
    status, out, err = run("people", str(finished), *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [(), ("--compare",), ("--strata",), ("--forget", "reader000000")], ids=str
)
def test_a_folder_without_modules_says_what_to_give(arguments: tuple[str, ...], run: Run) -> None:
    status, out, err = run("people", "nowhere", *arguments)
    assert (status, out) == (2, "")
    assert err == (
        "error: nowhere holds no personal modules: give the folder of a finished run of `fedpers simulate "
        "--method oppu`\n"
    )


@pytest.mark.parametrize("damaged", ["people.parquet", "modules/kinds.json", "modules/00000.safetensors"])
def test_a_damaged_file_of_a_run_is_one_line(damaged: str, run: Run, copied: Path) -> None:
    (copied / damaged).write_bytes(b"x")
    status, out, err = run("people", str(copied))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert str(copied) in err


def test_a_name_that_is_not_there_lists_the_first_names_only() -> None:
    message = str(unknown("person", "p", [f"reader{number:03d}" for number in range(25)]))
    assert message.endswith("reader018, reader019, and 5 more)")
