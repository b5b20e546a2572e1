"""`fedpers attack attribution` as a person uses it: on a run, without one, along a sweep, and in error."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from fedpers import audit, runs
from fedpers.audit import Point, Sweep, frontier
from fedpers.report.progress import Reporter
from fedpers.settings import Settings
from tests.conftest import Run

QUICK = tuple(
    "--clients 5 --public-people 6 --held-out-people 0 --pooled-epochs 1 --fit-epochs 2 --cloud-epochs 1 "
    "--base-epochs 1 --workers 0 --hidden-size 16 --heads 2 --set synthetic.samples_per_person=12".split()
)
ROW = {"attacker", "uploads", "misattribution_rate", "low", "high", "chance", "bound"}


def test_a_finished_run_is_audited_from_its_folder(run: Run, tmp_path: Path) -> None:
    assert run("simulate", "--method", "idfree", "--out", "here", *QUICK)[0] == 0
    status, out, _ = run("attack", "attribution", "here", "--json", "--labelled", "2", "--entropy")
    result = json.loads(out)
    assert status == 0
    assert all(row.keys() >= ROW for row in result["rows"])
    assert (result["people"], result["uploads"]) == (5, 50)
    assert result["request"]["embedding_bytes"] == 4 * 16
    assert sum(part["samples"] for part in result["entropy"]) == 5
    assert json.loads((tmp_path / "here" / "attribution.json").read_text()) == result


def test_what_the_server_got_and_what_it_did_not_are_files_of_their_own(run: Run, tmp_path: Path) -> None:
    assert run("simulate", "--method", "idfree", "--out", "here", *QUICK)[0] == 0
    received = load_file(tmp_path / "here" / "received.safetensors")
    private = load_file(tmp_path / "here" / "private.safetensors")
    assert received.keys() == {"letters", "ends", "labels", "vectors"}
    assert private.keys() == {"senders", "persons", "theta/mean"}
    assert len(received["vectors"]) == len(private["senders"]) == 50


def test_without_a_run_one_is_made_and_shown_as_a_table(run: Run) -> None:
    status, out, err = run("attack", "attribution", "--labelled", "0", "--blind", "0", *QUICK)
    assert status == 0
    assert "distributions and text" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "cloud rounds" in err


def test_an_audit_comes_to_its_end_where_nobody_has_two_uploads(run: Run, tmp_path: Path) -> None:
    few = (*QUICK, "--set", "synthetic.samples_per_person=3", "--out", "here")
    status, out, _ = run("attack", "attribution", *few)
    assert status == 0
    assert "No pairs to tell apart by distance" in out
    result = json.loads((tmp_path / "here" / "attribution.json").read_text())
    assert (result["people"], result["uploads"], result["linkability"]) == (5, 5, None)


def test_a_sweep_prints_a_point_a_value_and_draws_them(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("attack", "attribution", "--sweep", "noise=0.01,5", "--out", "f", "--json", *QUICK)
    result = json.loads(out)
    assert status == 0
    assert [point["value"] for point in result["sweep"]] == [0.01, 5]
    assert all(point["attribution"].keys() >= ROW for point in result["sweep"])
    assert {file.name for file in (tmp_path / "f").iterdir()} >= {
        "frontier.png",
        "frontier.svg",
        "result.json",
    }


def test_a_sweep_that_somebody_stops_keeps_its_points_with_status_1(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(settings: Settings, sweep: Sweep, report: Reporter) -> Iterator[Point]:
        yield next(frontier(settings, sweep, report))
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "frontier", stopped)
    status, _, err = run("attack", "attribution", "--sweep", "noise=0.01,5", "--out", "f", *QUICK)
    result = json.loads((tmp_path / "f" / "result.json").read_text())
    assert (status, result["interrupted"], len(result["sweep"])) == (1, True, 1)
    assert "stopped: drawing the points that were finished" in err


def test_the_run_that_is_made_keeps_what_it_is_asked_to(run: Run, tmp_path: Path) -> None:
    given = ("--set", "engine.keep_rounds=1", "--labelled", "0", "--blind", "0", "--out", "here")
    assert run("attack", "attribution", *given, *QUICK)[0] == 0
    assert runs.round_files(tmp_path / "here")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--linked two", "give whole numbers from 1"),
        ("--leak-count", "--leak-count needs --leak-time"),
        (
            "--sweep noise=1,2 --leak-time",
            "has one attacker, who knows every distribution: leave --leak-time out",
        ),
        ("nowhere", "holds no finished run"),
        ("--method conventional", "No such option"),
        ("--sweep noise=0", "--noise '0': input should be greater than 0"),
        ("--sweep nois=1", "did you mean 'noise'?"),
        ("nowhere --noise 3", "a finished run has its own settings"),
        ("--labelled -1", "--labelled '-1': input should be greater than or equal to 0 (nearest: 0)"),
        ("--noise 0", "--noise '0': input should be greater than 0"),
        ("--user-tokens 200 --clients 3 --base-epochs 0 --workers 0", "use at most 125"),
    ],
)
def test_what_cannot_be_attacked_is_one_line_and_status_2(run: Run, arguments: str, message: str) -> None:
    status, out, err = run("attack", "attribution", *arguments.split())
    assert (status, out) == (2, "")
    assert message in err
    assert err.strip().count("\n") == 0


def test_a_run_that_uploaded_nothing_cannot_be_attacked(run: Run) -> None:
    assert run("simulate", "--method", "on-device", "--out", "here", *QUICK)[0] == 0
    status, _, err = run("attack", "attribution", "here")
    assert status == 2
    assert "uploaded no records with user embeddings" in err


def test_a_single_person_cannot_be_mistaken_for_another(run: Run) -> None:
    assert run("simulate", "--method", "idfree", "--out", "here", *QUICK, "--clients", "1")[0] == 0
    status, _, err = run("attack", "attribution", "here", "--entropy")
    assert status == 2
    assert "attribution needs 2 clients" in err


def test_more_linked_uploads_than_anybody_has_are_refused(run: Run) -> None:
    assert run("simulate", "--method", "idfree", "--out", "here", *QUICK)[0] == 0
    status, _, err = run("attack", "attribution", "here", "--linked", "11")
    assert status == 2
    assert "the size must be 1 to 10" in err
