"""Which task a file is of, and what its items and questions hold."""

from pathlib import Path
from typing import Any

import pytest

from fedpers.data.lamp import read_lamp
from tests.data.lamp_writing import (
    DAY,
    LAID_OUT,
    NEWS,
    dumped,
    message,
    news,
    one_news_person,
    person,
    question,
    rows,
    split,
)

PAPERS = 'For whoever wrote the paper with the title "{}", pick one. [1]: "{}" [2]: "{}"'


@pytest.mark.parametrize("name", LAID_OUT)
def test_a_task_is_told_by_its_items_keys_and_its_questions(tmp_path: Path, name: str) -> None:
    item, asked, gold, _ = LAID_OUT[name]
    path = dumped(tmp_path / "u.json", [person("ann", [{"id": "a"} | item], ("q", asked, gold))])
    language = read_lamp(path)
    assert (language.task, rows(language, "text", "target", query=True)) == (name, [("Q", gold)])


@pytest.mark.parametrize("name", LAID_OUT)
def test_an_items_text_and_target_are_those_of_the_task(tmp_path: Path, name: str) -> None:
    item, asked, gold, number = LAID_OUT[name]
    other = "z" if name in ("headline", "scholarly-title", "tweet") else gold  # than what the item says
    path = split(tmp_path, [question("1", asked, {"id": "a"} | item)], {"1": other}, number)
    text = "" if name == "tweet" else "x"
    assert rows(read_lamp(path), "text", "target", query=False) == [(text, gold)]


@pytest.mark.parametrize("name", LAID_OUT)
def test_a_rightly_named_task_needs_no_note(tmp_path: Path, name: str) -> None:
    item, asked, gold, number = LAID_OUT[name]
    path = split(tmp_path, [question("1", asked, {"id": "a", "date": 1999} | item)], {"1": gold}, number)
    assert not [note for note in read_lamp(path).notes if "names its task" in note]


@pytest.mark.parametrize(
    ("name", "number"),
    [("movie-tag", "LaMP_2"), ("movie-tag", "LaMP_99"), ("rating", "LaMP_7"), ("scholarly-title", "LaMP_1")],
)
def test_a_wrong_task_id_yields_to_the_items_with_a_note(tmp_path: Path, name: str, number: str) -> None:
    item, asked, gold, _ = LAID_OUT[name]
    path = split(tmp_path, [question("1", asked, {"id": "a", "date": 1999} | item)], {"1": gold}, number)
    language = read_lamp(path)
    assert (language.task, language.notes) == (
        name,
        (f"{path} names its task {number}, but its items are those of {name}",),
    )


def test_keys_decide_where_questions_have_no_known_beginning(tmp_path: Path) -> None:
    item = {"id": "a", "date": 1999, "title": "t", "abstract": "x"}
    path = dumped(tmp_path / "u.json", [person("ann", [item], ("q", "Q", "y"))])
    assert read_lamp(path).task == "scholarly-title"


def test_labels_of_movies_that_say_lamp_8_are_known(tmp_path: Path) -> None:
    item, asked, gold, _ = LAID_OUT["movie-tag"]
    dumped(tmp_path / "user_top_100_history.json", [person("a", [{"id": "i"} | item], ("q", asked, gold))])
    dumped(tmp_path / "user_top_100_history_label.json", {"task": "LaMP_8", "golds": []})
    language = read_lamp(tmp_path)
    assert (language.task, len(language.notes)) == ("movie-tag", 1)  # the note is on the undated item


def test_items_of_no_task_are_told(tmp_path: Path) -> None:
    path = dumped(tmp_path / "u.json", [person("ann", [{"id": "a", "song": "x"}])])
    assert "items with the keys id, song fit no task of LaMP" in message(path)


def test_a_colon_in_a_text_does_not_cut_it(tmp_path: Path) -> None:
    path = one_news_person(tmp_path)
    dumped(path, [person("ann", [news("a")], ("q", f"{NEWS}One: two] article: three", "crime"))])
    assert rows(read_lamp(path), "text", query=True) == ["One: two] article: three"]


def test_an_input_without_the_mark_is_taken_whole_and_counted(tmp_path: Path) -> None:
    asked = [("q", f"{NEWS}Rain.", "crime"), ("r", "Only: a text", "crime")]
    path = dumped(tmp_path / "u.json", [person("ann", [news("a")], *asked)])
    language = read_lamp(path)
    assert rows(language, "text", query=True) == ["Rain.", "Only: a text"]
    assert language.notes == ("questions taken whole, as nothing shows where their text begins: 1",)


def citation(folder: Path, item: dict[str, Any], title: str = "On X", gold: str = "[2]") -> Path:
    asked = PAPERS.format(title, "One", "Two")
    return dumped(folder / "u.json", [person("ann", [{"id": "a", "date": 2001} | item], ("q", asked, gold))])


def test_a_citation_keeps_title_and_both_options(tmp_path: Path) -> None:
    language = read_lamp(citation(tmp_path, {"title": "t", "abstract": "b"}))
    assert language.task == "citation"
    assert rows(language, "text", "label", query=True) == [("On X reference: [1] - One [2] - Two", "[2]")]


def test_a_citations_title_may_hold_quotation_marks(tmp_path: Path) -> None:
    language = read_lamp(citation(tmp_path, {"title": "t"}, 'The "best", which {x}'))
    assert rows(language, "text", query=True) == ['The "best", which {x} reference: [1] - One [2] - Two']


def test_a_citations_history_is_titles_and_what_was_cited(tmp_path: Path) -> None:
    language = read_lamp(citation(tmp_path, {"title": "t", "abstract": "b", "citation": "c"}))
    assert rows(language, "text", "target", "label", query=False) == [("t", "c", "")]


def test_a_citations_history_may_lack_abstract_and_citation(tmp_path: Path) -> None:
    language = read_lamp(citation(tmp_path, {"title": "t"}))
    assert rows(language, "text", "target", query=False) == [("t", "")]


def test_half_a_surrogate_pair_becomes_a_question_mark(tmp_path: Path) -> None:
    item = {"id": "a", "text": "hi \ud83d"}
    path = dumped(tmp_path / "u.json", [person("ann", [item], ("q", "As a tweet: hi", "yo"))])
    assert rows(read_lamp(path), "target", query=False) == ["hi ?"]


@pytest.mark.parametrize("key", ["id", "text", "category"])
def test_an_item_without_a_key_is_told(tmp_path: Path, key: str) -> None:
    lacking = {name: value for name, value in news("b").items() if name != key}
    path = dumped(tmp_path / "u.json", [person("ann", [news("a"), lacking])])
    assert message(path).startswith(f"{path}, user 'ann', item 2 of its profile: the key {key!r} is missing")


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("1970-01-03", 2 * DAY),
        ("1970-01-03T12:00:00Z", 2.5 * DAY),
        (1971, 365 * DAY),
        ("1971", 365 * DAY),
        ("1970-02", 31 * DAY),
        ("19700103", 2 * DAY),
        (1467810369, 1467810369.0),
        (1309123100123, 1309123100123.0),  # milliseconds, whose first digits could be a day in the year 1309
        ("1331120112345.0", 1331120112345.0),
        ("Thu Jan 01 00:00:10 UTC 1970", 10.0),
    ],
)
def test_a_date_is_seconds_since_1970_and_a_year_its_beginning(
    tmp_path: Path, date: object, time: float
) -> None:
    assert rows(read_lamp(one_news_person(tmp_path, date=date)), "time", query=False) == [time]
