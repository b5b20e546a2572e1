"""Finished runs to attack: tiny ones, of which some have learned their people's texts by heart."""

from pathlib import Path
from typing import Any

from fedpers import commands
from fedpers.report.progress import Reporter
from tests.conftest import small

# Few people, noisy labels, and devices that train for long: what is learned is the texts themselves.
BY_HEART: dict[str, dict[str, Any]] = {
    "data": {"clients": 12, "public_people": 8, "held_out_people": 6},
    "synthetic": {"samples_per_person": 30, "plain_words": 400, "contested_share": 0.1},
    "model": {"hidden_size": 32, "vocabulary": 800},
    "federation": {
        "rounds": 6,
        "clients_per_round": 12,
        "eval_every": 6,
        "strategy": "fedavg",
    },
    "local": {"local_epochs": 8, "local_optimizer": "adamw", "local_lr": 5e-3, "batch_size": 16},
    "engine": {"cohort_size": 12, "keep_rounds": 2},
}


def finished(folder: Path, method: str = "conventional", /, **sections: dict[str, Any]) -> Path:
    """Runs a method with some settings and returns the run's folder."""
    made = small(run={"method": method}, **sections)
    commands.simulate(made, folder, Reporter(silent=True))
    return folder
