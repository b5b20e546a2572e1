"""Runs that are cut off, some of them by really killing them, and go on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError

from fedpers import commands, runs
from fedpers.clients import Plain
from fedpers.engine.checkpoints import read_checkpoint
from fedpers.errors import InputError, StoppedError, WriteError
from fedpers.method import Device, Method, Phase, Shared, State, Update
from fedpers.models import digest
from fedpers.report.progress import Reporter
from fedpers.settings import Settings
from fedpers.simulation import Outcome, prepare, simulate
from fedpers.simulation.desk import Desk
from fedpers.strategies import make
from fedpers.training import Answers
from tests.conftest import Run, small


@dataclass(frozen=True)
class Tiring(Plain):
    """A device that counts its rounds and has fewer examples to offer in each; it may be told to fail.

    Attributes:
        fails: The phase's round in which somebody pulls the plug, or 0.
        stop: What is raised then.
    """

    fails: int = 0
    stop: type[BaseException] = MemoryError

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Update], list[State]]:
        if self.fails and shared.round == self.fails:
            raise self.stop
        updates, _ = super().train(shared, cohort)
        counts = [device.state.get("rounds", np.zeros(1)) + 1 for device in cohort]
        tired = [
            Update(update.arrays, 100 // int(count[0]), update.seen, update.metrics)
            for update, count in zip(updates, counts, strict=True)
        ]
        return tired, [{"rounds": count} for count in counts]


def settings() -> Settings:
    return small(
        federation={"rounds": 5, "eval_every": 2, "server_schedule": "linear"}, engine={"checkpoint_every": 2}
    )


def run(folder: Path, fails: tuple[int, int] = (0, 0), *, resume: bool = False) -> Outcome:
    """Runs two phases of five rounds each, with a failure in a round of either."""

    def build(settings: Settings) -> Method:
        looks = (None, federation.eval_every)  # the second phase alone is looked at on its way
        phases = [
            Phase(
                f"phase {number}",
                Tiring(settings.local, fails=fails[number]),
                lambda server: make(federation, server.clients),
                5,
                eval_every=looks[number],
            )
            for number in (0, 1)
        ]
        return Method("tiring", tuple(phases))

    federation, silent = settings().federation, Reporter(silent=True)
    setup = prepare(settings(), build, silent, resume=resume)
    return simulate(setup, silent, folder, resume=resume)


@pytest.mark.parametrize("fails", [(3, 0), (5, 0), (0, 1), (0, 4)], ids=str)
def test_a_run_that_goes_on_ends_as_one_that_was_never_cut_off(
    tmp_path: Path, fails: tuple[int, int]
) -> None:
    expected = run(tmp_path / "whole")
    with pytest.raises(Exception, match="MemoryError"):
        run(tmp_path / "cut", fails)
    found = run(tmp_path / "cut", resume=True)
    assert digest(found.arrays) == digest(expected.arrays)
    assert found.history == expected.history
    assert (found.best, found.done, found.samples) == (expected.best, 10, expected.samples)
    assert (found.test.correct == expected.test.correct).all()


def test_a_checkpoint_holds_the_personal_states_of_its_round(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="MemoryError"):
        run(tmp_path, (4, 0))  # the checkpoint is of round 2; round 3 wrote states since
    _, states, record = read_checkpoint(tmp_path)
    counts = [int(state["rounds"][0]) for some in states for state in some.values()]
    assert (record["phase"], record["round"]) == (0, 2)
    assert sum(counts) == 2 * 4  # four people trained in each of two rounds


def test_sigterm_while_a_round_is_judged_keeps_the_round_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(tmp_path / "whole")
    looks: list[int] = []

    class Judging(Tiring):
        def predict(self, shared: Shared, cohort: Sequence[Device]) -> list[Answers]:
            looks.append(1)
            if len(looks) == 3:  # the first is at the first phase's test texts
                os.kill(os.getpid(), signal.SIGTERM)
            return super().predict(shared, cohort)

    with monkeypatch.context() as patched:
        patched.setattr("tests.test_resume.Tiring", Judging)
        with pytest.raises(StoppedError, match="stopped by SIGTERM after 8 rounds; "):
            run(tmp_path / "run" / "checkpoint")
    found = run(tmp_path / "run" / "checkpoint", resume=True)
    assert digest(found.arrays) == digest(expected.arrays)
    assert found.history == expected.history


def test_sigterm_keeps_the_last_finished_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminating(Tiring):
        def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Update], list[State]]:
            if shared.round == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().train(shared, cohort)

    monkeypatch.setattr("tests.test_resume.Tiring", Terminating)
    with pytest.raises(StoppedError) as caught:
        run(tmp_path / "run" / "checkpoint")
    assert str(caught.value) == (
        f"stopped by SIGTERM after 3 rounds; to go on: fedpers simulate --resume {tmp_path / 'run'}"
    )
    assert caught.value.exit_status == 143
    assert read_checkpoint(tmp_path / "run" / "checkpoint")[2]["round"] == 3


# The command, killed for real

QUICK = (
    "--clients 6 --public-people 6 --held-out-people 0 --rounds 60 --clients-per-round 4 --eval-every 7 "
    "--base-epochs 1 --workers 0 --hidden-size 16 --heads 2 --set synthetic.samples_per_person=12 "
    "--checkpoint-every 1"
).split()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fedpers", "simulate", "--json", *arguments]


def cut_off(out: Path, number: signal.Signals) -> tuple[int, str]:
    """Starts a run and sends it a signal after a few rounds; returns its exit status and error output."""
    with subprocess.Popen(command(*QUICK, "--out", str(out)), stderr=subprocess.PIPE, text=True) as process:
        limit = time.monotonic() + 120
        while not (out / "checkpoint" / "00000005").exists():
            assert process.poll() is None, "it ended before it was to be cut off"
            assert time.monotonic() < limit
            time.sleep(0.005)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run(command(*QUICK, "--out", str(out)), check=True, capture_output=True, timeout=300)
    return out


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_a_run_that_was_killed_goes_on_with_the_same_bits(
    tmp_path: Path, whole: Path, number: signal.Signals, status: int
) -> None:
    out = tmp_path / "run"
    ended, errors = cut_off(out, number)
    assert ended == status
    if number == signal.SIGTERM:
        assert errors.splitlines()[-1].endswith(f"to go on: fedpers simulate --resume {out}")
    assert not (out / "result.json").exists()

    done = subprocess.run(
        command("--resume", str(out), "--workers", "0"),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    found, expected = json.loads(done.stdout), json.loads((whole / "result.json").read_text())
    for name in found.keys() - {"seconds", "run"}:
        assert found[name] == expected[name], name
    for file in ("model/model.safetensors", "metrics.jsonl", "people.parquet"):
        assert (out / file).read_bytes() == (whole / file).read_bytes(), file
    assert not (out / "checkpoint").exists()


@pytest.mark.parametrize(
    ("number", "status", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_a_run_that_is_stopped_while_it_is_scored_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, number: signal.Signals, status: int, name: str
) -> None:
    judge = Desk.judge

    def stopped(desk: Desk) -> Outcome:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        os.kill(os.getpid(), number)
        return judge(desk)

    out = tmp_path / "run"
    flags = (*QUICK, "--rounds", "3", "--json")
    _, expected, _ = run("simulate", *flags)
    with monkeypatch.context() as patched:
        patched.setattr(Desk, "judge", stopped)
        ended, printed, errors = run("simulate", *flags, "--checkpoint-every", "0", "--out", str(out))
    assert (ended, printed) == (status, "")
    assert errors.splitlines()[-1].startswith(f"error: stopped by {name}")
    assert errors.endswith(f"; to go on: fedpers simulate --resume {out}\n")
    _, found, _ = run("simulate", "--resume", str(out), "--json")
    assert without_place(found) == without_place(expected)


def without_place(printed: str) -> dict[str, Any]:
    return {**json.loads(printed), "seconds": 0, "run": ""}


def test_ctrl_c_before_the_first_round_is_told_as_what_it_is(
    monkeypatch: pytest.MonkeyPatch, run: Run, tmp_path: Path
) -> None:
    def stopped(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fedpers.simulation.setup._train_base", stopped)
    assert run("simulate", *QUICK, "--out", "run") == (130, "", "error: stopped by Ctrl-C\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "place", "failure"),
    [
        ("conventional", "pyarrow.parquet.write_table", OSError(28, "No space left")),
        ("conventional", "transformers.PreTrainedModel.save_pretrained", SafetensorError("No space left")),
        ("idfree", "fedpers.files.save_file", SafetensorError("No space left")),  # what crossed the border
    ],
)
def test_a_run_whose_result_could_not_be_written_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, place: str, failure: Exception
) -> None:
    def full(*given: object, **named: object) -> None:
        raise failure

    asked, silent, out = small(run={"method": method}), Reporter(silent=True), tmp_path / "run"
    whole = commands.simulate(asked, tmp_path / "whole", silent)
    with monkeypatch.context() as patched:
        patched.setattr(place, full)
        with pytest.raises(
            WriteError,
            match=f"^cannot write {out}/.*: No space left; to go on: fedpers simulate --resume {out}$",
        ):
            commands.simulate(asked, out, silent)
    found = commands.resume(out, [], silent)
    assert {**found, "seconds": 0, "run": ""} == {**whole, "seconds": 0, "run": ""}
    assert (out / "model" / "model.safetensors").exists()


# What cannot be resumed


def test_a_run_at_its_end_is_not_resumed(whole: Path) -> None:
    with pytest.raises(InputError, match=r"has come to its end: its result is in result.json$"):
        commands.resume(whole, [], Reporter(silent=True))


def test_a_folder_without_a_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r" holds no run: No such file or directory$"):
        commands.resume(tmp_path, [], Reporter(silent=True))


def test_what_would_change_the_outcome_is_not_taken(tmp_path: Path) -> None:
    with runs.new_run(tmp_path / "run", "any", small()):
        pass
    with pytest.raises(InputError) as caught:
        commands.resume(tmp_path / "run", [{"federation": {"rounds": 9}}], Reporter(silent=True))
    assert str(caught.value) == (
        "--resume goes on with the run's own federation.rounds: "
        "only engine.workers, engine.ray_address, engine.checkpoint_every can be given"
    )


def test_a_run_goes_on_with_the_data_it_began_with_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    lines = [f"p{person},text {person} {row},{row % 2}" for person in range(8) for row in range(10)]

    def written(lines: list[str]) -> None:
        (tmp_path / "live.csv").write_text("\n".join(["user_id,text,label", *lines]) + "\n")

    def stopped(desk: Desk) -> Outcome:
        raise KeyboardInterrupt

    written(lines)
    with monkeypatch.context() as patched:
        patched.setattr(Desk, "judge", stopped)
        flags = ("--data", "live.csv", *QUICK, "--public-people", "2", "--rounds", "2", "--out", "run")
        assert run("simulate", *flags)[0] == 130
    written(lines[::-1])
    status, _, errors = run("simulate", "--resume", "run")
    assert status == 2
    assert errors.startswith("error: the data has changed since the run in run began, ")
    written(lines)
    assert run("simulate", "--resume", "run")[0] == 0


def test_a_run_that_never_came_to_a_checkpoint_says_so(tmp_path: Path) -> None:
    with runs.new_run(tmp_path / "run", "any", small()):
        pass
    with pytest.raises(InputError, match="holds no checkpoint: "):
        commands.resume(tmp_path / "run", [], Reporter(silent=True))
