"""Who of LaMP's people is a client, and who is public."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fedpers.data import Population, TablePeople, populate
from fedpers.errors import InputError
from fedpers.settings import DataSettings, SyntheticSettings
from tests.data.reading import jsonl

ASKED = "Which section? sections: [travel, sports] article: "


def item(place: int, category: str) -> dict[str, Any]:
    date = f"1970-01-{place + 1:02d}"
    return {"id": f"i{place}", "text": f"text {place}", "title": "T", "category": category, "date": date}


def written(folder: Path, histories: dict[str, int], labels: Sequence[str] = ("travel", "sports")) -> Path:
    """Writes LaMP's people with histories of so many items, and one question each, on sports."""
    people = [
        {
            "user_id": name,
            "profile": [item(place, labels[place % len(labels)]) for place in range(count)],
            "query": [{"id": f"q-{name}", "input": f"{ASKED}asked of {name}", "gold": "sports"}],
        }
        for name, count in histories.items()
    ]
    path = folder / "users.json"
    path.write_text(json.dumps(people), encoding="utf-8")
    return path


def people(path: Path, seed: int = 0, **settings: object) -> Population:
    data = DataSettings.model_validate({"data": str(path), **settings})
    return populate(data, SyntheticSettings(), seed)


def message(path: Path | str, **settings: object) -> str:
    with pytest.raises(InputError) as caught:
        people(Path(path), 0, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(population: Population, role: str = "clients") -> list[str]:
    return [population.people.name(int(person)) for person in getattr(population, role)]


def history_length(population: Population, person: int) -> int:
    return len(population.positions(person, "history"))


# Made-up people


def test_clients_are_those_with_the_longest_histories_and_all_others_are_public(tmp_path: Path) -> None:
    found = people(written(tmp_path, {"ann": 3, "bob": 9, "cy": 5, "dee": 7}), clients=2)
    assert names(found) == ["bob", "dee"]
    assert sorted(names(found, "public")) == ["ann", "cy"]


def test_of_histories_of_one_length_the_first_names_are_clients(tmp_path: Path) -> None:
    found = people(written(tmp_path, {"cy": 3, "ann": 3, "bob": 3}), clients=2)
    assert names(found) == ["ann", "bob"]


def test_fewer_public_people_are_the_first_of_more(tmp_path: Path) -> None:
    path = written(tmp_path, dict(zip("abcdefgh", range(2, 10), strict=True)))
    all_of_them = names(people(path, clients=2), "public")
    assert names(people(path, clients=2, public_people=3), "public") == all_of_them[:3]


def test_the_order_of_public_people_goes_by_the_seed(tmp_path: Path) -> None:
    path = written(tmp_path, dict(zip("abcdefgh", range(2, 10), strict=True)))
    assert len({str(names(people(path, seed, clients=1), "public")) for seed in range(3)}) > 1


def test_without_a_number_at_most_100_people_are_clients(tmp_path: Path) -> None:
    found = people(written(tmp_path, {f"p{number:03d}": 2 for number in range(103)}))
    assert (len(found.clients), len(found.public)) == (100, 3)


def test_people_with_one_item_are_public_only(tmp_path: Path) -> None:
    found = people(written(tmp_path, {"ann": 4, "bob": 1}))
    assert (names(found), names(found, "public")) == (["ann"], ["bob"])


def test_the_questions_are_the_test_and_the_latest_ninth_of_the_history_validates(tmp_path: Path) -> None:
    found = people(written(tmp_path, {"ann": 9}))
    person = int(found.clients[0])
    assert found.split == "given"
    assert found.samples(person, "test").texts == ["asked of ann"]
    assert found.samples(person, "validation").texts == ["text 8"]
    assert found.samples(person, "train").texts == [f"text {place}" for place in range(8)]


def test_all_of_the_history_came_before_a_question(tmp_path: Path) -> None:
    found = people(written(tmp_path, {"ann": 9}))
    history, earlier = found.background(int(found.clients[0]), "test")
    assert history.texts == [f"text {place}" for place in range(9)]
    assert earlier.tolist() == [9]


def test_classes_are_numbered_as_the_tasks_labels_are(tmp_path: Path) -> None:
    found = people(written(tmp_path, {"ann": 2}))
    assert found.task is not None
    assert found.labels == found.people.classes == found.task.labels
    samples = found.samples(int(found.clients[0]), "all")
    assert [found.labels[label] for label in samples.labels] == ["travel", "sports", "sports"]


def test_too_many_clients_say_how_many_there_are(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": 4, "bob": 2, "cy": 1})
    assert message(path, clients=3) == (
        f"--clients 3 is more than there are: {path} has 2 people with a query and 2 items of history or "
        "more; use at most 2"
    )


def test_too_many_public_people_say_how_many_there_are(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": 4, "bob": 2, "cy": 1})
    assert message(path, clients=1, public_people=3) == (
        "--public-people 3 is more than there are: use at most 2, or fewer --clients, or --public-data"
    )


def test_people_with_fewer_samples_than_asked_for_are_said_to_be_what_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": 5, "bob": 3})
    assert message(path, min_samples=100) == (
        f"nobody in {path} has 100 queries and items of history: the most is 6; lower --min-samples"
    )
    assert message(path, min_samples=5, clients=2) == (
        f"--clients 2 is more than there are: {path} has 1 people with a query and 2 items of history or "
        "more, 5 of both together; use at most 1"
    )


def test_nobody_with_two_items_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": 1})
    assert message(path, clients=1) == f"{path} has nobody with a query and 2 items of history"


def test_a_label_outside_the_task_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": 4}, labels=["travel", "sprots"])
    text = message(path)
    assert text.startswith("unknown label of news-category in ")
    assert "'sprots': did you mean 'sports'?" in text


def test_answers_are_checked_against_the_task_that_was_named(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": 4})
    assert message(path, task="movie-tag").startswith(
        f"unknown label of movie-tag in {path}, user 'ann', item 1 of its profile: 'travel': (valid: action, "
    )


def test_a_named_task_with_the_same_answers_is_read_for(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.toml"
    tasks.write_text(
        '[trips]\nquery = "{text}"\ncue = "is:"\nitem = "{text} is: {target}"\n'
        'labels = ["sports", "travel"]\n',
        encoding="utf-8",
    )
    found = people(written(tmp_path, {"ann": 2}), task="trips", task_file=str(tasks))
    samples = found.samples(int(found.clients[0]), "all")
    assert [found.labels[label] for label in samples.labels] == ["travel", "sports", "sports"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("held_out_people", 1),
        ("max_samples", 5),
        ("skewed", 0.5),
        ("most_active", 1),
        ("rating_bins", "3"),
        ("split", "random"),
        ("split", "common-time"),
        ("answer", "text"),
        ("answer", "next-word"),
    ],
)
def test_settings_that_make_no_sense_with_lamp_are_refused(name: str, value: object, tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": 4})
    flag = name.replace("_", "-")
    assert message(path, **{name: value}) == (
        f"--{flag} is not for LaMP's files, which say who is tested on what: leave it out"
    )


def papers(folder: Path, queries: dict[str, int]) -> Path:
    """Writes people with three papers each, and so many questions on what they would cite."""
    asked = 'For whoever wrote the paper with the title "T", pick one. [1]: "One" [2]: "Two"'
    people = [
        {
            "user_id": name,
            "profile": [{"id": str(place), "title": f"paper {place}", "date": 2001} for place in range(3)],
            "query": [{"id": f"{name}{place}", "input": asked, "gold": "[1]"} for place in range(count)],
        }
        for name, count in queries.items()
    ]
    path = folder / "papers.json"
    path.write_text(json.dumps(people), encoding="utf-8")
    return path


def test_where_histories_have_no_answers_public_people_are_those_with_queries(tmp_path: Path) -> None:
    found = people(papers(tmp_path, {"ann": 1, "bob": 1, "cy": 0, "dee": 0}), clients=1)
    assert (names(found), names(found, "public")) == (["ann"], ["bob"])
    assert found.samples(int(found.public[0]), "queries").targets == ["[1]"]
    assert found.notes == (
        "2 public people were left out: they have no query, and a history of the task citation no answers",
    )


def test_rows_of_another_source_are_queries_where_histories_have_no_answers(tmp_path: Path) -> None:
    further = jsonl(tmp_path / "more.jsonl", *rows("eve", label="[2]"))
    found = people(papers(tmp_path, {"ann": 1}), public_data=str(further))
    assert names(found, "public") == ["eve"]
    assert found.samples(int(found.public[0]), "queries").targets == ["[2]", "[2]"]


# Public people of another source


def rows(*people: str, label: str = "travel", count: int = 2) -> list[dict[str, Any]]:
    return [
        {"user_id": name, "text": f"{name} {place}", "label": label}
        for name in people
        for place in range(count)
    ]


def test_people_of_another_source_take_the_place_of_the_public_ones(tmp_path: Path) -> None:
    further = jsonl(tmp_path / "more.jsonl", *rows("eve", "bob"))
    found = people(written(tmp_path, {"ann": 4, "bob": 2}), clients=1, public_data=str(further))
    assert (names(found), sorted(names(found, "public"))) == (["ann"], ["bob", "eve"])
    person = next(int(person) for person in found.public if found.people.name(int(person)) == "bob")
    assert found.samples(person, "all").texts == ["bob 0", "bob 1"]


def test_clients_are_never_public(tmp_path: Path) -> None:
    further = jsonl(tmp_path / "more.jsonl", *rows("eve", "ann"))
    found = people(written(tmp_path, {"ann": 4}), public_data=str(further))
    assert names(found, "public") == ["eve"]
    assert len(found.positions(int(found.clients[0]), "all")) == 4 + 1


def test_another_sources_label_outside_the_task_is_an_error(tmp_path: Path) -> None:
    further = jsonl(tmp_path / "more.jsonl", *rows("eve", label="weather"))
    assert message(written(tmp_path, {"ann": 4}), public_data=str(further)).startswith(
        f"{further}: 'weather' is no answer of the task news-category (these are: travel, education, "
    )


def test_another_source_of_clients_alone_is_an_error(tmp_path: Path) -> None:
    further = jsonl(tmp_path / "more.jsonl", *rows("ann"))
    assert message(written(tmp_path, {"ann": 4}), public_data=str(further)) == (
        f"{further} has no people who are not clients"
    )


def test_public_people_may_be_those_of_another_file_of_lamps(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    further = written(tmp_path / "others", {"ann": 3, "cy": 2})
    found = people(written(tmp_path, {"ann": 4}), public_data=str(further))
    assert (names(found), names(found, "public")) == (["ann"], ["cy"])
    assert found.samples(int(found.public[0]), "queries").texts == ["asked of cy"]


def test_public_people_of_another_file_of_lamps_keep_their_profiles_and_notes(tmp_path: Path) -> None:
    for folder, histories in (("mine", {"ann": 4, "bob": 2}), ("others", {"ann": 3, "cy": 2})):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, histories)
        told = [{"id": name, "output": f"{name} of {folder}"} for name in (*histories, "eve")]
        (tmp_path / folder / "profile_user_1.json").write_text(json.dumps(told), encoding="utf-8")
    public = tmp_path / "others" / "user_others.json"
    (tmp_path / "others" / "users.json").rename(public)
    found = people(tmp_path / "mine" / "users.json", clients=1, public_data=str(public.parent))
    assert found.profiles == {"ann": "ann of mine", "cy": "cy of others"}
    assert found.notes == (f"{public.parent}: 1 profiles of people who are in no other file were left out",)


def test_public_data_of_a_source_that_is_not_lamps_is_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", *rows("ann", count=5))
    assert message(path, public_data="more.jsonl") == (
        f"--public-data is for LaMP's files, and {path} is none: use --public-people"
    )


def test_public_data_of_synthetic_people_is_refused() -> None:
    assert message("synthetic", public_data="more.jsonl") == (
        "--public-data is for LaMP's files, and synthetic is none: use --public-people"
    )


@pytest.mark.parametrize("answer", ["text", "next-word"])
def test_synthetic_people_have_a_class_to_tell(answer: str) -> None:
    assert message("synthetic", answer=answer) == (
        f"--answer {answer} is for real people: synthetic ones have a class to tell"
    )


def test_a_task_is_no_matter_to_synthetic_people() -> None:
    assert people(Path("synthetic"), task="headline", clients=2).answer == "class"


# A task for a source that names none


def labelled(folder: Path) -> Path:
    both = [*rows("ann", "bob", label="travel", count=5), *rows("ann", "bob", label="sports", count=5)]
    return jsonl(folder / "x.jsonl", *both)


def test_classes_of_any_source_are_numbered_as_the_tasks_labels_are(tmp_path: Path) -> None:
    found = people(labelled(tmp_path), task="news-category")
    assert found.task is not None
    assert found.people.classes == found.labels == found.task.labels


def test_a_sources_label_outside_the_task_it_is_read_for_is_an_error(tmp_path: Path) -> None:
    path = labelled(tmp_path)
    text = message(path, task="movie-tag")
    assert text.startswith(f"{path}: 'sports' is no answer of the task movie-tag (these are: sci-fi, ")


def test_a_task_without_labels_needs_texts_to_write(tmp_path: Path) -> None:
    assert message(labelled(tmp_path), task="headline") == (
        "--task headline has no labels, which --answer class is not for: use text"
    )


def test_a_task_with_labels_needs_classes(tmp_path: Path) -> None:
    assert message(labelled(tmp_path), task="news-category", answer="text") == (
        "--task news-category has labels, which --answer text is not for: use class"
    )


def test_a_task_without_labels_is_kept_with_texts_to_write(tmp_path: Path) -> None:
    found = people(labelled(tmp_path), task="headline", answer="text")
    assert found.task is not None
    assert (found.task.name, found.labels) == ("headline", ())


# Real people, against the counts in their README


@pytest.fixture
def news(shared: Path) -> Path:
    return shared / "data" / "huffpost_news"


def test_all_79_authors_of_the_categories_can_be_clients(news: Path) -> None:
    found = people(news / "news_categorize_users.json.gz")
    assert (len(found.clients), len(found.public)) == (79, 0)
    assert sum(len(found.positions(int(person), "test")) for person in found.clients) == 551


def test_40_clients_are_those_with_the_longest_histories_and_the_39_others_are_public(news: Path) -> None:
    found = people(news / "news_categorize_users.json.gz", clients=40)
    assert (len(found.clients), len(found.public)) == (40, 39)
    shortest = min(history_length(found, int(person)) for person in found.clients)
    assert isinstance(found.people, TablePeople)
    queries = [found.people.queries(int(person)) for person in found.public]
    assert max(int((~own).sum()) for own in queries if own is not None) <= shortest


def test_public_authors_of_the_whole_corpus_are_no_clients(news: Path) -> None:
    found = people(
        news / "news_categorize_users.json.gz",
        clients=40,
        public_data=str(news / "huffpost_news.jsonl.gz"),
        label_column="lamp2n_category",
    )
    assert len(found.clients) == 40
    assert not set(names(found)) & set(names(found, "public"))
    assert sum(len(found.positions(int(person), "all")) for person in found.public) == 1159


def test_categories_that_the_task_does_not_have_are_an_error(news: Path) -> None:
    text = message(
        news / "news_categorize_users.json.gz",
        public_data=str(news / "huffpost_news.jsonl.gz"),
        label_column="category",
    )
    assert "is no answer of the task news-category" in text


def test_more_clients_than_authors_are_an_error(news: Path) -> None:
    assert message(news / "news_categorize_users.json.gz", clients=80).endswith("use at most 79")


def test_headlines_are_texts_to_write(news: Path) -> None:
    found = people(news / "news_headline_users.json.gz", clients=40)
    samples = found.samples(int(found.clients[0]), "test")
    assert (found.answer, found.measure, found.labels) == ("text", "rouge_1", ())
    assert samples.targets is not None
    assert all(samples.targets)
