"""What a run in progress keeps of its phases, in a checkpoint and when somebody stops it."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from fedpers.data import Ints, Part, Samples
from fedpers.engine import CohortGrid, Crew, Whose
from fedpers.engine.checkpoints import read_checkpoint
from fedpers.evaluation import Scores, score, score_texts
from fedpers.experiments import find
from fedpers.models import Arrays, digest
from fedpers.report.progress import Reporter
from fedpers.simulation import prepare, simulate
from fedpers.simulation.desk import Desk
from fedpers.simulation.outcome import Stage, Standing
from fedpers.simulation.setup import Setup
from tests.conftest import small

WORDS = Samples(["?"] * 2, np.array([-1, -1]), ["a b", "b"])
TEXTS = score_texts([3], [[["a"] * 5, ["b"] * 5]], [WORDS], (), "rouge_1")
LABELLED = score_texts([3], [[["c"], ["b"]]], [WORDS], ("a b", "b"), "accuracy")
CLASSES = score([3], [np.array([[0], [1]])], [np.array([1, 1])], 2)


class Idle:
    """A crew that holds nothing and does nothing."""

    def states(self, point: tuple[int, int]) -> dict[int, dict[str, object]]:
        return {}

    def restore(self, states: dict[int, dict[str, object]], point: tuple[int, int]) -> None:
        return


def desk(silent: Reporter) -> Desk:
    """Returns a desk before a run's first round; checkpoints need no setup."""
    return Desk(cast(Setup, None), cast(Crew, Idle()), silent, Standing({}, {}))


@pytest.mark.parametrize("scores", [TEXTS, LABELLED, CLASSES], ids=["texts", "labelled", "classes"])
def test_scores_of_an_earlier_phase_outlive_a_checkpoint(
    scores: Scores, silent: Reporter, tmp_path: Path
) -> None:
    before, after = desk(silent), desk(silent)
    before.stages = {"first": Stage({"weight": np.ones(2)}, scores)}
    before.finish(1, 0, {}, {})
    before.save(tmp_path)
    after.resume(*read_checkpoint(tmp_path))
    found = after.stages["first"].test
    for name in ("persons", "correct", "total", "confusion"):
        assert np.array_equal(getattr(found, name), getattr(scores, name)), name
    assert {k: a.tolist() for k, a in found.sums.items()} == {k: a.tolist() for k, a in scores.sums.items()}
    assert after.stages["first"].arrays["weight"].tolist() == [1, 1]


@pytest.mark.parametrize(("stopped", "last"), [(1, "base k=0"), (2, "lora k=0"), (3, "base k=1")])
def test_a_run_stopped_within_a_phase_is_scored_as_the_finished_one_before_it(
    stopped: int, last: str, silent: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, score, scored = Desk.training_grid, Desk._score, []

    def stop(desk: Desk, phase: int, reduce: bool) -> CohortGrid:
        if phase == stopped:
            raise KeyboardInterrupt
        return begin(desk, phase, reduce)

    def noted(
        desk: Desk, arrays: Arrays, persons: Ints, part: Part, phase: int, whose: Whose = "own"
    ) -> Scores:
        scored.append(desk.setup.method.phases[phase].name)
        return score(desk, arrays, persons, part, phase, whose)

    monkeypatch.setattr(Desk, "training_grid", stop)
    monkeypatch.setattr(Desk, "_score", noted)
    settings = small(
        run={"method": "oppu"},
        oppu={"retrieved": "0,1", "task_epochs": 1, "module_epochs": 1},
        model={"max_tokens": 64, "answer_tokens": 4},
    )
    outcome = simulate(prepare(settings, find("oppu").build, silent), silent)
    assert outcome.interrupted
    assert set(scored[stopped:]) == {last}  # behind one score of each phase at its end
    assert digest(outcome.arrays) == digest(outcome.stages[last].arrays)
    assert outcome.test.correct.tolist() == outcome.stages[last].test.correct.tolist()
