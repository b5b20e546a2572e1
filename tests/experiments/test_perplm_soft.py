"""Whole small runs of PerPLM's soft prompts: what stays frozen, what leaves a device, central control."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import ArrayRecord, Message, MetricRecord

from fedpers.clients import WriterPrompts
from fedpers.data import Population
from fedpers.engine import LATEST
from fedpers.experiments import find
from fedpers.method import Device, Enrolment, Shared, State, Update
from fedpers.models import (
    MASKED_WORDS,
    OWN,
    PROMPT,
    Arrays,
    Model,
    digest,
    extract,
    groups_of,
    insert,
    load,
    pool,
)
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.settings import Settings
from fedpers.simulation import Outcome, Setup, lay_out, prepare, simulate, train_centrally
from fedpers.simulation import run as running
from fedpers.simulation.desk import Desk
from fedpers.simulation.setup import encode_all
from fedpers.strategies import Partly
from fedpers.training import Plan, fit
from tests.conftest import small

SILENT = Reporter(silent=True)
OWN_SETTINGS: dict[str, Any] = {
    "prompt_length": 2,
    "prompt_inner": 4,
    "prompt_epochs": 1,
    "prompt_fit_epochs": 1,
    "intermediate_rounds": 2,
    "newcomer_epochs": 1,
}


def settings(own: Mapping[str, Any], **sections: dict[str, Any]) -> Settings:
    return small(run={"method": "perplm-soft"}, perplm_soft={**OWN_SETTINGS, **own}, **sections)


def set_up(own: Mapping[str, Any], **sections: dict[str, Any]) -> Setup:
    return prepare(settings(own, **sections), find("perplm-soft").build, SILENT)


@cache
def outcome(setting: str, encoder: str, prompt: str = "prefix") -> tuple[Setup, Outcome]:
    setup = set_up({"encoder": encoder, "prompt": prompt})
    run = simulate(setup, SILENT) if setting == "federated" else train_centrally(setup, 4, SILENT)
    return setup, run


def moved(setup: Setup, before: Arrays, after: Arrays) -> set[str]:
    """Returns the groups of parameters of which a bit moved."""
    groups = groups_of(load(setup.spec).module)
    return {groups[name] for name, array in after.items() if not np.array_equal(array, before[name])}


# What is frozen


@pytest.mark.parametrize("encoder", ["tuned", "frozen"])
@pytest.mark.parametrize("setting", ["federated", "central"])
def test_each_stage_moves_its_own_head_and_a_frozen_encoder_by_no_bit(setting: str, encoder: str) -> None:
    setup, run = outcome(setting, encoder)
    masked, task = run.stages["masked words"].arrays, run.stages["task"].arrays
    tuned = {"encoder"} if encoder == "tuned" else set()
    assert moved(setup, setup.base, masked) == {"writer_prompts", MASKED_WORDS} | tuned
    assert moved(setup, masked, task) == {"writer_prompts", "head"} | tuned


@pytest.mark.parametrize("setting", ["federated", "central"])
def test_while_prompts_are_fitted_last_no_shared_parameter_moves(setting: str) -> None:
    _, run = outcome(setting, "tuned")
    assert digest(run.arrays) == digest(run.stages["task"].arrays)
    assert digest(run.arrays) == digest(run.stages["task"].arrays)


# What leaves a device


class Planted(WriterPrompts):
    """Writers whose prompts are a pattern that nobody could take for anything else."""

    def enrol(self, model: Model, population: Population, seed: int) -> Enrolment:
        shape = model.module.get_parameter(PROMPT).shape[1:]
        return lambda person: {PROMPT: pattern(person, int(np.prod(shape))).reshape(shape)}

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Update], list[State]]:
        uploads, states = super().train(shared, cohort)
        assert all(np.array_equal(s[PROMPT], d.state[PROMPT]) for s, d in zip(states, cohort, strict=True))
        return uploads, states


def pattern(person: int, count: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng([99, person]).normal(scale=0.02, size=count).astype(np.float32)


def neighbours(values: npt.NDArray[Any]) -> set[tuple[float, float]]:
    """Returns all pairs of numbers next to each other."""
    flat = np.asarray(values, np.float32).ravel()
    return set(zip(flat[:-1].tolist(), flat[1:].tolist(), strict=True))


@pytest.mark.parametrize("prompt", ["prefix", "deep", "first"])
def test_no_message_of_a_run_holds_a_prompt(prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Prompts keep their planted numbers, for they are only read here; devices send one by one.
    heard: list[Message] = []
    asked: list[Message] = []
    configure, aggregate = Partly.configure_train, Partly.aggregate_train

    def configured(self: Partly, *args: Any) -> Iterable[Message]:
        messages = list(configure(self, *args))
        asked.extend(messages)
        return messages

    def aggregated(self: Partly, number: int, replies: Iterable[Message]) -> Any:
        given = list(replies)
        heard.extend(given)
        return aggregate(self, number, given)

    monkeypatch.setattr(Partly, "configure_train", configured)
    monkeypatch.setattr(Partly, "aggregate_train", aggregated)
    monkeypatch.setattr(running, "averages", lambda strategy: False)  # else cohorts' means are heard
    setup = set_up(
        {
            "prompt": prompt,
            "prompt_epochs": 0,
            "prompt_fit_epochs": 0,
            "newcomer_epochs": 0,
            "prompt_inner": 8,
        },
        engine={"workers": 0, "cohort_size": 1},
    )
    phases = []
    for phase in setup.method.phases:
        assert isinstance(phase.client, WriterPrompts)
        phases.append(replace(phase, client=Planted(phase.client.tokens, phase.client.shared, None)))
    simulate(replace(setup, method=replace(setup.method, phases=tuple(phases))), SILENT)
    assert len(heard) == len(asked) == 4 * (2 + 3)  # devices in each of 2 and 3 rounds
    size = int(np.prod(load(setup.spec).module.get_parameter(PROMPT).shape))
    planted = set().union(*(neighbours(pattern(int(p), size)) for p in setup.population.clients))
    for message in (*heard, *asked):
        for records in message.content.array_records.values():
            assert not [name for name in records if name.endswith(OWN) or "memory" in name]
            assert not any(neighbours(array.numpy()) & planted for array in records.values())
    for message in heard:
        assert all(isinstance(part, ArrayRecord | MetricRecord) for part in message.content.values())
        [metrics] = message.content.metric_records.values()
        assert all(isinstance(value, int | float) for value in metrics.values())  # no text


# The central control


@pytest.mark.parametrize("method", ["conventional", "user-identifier", "user-embeddings"])
def test_central_control_of_one_phase_is_a_plain_loop_over_pooled_texts(method: str) -> None:
    # Bit for bit: same order of people, same draws, the parameters of the best epoch.
    given = prepare(small(run={"method": method}, model={"dropout": 0.1}), find(method).build, SILENT)
    run = train_centrally(given, 3, SILENT)
    model = load(given.spec)
    insert(model.module, given.base)
    parts = encode_all(given.method.client, given.population, model, given.population.clients, "train", 0)
    plan = Plan.central(given.settings.central, 3)
    each = [(extract(model.module), p) for p in fit(model, pool(parts), plan, stream(0, "central"))]
    assert digest(run.arrays) == digest(each[run.best - 1][0])
    assert [record["train-loss"] for record in run.history[1:]] == [passed.loss for _, passed in each]
    assert all("validation-accuracy" in record for record in run.history[1:])


def test_epochs_are_shared_out_over_phases_by_their_rounds() -> None:
    # 2 and 3 rounds: 10 epochs are 4 and 6; then a round each of newcomers and prompts.
    run = train_centrally(set_up({}), 10, SILENT)
    looked = ["validation-accuracy" in record for record in run.history[1:]]
    assert looked == [False] * 4 + [True] * 6 + [False] * 2
    assert list(run.stages) == ["masked words", "task"]


def judged(monkeypatch: pytest.MonkeyPatch) -> tuple[list[list[State]], list[dict[int, State]]]:
    """Notes everyone's states after each central epoch, and those that are scored at the end."""
    epochs: list[list[State]] = []
    last: list[dict[int, State]] = []
    states_of, judge = running._states_of, Desk.judge

    def noted(*args: Any) -> list[State]:
        epochs.append(states_of(*args))
        return epochs[-1]

    def judging(self: Desk) -> Outcome:
        last.append(dict(self.crew.states(LATEST)))
        return judge(self)

    monkeypatch.setattr(running, "_states_of", noted)
    monkeypatch.setattr(Desk, "judge", judging)
    return epochs, last


def test_prompts_of_the_best_central_epoch_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    # With so low rates nothing gets better after the first epoch, though prompts move on.
    epochs, last = judged(monkeypatch)
    own = {"intermediate": "none", "prompt_fit_epochs": 0, "prompt_lr": 1e-6}
    setup = set_up(own, central={"central_lr": 1e-9, "base_epochs": 0, "warmup_share": 0.0})
    run = train_centrally(setup, 3, SILENT)
    assert run.best == 1
    assert len(epochs) == 3
    people = setup.population.clients.tolist()
    for person, first, third in zip(people, epochs[0], epochs[2], strict=True):
        assert np.array_equal(last[0][person][PROMPT], first[PROMPT])
        assert not np.array_equal(third[PROMPT], first[PROMPT])


def test_hidden_words_without_prompts_leave_prompts_as_they_are_in_central_control_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    epochs, _ = judged(monkeypatch)
    setup = set_up({"intermediate": "plain"}, central={"central_weight_decay": 0.1, "base_epochs": 0})
    start = load(setup.spec).module.get_parameter(PROMPT)[0].detach().numpy()
    train_centrally(setup, 5, SILENT)  # 2 epochs of hidden words, 3 of the task
    assert all(np.array_equal(state[PROMPT], start) for states in epochs[:2] for state in states)
    assert not any(np.array_equal(state[PROMPT], start) for state in epochs[-1])


def test_the_second_phase_of_user_adapter_runs_in_central_control_too() -> None:
    given = prepare(
        small(run={"method": "user-adapter"}, user_adapter={"adapter_epochs": 1}),
        find("user-adapter").build,
        SILENT,
    )
    run = train_centrally(given, 2, SILENT)
    assert run.done == 2 + 1
    assert list(run.stages) == ["federated"]
    assert digest(run.arrays) == digest(run.stages["federated"].arrays)


# Resumed


def test_a_run_that_goes_on_from_a_checkpoint_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Cut off in the fourth round of five, behind a checkpoint in the midst of the task's rounds.
    given = set_up({"newcomer_epochs": 0}, engine={"checkpoint_every": 1, "workers": 0})
    _, last = judged(monkeypatch)
    expected = simulate(given, SILENT, tmp_path / "whole")
    train = WriterPrompts.train

    def failing(self: WriterPrompts, shared: Shared, cohort: Sequence[Device]) -> Any:
        if shared.round == 3:
            raise MemoryError
        return train(self, shared, cohort)

    with monkeypatch.context() as cut:
        cut.setattr(WriterPrompts, "train", failing)
        with pytest.raises(Exception, match="MemoryError"):
            simulate(given, SILENT, tmp_path / "cut")
    found = simulate(given, SILENT, tmp_path / "cut", resume=True)
    assert digest(found.arrays) == digest(expected.arrays)
    assert found.history == expected.history
    assert (found.test.correct == expected.test.correct).all()
    whole, resumed = last
    assert whole.keys() == resumed.keys()
    for person, state in whole.items():
        assert state.keys() == resumed[person].keys()
        assert f"memory/{PROMPT}/exp_avg" in state
        assert all(np.array_equal(array, resumed[person][name]) for name, array in state.items())


@pytest.mark.parametrize(
    ("method", "given", "stage"),
    [
        ("perplm-soft", {"encoder": "frozen", "intermediate": "personal"}, True),
        ("perplm-soft", {"encoder": "frozen", "intermediate": "plain"}, False),
        ("perplm-soft", {"encoder": "frozen", "intermediate": "personal", "prompt": "none"}, False),
        ("perplm-soft", {"encoder": "tuned", "intermediate": "plain", "prompt": "none"}, True),
        ("perplm-hard", {"encoder": "frozen", "intermediate": "personal"}, False),
        ("perplm-hard", {"encoder": "tuned", "intermediate": "personal"}, True),
        ("perplm-hard", {"encoder": "frozen", "intermediate": "none"}, None),
    ],
)
def test_a_stage_of_masked_words_that_would_teach_nothing_is_left_out_and_said_so(
    method: str, given: dict[str, Any], stage: bool | None
) -> None:
    settings = small(run={"method": method}, perplm_soft=given)
    found, population, _ = lay_out(settings, find(method).build)
    told = "\n".join(found.notes(population))
    assert ("masked words" in [phase.name for phase in found.phases]) == bool(stage)
    assert ("no stage of masked words" in told) == (stage is False)
