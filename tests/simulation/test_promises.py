"""What runs promise under differential privacy, and that they keep it: bits, budgets, and what is refused."""

import math
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpers.clients import Plain
from fedpers.dp import Guard, Spent, bounded, epsilon
from fedpers.engine import worker
from fedpers.errors import InputError, StoppedError
from fedpers.experiments import find
from fedpers.method import Device, Shared, State, Update
from fedpers.models import Arrays, Trained, digest, load
from fedpers.report.progress import Reporter
from fedpers.settings import Settings
from fedpers.simulation import Outcome, prepare, simulate
from fedpers.simulation.desk import Desk
from fedpers.simulation.rehearsal import timetable
from tests.conftest import small
from tests.dp.test_guards import norm

SILENT = Reporter(silent=True)


class Told(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(silent=True)
        self.notes: list[str] = []

    def say(self, text: str) -> None:
        self.notes.append(text)


def private(
    method: str = "user-identifier", federation: dict[str, Any] | None = None, **privacy: Any
) -> Settings:
    stages = {"intermediate_rounds": 2, "prompt_fit_epochs": 1, "newcomer_epochs": 1}
    sections: dict[str, Any] = {"perplm_soft": stages} if method == "perplm-soft" else {}
    if method == "oppu":
        sections = {
            "oppu": {"retrieved": "0", "task_epochs": 1},
            "model": {"max_tokens": 64, "answer_tokens": 4},
        }
    return small(run={"method": method}, federation=federation or {}, privacy=privacy, **sections)


def run(settings: Settings, **options: Any) -> Outcome:
    return simulate(prepare(settings, find(settings.run.method).build, SILENT), SILENT, **options)


def spent(outcome: Outcome) -> dict[str, Any]:
    assert outcome.privacy is not None
    return outcome.privacy


@pytest.mark.parametrize("method", ["user-identifier", "perplm-soft"])
def test_zero_noise_and_an_infinite_bound_give_the_bits_of_the_plain_run(method: str) -> None:
    # Everybody has as many texts, for under privacy all weigh alike. A private run ends with its last round.
    plain = run(private(method, {"eval_every": 100}))
    hidden = run(private(method, dp="user", noise_multiplier=0, dp_clip=math.inf, sampling="fixed"))
    assert digest(hidden.arrays) == digest(plain.arrays)
    assert spent(hidden)["epsilon"] is None


@pytest.mark.parametrize("cohort", [1, 4])
@pytest.mark.parametrize("method", ["user-identifier", "perplm-soft"])
def test_no_device_ever_sends_more_than_its_bound(
    method: str, cohort: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, sent = [], []

    def watched(trained: Trained, broadcast: Arrays, guard: Guard) -> tuple[Trained, bool]:
        found = bounded(trained, broadcast, guard)
        before.append(norm(trained, broadcast))
        sent.append(norm(found[0], broadcast))
        return found

    monkeypatch.setattr(worker, "bounded", watched)
    settings = private(method, dp="user", noise_multiplier=0.1, dp_clip=0.02)
    engine = settings.engine.model_copy(update={"cohort_size": cohort})
    run(settings.model_copy(update={"engine": engine}))
    assert max(before) > 0.02
    assert max(sent) <= 0.02


def test_coins_that_all_fall_right_are_asking_everybody() -> None:
    everybody = {"clients_per_round": 6, "eval_every": 100, "strategy": "fedavg"}
    plain = run(private("conventional", everybody))
    hidden = run(private("conventional", everybody, dp="user", noise_multiplier=0, dp_clip=1e9))
    for name, array in plain.arrays.items():  # up to rounding, for they are asked in another order
        np.testing.assert_allclose(hidden.arrays[name], array, atol=1e-6)


def test_a_target_is_met_by_what_was_spent() -> None:
    found = spent(run(private(dp="user", epsilon=3.0)))
    assert 2.9 <= found["epsilon"] <= 3.0
    history = [Spent(found["noise_multiplier"], 4 / 6, 3)]
    assert found["epsilon"] == epsilon(history, found["delta"])


def test_phases_spend_from_one_target() -> None:
    found = spent(run(private("perplm-soft", dp="user", epsilon=3.0)))
    assert found["epsilon"] <= 3.0
    assert found["releases"] > 3  # rounds of masked words and of the task


def test_a_budget_ends_the_run_before_it_would_be_passed() -> None:
    asked = private("conventional", {"rounds": 40}, dp="user", noise_multiplier=1.5, epsilon_budget=6.0)
    outcome = run(asked)
    found = spent(outcome)
    assert 0 < outcome.done < 40
    assert found["epsilon"] <= 6.0
    assert epsilon([Spent(1.5, 4 / 6, outcome.done + 1)], found["delta"]) > 6.0


def test_epsilon_stands_beside_every_round_and_grows() -> None:
    outcome = run(private("conventional", dp="user", noise_multiplier=1.0))
    told = [record["epsilon"] for record in outcome.history[1:]]
    assert len(told) == 3
    assert told == sorted(told)
    assert told[-1] >= spent(outcome)["epsilon"]  # by Rényi divergences, which are never below


def test_a_private_run_ends_with_its_last_round() -> None:
    assert run(private("conventional", {"eval_every": 1}, dp="user", noise_multiplier=50)).best == 3


def test_a_larger_federation_is_simulated_by_less_noise() -> None:
    as_it_is, larger = (
        run(private("conventional", dp="user", noise_multiplier=1.0, noise_cohort=cohort))
        for cohort in (None, 4000)
    )
    plain = run(private("conventional", {"eval_every": 100}, dp="user", noise_multiplier=0))

    def apart(outcome: Outcome) -> float:
        return sum(float(np.abs(a - plain.arrays[n]).sum()) for n, a in outcome.arrays.items())

    assert apart(larger) < apart(as_it_is)
    assert spent(larger)["rate"] == pytest.approx(4 / 6)
    assert spent(larger)["noised_as"] == 4000


def test_uploaded_embeddings_have_an_epsilon_of_their_own() -> None:
    outcome = run(private("idfree", dp="local", epsilon=5.0))
    found = spent(outcome)
    # Another embedding may be two bounds away.
    assert found["epsilon"] == pytest.approx(
        epsilon([Spent(found["noise_multiplier"] / 2, 1.0, 1)], found["delta"])
    )
    assert 4.9 <= found["epsilon"] <= 5.0
    assert outcome.crossing is not None
    vectors = outcome.crossing.records.vectors  # 16 wide, cut to a norm of 1, with noise on each number
    assert float(vectors.var()) == pytest.approx(found["noise_multiplier"] ** 2 + 1 / 16, rel=0.1)


@pytest.mark.parametrize(
    ("method", "privacy", "message"),
    [
        ("conventional", {"dp": "user"}, "needs --epsilon or --noise-multiplier: give one of them"),
        ("conventional", {"dp": "user", "epsilon": 1, "noise_multiplier": 1}, "give only one of them"),
        ("conventional", {"epsilon": 1}, "--epsilon is of differential privacy"),
        (
            "conventional",
            {"dp": "user", "noise_multiplier": 0, "epsilon_budget": 1},
            "spends an infinite epsilon",
        ),
        ("conventional", {"dp": "user", "epsilon": 1, "dp_clip": math.inf}, "--dp-clip inf bounds nothing"),
        ("conventional", {"dp": "user", "epsilon": 1, "delta": 0.2}, "not below 1 / people, which is 0.167"),
        ("conventional", {"dp": "user", "noise_multiplier": 1, "epsilon_budget": 0.01}, "a single round"),
        (
            "conventional",
            {"dp": "user", "epsilon": 1, "noise_cohort": 100, "noise_population": 50},
            r"the rate is at most 1 \(nearest: 50\)",
        ),
        ("conventional", {"dp": "local", "epsilon": 1}, "conventional uploads none: use --method idfree"),
        ("conventional", {"dp": "sample", "epsilon": 1, "clipping": "layer"}, "it needs --dp user"),
        (
            "conventional",
            {"dp": "user", "noise_multiplier": 2, "clipping": "adaptive", "clip_count_noise": 0.5},
            r"leaves no noise for the updates at noise multiplier 2: .* \(nearest: 2\)",
        ),
        ("idfree", {"dp": "user", "epsilon": 1}, "the clients of idfree send none: use --dp sample or local"),
        ("local-only", {"dp": "user", "epsilon": 1}, "the clients of local-only send none: use --dp sample"),
        ("idfree", {"dp": "local", "noise_multiplier": 1, "epsilon_budget": 0.1}, "below the epsilon"),
    ],
)
def test_what_cannot_be_promised_is_refused(method: str, privacy: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(private(method, **privacy))


@pytest.mark.parametrize("kind", ["user", "sample"])
def test_texts_that_others_train_on_are_not_promised_to_be_hidden(kind: str) -> None:
    asked = small(
        run={"method": "perplm-hard"},
        privacy={"dp": kind, "noise_multiplier": 1.0},
        perplm_hard={"context_of": "another"},
    )
    with pytest.raises(InputError, match="leave --context-of another out"):
        run(asked)


class Stopping(Plain):
    """A device in whose third round somebody presses Ctrl-C."""

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Update], list[State]]:
        if shared.round == 3:
            raise KeyboardInterrupt
        return super().train(shared, cohort)


def killed_and_resumed(folder: Path, asked: Settings) -> Outcome:
    """Runs until somebody stops it in the third round, then goes on."""
    build = find(asked.run.method).build
    setup = prepare(asked, build, SILENT)
    [phase] = setup.method.phases
    stopping = replace(phase, client=Stopping(asked.local))
    broken = replace(setup, method=replace(setup.method, phases=(stopping,)))
    simulate(broken, SILENT, folder)
    return simulate(prepare(asked, build, SILENT, resume=True), SILENT, folder, resume=True)


def test_a_run_killed_and_resumed_ends_with_the_same_epsilon_and_the_same_bits(tmp_path: Path) -> None:
    asked = small(
        run={"method": "conventional"},
        federation={"rounds": 6},
        engine={"checkpoint_every": 1},
        privacy={"dp": "user", "noise_multiplier": 1.0, "clipping": "adaptive"},
    )
    whole, resumed = run(asked), killed_and_resumed(tmp_path / "checkpoints", asked)
    assert digest(resumed.arrays) == digest(whole.arrays)
    assert resumed.privacy == whole.privacy
    assert resumed.history == whole.history


@pytest.mark.parametrize("kind", ["user", "sample"])
def test_a_round_that_was_being_judged_at_the_end_is_spent_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = small(
        run={"method": "conventional"},
        federation={"rounds": 4, "clients_per_round": 3},
        privacy={"dp": kind, "noise_multiplier": 1.0},
    )
    check = Desk.check

    def terminated(desk: Desk, phase: int) -> str:
        if desk.now.done == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return check(desk, phase)

    whole = run(asked)
    with monkeypatch.context() as patched:
        patched.setattr(Desk, "check", terminated)
        with pytest.raises(StoppedError, match="after 1 rounds"):
            run(asked, checkpoints=tmp_path)
    setup = prepare(asked, find("conventional").build, SILENT, resume=True)
    resumed = simulate(setup, SILENT, tmp_path, resume=True)
    assert resumed.privacy == whole.privacy
    assert resumed.history == whole.history


def test_a_run_is_not_resumed_without_its_history(tmp_path: Path) -> None:
    plain = small(run={"method": "conventional"}, engine={"checkpoint_every": 1})
    run(plain, checkpoints=tmp_path)
    terms = plain.privacy.model_copy(update={"dp": "user", "noise_multiplier": 1.0})
    hidden = plain.model_copy(update={"privacy": terms})
    setup = prepare(hidden, find("conventional").build, SILENT, resume=True)
    with pytest.raises(InputError, match="no history of what was spent on privacy"):
        simulate(setup, SILENT, tmp_path, resume=True)


@pytest.mark.parametrize("method", ["conventional", "perplm-soft", "idfree", "oppu", "local-only"])
def test_texts_are_hidden_on_every_device_within_the_target(method: str) -> None:
    found = spent(run(private(method, dp="sample", epsilon=8.0)))
    assert found["epsilon"] <= 8.0
    assert found["epsilon"] > 7.5  # of who spent most
    assert 0 < found["epsilon_median"] <= found["epsilon"]


def notes_of(method: str, /, **sections: dict[str, Any]) -> str:
    report = Told()
    prepare(small(run={"method": method}, **sections), find(method).build, report)
    return "\n".join(report.notes)


def test_where_a_text_is_in_several_examples_an_example_is_hidden() -> None:
    hidden: dict[str, Any] = {"dp": "sample", "noise_multiplier": 1.0}
    assert "privacy of examples" in notes_of("perplm-hard", privacy=hidden)
    assert "some 2n times that" in notes_of("perplm-hard", privacy=hidden)
    assert "privacy of texts" in notes_of("conventional", privacy=hidden)
    assert spent(run(private("perplm-hard", **hidden)))["unit"] == "example"
    assert spent(run(private("conventional", **hidden)))["unit"] == "text"


@pytest.mark.parametrize("method", ["idfree", "on-device"])
def test_texts_that_are_uploaded_are_not_called_hidden(method: str) -> None:
    hidden: dict[str, Any] = {"dp": "sample", "noise_multiplier": 1.0}
    assert f"{method} uploads its texts as they are" in notes_of(method, privacy=hidden)
    assert spent(run(private(method, **hidden)))["texts_leave"]


def test_everything_outside_is_named() -> None:
    by_kind = {
        kind: notes_of(method, privacy={"dp": kind, "noise_multiplier": 1.0})
        for kind, method in (("user", "conventional"), ("sample", "conventional"), ("local", "idfree"))
    }
    assert "which labels there are" in by_kind["user"]
    assert "how many texts a device has" in by_kind["sample"]
    assert "embeddings of later requests" in by_kind["local"]


def test_the_same_noise_among_others_has_a_seed_of_its_own() -> None:
    asked = private("conventional", dp="user", noise_multiplier=1.0)
    guarantee = prepare(asked, find("conventional").build, SILENT).guarantee
    assert guarantee is not None
    other = guarantee.among(3, seed=7)
    assert (other.seed, other.noise_multiplier) == (7, 1.0)
    assert [release.rate * 3 for release in other.releases.values()] == [
        pytest.approx(min(3, release.devices)) for release in guarantee.releases.values()
    ]


def test_what_is_spent_of_texts_is_what_was_planned() -> None:
    asked = private("conventional", dp="sample", noise_multiplier=1.0)
    setup = prepare(asked, find("conventional").build, SILENT)
    plan = timetable(asked, setup.method, setup.population, setup.server, load(setup.spec))
    planned = max(epsilon(history, 1e-5) for history in plan.histories([3]))
    assert spent(simulate(setup, SILENT))["epsilon"] == pytest.approx(planned)


def test_a_budget_of_texts_ends_the_run_before_anybody_has_passed_it() -> None:
    asked = private("conventional", {"rounds": 30}, dp="sample", noise_multiplier=1.0, epsilon_budget=12.0)
    outcome = run(asked)
    assert 0 < outcome.done < 30
    assert spent(outcome)["epsilon"] <= 12.0


def test_noise_on_texts_comes_back_with_a_resumed_run(tmp_path: Path) -> None:
    asked = small(
        run={"method": "conventional"},
        federation={"rounds": 6},
        engine={"checkpoint_every": 1},
        privacy={"dp": "sample", "noise_multiplier": 1.0},
    )
    whole, resumed = run(asked), killed_and_resumed(tmp_path, asked)
    assert digest(resumed.arrays) == digest(whole.arrays)
    assert resumed.privacy == whole.privacy
