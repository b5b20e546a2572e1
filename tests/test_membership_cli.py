"""`fedpers attack membership` as a person uses it: on a run's folder, with shadow runs, and in error."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpers import runs
from fedpers.audit import shadows
from fedpers.engine import files_of, read_file
from fedpers.settings import Settings
from tests.conftest import Run

QUICK = tuple(
    "--clients 6 --public-people 6 --held-out-people 4 --rounds 4 --clients-per-round 4 --eval-every 4 "
    "--base-epochs 1 --workers 0 --hidden-size 16 --heads 2 --set synthetic.samples_per_person=12".split()
)


def simulated(run: Run, *arguments: str, method: str = "conventional") -> None:
    status, _, err = run("simulate", "--method", method, "--out", "here", *QUICK, *arguments)
    assert status == 0, err


def test_a_run_is_attacked_from_its_folder_and_the_record_stays_there(run: Run, tmp_path: Path) -> None:
    simulated(run)
    status, out, err = run("attack", "membership", "here", "--json")
    result = json.loads(out)
    assert status == 0
    assert (result["of"], result["view"], result["method"]) == ("text", "model", "conventional")
    assert [row["attack"] for row in result["rows"]] == ["loss", "loss, less the base's"]
    assert all(row["low"] <= row["auc"] <= row["high"] for row in result["rows"])
    assert (result["permitted"], result["interrupted"]) == (None, False)
    assert "loss: AUC" in err
    assert json.loads((tmp_path / "here" / "membership-text-model.json").read_text()) == result


def test_another_attack_leaves_the_record_of_the_first(run: Run, tmp_path: Path) -> None:
    simulated(run)
    for further in ((), ("--of", "person"), ("--of", "person", "--known", "train")):
        assert run("attack", "membership", "here", *further)[0] == 0
    names = sorted(path.stem for path in (tmp_path / "here").glob("membership*.json"))
    assert names == ["membership-person-test-model", "membership-person-train-model", "membership-text-model"]


def test_a_person_reads_a_table_of_80_columns(run: Run) -> None:
    simulated(run)
    status, out, _ = run("attack", "membership", "here", "--of", "person", "--shadows", "4", "--jobs", "0")
    assert status == 0
    assert "LiRA, online" in out
    assert "6 clients against 4 people held out, by their texts that were not trained on." in out
    assert "0.1% false positives mean nothing below 1,000 non-members." in out
    assert max(map(len, out.splitlines())) <= 80


def test_what_the_runs_privacy_permits_stands_below(run: Run, tmp_path: Path) -> None:
    simulated(run)
    record: dict[str, Any] = runs.result_of(tmp_path / "here")
    privacy = {"dp": "user", "unit": "person", "texts_leave": False, "epsilon": 2.0, "delta": 1e-5}
    runs.write_result(tmp_path / "here", {**record, "privacy": privacy})
    _, out, _ = run("attack", "membership", "here")
    assert "at most, by user-level privacy" in out
    assert "0.881" in out  # 1 - (1 - 1e-5)^2 / (1 + e^2)
    assert "7.4%" in out  # 0.01 e^2 + 1e-5
    assert "epsilon 2 at delta 1.0e-05" in out


def test_ctrl_c_prints_what_there_is_with_status_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(shadow: shadows.Shadow) -> shadows.Found:
        raise KeyboardInterrupt

    simulated(run)
    monkeypatch.setattr(shadows, "run_shadow", stopped)
    status, out, err = run("attack", "membership", "here", "--shadows", "4", "--jobs", "0")
    assert status == 1
    assert "LiRA is missing" in out
    assert "the same command goes on" in err


def test_every_so_many_rounds_are_kept(run: Run, tmp_path: Path) -> None:
    simulated(run, "--set", "engine.keep_rounds=2")
    files = runs.round_files(tmp_path / "here")
    assert [file.name for file in files] == ["00-000002.safetensors", "00-000004.safetensors"]
    # The run has looked at its validation texts once, so that it ended with its last round.
    last, ended = runs.read_arrays(files[1]), runs.read_model(tmp_path / "here" / "model")
    assert last.keys() == ended.keys()
    assert all(np.array_equal(last[name], ended[name]) for name in last)
    assert run("attack", "membership", "here", "--view", "rounds")[0] == 0


def test_personal_states_are_kept_if_asked_for(run: Run, tmp_path: Path) -> None:
    simulated(run, "--set", "engine.keep_states=true", method="user-adapter")
    [file] = files_of(tmp_path / "here" / "personal")
    states = dict(read_file(file))
    assert len(states) == 6
    assert all(state for state in states.values())
    assert run("attack", "membership", "here", "--view", "module")[0] == 0


def test_neither_rounds_nor_states_are_kept_unless_asked_for(run: Run, tmp_path: Path) -> None:
    simulated(run, method="user-adapter")
    assert not (tmp_path / "here" / "rounds").exists()
    assert not (tmp_path / "here" / "personal").exists()
    assert (Settings().engine.keep_rounds, Settings().engine.keep_states) == (0, False)


@pytest.mark.parametrize(
    "method", ["user-identifier", "perplm-hard", "idfree", "oppu"], ids=lambda method: method
)
def test_states_that_are_drawn_or_kept_anyway_can_be_seen(run: Run, method: str) -> None:
    simulated(run, *SHORT.get(method, ()), method=method)
    status, out, err = run("attack", "membership", "here", "--view", "module", "--json")
    assert status == 0, err
    assert all(0 <= row["auc"] <= 1 for row in json.loads(out)["rows"])


SHORT = {
    "idfree": ("--pooled-epochs", "1", "--fit-epochs", "2", "--cloud-epochs", "1"),
    "perplm-hard": ("--intermediate-rounds", "1", "--max-tokens", "64"),
    "oppu": tuple(
        "--retrieved 0 --task-epochs 1 --module-epochs 1 --max-tokens 96 --set model.answer_tokens=4".split()
    ),
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nowhere", "holds no finished run"),
        ("nowhere --shadows 3", "an even number from 4, or 0 to be left out (nearest: 4)"),
        ("nowhere --shadows -1", "--shadows '-1': input should be greater than or equal to 0 (nearest: 0)"),
        ("nowhere --of txt", "--of 'txt': input should be 'text' or 'person' (did you mean 'text'?)"),
        ("nowhere --view modules", "(did you mean 'module'?)"),
        ("nowhere --known train", "give it with --of person"),
        ("nowhere --jobs -2", "--jobs '-2'"),
    ],
)
def test_what_cannot_be_attacked_is_one_line_and_status_2(run: Run, arguments: str, message: str) -> None:
    status, out, err = run("attack", "membership", *arguments.split())
    assert (status, out) == (2, "")
    assert message in err
    assert err.strip().count("\n") == 0


def test_next_words_are_no_texts_with_one_answer(run: Run, tmp_path: Path) -> None:
    rows = [
        {"user_id": f"p{person}", "text": f"baba nizi gugu dodo {place}"}
        for person in range(8)
        for place in range(6)
    ]
    (tmp_path / "words.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = ("--data", "words.jsonl", "--answer", "next-word", "--clients", "5", "--public-people", "3")
    few = ("--held-out-people", "0", *SHORT["idfree"], "--set", "model.answer_tokens=4")
    simulated(run, *source, *few, method="idfree")
    status, _, err = run("attack", "membership", "here")
    assert status == 2
    assert "--answer next-word makes many of each" in err
