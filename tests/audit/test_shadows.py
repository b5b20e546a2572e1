"""Shadow runs: what they train on, what they give, and that they go on where they were stopped."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpers.audit import MembershipSettings, audit_membership, shadows
from fedpers.audit.exposure import Corpus
from fedpers.audit.shadows import Found, Shadow, halved, inside_of, people_of_attack, run_shadow
from fedpers.experiments import find
from fedpers.report.progress import Reporter
from fedpers.simulation import Outcome, Setup, lay_out, prepare, simulate
from tests.audit.attacked import BY_HEART, finished
from tests.conftest import small


class Counted:
    """Runs shadow runs and counts them, or is stopped at one."""

    def __init__(self, stops: int | None = None) -> None:
        self.done: list[int] = []
        self._stops = stops

    def __call__(self, shadow: Shadow) -> Found:
        if shadow.number == self._stops:
            raise KeyboardInterrupt
        self.done.append(shadow.number)
        return run_shadow(shadow)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return finished(tmp_path / "run", federation={"rounds": 1}, data={"clients": 5, "held_out_people": 4})


@pytest.fixture
def attacked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    def attack(work: Counted, **given: Any) -> dict[str, Any]:
        monkeypatch.setattr(shadows, "run_shadow", work)
        settings = MembershipSettings(shadows=4, jobs=0, **given)
        return audit_membership(folder, settings, Reporter(silent=True))

    return attack


def odds_of(view: str = "model", of: str = "text", number: int = 0, **sections: dict[str, Any]) -> Found:
    settings = small(**{**BY_HEART, **sections})
    base = prepare(settings, find("conventional").build, Reporter(silent=True)).base
    return run_shadow(Shadow(settings, of, view, number, base))


def test_what_a_shadow_run_trained_on_it_is_surer_of() -> None:
    found = odds_of("rounds")
    inside = found["inside"].astype(bool)
    for view in ("model", "rounds"):
        odds = np.asarray(found[view], dtype=float)
        assert np.median(odds[inside]) > np.median(odds[~inside])


def test_in_another_process_a_shadow_run_gives_the_same_bits() -> None:
    base = prepare(small(), find("conventional").build, Reporter(silent=True)).base
    shadow = Shadow(small(), "text", "model", 3, base)
    here, there = run_shadow(shadow), run_shadow(pickle.loads(pickle.dumps(shadow)))
    assert here.keys() == there.keys() == {"model", "inside"}
    assert all(np.array_equal(here[name], there[name]) for name in here)


def test_another_shadow_run_has_other_draws() -> None:
    base = prepare(small(), find("conventional").build, Reporter(silent=True)).base
    first, second = (run_shadow(Shadow(small(), "text", "model", number, base)) for number in (0, 2))
    assert not np.array_equal(first["model"], second["model"])


@pytest.mark.parametrize("of", ["text", "person"])
def test_a_shadow_run_has_the_attacked_ones_noise_but_not_its_draws(
    of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small(
        run={"method": "conventional"},
        data={"held_out_people": 4},
        privacy={"dp": "user", "noise_multiplier": 3.0},
    )
    attacked = prepare(settings, find("conventional").build, Reporter(silent=True))
    made: list[Setup] = []

    def watched(setup: Setup, *given: Any, **named: Any) -> Outcome:
        made.append(setup)
        return simulate(setup, *given, **named)

    monkeypatch.setattr(shadows, "simulate", watched)
    run_shadow(Shadow(settings, of, "model", 0, attacked.base))
    [guarantee, theirs] = [made[0].guarantee, attacked.guarantee]
    assert guarantee is not None
    assert theirs is not None
    assert guarantee.seed == made[0].settings.run.seed != theirs.seed
    assert guarantee.noise_multiplier == theirs.noise_multiplier == 3.0
    [release] = guarantee.releases.values()
    assert release.rate * len(made[0].population.clients) == pytest.approx(release.devices)


@pytest.mark.parametrize("of", ["text", "person"])
def test_every_text_is_in_one_of_two_halves(of: str) -> None:
    population = lay_out(small(), find("conventional").build)[1]
    corpus = Corpus.of(population, people_of_attack(population, of))
    first, second, third = (inside_of(corpus, halved(population, of, number), of) for number in (0, 1, 2))
    assert (first ^ second).all()
    assert (first != third).any()


def test_a_half_of_people_is_clients_and_held_out_people_mixed() -> None:
    population = lay_out(small(data={"clients": 7, "held_out_people": 5}), find("conventional").build)[1]
    half = halved(population, "person", 1)
    assert len(half.clients) == 6
    everyone = sorted([*half.clients.tolist(), *half.held_out.tolist()])
    assert everyone == sorted([*population.clients.tolist(), *population.held_out.tolist()])
    assert np.isin(half.held_out, population.clients).any()


@pytest.mark.parametrize("of", ["text", "person"])
def test_runs_that_are_there_are_not_done_again(
    of: str, attacked: Callable[..., dict[str, Any]], folder: Path
) -> None:
    first, again = Counted(), Counted()
    before = attacked(first, of=of)
    assert [row["attack"] for row in before["rows"]][-2:] == ["LiRA, offline", "LiRA, online"]
    (folder / "membership" / of / "shadow-002.safetensors").unlink()
    (folder / "membership" / of / "shadow-001.safetensors").write_bytes(b"cut off")
    assert attacked(again, of=of) == before
    assert (first.done, again.done) == ([0, 1, 2, 3], [1, 2])


def test_what_was_finished_before_ctrl_c_is_kept(
    attacked: Callable[..., dict[str, Any]], folder: Path
) -> None:
    stopped = attacked(Counted(stops=2))
    assert stopped["interrupted"]
    assert [row["attack"] for row in stopped["rows"]] == ["loss", "loss, less the base's"]
    rest = Counted()
    assert not attacked(rest)["interrupted"]
    assert rest.done == [2, 3]


def test_another_view_runs_anew_what_was_not_looked_at(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", federation={"rounds": 2}, engine={"keep_rounds": 1})
    settings = MembershipSettings(shadows=4, jobs=0)
    audit_membership(run, settings, Reporter(silent=True))
    times = {path: path.stat().st_mtime_ns for path in (run / "membership" / "text").iterdir()}
    rounds = settings.model_copy(update={"view": "rounds"})
    audit_membership(run, rounds, Reporter(silent=True))
    assert all(path.stat().st_mtime_ns > before for path, before in times.items())
    times = {path: path.stat().st_mtime_ns for path in times}
    for again in (settings, rounds):
        audit_membership(run, again, Reporter(silent=True))
        assert times == {path: path.stat().st_mtime_ns for path in times}
