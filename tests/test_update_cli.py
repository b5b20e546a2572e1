"""`fedpers attack update` as a person uses it: on runs of several methods, and in error."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpers import commands
from fedpers.audit import UpdateSettings
from fedpers.report.progress import Reporter
from tests.conftest import Run, small
from tests.test_written_answers import TINY, model_folder, people_who_like_one_fruit

SILENT = Reporter(silent=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns what gives the folder of a finished run of a method, made once."""

    @cache
    def made(method: str) -> Path:
        parent = tmp_path_factory.mktemp("runs")
        sections: dict[str, dict[str, Any]] = {"run": {"method": method}, "federation": {"rounds": 2}}
        if method in TINY:  # a language model, with identifiers
            sections["run"] = {"method": "user-identifier"}
            data = str(people_who_like_one_fruit(parent))
            sections["data"] = {"data": data, "answer": "text", "public_people": 4, "held_out_people": 0}
            model = str(model_folder(parent, method))
            sections["model"] = {"model": model, "max_tokens": 48, "answer_tokens": 6}
        if method == "perplm-soft":
            sections["perplm_soft"] = {"intermediate": "none", "encoder": "frozen", "prompt_length": 2}
        folder = parent / "run"
        commands.simulate(small(**sections), folder, SILENT)
        return folder

    return made


@pytest.fixture(scope="module")
def attacked(folders: Any) -> Any:
    """Returns what gives the record of an attack on a run of a method."""

    @cache
    def made(method: str, **given: Any) -> dict[str, Any]:
        settings = UpdateSettings(**{"noise": "0,100", "cohort": 3, **given})
        return commands.attack_update(folders(method), settings, SILENT)

    return made


def means(row: dict[str, Any]) -> dict[str, float]:
    return {name: value["mean"] for name, value in row.items() if isinstance(value, dict)}


def test_a_plain_update_gives_away_exactly_the_words_that_the_device_read(attacked: Any) -> None:
    plain = means(attacked("user-identifier")["rows"][0])
    assert {plain[name] for name in ("precision", "recall", "words", "auc")} == {1.0}


def test_words_alone_are_given_away_where_nobody_is_told_apart(attacked: Any) -> None:
    result = attacked("conventional")
    plain = means(result["rows"][0])
    assert (plain["precision"], plain["recall"]) == (1.0, 1.0)
    assert result["identifier"] is None
    assert all(row[name] is None for row in result["rows"] for name in ("tokens", "took_part"))


def test_a_table_of_its_own_gives_whole_identifiers_away(attacked: Any) -> None:
    result = attacked("user-embeddings")
    plain = means(result["rows"][0])
    assert result["second_table"]
    assert (plain["tokens"], plain["identifiers"]) == (1.0, 1.0)


def test_identifiers_move_far_enough_to_be_found_among_the_words(attacked: Any) -> None:
    result = attacked("user-identifier")
    plain = means(result["rows"][0])
    by_chance = result["identifier"] / result["words"]
    assert plain["tokens"] > 3 * by_chance
    assert plain["unusual_tokens"] >= plain["tokens"]


def test_much_noise_leaves_the_attacker_at_chance(attacked: Any) -> None:
    rows = [row for row in attacked("user-identifier")["rows"] if row["noise"] == 100]
    assert [row["devices"] for row in rows] == [1, 3]
    for row in rows:
        assert means(row)["moved"] == 1
        assert means(row)["auc"] == pytest.approx(0.5, abs=0.12)
        assert means(row)["words"] == pytest.approx(means(row)["chance"], abs=0.12)


def test_what_public_peoples_devices_show_is_used_where_there_are_some(attacked: Any) -> None:
    plain = means(attacked("conventional")["rows"][0])
    assert plain["aimed_words"] == 1
    assert "aimed_tokens" not in plain


def test_a_bound_alone_hides_nothing(attacked: Any) -> None:
    plain, cut = attacked("user-identifier")["rows"][:2]
    assert (plain["noise"], cut["noise"]) == (None, 0)
    assert means(cut) == means(plain)


def test_a_sum_without_noise_tells_its_words_and_who_took_part(attacked: Any) -> None:
    [row] = [r for r in attacked("user-identifier")["rows"] if r["devices"] == 3 and r["noise"] == 0]
    assert means(row)["recall"] == means(row)["precision"] == 1
    assert means(row)["took_part"] > 0.6


@pytest.mark.parametrize("model", TINY)
def test_an_output_that_shares_the_table_moves_every_row(attacked: Any, model: str) -> None:
    result = attacked(model)
    plain = means(result["rows"][0])
    assert result["every_row"]
    assert plain["recall"] == 1
    assert plain["precision"] < 0.9  # all words are taken for the person's
    assert plain["auc"] > 0.6  # but those of the texts moved farther


def test_the_base_can_be_attacked_instead_of_the_final_model(attacked: Any) -> None:
    base, final = attacked("user-identifier", start="base"), attacked("user-identifier")
    assert means(base["rows"][0])["precision"] == 1
    assert base["dp_clip"] != final["dp_clip"]


def test_the_usual_bound_is_the_median_norm_and_leaves_half_as_they_are(attacked: Any) -> None:
    assert attacked("user-identifier")["within"] == 0.5
    assert attacked("user-identifier", dp_clip=1e6)["within"] == 1


def test_the_same_attack_gives_the_same_numbers(attacked: Any, folders: Any) -> None:
    again = commands.attack_update(
        folders("user-identifier"), UpdateSettings(noise="0,100", cohort=3), SILENT
    )
    assert again == attacked("user-identifier")


def test_it_prints_tables_of_80_columns_and_fills_the_folder(run: Run, folders: Any, tmp_path: Path) -> None:
    shutil.copytree(folders("user-identifier"), tmp_path / "r")
    status, out, err = run("attack", "update", "r", "--people", "4", "--noise", "0,0.1")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "Sums of 2 devices' updates" in out
    assert "devices: 4/4" in err
    assert {path.name for path in (tmp_path / "r").iterdir()} >= {
        *("updates.json", "updates.png", "updates.svg", "result.json")
    }


def test_json_is_what_the_folder_keeps(run: Run, folders: Any, tmp_path: Path) -> None:
    shutil.copytree(folders("conventional"), tmp_path / "r")
    status, out, _ = run("attack", "update", "r", "--people", "1", "--json")
    result = json.loads(out)
    assert status == 0
    assert json.loads((tmp_path / "r" / "updates.json").read_text()) == result
    noises = [row["noise"] for row in result["rows"]]
    assert noises == [None, 0, 0.001, 0.003, 0.01, 0.1]  # one person makes no sum
    assert np.isfinite([row["words"]["mean"] for row in result["rows"]]).all()


def test_people_of_whom_the_tokenizer_knows_no_word_are_counted_and_left_out(
    run: Run, tmp_path: Path
) -> None:
    # Six of twelve people write a sign of their own; the vocabulary has those of public people, four at most.
    rows = [json.loads(line) for line in people_who_like_one_fruit(tmp_path).read_text().splitlines()]
    for row in rows:
        if (number := int(row["user_id"][1:])) < 6:
            row["text"] = chr(0x2600 + number)
    (tmp_path / "signs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = {"data": str(tmp_path / "signs.jsonl"), "clients": 8, "public_people": 4, "held_out_people": 0}
    method = {"method": "user-embeddings"}
    commands.simulate(small(data=data, run=method, federation={"rounds": 1}), tmp_path / "r", SILENT)
    status, out, _ = run("attack", "update", "r", "--cohort", "3", "--noise", "0", "--json")
    result = json.loads(out)
    assert status == 0
    assert 2 <= result["wordless"] < 8
    assert {means(result["rows"][0])[name] for name in ("recall", "words", "tokens")} == {1.0}
    _, out, _ = run("attack", "update", "r", "--noise", "0")
    assert f"{result['wordless']} of these people wrote no word that the tokenizer knows" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--people 7", "--people 7: the run has 6 clients (nearest: 6)"),
        ("--people 0", "--people '0': input should be greater than or equal to 1 (nearest: 1)"),
        ("--cohort 6", "some of the 6 people attacked must be outside of it (nearest: 5)"),
        ("--cohort 1 --people 1", "must be outside of it; raise --people"),
        ("--noise 0,-1", "'-1' is no number from 0; give multipliers of the bound, parted by commas"),
        ("--noise much", "'much' is no number from 0"),
        ("--noise inf", "'inf' is no number from 0"),
        ("--dp-clip 0", "--dp-clip '0': input should be greater than 0"),
        ("--start middle", "--start 'middle': input should be 'final' or 'base'"),
    ],
)
def test_bad_settings_are_one_line_and_status_2(run: Run, folders: Any, arguments: str, message: str) -> None:
    before = {path.name for path in folders("conventional").iterdir()}
    status, out, err = run("attack", "update", str(folders("conventional")), *arguments.split())
    assert (status, out) == (2, "")
    assert message in err
    assert err.strip().count("\n") == 0
    assert {path.name for path in folders("conventional").iterdir()} == before


def test_what_is_no_run_cannot_be_attacked(run: Run) -> None:
    status, out, err = run("attack", "update", "nowhere")
    assert (status, out) == (2, "")
    assert "nowhere holds no finished run" in err
    assert err.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("local-only", "no client's device sends an update in a run of local-only"),
        ("perplm-soft", "devices do not train the word embedding in the phase 'task'"),
    ],
)
def test_updates_without_words_are_one_line_and_status_2(
    run: Run, folders: Any, method: str, message: str
) -> None:
    status, out, err = run("attack", "update", str(folders(method)))
    assert (status, out) == (2, "")
    assert message in err
    assert err.strip().count("\n") == 0


def test_a_folder_of_several_runs_holds_no_model_to_attack(run: Run, folders: Any, tmp_path: Path) -> None:
    shutil.copytree(folders("conventional"), tmp_path / "r")
    shutil.rmtree(tmp_path / "r" / "model")
    status, out, err = run("attack", "update", "r")
    assert (status, out) == (2, "")
    assert "r holds no final model of one method" in err
