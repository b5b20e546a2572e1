"""A small study for tests, and records as runs of it would leave them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedpers.evaluation import Scores
from fedpers.study.description import Study, read_study
from fedpers.study.grid import Task
from fedpers.study.measures import scores_record

SMALL = """
title = "A small study"
about = "Two identifiers beside none."
seeds = [0]
where = "central"

[settings]
data = { clients = 4, public_people = 6, held_out_people = 2 }
synthetic = { samples_per_person = 12, plain_words = 60 }
model = { hidden_size = 16, heads = 2, max_tokens = 32, vocabulary = 200 }
federation = { rounds = 2, clients_per_round = 2 }
central = { base_epochs = 1, central_epochs = 1 }
engine = { cohort_size = 2 }

[[cells]]
labels = { kind = "none" }
settings = { run.method = "conventional" }

[axes.kind]
digits = { user_identifier.identifier = "digits" }
tokens = { user_identifier.identifier = "tokens" }

[axes.length]
2 = { user_identifier.identifier_length = 2 }
5 = { user_identifier.identifier_length = 5 }

[gains.gain]
baseline = { kind = "none" }

[published.Paper]
source = "Table 1"
figures = { none = 0.25, tokens = { 2 = 0.5, 200 = 0.75 } }
"""


def study_of(folder: Path, text: str = SMALL) -> Study:
    """Returns the study that a file of such a text describes."""
    path = folder / "small.toml"
    path.write_text(text)
    return read_study(path)


def scores(correct: Sequence[int], total: Sequence[int]) -> Scores:
    right, all_of_them = np.array(correct), np.array(total)
    confusion = np.array([[right.sum(), all_of_them.sum() - right.sum()], [0, 0]])
    return Scores(np.arange(len(right)), right, all_of_them, confusion)


def record_of(task: Task, correct: Sequence[int], total: Sequence[int] = (4, 4, 2)) -> dict[str, Any]:
    """Returns the record of a run in which people answered so many texts rightly."""
    sets: Mapping[str, Scores] = {"test": scores(correct, total), "another": scores([0] * len(total), total)}
    return {
        "digest": task.digest,
        "cell": dict(task.cell.labels),
        "where": task.cell.where,
        "seed": task.seed,
        "scores": {name: scores_record(found) for name, found in sets.items()},
        "ceilings": None,
        "best": 1,
        "done": 1,
        "samples": 10,
        "seconds": 2.0,
    }
