"""OPPU's phases and settings; what the paper has for each task is written out from its appendix."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedpers.clients import PersonalModule, Prompted
from fedpers.errors import InputError
from fedpers.experiments import find, own_sections
from fedpers.experiments.oppu import Own, adapter_of, modules_of
from fedpers.method import Method, Phase, Server
from fedpers.models.adapters import Ia3, Lora, PromptTuning
from fedpers.report.progress import Reporter
from fedpers.settings import resolve
from fedpers.simulation import lay_out, prepare
from fedpers.strategies import Silence, TaskBase
from fedpers.training import Plan
from tests.conftest import SMALL, small

# Batch, epochs and weight decay of LaMP 1, 2N, 2M, 3, 4, 5 and 7.
PAPER = {
    "citation": (16, 3, 1e-2),
    "news-category": (16, 3, 1e-2),
    "movie-tag": (4, 3, 1e-2),
    "rating": (3, 3, 1e-2),
    "headline": (8, 2, 1e-1),
    "scholarly-title": (4, 2, 1e-1),
    "tweet": (8, 2, 1e-1),
}


def method(task: str | None = None, model: str = "tiny", **own: Any) -> Method:
    settings = resolve([{"data": {"task": task}, "model": {"model": model}, "oppu": own}], own_sections())
    return find("oppu").build(settings)


@pytest.fixture
def trained(tmp_path: Path) -> str:
    """Returns a folder that looks as if it held a model with trained weights."""
    (tmp_path / "model.safetensors").touch()
    return str(tmp_path)


def plans(found: Method) -> tuple[Plan, Plan]:
    """Returns how the task is trained, and how a module."""
    base, module = found.phases[:2]
    client = module.client
    assert isinstance(client, PersonalModule)
    assert module.plan == client.plan
    strategy = strategy_of(base)
    assert isinstance(strategy, TaskBase)
    assert strategy._plan.epochs == base.rounds
    return strategy._plan, client.plan


def strategy_of(phase: Phase) -> object:
    _, population, spec = lay_out(small(model={"answer_tokens": 8}), find("oppu").build)
    return phase.strategy(Server(len(population.clients), spec, 0, public_people=1))


# Phases


def test_for_every_number_of_items_the_task_is_learned_and_then_the_modules() -> None:
    found = method(retrieved="0,1", module="lora,ia3,prompt")
    assert [(phase.name, phase.against) for phase in found.phases] == [
        ("base k=0", None),
        ("lora k=0", "base k=0"),
        ("ia3 k=0", "base k=0"),
        ("prompt k=0", "base k=0"),
        ("base k=1", None),
        ("lora k=1", "base k=1"),
        ("ia3 k=1", "base k=1"),
        ("prompt k=1", "base k=1"),
    ]


def test_by_default_there_are_two_numbers_of_items_and_lora() -> None:
    assert [phase.name for phase in method().phases] == ["base k=0", "lora k=0", "base k=1", "lora k=1"]


def test_every_task_phase_starts_anew_and_modules_stand_on_what_it_ended_with() -> None:
    found = method()
    assert [phase.anew for phase in found.phases] == [True, False, True, False]
    assert [phase.frozen for phase in found.phases] == [False, True, False, True]
    assert [phase.sampled for phase in found.phases] == [None] * 4


def test_the_servers_halves_are_a_task_base_and_a_silent_one() -> None:
    assert [type(strategy_of(phase)) for phase in method().phases[:2]] == [TaskBase, Silence]
    assert [type(phase.client) for phase in method().phases[:2]] == [Prompted, PersonalModule]


def test_modules_are_trained_in_one_round() -> None:
    assert [phase.rounds for phase in method(module_epochs=7).phases[1::2]] == [1, 1]


def test_modules_are_peoples_own_and_need_a_language_model_without_another_base_or_control() -> None:
    found = method()
    assert (found.owned, found.writes, found.has_base, found.has_central) == (True, True, False, False)


def test_modules_are_told_by_kind_and_number_of_items() -> None:
    assert modules_of(Own(retrieved="0,4", module="ia3,lora")) == {
        "ia3 k=0": "ia3",
        "lora k=0": "lora",
        "ia3 k=4": "ia3",
        "lora k=4": "lora",
    }


def test_a_part_of_items_has_phases_of_its_own() -> None:
    found = method(retrieved="0,1", history_part="input,output")
    assert [(phase.name, phase.against) for phase in found.phases] == [
        ("base k=0 input", None),
        ("lora k=0 input", "base k=0 input"),
        ("lora k=0 output", "base k=0 input"),
        ("base k=1 input", None),
        ("lora k=1 input", "base k=1 input"),
        ("base k=1 output", None),
        ("lora k=1 output", "base k=1 output"),
    ]


@pytest.mark.parametrize(
    ("kind", "adapter"), [("lora", Lora(4, 2.0)), ("ia3", Ia3()), ("prompt", PromptTuning(5))]
)
def test_settings_reach_the_module(kind: str, adapter: object) -> None:
    own: dict[str, Any] = {"rank": 4, "alpha": 2.0, "prompt_tokens": 5, "module": kind}
    client = method(**own).client
    assert isinstance(client, PersonalModule)
    assert client.adapter == adapter == adapter_of(Own.model_validate(own), kind)


def test_named_layers_reach_lora_and_ia3() -> None:
    own = Own(targets="c_fc, c_proj")
    assert adapter_of(own, "lora") == Lora(8, 8.0, targets=("c_fc", "c_proj"))
    assert adapter_of(own, "ia3") == Ia3(("c_fc", "c_proj"))


def test_settings_reach_the_prompts() -> None:
    client = method(retrieved="3", retrieval="random", profile="given", answers="chosen").client
    assert isinstance(client, PersonalModule)
    asking = client.prompts.asking
    assert (asking.retrieved, asking.choice, asking.profile) == (3, "random", "given")
    assert client.prompts.choosing


# How the task and the modules are trained


@pytest.mark.parametrize("task", PAPER)
def test_trained_weights_are_trained_on_as_the_paper_has_it(task: str, trained: str) -> None:
    batch, epochs, decay = PAPER[task]
    expected = Plan("adamw", 1e-5, epochs, batch, weight_decay=decay)
    assert plans(method(task, trained, module_order="random")) == (expected, expected)


def test_random_weights_need_larger_rates_more_epochs_and_smaller_batches_of_modules() -> None:
    task, module = plans(method("headline"))
    assert task == Plan("adamw", 1e-3, epochs=10, batch_size=8, weight_decay=1e-1)
    assert module == Plan("adamw", 5e-3, epochs=5, batch_size=4, weight_decay=1e-1, shuffled=False)


def test_without_a_task_of_the_paper_there_are_usual_settings(trained: str) -> None:
    expected = Plan("adamw", 1e-5, 3, 16, weight_decay=1e-2)
    assert plans(method(None, trained)) == (expected, replace(expected, shuffled=False))


@pytest.mark.parametrize("model", ["random", "trained"])
def test_a_history_is_learned_in_the_order_of_time_unless_it_is_to_be_shuffled(
    model: str, trained: str
) -> None:
    name = trained if model == "trained" else "tiny"
    assert [plan.shuffled for plan in plans(method(None, name))] == [True, False]
    assert [plan.shuffled for plan in plans(method(None, name, module_order="random"))] == [True, True]
    assert [plan.shuffled for plan in plans(method(None, name, released_code=True))] == [True, True]


@pytest.mark.parametrize("model", ["random", "trained"])
def test_what_is_asked_for_goes_before_the_papers(model: str, trained: str) -> None:
    found = plans(
        method(
            "rating",
            trained if model == "trained" else "tiny",
            task_epochs=4,
            task_lr=0.1,
            module_epochs=5,
            module_lr=0.2,
            module_batch_size=6,
            module_weight_decay=0.0,
        )
    )
    assert found == (Plan("adamw", 0.1, 4, 3, weight_decay=1e-2), Plan("adamw", 0.2, 5, 6, shuffled=False))


@pytest.mark.parametrize(
    ("given", "random", "learns"),
    [(None, True, None), (None, False, Lora()), ("lora", True, Lora()), ("whole", False, None)],
    ids=str,
)
def test_lora_learns_the_task_where_there_are_trained_weights(
    given: str | None, random: bool, learns: Lora | None, trained: str
) -> None:
    found = method(model="tiny" if random else trained, task_training=given)
    strategy = strategy_of(found.phases[0])
    assert isinstance(strategy, TaskBase)
    assert strategy._adapter == learns


# The released code's


def test_the_released_codes_settings_are_the_same_for_all_tasks(trained: str) -> None:
    for name in PAPER:
        task, module = plans(method(name, trained, released_code=True))
        assert task == Plan("adamw", 1e-4, 3, 16, weight_decay=1e-2, warmup_share=0.1, clip=0.3)
        assert module == Plan("adamw", 1e-4, 2, 16, weight_decay=1e-2, warmup_share=0.1, clip=0.3)


def test_the_released_code_drops_lora_out_and_learns_items_behind_the_cue() -> None:
    client = method(released_code=True).client
    assert isinstance(client, PersonalModule)
    assert client.adapter == Lora(8, 8.0, dropout=0.05)
    assert client.prompts.cue_alone


def test_a_rate_of_dropout_that_is_asked_for_goes_before_the_released_codes() -> None:
    for given in (0.2, 0.0):
        assert adapter_of(Own(released_code=True, lora_dropout=given), "lora") == Lora(8, 8.0, dropout=given)


# Bad settings


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("rank", 0, "--rank 0: input should be greater than or equal to 1 (nearest: 1)"),
        ("alpha", 0, "oppu.alpha 0: input should be greater than 0"),
        ("lora_dropout", 1, "oppu.lora_dropout 1: input should be less than 1"),
        (
            "prompt_tokens",
            0,
            "oppu.prompt_tokens 0: input should be greater than or equal to 1 (nearest: 1)",
        ),
        ("task_epochs", 0, "--task-epochs 0: input should be greater than or equal to 1 (nearest: 1)"),
        ("task_lr", 0, "--task-lr 0: input should be greater than 0"),
        ("module_epochs", 0, "--module-epochs 0: input should be greater than or equal to 1 (nearest: 1)"),
        ("module_lr", -1, "--module-lr -1: input should be greater than 0"),
        (
            "module_batch_size",
            0,
            "oppu.module_batch_size 0: input should be greater than or equal to 1 (nearest: 1)",
        ),
        (
            "module_weight_decay",
            -1,
            "oppu.module_weight_decay -1: input should be greater than or equal to 0 (nearest: 0)",
        ),
        (
            "retrieval",
            "bm52",
            "--retrieval 'bm52': input should be 'bm25' or 'random' (did you mean 'bm25'?)",
        ),
        (
            "profile",
            "compute",
            "--profile 'compute': input should be 'none', 'computed' or 'given' (did you mean 'computed'?)",
        ),
        (
            "module_order",
            "times",
            "--module-order 'times': input should be 'time' or 'random' (did you mean 'time'?)",
        ),
        (
            "task_stage",
            "pool",
            "--task-stage 'pool': input should be 'pooled' or 'federated' (did you mean 'pooled'?)",
        ),
        (
            "answers",
            "choose",
            "--answers 'choose': input should be 'written' or 'chosen' (did you mean 'chosen'?)",
        ),
    ],
    ids=str,
)
def test_a_setting_that_breaks_a_rule_is_one_line_that_names_it(
    field: str, value: object, shown: str
) -> None:
    with pytest.raises(InputError) as caught:
        resolve([SMALL, {"oppu": {field: value}}], own_sections())
    assert str(caught.value) == shown


@pytest.mark.parametrize("retrieved", ["", "one", "1,", "-1", "1,1", "0.5"])
def test_numbers_of_items_that_are_none_are_one_line(retrieved: str) -> None:
    with pytest.raises(InputError) as caught:
        method(retrieved=retrieved)
    assert str(caught.value) == (
        f"--retrieved {retrieved!r}: give different whole numbers from 0, parted by commas, as in 0,1,4"
    )


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        (
            {"module": "lorra"},
            "unknown kind of module 'lorra': did you mean 'lora'? (valid: ia3, lora, prompt)",
        ),
        ({"history_part": "inputs"}, "did you mean 'input'?"),
    ],
    ids=str,
)
def test_an_unknown_name_in_a_list_names_the_nearest_one(own: dict[str, Any], shown: str) -> None:
    with pytest.raises(InputError) as caught:
        method(**own)
    assert shown in str(caught.value)
    assert "\n" not in str(caught.value)


def test_next_words_are_no_answers_of_oppu() -> None:
    settings = resolve([SMALL, {"data": {"answer": "next-word"}}], own_sections())
    with pytest.raises(InputError) as caught:
        find("oppu").build(settings)
    assert str(caught.value) == "OPPU answers whole texts: use --answer class or text"


def test_people_without_a_given_profile_are_counted_where_profiles_are_asked_for() -> None:
    _, population, _ = lay_out(small(model={"answer_tokens": 8}), find("oppu").build)
    first = population.people.name(int(population.clients[0]))
    told, everyone = replace(population, profiles={first: "Likes it."}), len(population.everyone())
    assert method(profile="given").notes(told) == (
        f"{everyone - 1} of {everyone} people have no profile of the source's",
    )
    assert method().notes(told) == ()


@pytest.mark.parametrize("task", ["citation", "tweet"])
def test_histories_without_answers_do_not_teach_their_task(task: str) -> None:
    given = {"data": {"task": task, "split": "given"}, "oppu": {"task_part": "all"}}
    with pytest.raises(InputError) as caught:
        find("oppu").build(resolve([given], own_sections()))
    assert str(caught.value) == (
        f"--task-part all learns from histories too, and those of the task {task} have no answers: "
        "use queries"
    )


ROOM = {"model": {"answer_tokens": 4, "max_tokens": 64}}


@pytest.mark.parametrize(
    ("sections", "shown"),
    [
        (
            {"oppu": {"targets": "c_atn"}, **ROOM},
            "unknown layer 'c_atn': did you mean 'c_attn'?",
        ),
        (
            {"model": {"answer_tokens": 20}},
            "answers of 20 tokens are more than half of the model's 32: set model.answer_tokens to 16",
        ),
        (
            {
                "oppu": {"module": "prompt", "prompt_tokens": 40},
                "model": {"answer_tokens": 4, "max_tokens": 32},
                "engine": {"cohort_size": None, "workers": 0},
            },
            "40 tokens before a prompt leave no room for it: use fewer than 27",
        ),
        ({"oppu": {"profile": "given"}, **ROOM}, "this source has none: use computed or none"),
    ],
    ids=str,
)
def test_what_no_device_could_do_is_refused_before_the_task_is_learned(
    sections: dict[str, dict[str, object]], shown: str, silent: Reporter
) -> None:
    with pytest.raises(InputError) as caught:
        prepare(small(**sections), find("oppu").build, silent)
    assert shown in str(caught.value)
    assert "\n" not in str(caught.value)
