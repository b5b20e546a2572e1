import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedpers.clients import Plain
from fedpers.errors import DeviceError, InputError
from fedpers.experiments import find
from fedpers.method import Device, Method, Phase, Shared, State, Update
from fedpers.report.progress import Reporter
from fedpers.settings import Settings
from fedpers.simulation import Outcome, matched_epochs, prepare, simulate, train_centrally
from fedpers.training import Answers
from tests.conftest import small


def outcome(settings: Settings, method: str = "user-identifier") -> Outcome:
    silent = Reporter(silent=True)
    return simulate(prepare(settings, find(method).build, silent), silent)


@pytest.mark.parametrize(
    "federation", [{"strategy": "fedadm"}, {"strategy": "fedavg", "server_schedule": "linear"}]
)
def test_a_strategy_that_cannot_work_is_refused_before_the_base_is_trained(
    federation: dict[str, str], silent: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fedpers.simulation.setup._train_base", lambda *_: pytest.fail("the base was trained")
    )
    with pytest.raises(InputError):
        prepare(small(federation=federation), find("conventional").build, silent)


@pytest.mark.usefixtures("ray_session")
def test_one_worker_two_workers_and_none_give_the_same_weights() -> None:
    runs = [outcome(small(engine={"workers": workers})) for workers in (0, 1, 2)]
    for other in runs[1:]:
        assert all((runs[0].arrays[name] == other.arrays[name]).all() for name in runs[0].arrays)
        assert (runs[0].test.correct == other.test.correct).all()


def test_the_best_validation_round_is_kept() -> None:
    run = outcome(small(federation={"rounds": 6, "eval_every": 1}))
    accuracies = {int(h["step"]): h["validation-accuracy"] for h in run.history if h["step"]}
    assert len(accuracies) == 6
    assert run.best == min(step for step, value in accuracies.items() if value == max(accuracies.values()))


def test_unseen_people_are_scored_with_and_without_their_identifier() -> None:
    run = outcome(small())
    assert run.unseen is not None
    known, stranger = run.unseen
    assert known.total.sum() == stranger.total.sum() == 2 * 12


def test_the_conventional_method_does_not_tell_strangers_apart() -> None:
    run = outcome(small(), "conventional")
    assert run.unseen is not None
    assert (run.unseen[0].correct == run.unseen[1].correct).all()


def test_central_training_starts_from_the_same_base_and_sees_whole_epochs(silent: Reporter) -> None:
    setup = prepare(small(), find("user-identifier").build, silent)
    run = train_centrally(setup, 2, silent)
    assert run.samples == 2 * 6 * 10  # 6 people with 12 texts: 10 to train on, 1 and 1 kept
    assert run.done == 2


def test_central_training_ends_when_patience_does(silent: Reporter) -> None:
    settings = small(central={"patience": 2, "central_lr": 1e-9, "base_epochs": 0})
    setup = prepare(settings, find("conventional").build, silent)
    run = train_centrally(setup, 50, silent)
    assert (run.best, run.done) == (1, 3)  # with so low a rate nothing gets better after the first epoch


def test_patience_does_not_end_a_phase_that_nobody_looks_at(silent: Reporter) -> None:
    own = {"intermediate_rounds": 3, "newcomer_epochs": 0, "prompt_fit_epochs": 0}
    settings = small(central={"patience": 1, "central_lr": 1e-9, "base_epochs": 0}, perplm_soft=own)
    setup = prepare(settings, find("perplm-soft").build, silent)
    run = train_centrally(setup, 12, silent)
    looks = ["validation-accuracy" in line for line in run.history[1:]]
    assert looks.index(True) == 6  # half of the 12 epochs, as of the 6 rounds, are of masked words


def test_matched_epochs_come_nearest_to_the_samples(silent: Reporter) -> None:
    setup = prepare(small(), find("conventional").build, silent)
    assert [matched_epochs(setup, samples) for samples in (1, 60, 100, 600)] == [1, 1, 2, 10]


class Remembering(Plain):
    """A device that counts its rounds, and predicts class 1 once it has trained."""

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Update], list[State]]:
        updates, _ = super().train(shared, cohort)
        return updates, [{"rounds": np.asarray(d.state.get("rounds", 0)) + 1} for d in cohort]

    def predict(self, shared: Shared, cohort: Sequence[Device]) -> list[Answers]:
        return [np.full((len(d.samples), 1), int("rounds" in d.state)) for d in cohort]


def stateful(settings: Settings) -> Method:
    method = find("conventional").build(settings)
    phase = method.phases[0]
    phases = tuple(
        Phase(name, Remembering(settings.local), phase.strategy, phase.rounds, eval_every=phase.eval_every)
        for name in ("one", "two")
    )
    return replace(method, phases=phases)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("files", [False, True], ids=["memory", "files"])
@pytest.mark.parametrize("workers", [0, 2])
def test_personal_state_lasts_over_rounds_phases_and_workers(
    workers: int, files: bool, tmp_path: Path, silent: Reporter
) -> None:
    settings = small(
        engine={"workers": workers, "state_folder": str(tmp_path) if files else None},
        federation={"clients_per_round": 6},
        data={"held_out_people": 2},
    )
    run = simulate(prepare(settings, stateful, silent), silent)
    assert run.done == 6
    assert run.unseen is not None
    assert list(tmp_path.iterdir()) == []  # states last no longer than the run
    # Every client has trained, so all of them answer 1; held-out people never did and answer 0.
    assert run.test.confusion[:, 0].sum() == 0
    assert run.unseen[0].confusion[:, 1].sum() == 0


class Failing(Plain):
    """A device that breaks for one person."""

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Update], list[State]]:
        if any(device.person == 9 for device in cohort):
            raise RuntimeError("out of battery")
        return super().train(shared, cohort)


def test_a_failed_device_ends_the_run_with_its_round_and_partition(silent: Reporter) -> None:
    settings = small(federation={"clients_per_round": 6})

    def build(settings: Settings) -> Method:
        method = find("conventional").build(settings)
        return replace(method, phases=(replace(method.phases[0], client=Failing(settings.local)),))

    with pytest.raises(DeviceError, match=r"^round 1, partition 3: RuntimeError: out of battery$"):
        simulate(prepare(settings, build, silent), silent)


def test_a_diverging_device_is_refused_with_its_round_and_partition(silent: Reporter) -> None:
    with pytest.raises(DeviceError, match=r"^round \d, partition \d: .*not finite"):
        outcome(small(local={"local_lr": 1e30, "local_epochs": 3, "batch_size": 4}))


class Overflowing(Plain):
    """A device whose training ends well but whose numbers do not."""

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Update], list[State]]:
        updates, states = super().train(shared, cohort)
        for device, update in zip(cohort, updates, strict=True):
            if device.person == 6:
                bias = update.arrays["classifier.bias"]
                assert isinstance(bias, np.ndarray)
                bias[0] = np.inf
        return updates, states


def test_an_update_that_is_not_finite_names_its_own_partition_among_a_cohort(silent: Reporter) -> None:
    settings = small(federation={"clients_per_round": 6}, engine={"cohort_size": 6})

    def build(settings: Settings) -> Method:
        method = find("conventional").build(settings)
        return replace(method, phases=(replace(method.phases[0], client=Overflowing(settings.local)),))

    with pytest.raises(
        DeviceError, match=r"^round 1, partition 2: the upload has numbers that are not finite"
    ):
        simulate(prepare(settings, build, silent), silent)


# A shell lets the jobs it runs in the background ignore Ctrl-C; this undoes it.
HEEDING_CTRL_C = """
import signal
from fedpers.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_ctrl_c_scores_and_writes_what_was_finished(workers: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HEEDING_CTRL_C, "simulate", "--rounds", "100000", "--workers", workers]
    quick = ["--clients", "4", "--public-people", "6", "--base-epochs", "0", "--clients-per-round", "2"]
    process = subprocess.Popen(
        [*command, *quick, "--json", "--out", str(tmp_path / "run"), "--eval-every", "5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("federated rounds"):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert '"interrupted": true' in out
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
