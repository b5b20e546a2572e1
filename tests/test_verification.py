import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fedpers import verification
from fedpers.cli import app
from fedpers.experiments import find
from fedpers.models import Arrays
from fedpers.report.progress import Reporter
from tests.conftest import small

QUICK: dict[str, dict[str, Any]] = {
    "federation": {"strategy": "fedavg", "clients_per_round": 6},
    "data": {"held_out_people": 0},
}
TINY = "--hidden-size 16 --heads 2 --max-tokens 32 --set synthetic.samples_per_person=12"


@pytest.mark.usefixtures("ray_session")
def test_every_engine_agrees_and_flowers_too() -> None:
    ran = CliRunner().invoke(app, ["verify", "--clients", "9", *TINY.split(), "--json"])
    assert ran.exit_code == 0, ran.output
    result = json.loads(ran.stdout)
    engines = {check["engine"]: check for check in result["checks"]}
    assert list(engines) == ["cohorts of 9", "Ray, 1 worker", "Ray, 2 workers", "Flower's stock engine"]
    assert engines["Ray, 1 worker"]["identical"]
    assert engines["Ray, 2 workers"]["identical"]
    assert engines["cohorts of 9"]["largest_difference"] < 1e-6
    assert engines["Flower's stock engine"]["largest_difference"] < 1e-6


@pytest.mark.usefixtures("ray_session")
def test_engines_agree_on_prompts_that_stay_and_groups_that_do_not_travel() -> None:
    short = "--set perplm_soft.prompt_inner=4 --prompt-length 2 --intermediate-rounds 1 --prompt-fit-epochs 1"
    arguments = [
        "verify",
        "--method",
        "perplm-soft",
        "--clients",
        "4",
        *TINY.split(),
        *short.split(),
        "--json",
    ]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    checks = json.loads(ran.stdout)["checks"]
    assert len(checks) == 4
    assert all(check["identical"] or check["largest_difference"] < 1e-5 for check in checks)


@pytest.mark.usefixtures("ray_session")
def test_an_engine_that_computes_something_else_is_told_of(
    monkeypatch: pytest.MonkeyPatch, silent: Reporter
) -> None:
    outcomes = iter(range(10))
    real = verification._outcome

    def off(*args: object, **options: object) -> Arrays:
        found = real(*args, **options)  # type: ignore[arg-type]
        if next(outcomes) in (1, 3):  # the cohorts, and the second Ray crew
            found["classifier.bias"] = found["classifier.bias"] + np.float32(1e-3)
        return found

    monkeypatch.setattr(verification, "_outcome", off)
    monkeypatch.setattr(verification, "simulate_stock", lambda settings, folder: {})
    checks = verification.verify(small(**QUICK), find("user-identifier").build, silent)
    found = [next(checks) for _ in range(3)]
    assert [check.agrees for check in found] == [False, False, True]
    assert found[0].largest_difference == pytest.approx(1e-3, rel=1e-3)
