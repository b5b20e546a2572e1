import tomllib
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from fedpers import flower_app
from fedpers.dp import Guard
from fedpers.engine import to_arrays, to_record
from fedpers.engine.flower import identity
from fedpers.experiments import find, own_sections
from fedpers.report.progress import Reporter
from fedpers.settings import resolve
from fedpers.simulation import Setup, prepare, simulate
from fedpers.stock import simulate_stock

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = """
data.clients = 4
data.public_people = 8
data.held_out_people = 0
synthetic.samples_per_person = 12
synthetic.plain_words = 60
model.hidden_size = 16
model.heads = 2
federation.strategy = "fedavg"
federation.rounds = 2
federation.clients_per_round = 4
central.base_epochs = 1
engine.workers = 0
engine.cohort_size = 1
"""


def test_flowers_stock_engine_reaches_the_same_weights_as_ours(tmp_path: Path, silent: Reporter) -> None:
    # The stock engine's replies come in any order, so the sums round differently in the last bits.
    settings = resolve([tomllib.loads(SETTINGS)], own_sections())
    stock = simulate_stock(settings, tmp_path / "stock")
    setup = prepare(settings, find("user-identifier").build, silent)
    ours = simulate(setup, silent)
    assert ours.best == 2  # the validation texts are looked at after the last round only
    assert stock.keys() == ours.arrays.keys()
    assert np.abs(stock["classifier.weight"] - setup.base["classifier.weight"]).max() > 1e-4
    for name, array in ours.arrays.items():
        np.testing.assert_allclose(stock[name], array, rtol=0, atol=1e-6, err_msg=name)


class Counting:
    """A strategy that adds 1 to everything, and notes what it started from."""

    def __init__(self, starts: list[float]) -> None:
        self._starts = starts

    def start(self, grid: object, arrays: ArrayRecord, rounds: int, **configs: object) -> SimpleNamespace:
        given = to_arrays(arrays)
        self._starts.append(float(next(iter(given.values())).flat[0]))
        return SimpleNamespace(arrays=to_record({name: array + 1 for name, array in given.items()}))


def test_a_phase_that_starts_anew_starts_from_the_base_under_flower_too(
    tmp_path: Path, silent: Reporter
) -> None:
    settings = resolve([tomllib.loads(SETTINGS)], own_sections())
    setup = prepare(settings, find("conventional").build, silent)
    starts: list[float] = []
    [phase] = setup.method.phases
    strategy: Any = lambda server: Counting(starts)  # noqa: E731  # it only has what is called
    counting = replace(phase, strategy=strategy)
    phases = (counting, counting, replace(counting, anew=True))
    changed = replace(setup, method=replace(setup.method, phases=phases))
    flower_app._run_phases(cast("Any", None), changed, tmp_path)
    base = float(next(iter(setup.base.values())).flat[0])
    np.testing.assert_allclose(starts, [base, base + 1, base], rtol=0, atol=1e-6)


def test_a_budget_of_privacy_ends_a_phase_under_flower_too(
    tmp_path: Path, silent: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = "privacy.dp = 'user'\nprivacy.noise_multiplier = 2.0\nprivacy.epsilon_budget = 6.0\n"
    settings = resolve(
        [tomllib.loads(SETTINGS.replace("rounds = 2", "rounds = 20") + hidden)], own_sections()
    )
    setup = prepare(settings, find("conventional").build, silent)
    asked: list[int] = []

    class Noting(Counting):
        def start(self, grid: object, arrays: ArrayRecord, rounds: int, **configs: object) -> SimpleNamespace:
            asked.append(rounds)
            return super().start(grid, arrays, rounds, **configs)

    monkeypatch.setattr(Setup, "strategy", lambda setup, number: Noting([]))
    flower_app._run_phases(cast("Any", None), setup, tmp_path)
    assert setup.guarantee is not None
    assert asked == [*setup.guarantee.rounds]
    assert 0 < asked[0] < 20
    none = replace(setup, guarantee=replace(setup.guarantee, rounds=(0,)))
    flower_app._run_phases(cast("Any", None), none, tmp_path)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ("", {"num-examples", "samples-seen", "train-loss"}),
        ("privacy.dp = 'user'\nprivacy.noise_multiplier = 1.0", {"num-examples"}),
        ("privacy.dp = 'sample'\nprivacy.noise_multiplier = 1.0", {"num-examples"}),
        (
            "privacy.dp = 'user'\nprivacy.noise_multiplier = 1.0\nprivacy.clipping = 'adaptive'",
            {"num-examples", "within-clip"},
        ),
    ],
)
def test_a_node_sends_no_number_that_its_guarantee_does_not_cover(terms: str, told: set[str]) -> None:
    text = f"run.method = 'conventional'\n{SETTINGS}\n{terms}"
    settings = resolve([tomllib.loads(text)], own_sections())
    setup = prepare(settings, find("conventional").build, Reporter(silent=True))
    config = ConfigRecord({"phase": 0, "server-round": 1})
    if settings.privacy.dp == "user":
        config.update(Guard(0.2).numbers())
    context = Context(0, 0, {"partition-id": 0}, RecordDict(), {"settings": text})
    with identity():
        content = RecordDict({"arrays": to_record(setup.base), "config": config})
        asked = Message(content, dst_node_id=1, message_type="train")
        trained = flower_app.train(asked, context).content["metrics"]
        scored = flower_app.evaluate(asked, context).content["metrics"]
    assert set(trained) == told
    assert dict(scored) == {"num-examples": 1} if terms else "accuracy" in scored


def test_pyproject_names_the_apps_that_flower_is_to_run() -> None:
    components = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["components"]
    kinds = {"serverapp": ServerApp, "clientapp": ClientApp}
    for name, kind in kinds.items():
        module, attribute = components[name].split(":")
        assert isinstance(getattr(import_module(module), attribute), kind)
