"""Attacks on finished runs: what they find where there is something, and nothing where there is nothing."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpers import runs
from fedpers.audit import MembershipSettings, audit_membership
from fedpers.audit.exposure import Corpus
from fedpers.audit.membership import log_probability, units_of
from fedpers.audit.shadows import people_of_attack
from fedpers.data import Population
from fedpers.engine import read_file, write_file
from fedpers.errors import InputError
from fedpers.experiments import find
from fedpers.report.progress import Reporter
from fedpers.simulation import lay_out
from tests.audit.attacked import BY_HEART, finished
from tests.conftest import small


@pytest.fixture(scope="module")
def by_heart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("attacked") / "run", **BY_HEART)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of people who tune a model each, so that the one they start from saw none of their texts."""
    own: dict[str, dict[str, Any]] = {
        "engine": {"keep_states": True},
        "on_device": {"tune_epochs": 12, "tune_lr": 5e-3},
    }
    return finished(tmp_path_factory.mktemp("attacked") / "run", "local-only", **{**BY_HEART, **own})


def attacked(folder: Path, **given: Any) -> dict[str, Any]:
    return audit_membership(folder, MembershipSettings(**given), Reporter(silent=True))


def row(result: dict[str, Any], attack: str) -> dict[str, Any]:
    return next(own for own in result["rows"] if own["attack"] == attack)


def world(**sections: dict[str, Any]) -> Population:
    return lay_out(small(**sections), find("conventional").build)[1]


def test_texts_that_a_model_learned_by_heart_are_told_from_others(by_heart: Path) -> None:
    result = attacked(by_heart)
    assert (result["members"], result["non_members"]) == (12 * 24, 12 * 3)
    for attack in ("loss", "loss, less the base's"):
        assert row(result, attack)["auc"] > 0.6
        assert row(result, attack)["low"] > 0.5


def test_a_model_that_never_saw_the_texts_tells_nothing_of_them(alone: Path) -> None:
    for own in attacked(alone)["rows"]:
        assert own["low"] <= 0.5 <= own["high"]


def test_a_persons_own_model_tells_what_the_shared_one_does_not(alone: Path) -> None:
    result = attacked(alone, view="module")
    assert row(result, "loss")["low"] > 0.6


def test_texts_of_people_without_a_module_are_not_asked_about(alone: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(alone, run)
    [file] = runs.state_files(run)
    states = dict(read_file(file))
    write_file(file, {person: state for person, state in states.items() if person != min(states)})
    assert attacked(run, view="module")["members"] == 11 * 24
    assert attacked(run)["members"] == 12 * 24


def test_the_rounds_that_a_run_kept_tell_of_texts_too(by_heart: Path) -> None:
    result = attacked(by_heart, view="rounds")
    assert [own["attack"] for own in result["rows"]] == [
        "mean loss of all rounds",
        "mean loss, less the base's",
        "largest fall of the loss",
    ]
    assert row(result, "mean loss of all rounds")["auc"] > 0.6


def test_people_are_told_by_the_texts_that_were_trained_on(by_heart: Path) -> None:
    result = attacked(by_heart, of="person", known="train")
    assert (result["members"], result["non_members"]) == (12, 6)
    assert row(result, "loss, less the base's")["auc"] > 0.8


def test_by_other_texts_people_are_attacked_too(by_heart: Path) -> None:
    result = attacked(by_heart, of="person")
    assert 0 <= row(result, "loss")["low"] <= row(result, "loss")["auc"] <= row(result, "loss")["high"] <= 1
    assert result["known"] == "test"


def test_an_attack_is_the_same_each_time(by_heart: Path) -> None:
    assert attacked(by_heart) == attacked(by_heart)


def test_a_corpus_has_everyones_training_texts_first_and_no_validation_texts() -> None:
    population = world()
    corpus = Corpus.of(population, population.clients[:2])
    # 12 texts a person: 10 for training, 1 for validation, 1 for the test.
    assert corpus.persons.tolist() == np.repeat(population.clients[:2], 11).tolist()
    assert corpus.trained.tolist() == ([True] * 10 + [False]) * 2


def test_a_persons_score_is_the_mean_over_the_texts_that_the_attacker_has() -> None:
    population = world()
    corpus = Corpus.of(population, people_of_attack(population, "person"))
    units = units_of(corpus, MembershipSettings(of="person", known="train"))
    assert units.members.tolist() == np.isin(units.people, population.clients).tolist()
    values = np.where(corpus.trained, corpus.persons + 0.5 * (-1) ** np.arange(len(corpus.persons)), np.nan)
    assert units.means(values[None])[0].tolist() == pytest.approx(units.people.tolist(), abs=0.05)


def test_texts_are_units_of_their_own() -> None:
    population = world()
    corpus = Corpus.of(population, people_of_attack(population, "text"))
    units = units_of(corpus, MembershipSettings())
    values = np.arange(2.0 * len(corpus.persons)).reshape(2, -1)
    np.testing.assert_array_equal(units.means(values), values)
    assert units.members.sum() == 6 * 10


def test_log_odds_become_log_probabilities_without_overflow() -> None:
    assert log_probability(np.array([-1000.0, 1000.0])).tolist() == [-1000.0, 0.0]


def message(folder: Path, **given: Any) -> str:
    with pytest.raises(InputError) as caught:
        attacked(folder, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_a_run_there_is_nothing_to_attack(tmp_path: Path) -> None:
    assert "holds no finished run" in message(tmp_path)


def test_a_folder_of_several_runs_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    assert "holds no run of one method" in message(tmp_path)


def test_a_method_without_states_has_no_module_to_see(by_heart: Path) -> None:
    assert "conventional has no personal state" in message(by_heart, view="module")


def test_states_that_were_not_kept_cannot_be_seen(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", "user-adapter")
    assert "engine.keep_states=true" in message(folder, view="module")


def test_a_module_tells_by_being_there_who_took_part(alone: Path) -> None:
    assert "use --of text" in message(alone, view="module", of="person")


def test_rounds_that_were_not_kept_and_people_who_were_not_held_out_are_missed(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", data={"clients": 3, "held_out_people": 0})
    assert "engine.keep_rounds=K" in message(folder, view="rounds")
    assert "--held-out-people 100" in message(folder, of="person")


@pytest.mark.parametrize(("shadows", "nearest"), [(1, 4), (2, 4), (3, 4), (5, 6)])
def test_shadow_runs_come_in_pairs(tmp_path: Path, shadows: int, nearest: int) -> None:
    assert message(tmp_path, shadows=shadows).startswith(f"--shadows {shadows}: ")
    assert f"(nearest: {nearest})" in message(tmp_path, shadows=shadows)


def test_which_texts_of_a_person_are_known_is_no_question_of_a_texts_membership(tmp_path: Path) -> None:
    assert "--of person" in message(tmp_path, known="train")
