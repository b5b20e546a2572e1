import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fedpers.errors import InputError
from fedpers.report.progress import Reporter
from fedpers.settings import parse_assignment
from fedpers.study.cell import Failure
from fedpers.study.grid import Task
from fedpers.study.run import conduct
from tests.study.worlds import SMALL, record_of, study_of

# Rightly answered texts of three people with 4, 4 and 2 of them.
CORRECT = {
    "none": (2, 2, 1),
    "digits 2": (2, 2, 1),
    "digits 5": (2, 1, 1),
    "tokens 2": (4, 2, 1),
    "tokens 5": (4, 4, 2),
}


class Runs:
    """Stands for the runs of cells, and counts them."""

    def __init__(self, *, fails: Sequence[str] = (), stops: str = "") -> None:
        self.done: list[str] = []
        self._fails, self._stops = fails, stops

    def __call__(self, task: Task) -> dict[str, Any] | Failure:
        if task.name == self._stops:
            raise KeyboardInterrupt
        self.done.append(task.name)
        if task.name in self._fails:
            return Failure("ValueError: too long", "where it was")
        return record_of(task, CORRECT[task.cell.name])


def conducted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, runs: Runs, text: str = SMALL, given: Sequence[str] = ()
) -> dict[str, Any]:
    monkeypatch.setattr("fedpers.study.run.run_task", runs)
    study = study_of(folder, text)
    layers = [parse_assignment(setting) for setting in given]
    return conduct("small", study, layers, folder / "out", 0, Reporter(silent=True))


def row(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(cell for cell in result["cells"] if cell["name"] == name)


def test_a_row_has_the_pooled_measure_over_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = conducted(tmp_path, monkeypatch, Runs())
    # By hand: 5, 4, 7 and 10 of 10 texts.
    shown = {cell["name"]: cell["measures"]["accuracy"]["mean"] for cell in result["cells"]}
    assert shown == {"none": 0.5, "digits 2": 0.5, "digits 5": 0.4, "tokens 2": 0.7, "tokens 5": 1.0}
    assert row(result, "tokens 5")["measures"]["accuracy"]["low"] == 1.0


def test_gains_are_paired_with_the_baseline_person_by_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [gains] = conducted(tmp_path, monkeypatch, Runs())["gains"]
    told = {gain["name"]: gain for gain in gains["rows"]}
    # By hand: of three people one gains 2 texts of 10 by two tokens, all gain by five, one loses 1 by digits.
    assert list(told) == ["digits 2", "digits 5", "tokens 2", "tokens 5"]
    assert told["tokens 2"]["difference"] == 0.2
    assert (told["tokens 2"]["better"], told["tokens 2"]["same"]) == (1 / 3, 2 / 3)
    assert told["tokens 5"]["better"] == 1.0
    assert told["digits 5"]["worse"] == 1 / 3


def test_several_seeds_are_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs()
    result = conducted(tmp_path, monkeypatch, runs, SMALL.replace("[0]", "[0, 3]"))
    measured = row(result, "tokens 2")["measures"]["accuracy"]
    assert len(runs.done) == 10
    assert measured["by_seed"] == [0.7, 0.7]
    assert measured["spread"] == 0.0


def test_the_same_command_does_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = Runs(stops="digits 5, seed 0"), Runs(), Runs()
    stopped = conducted(tmp_path, monkeypatch, first)
    whole = conducted(tmp_path, monkeypatch, second)
    again = conducted(tmp_path, monkeypatch, third)
    assert (stopped["interrupted"], stopped["finished"]) == (True, 2)
    assert first.done == ["tokens 5, seed 0", "tokens 2, seed 0"]
    assert second.done == ["digits 5, seed 0", "digits 2, seed 0", "none, seed 0"]
    assert third.done == []
    assert again["cells"] == whole["cells"]
    assert again["finished_before"] == 5


def test_changed_settings_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conducted(tmp_path, monkeypatch, Runs())
    seed, settings, one = Runs(), Runs(), Runs()
    conducted(tmp_path, monkeypatch, seed, SMALL.replace("[0]", "[0, 1]"))
    conducted(tmp_path, monkeypatch, settings, given=["data.clients=3"])
    conducted(tmp_path, monkeypatch, one, SMALL.replace("identifier_length = 5", "identifier_length = 6"))
    assert len(seed.done) == 5
    assert len(settings.done) == 5
    assert one.done == ["tokens 5, seed 0", "digits 5, seed 0"]


def test_the_others_go_on_when_one_fails_and_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = conducted(tmp_path, monkeypatch, Runs(fails=["tokens 2, seed 0"]))
    [trace] = (tmp_path / "out" / "cells").glob("*.txt")
    assert result["failed"] == [{"cell": "tokens 2", "seed": 0, "reason": "ValueError: too long"}]
    assert row(result, "tokens 2")["measures"]["accuracy"] is None
    assert row(result, "none")["measures"]["accuracy"]["mean"] == 0.5
    assert trace.read_text() == "where it was"
    again = Runs()
    assert conducted(tmp_path, monkeypatch, again)["failed"] == []
    assert again.done == ["tokens 2, seed 0"]
    assert not trace.exists()


def test_the_folder_holds_the_tables_and_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = conducted(tmp_path, monkeypatch, Runs())
    folder = tmp_path / "out"
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(result))
    assert [line["accuracy mean"] for line in rows] == ["0.5", "0.5", "0.4", "0.7", "1.0"]
    assert [line["gain difference"] for line in rows] == ["", "0.0", "-0.1", "0.2", "0.5"]
    assert [line["published Paper"] for line in rows] == ["0.25", "", "", "0.5", ""]
    assert "| tokens | 2 | 0.700 | " in (folder / "table.md").read_text()
    assert len(list((folder / "cells").iterdir())) == 5


LINES = '[plot]\nkind = "lines"\nx = "length"\nlines = "kind"\n[gains.gain]'


def test_the_result_names_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = conducted(tmp_path, monkeypatch, Runs(), SMALL.replace("[gains.gain]", LINES))
    folder = tmp_path / "out"
    assert result["files"] == [str(folder / "lines.png"), str(folder / "lines.svg")]
    assert json.loads((folder / "result.json").read_text())["files"] == result["files"]
    assert f"Drawn: {result['files'][0]}" in (folder / "table.md").read_text()


def test_a_picture_that_fails_takes_no_number_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> list[Path]:
        raise ValueError("no such colour")

    monkeypatch.setattr("fedpers.study.run.draw_lines", fail)
    with pytest.raises(ValueError, match="no such colour"):
        conducted(tmp_path, monkeypatch, Runs(), SMALL.replace("[gains.gain]", LINES))
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert row(result, "tokens 5")["measures"]["accuracy"]["mean"] == 1.0
    assert result["files"] == []
    assert (tmp_path / "out" / "table.csv").exists()
    assert "Drawn" not in (tmp_path / "out" / "table.md").read_text()


def test_what_is_stopped_before_a_run_is_finished_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        conducted(tmp_path, monkeypatch, Runs(stops="tokens 5, seed 0"))
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note").write_text("mine")
    with pytest.raises(InputError, match="holds no study to go on with"):
        conducted(tmp_path, monkeypatch, Runs())
    (tmp_path / "out" / "study.json").write_text('{"name": "large"}')
    with pytest.raises(InputError, match="holds the study 'large'"):
        conducted(tmp_path, monkeypatch, Runs())


@pytest.mark.usefixtures("ray_session")
def test_the_number_of_jobs_changes_no_bit(tmp_path: Path) -> None:
    text = SMALL.replace("tokens = { user", 'tokens = { where = "federated", user')
    text = text.replace("2 = { user_identifier.identifier_length = 2 }\n", "")
    study = study_of(tmp_path, text)
    here, there = (
        conduct("small", study, [], tmp_path / f"{jobs}", jobs, Reporter(silent=True)) for jobs in (0, 2)
    )
    assert here["failed"] == []
    for name in (path.name for path in (tmp_path / "0" / "cells").iterdir()):
        one, two = (json.loads((tmp_path / jobs / "cells" / name).read_text()) for jobs in ("0", "2"))
        del one["seconds"], two["seconds"]
        assert one == two
    assert len(here["cells"]) == 3
    assert here["cells"][0]["measures"] == there["cells"][0]["measures"]
