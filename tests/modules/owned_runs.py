"""Small runs of the command line that leave everyone a module."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedpers import commands
from fedpers.engine.shards import files_of, read_file, write_file
from fedpers.report.progress import Reporter
from tests.conftest import small

PEFTS_WARNINGS = [
    # Peft asks transformers by a name that is on its way out.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),
]

KINDS = ["lora k=0", "ia3 k=0", "prompt k=0", "lora k=1", "ia3 k=1", "prompt k=1"]
SIZES: dict[str, dict[str, Any]] = {
    "run": {"method": "oppu"},
    "data": {"clients": 4, "public_people": 4, "held_out_people": 0},
    "synthetic": {"samples_per_person": 8, "text_words": 3},
    "model": {"max_tokens": 96, "answer_tokens": 6, "vocabulary": 400, "hidden_size": 16, "heads": 2},
    "oppu": {"module": "lora,ia3,prompt", "rank": 2, "prompt_tokens": 3, "task_epochs": 2, "module_lr": 0.05},
}


def simulated(to: Path, **changes: dict[str, Any]) -> Path:
    sections = {name: {**SIZES.get(name, {}), **changes.get(name, {})} for name in SIZES | changes}
    commands.simulate(small(**sections), to, Reporter(silent=True))
    return to


def names_of(folder: Path) -> list[str]:
    return list(json.loads((folder / "modules" / "people.json").read_text()))


def without_module(folder: Path, person: str, kind: str) -> None:
    """Takes one module out of a run's folder, as if the device had not replied in that phase."""
    number = json.loads((folder / "modules" / "people.json").read_text())[person]
    [file] = files_of(folder / "modules")
    states = {p: dict(state) for p, state in read_file(file)}
    states[number] = {n: array for n, array in states[number].items() if not n.startswith(f"{kind}/")}
    write_file(file, states)


def strict(text: str) -> Any:
    """Reads JSON as others than Python do, to whom NaN is none."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)
