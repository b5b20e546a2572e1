"""Scores of earlier phases in a checkpoint."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from fedpers.data import Samples
from fedpers.engine import Crew
from fedpers.engine.checkpoints import read_checkpoint
from fedpers.evaluation import Scores, score, score_texts
from fedpers.report.progress import Reporter
from fedpers.simulation.desk import Desk
from fedpers.simulation.outcome import Stage, Standing
from fedpers.simulation.setup import Setup

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
