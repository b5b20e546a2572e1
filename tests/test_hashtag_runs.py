"""Whole runs that recommend hashtags, of made-up people whose tag depends on the word and on themselves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import Run
from tests.data.reading import jsonl

TOPICS = ("film", "song", "match", "dish")
QUICK = tuple(
    "--hashtags 8 --public-people 6 --rounds 2 --clients-per-round 4 --eval-every 2 --base-epochs 15 "
    "--central-lr 0.01 --workers 0 --hidden-size 16 --heads 2".split()
)


def posts(folder: Path) -> Path:
    """Writes posts of 12 people: each topic has two tags, one for every other person."""
    draw = np.random.default_rng(0)
    rows = []
    for person in range(12):
        for _ in range(30):
            topic = TOPICS[draw.integers(len(TOPICS))]
            tag = f"#{topic.title()}{'Fans' if person % 2 else 'Now'}"
            rows.append(
                {"user_id": f"p{person}", "text": f"{tag} that {topic} again #odd{draw.integers(50)}"}
            )
    return jsonl(folder / "posts.jsonl", *rows)


def simulated(run: Run, folder: Path, *further: str) -> dict[str, Any]:
    status, out, err = run("simulate", "--json", "--data", str(posts(folder)), *QUICK, *further)
    assert status == 0, err
    result: dict[str, Any] = json.loads(out)
    return result


def measure(result: dict[str, Any], name: str) -> float:
    value: float = result["measures"][name]["pooled"]
    return value


def test_a_model_of_everyone_learns_a_words_two_tags_but_not_whose_is_which(run: Run, tmp_path: Path) -> None:
    result = simulated(run, tmp_path, "--method", "conventional")
    assert measure(result, "recall_at_5") > 0.9  # 5 / 8 by a guess
    assert 0.6 < measure(result, "reciprocal_rank") < 0.95  # 3 / 4 of two in any order, 0.34 by a guess
    assert result["accuracy"] < measure(result, "reciprocal_rank")


def test_a_model_of_ones_own_learns_a_words_tag(run: Run, tmp_path: Path) -> None:
    own = ("--tune-epochs", "15", "--tune-lr", "0.01", "--pooled-epochs", "8")
    result = simulated(run, tmp_path, "--method", "on-device", *own)
    assert measure(result, "reciprocal_rank") > 0.95
    assert result["another_accuracy"] < result["accuracy"]


def test_the_record_has_the_measures_that_are_printed(run: Run, tmp_path: Path) -> None:
    result = simulated(run, tmp_path, "--base-epochs", "0")
    assert (
        json.loads((tmp_path / result["run"] / "result.json").read_text())["measures"] == result["measures"]
    )


def test_the_table_names_recall_and_mrr_as_they_are_called(run: Run, tmp_path: Path) -> None:
    status, out, _ = run(
        "simulate", "--data", str(posts(tmp_path)), *QUICK, "--base-epochs", "0", "--out", "here"
    )
    people = pq.read_table(tmp_path / "here" / "people.parquet")
    assert status == 0
    assert "recall@5" in out
    assert "MRR" in out
    assert {"recall_at_5", "reciprocal_rank"} <= set(people.column_names)


def test_compare_has_recall_and_mrr_in_every_cell(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    small = "--methods conventional --seeds 0 --base-epochs 0 --central-epochs 1 --out here".split()
    status, out, _ = run("compare", "--data", str(posts(tmp_path)), *QUICK, *small)
    cells = json.loads((tmp_path / "here" / "result.json").read_text())["cells"]
    assert status == 0
    assert all(cell["measures"].keys() == {"recall_at_5", "reciprocal_rank"} for cell in cells)
    assert "recall@5" in out
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize("method", ["idfree", "oppu"])
def test_only_a_classifier_ranks_hashtags(method: str, run: Run, tmp_path: Path) -> None:
    small = (
        "--base-epochs 1 --fit-epochs 2 --tune-epochs 1 --task-epochs 1 --retrieved 0 --max-tokens 40 "
        "--pooled-epochs 1 --module-epochs 1"
    ).split()
    result = simulated(run, tmp_path, "--method", method, *small, "--set", "model.answer_tokens=12")
    assert ("recall_at_5" in result.get("measures", {})) == (method == "idfree")
