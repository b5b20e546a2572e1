"""`fedpers study` as a person uses it: listed, run small, gone on with, failing, and in error."""

import json
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.study.worlds import SMALL


def test_without_a_name_the_studies_are_listed(run: Run) -> None:
    status, out, _ = run("study", "--json")
    listed = {study["name"]: study for study in json.loads(out)["studies"]}
    assert status == 0
    assert listed["identifier-length"]["runs"] == 16
    assert run("study", "--list")[1].split()[:3] == ["study", "runs", "title"]


def test_a_study_of_ones_own_ends_in_a_table_and_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "small.toml").write_text(SMALL)
    told = ("study", "./small.toml", "--out", "here", "--jobs", "0", "--set", "data.clients=3")
    status, out, err = run(*told)
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert [line.split()[:2] for line in out.splitlines()[2:5]] == [
        ["none", "-"],
        ["digits", "2"],
        ["digits", "5"],
    ]
    assert "runs: 5/5, none, seed 0: accuracy 0." in err
    assert " s left" in err
    status, out, err = run(*told, "--json")
    assert (status, json.loads(out)["finished_before"]) == (0, 5)
    assert "5 of 5 runs are in the folder already" in err


def test_a_cell_that_fails_is_told_and_the_exit_status_is_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL.replace("identifier_length = 5", "identifier_length = 500"))
    status, out, _ = run("study", "./small.toml", "--out", "here", "--jobs", "0", "--json")
    result = json.loads(out)
    assert status == 1
    assert {failure["cell"] for failure in result["failed"]} == {"digits 5", "tokens 5"}
    assert "longer than the model's limit allows" in result["failed"][0]["reason"]
    assert result["finished"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["identifer-kinds"], "unknown study 'identifer-kinds': did you mean 'identifier-kinds'?"),
        (["no.toml"], "cannot read no.toml"),
        (["identifier-kinds", "--set", "data.client=3"], "did you mean 'data.clients'?"),
        (["identifier-kinds", "--seeds", "0,x"], "--seeds '0,x'"),
        (["identifier-kinds", "--jobs", "-1"], "--jobs"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(run: Run, arguments: list[str], message: str) -> None:
    status, out, err = run("study", *arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err
