"""OPPU's device: what it reads and practises, and that a module is its own person's alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from fedpers.clients import PersonalModule, Prompted, Prompts
from fedpers.data import GENERAL, Population, Samples, Task
from fedpers.errors import InputError
from fedpers.experiments import find
from fedpers.method import Device, Shared, State, device_of
from fedpers.models import Arrays, Examples, Model, digest, extract, load, user_ids
from fedpers.models.adapters import Adapter, Ia3, Lora, PromptTuning
from fedpers.prompting import Prompting
from fedpers.seeds import stream
from fedpers.simulation import lay_out
from fedpers.training import Plan
from fedpers.training.stack import batch_of
from tests.conftest import small
from tests.phases import assert_close_arrays

ADAPTERS: dict[str, Adapter] = {"lora": Lora(rank=2), "ia3": Ia3(), "prompt": PromptTuning(3)}
NO_CHANGE_AT_FIRST = ("lora", "ia3")
PLAN = Plan("adamw", 2e-2, epochs=4, batch_size=4, weight_decay=0.01)
TASK = replace(GENERAL, labels=("dislikes", "likes"))
UNPAIRED = replace(TASK, name="tweet", labels=(), measure="rouge_1", item="{text}", paired=False)
ALL = 10  # items shown, more than anybody has before a text

HISTORY = Samples(["baba nizi", "gugu", "dodo tuku", "vevo"], np.array([0, 1, 1, 0]))


@cache
def world() -> tuple[Population, Model, Arrays]:
    settings = small(
        run={"method": "oppu"},
        synthetic={"samples_per_person": 10, "text_words": 3},
        model={"max_tokens": 200, "answer_tokens": 10, "vocabulary": 400},
    )
    _, population, spec = lay_out(settings, find("oppu").build)
    model = load(spec)
    # Small random weights would say nearly the same to everything.
    arrays = {n: a * (8 if a.ndim > 1 else 1) for n, a in extract(model.module).items()}
    return population, model, arrays


def prompts(retrieved: int = ALL) -> Prompts:
    return Prompts(Prompting(GENERAL, retrieved))


def module(kind: str, retrieved: int = 1) -> PersonalModule:
    return PersonalModule(kind, prompts(retrieved), ADAPTERS[kind], PLAN)


def shared() -> Shared:
    _, model, arrays = world()
    return Shared(model, arrays, 1)


def fresh(client: PersonalModule) -> State:
    population, model, _ = world()
    return client.enrol(model, population, 0)(0)


def known(person: int, part: str, state: State) -> Device:
    draw = stream(0, "device", person)
    return device_of(world()[0], person, part, state, draw)  # type: ignore[arg-type]  # a part


def device(
    history: Samples, samples: Samples | None = None, task: Task = TASK, state: State | None = None
) -> Device:
    """Returns a person with this history, asked about samples that come after it, or about the history."""
    earlier = np.arange(len(history)) if samples is None else np.full(len(samples), len(history))
    return Device(
        0,
        history if samples is None else samples,
        state or {},
        stream(0, "device"),
        history=lambda: (history, earlier),
        task=task,
    )


def texts_of(examples: Examples) -> list[str]:
    """Returns what a model reads, answers and the token it starts from left out."""
    model = world()[1]
    answers = examples.answers or [[0]] * len(examples)
    pairs = zip(examples.ids, answers, strict=True)
    return [str(model.tokenizer.decode(ids[1 : len(ids) - len(answer) + 1])) for ids, answer in pairs]


def answers_of(examples: Examples) -> list[str]:
    model = world()[1]
    assert examples.answers is not None
    return [str(model.tokenizer.decode(answer, skip_special_tokens=True)) for answer in examples.answers]


def loss(client: PersonalModule, asked: Device, state: State) -> float:
    """Returns the mean loss of what a person practises, with a module of theirs."""
    _, model, arrays = world()
    model.module.load_state_dict({n: torch.from_numpy(a) for n, a in arrays.items()}, strict=False)
    model.module.train(False)
    examples = client.prompts.practice(model, asked, user_ids(client.adapter.tokens))
    batch = batch_of(model, [(examples, np.arange(len(examples)))])
    theta = {
        path.partition("/")[2]: torch.from_numpy(np.asarray(a, np.float32))[None] for path, a in state.items()
    }
    written: Callable[..., torch.Tensor] = model.reader()
    owners = torch.zeros(len(examples), dtype=torch.int64)
    with torch.inference_mode(), client.adapter.applied(model.module, theta, owners):
        scores = written(batch.inputs.of(0)).log_softmax(dim=-1)
    each = scores.gather(2, batch.labels[0][..., None])[..., 0]
    return -float((each * batch.weights[0]).sum())


# What is read


def test_each_item_is_practised_with_its_own_answer_behind_the_cue() -> None:
    found = prompts(0).practice(world()[1], device(HISTORY))
    assert texts_of(found) == [f"{text}\nanswer:" for text in HISTORY.texts]
    assert answers_of(found) == [" dislikes", " likes", " likes", " dislikes"]


def test_all_of_a_history_is_practised_whatever_part_is_at_hand() -> None:
    population, model, _ = world()
    whole = [prompts().practice(model, known(0, part, {})).ids for part in ("train", "validation", "test")]
    assert whole[0] == whole[1] == whole[2]
    assert len(whole[0]) == len(population.samples(0, "history")) == 9


def test_an_item_is_practised_with_none_but_earlier_ones_in_front() -> None:
    items = [f"{text} answer: {TASK.labels[label]}\n" for text, label in zip(*pair(HISTORY), strict=True)]
    for number, text in enumerate(texts_of(prompts().practice(world()[1], device(HISTORY)))):
        assert [item in text for item in items] == [place < number for place in range(len(items))]


def test_a_test_text_is_asked_with_all_of_the_history_and_no_other_test_text() -> None:
    asked = Samples(["zizi", "momo nizi"], np.array([-1, -1]))
    for text, own in zip(
        texts_of(prompts().encode(world()[1], device(HISTORY, asked))), asked.texts, strict=True
    ):
        assert text.endswith(f"\n{own}\nanswer:")
        assert text.count("\n") == len(HISTORY) + 1
        assert all(item in text for item in HISTORY.texts)


def test_the_history_of_a_person_holds_nothing_of_their_test() -> None:
    population, *_ = world()
    test = known(0, "test", {})
    history, _ = test.history()
    assert sorted(history.texts) == sorted(population.samples(0, "history").texts)
    assert not set(history.texts) & set(test.samples.texts)


def test_a_given_profile_stands_in_front() -> None:
    one = replace(prompts(0), asking=Prompting(GENERAL, 0, profile="given"))
    [text, *_] = texts_of(one.encode(world()[1], replace(device(HISTORY), profile="likes dogs")))
    assert text == "likes dogs\nbaba nizi\nanswer:"


def pair(samples: Samples) -> tuple[list[str], Sequence[int]]:
    return samples.texts, samples.labels.tolist()


# Tasks whose histories are no pairs

TITLES = Samples(["baba nizi", "gugu"], np.array([-1, -1]), ["", ""])
TWEETS = Samples(["", ""], np.array([-1, -1]), ["baba nizi", "gugu"])


@pytest.mark.parametrize("history", [TITLES, TWEETS], ids=["titles", "tweets"])
def test_items_without_an_answer_are_learned_word_by_word(history: Samples) -> None:
    found = prompts().practice(world()[1], device(history, task=UNPAIRED))
    assert texts_of(found) == ["", ""]
    assert answers_of(found) == [" baba nizi", " gugu"]


@pytest.mark.parametrize("history", [TITLES, TWEETS], ids=["titles", "tweets"])
def test_with_the_released_codes_cue_they_are_answers_to_it(history: Samples) -> None:
    one = replace(prompts(), cue_alone=True)
    found = one.practice(world()[1], device(history, task=UNPAIRED))
    assert texts_of(found) == ["answer:", "answer:"]
    assert answers_of(found) == [" baba nizi", " gugu"]


def test_items_with_text_and_answer_are_both_shown_behind_the_released_codes_cue() -> None:
    abstracts = Samples(["baba"], np.array([-1]), ["nizi gugu"])
    found = replace(prompts(), cue_alone=True).practice(world()[1], device(abstracts, task=UNPAIRED))
    assert texts_of(found) == ["baba\nanswer:"]
    assert answers_of(found) == [" nizi gugu"]


@pytest.mark.parametrize("task", [TASK, UNPAIRED], ids=["pairs", "no pairs"])
def test_a_modules_tokens_stand_in_front_of_what_is_practised(task: Task) -> None:
    model = world()[1]
    history = HISTORY if task.paired else TITLES
    plain, behind = (prompts().practice(model, device(history, task=task), ids) for ids in ((), user_ids(3)))
    assert behind.ids == [[*user_ids(3), *ids] for ids in plain.ids]
    assert behind.answers == plain.answers


# Training


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_module_learns_its_persons_history(kind: str) -> None:
    client = module(kind)
    asked = known(0, "train", fresh(client))
    _, [state] = client.train(shared(), [asked])
    assert loss(client, asked, state) < loss(client, asked, asked.state) - 0.05


@pytest.mark.parametrize("kind", ADAPTERS)
def test_training_modules_leaves_the_model_as_it_is(kind: str) -> None:
    client = module(kind)
    given = shared()
    before = digest(given.arrays)
    client.train(given, [known(person, "train", fresh(client)) for person in range(3)])
    assert digest(extract(given.model.module)) == digest(given.arrays) == before


@pytest.mark.parametrize("kind", ADAPTERS)
def test_everyone_starts_with_the_same_module_under_its_name(kind: str) -> None:
    population, model, _ = world()
    client = module(kind)
    first_state = client.enrol(model, population, 0)
    one, other = first_state(0), first_state(5)
    assert all(path.startswith(f"{kind}/") for path in one)
    assert all((one[path] == other[path]).all() for path in one)


CANARY = "~"  # as many tokens as it is said times, for the vocabulary has no longer word of it


def trained(client: PersonalModule, planted: int = 0) -> list[State]:
    """Trains four people, the second of whom may have said a phrase in place of a text, so many tokens."""
    cohort = [known(person, "train", fresh(client)) for person in range(4)]
    if planted:
        history, earlier = cohort[1].history()
        changed = replace(history, texts=[CANARY * planted, *history.texts[1:]])
        cohort[1] = replace(cohort[1], history=lambda: (changed, earlier))
    return client.train(shared(), cohort)[1]


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_phrase_in_one_persons_history_changes_no_bit_of_anothers_module(kind: str) -> None:
    client = module(kind, ALL)
    history, _ = known(1, "train", {}).history()
    [replaced] = world()[1].tokens(history.texts[:1])
    found, expected = trained(client, len(replaced)), trained(client)
    for person in (0, 2, 3):
        assert all((found[person][path] == expected[person][path]).all() for path in found[person])
    assert any((found[1][path] != expected[1][path]).any() for path in found[1])


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_phrase_that_makes_batches_longer_changes_anothers_module_by_rounding_alone(kind: str) -> None:
    client = module(kind, ALL)
    found, expected = trained(client, 60), trained(client)
    for person in (0, 2, 3):
        assert_close_arrays(found[person], expected[person], 1e-5)


# Prediction


def base_answers(cohort: Sequence[Device]) -> list[object]:
    return list(Prompted(prompts(1)).predict(shared(), cohort))


@pytest.mark.parametrize("kind", NO_CHANGE_AT_FIRST)
def test_an_untrained_module_answers_as_the_base(kind: str) -> None:
    client = module(kind)
    cohort = [known(person, "test", fresh(client)) for person in range(3)]
    assert list(client.predict(shared(), cohort)) == base_answers(cohort)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_trained_module_answers_otherwise(kind: str) -> None:
    client = module(kind)
    _, states = client.train(shared(), [known(person, "train", fresh(client)) for person in range(3)])
    cohort = [known(person, "all", states[person]) for person in range(3)]
    assert list(client.predict(shared(), cohort)) != base_answers(cohort)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_person_without_a_module_is_answered_by_the_base(kind: str) -> None:
    client = module(kind)
    cohort = [known(person, "test", {}) for person in range(3)]
    assert list(client.predict(shared(), cohort)) == base_answers(cohort)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_people_with_and_without_modules_may_share_a_cohort(kind: str) -> None:
    client = module(kind)
    _, [state] = client.train(shared(), [known(1, "train", fresh(client))])
    cohort = [known(0, "all", {}), known(1, "all", state), known(2, "all", {})]
    found = client.predict(shared(), cohort)
    assert [found[0], found[2]] == base_answers([cohort[0], cohort[2]])
    assert [found[1]] == list(client.predict(shared(), [cohort[1]]))


def test_a_state_of_another_module_is_none_of_this_ones() -> None:
    client, other = module("lora"), module("ia3")
    cohort = [known(0, "test", fresh(other))]
    assert list(client.predict(shared(), cohort)) == base_answers(cohort)


def test_a_chosen_answer_is_always_a_label() -> None:
    client = replace(module("lora"), prompts=replace(prompts(1), choosing=True))
    [found] = client.predict(shared(), [known(0, "all", fresh(client))])
    assert len(found) == 10
    assert {text for [text] in found} <= {"dislikes", "likes"}


def test_answers_are_not_chosen_where_there_are_no_labels() -> None:
    population, model, _ = world()
    client = Prompted(replace(prompts(), choosing=True))
    assert client.enrol(model, population, 0)(0) == {}
    with pytest.raises(InputError, match="--answers chosen needs a task with labels, and this one has none"):
        client.enrol(model, replace(population, task=UNPAIRED), 0)
