"""Two writers who call the same texts by opposite labels: only who knows the writer can tell.

Few texts in many copies, so that nothing but the writer is new in a test text. A public writer says which of
the two they are like, for methods that need a model which knows of both.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedpers.experiments import find
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.simulation import Outcome, Setup, prepare, simulate, train_centrally
from tests.conftest import small

PLAIN, COPIES, PUBLIC = ("lake", "moon", "tree", "wind"), 5, 5
SILENT = Reporter(silent=True)

PLACEMENTS = ("prefix", "deep", "first")
# From nothing, writers and labels are learned at once: by AdamW on the pool, or by Adam's step in each round.
CENTRAL: dict[str, dict[str, Any]] = {
    "central": {"base_epochs": 0, "central_epochs": 60, "central_lr": 2e-3, "central_batch_size": 16}
}
ROUNDS: dict[str, dict[str, Any]] = {
    "central": {"base_epochs": 0},
    "federation": {"rounds": 110, "eval_every": 10, "server_lr": 5e-3},
}
# A base that public writers taught both needs to hear only which of them somebody is.
TAUGHT: dict[str, dict[str, Any]] = {
    "central": {"base_epochs": 14, "central_epochs": 1, "central_lr": 1e-3, "central_batch_size": 16},
    "federation": {"rounds": 60, "eval_every": 10, "server_lr": 2e-3},
}
ADAPTER: dict[str, dict[str, Any]] = {
    "central": TAUGHT["central"],
    "federation": {"rounds": 4, "eval_every": 4, "server_lr": 1e-3},
    "user_adapter": {"adapter_epochs": 150, "adapter_lr": 0.02, "adapter_batch_size": 40},
}
TUNED: dict[str, dict[str, Any]] = {
    "central": TAUGHT["central"],
    "on_device": {"tune_epochs": 10, "tune_lr": 3e-3},
}
BRIEF: dict[str, dict[str, Any]] = {
    "central": {**CENTRAL["central"], "central_epochs": 15},
    "federation": {**ROUNDS["federation"], "rounds": 30},
}


def prompted(prompt: str, sections: dict[str, dict[str, Any]], **changed: float) -> dict[str, dict[str, Any]]:
    own = {"prompt": prompt, "prompt_inner": 0, "prompt_batch_size": 48, "intermediate_rounds": 1}
    return {**sections, "perplm_soft": {**own, **changed}}


IN_ROUNDS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "conventional": ("conventional", BRIEF),
    **{
        prompt: (
            "perplm-soft",
            prompted(
                prompt, TAUGHT, prompt_spread=0.1, prompt_lr=0.02, prompt_epochs=2, prompt_fit_epochs=20
            ),
        )
        for prompt in PLACEMENTS
    },
    "user-identifier": ("user-identifier", ROUNDS),
    "user-embeddings": ("user-embeddings", TAUGHT),
    "user-adapter": ("user-adapter", ADAPTER),
    "local-only": ("local-only", TUNED),
}
CENTRALLY: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "conventional": ("conventional", BRIEF),
    **{
        prompt: (
            "perplm-soft",
            prompted(prompt, CENTRAL, prompt_spread=0.3, prompt_lr=0.05, prompt_fit_epochs=10),
        )
        for prompt in PLACEMENTS
    },
    "user-identifier": ("user-identifier", CENTRAL),
    "user-embeddings": ("user-embeddings", CENTRAL),
    "user-adapter": ("user-adapter", ADAPTER),
}


def write(path: Path, seed: int) -> Path:
    """Writes the two as the first in the seeded order, and public writers behind them."""
    order = stream(seed, "people").permutation(2 + PUBLIC).tolist()
    lines = []
    for person in range(2 + PUBLIC):
        marks = ["ironic", "earnest"] if person not in order[:2] else [""]
        for plain in PLAIN:
            for word in ("good", "bad") * COPIES:
                for mark in marks:
                    turned = mark == "ironic" or person == order[0]
                    row = {"text": f"{mark} {word} {plain}".strip(), "label": int((word == "good") ^ turned)}
                    lines.append(json.dumps({"user_id": f"p{person:02}", **row}))
    path.write_text("\n".join(lines) + "\n")
    return path


def setup(path: Path, case: tuple[str, dict[str, dict[str, Any]]], seed: int = 0) -> Setup:
    method, sections = case
    common: dict[str, dict[str, Any]] = {
        "run": {"method": method, "seed": seed},
        "data": {"data": str(path), "clients": 2, "public_people": PUBLIC, "held_out_people": 0},
        "model": {"hidden_size": 64, "heads": 4, "layers": 2, "max_tokens": 16, "vocabulary": 300},
        "local": {"batch_size": 64, "local_lr": 0.5},
        "federation": {"clients_per_round": 2, "strategy": "fedadam"},
    }
    named = {*common, *sections}
    settings = small(**{name: {**common.get(name, {}), **sections.get(name, {})} for name in named})
    return prepare(settings, find(method).build, SILENT)


def in_rounds(path: Path, name: str, seed: int = 0) -> Outcome:
    return simulate(setup(path, IN_ROUNDS[name], seed), SILENT)


def centrally(path: Path, name: str, seed: int = 0) -> Outcome:
    given = setup(path, CENTRALLY[name], seed)
    epochs = given.settings.central.central_epochs
    assert epochs is not None
    return train_centrally(given, epochs, SILENT)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("writers") / "writers.jsonl", 0)


@pytest.mark.parametrize("run", [in_rounds, centrally])
def test_who_does_not_know_the_writer_is_right_by_chance(source: Path, run: Callable[..., Outcome]) -> None:
    assert 0.2 <= run(source, "conventional").test.accuracy <= 0.8  # of 8 texts


@pytest.mark.parametrize("name", [name for name in IN_ROUNDS if name != "conventional"])
def test_in_a_federation_who_knows_the_writer_is_right_and_as_the_other_wrong(
    source: Path, name: str
) -> None:
    run = in_rounds(source, name)
    assert run.test.accuracy > 0.95
    assert run.another.accuracy < 0.05


@pytest.mark.parametrize("name", [name for name in CENTRALLY if name != "conventional"])
def test_in_central_control_who_knows_the_writer_is_right_and_as_the_other_wrong(
    source: Path, name: str
) -> None:
    run = centrally(source, name)
    assert run.test.accuracy > 0.95
    assert run.another.accuracy < 0.05
