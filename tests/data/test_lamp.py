"""LaMP's people: their histories in time order, and the questions that are asked about them."""

import math
from pathlib import Path

import pytest

from fedpers.data import populate
from fedpers.data.lamp import read_lamp
from fedpers.settings import DataSettings, SyntheticSettings
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


def test_a_question_without_a_user_is_a_person_of_its_own(tmp_path: Path) -> None:
    path = split(tmp_path, [question("1"), question("2")], {"1": "travel", "2": "sports"})
    assert rows(read_lamp(path), "user", "item", "query") == [
        ("1", "a", False),
        ("1", "1", True),
        ("2", "a", False),
        ("2", "2", True),
    ]


def test_questions_of_one_user_are_one_person_with_all_histories_in_time_order(tmp_path: Path) -> None:
    early, late = news("a", "Early."), news("b", "Late.", date="1970-01-05")
    questions = [
        question("1", f"{NEWS}x", late, early, user_id=7),
        question("2", f"{NEWS}y", early, user_id=7),
    ]
    language = read_lamp(split(tmp_path, questions, {"1": "travel", "2": "travel"}))
    assert rows(language, "user", "text") == [("7", "Early."), ("7", "Late."), ("7", "x"), ("7", "y")]


def test_an_id_that_two_questions_use_for_different_items_keeps_both(tmp_path: Path) -> None:
    one, other = news("a", "One."), news("a", "Other.")
    questions = [question("1", f"{NEWS}x", one, user_id="u"), question("2", f"{NEWS}y", other, user_id="u")]
    language = read_lamp(split(tmp_path, questions, {"1": "travel", "2": "travel"}))
    assert rows(language, "item", "text", query=False) == [("a", "One."), ("2/a", "Other.")]


def test_lamp_files_have_no_public_people(tmp_path: Path) -> None:
    assert read_lamp(split(tmp_path, [question("1")], {"1": "travel"})).public == ()


def test_an_item_that_is_a_question_with_its_answer_is_left_out_and_counted(tmp_path: Path) -> None:
    profile = [news("a", "Snow fell."), news("b", "Snow fell.", "sports"), news("c", "Hail.")]
    path = split(tmp_path, [question("1", f"{NEWS}Snow fell.", *profile)], {"1": "travel"})
    language = read_lamp(path)
    assert rows(language, "item", query=False) == ["b", "c"]
    assert language.notes == (
        "items of histories left out for being a question of the same person with its answer: 1",
    )


def test_a_later_split_does_not_tell_the_answer_of_an_earlier_one(tmp_path: Path) -> None:
    # The later question's profile holds the earlier question, as LaMP's splits by time do, and what followed.
    items = [news(str(day), f"Day {day}.", date=f"1970-01-{day:02d}") for day in range(1, 6)]
    early = question("q3", f"{NEWS}Day 3.", *items[:2], user_id="ann")
    late = question("q5", f"{NEWS}Day 5.", *items[:4], user_id="ann")
    split(tmp_path, [early], {"q3": "travel"}, name="train_")
    split(tmp_path, [late], {"q5": "travel"}, name="dev_")
    found = populate(DataSettings(data=str(tmp_path)), SyntheticSettings(), 0)
    [person] = found.clients.tolist()
    history, earlier = found.background(person, "test")
    known = dict(zip(found.samples(person, "test").texts, earlier, strict=True))
    assert {text: history.texts[:count] for text, count in known.items()} == {
        "Day 3.": ["Day 1.", "Day 2."],
        "Day 5.": ["Day 1.", "Day 2.", "Day 4."],
    }


def test_an_undated_question_comes_after_the_items_of_its_own_record(tmp_path: Path) -> None:
    items = [news(number, f"{number}.", date="") for number in "abc"]
    early = question("1", f"{NEWS}x", *items[:1], user_id="ann")
    late = question("2", f"{NEWS}y", *items, user_id="ann")
    path = split(tmp_path, [early, late], {"1": "travel", "2": "travel"})
    [first, second] = rows(read_lamp(path), "time", query=True)
    assert 0 < first < 1
    assert 2 < second < 3


def test_a_tweet_that_is_to_be_written_is_not_in_the_history(tmp_path: Path) -> None:
    items = [{"id": number, "text": number, "date": 2001} for number in "ab"]
    path = dumped(tmp_path / "u.json", [person("ann", items, ("q", "Paraphrase this tweet: c", "b"))])
    assert rows(read_lamp(path), "target", query=False) == ["a"]


def test_a_paper_that_is_asked_about_is_not_in_the_history(tmp_path: Path) -> None:
    asked = 'For whoever wrote the paper with the title "b", pick one. [1]: "One" [2]: "Two"'
    items = [{"id": n, "title": n, "abstract": "x", "citation": "Two", "date": 2001} for n in "ab"]
    path = dumped(tmp_path / "u.json", [person("ann", items, ("q", asked, "[2]"))])
    assert rows(read_lamp(path), "item", query=False) == ["a"]


def test_a_person_has_a_history_before_the_questions(tmp_path: Path) -> None:
    language = read_lamp(one_news_person(tmp_path))
    assert language.table.to_pylist() == [
        {
            "user": "ann",
            "text": "Snow fell.",
            "target": "travel",
            "label": "travel",
            "time": DAY,
            "query": False,
            "item": "a",
        },
        {
            "user": "ann",
            "text": "Rain.",
            "target": "sports",
            "label": "sports",
            "time": math.nextafter(DAY, math.inf),
            "query": True,
            "item": "q",
        },
    ]


def test_a_history_is_sorted_by_time_and_ties_keep_their_order(tmp_path: Path) -> None:
    items = [news("a", date="2001"), news("b", date=2000), news("c", date="2000-01-01")]
    path = dumped(tmp_path / "u.json", [person("ann", items)])
    assert rows(read_lamp(path), "item") == ["b", "c", "a"]


def test_questions_come_after_the_whole_history_in_their_own_order(tmp_path: Path) -> None:
    asked = [(number, f"{NEWS}Rain.", "crime") for number in ("z", "y")]
    path = dumped(tmp_path / "u.json", [person("ann", [news("a", date="2001")], *asked)])
    table = read_lamp(path).table
    times = table["time"].to_pylist()
    assert times == sorted(times)
    assert table["item"].to_pylist() == ["a", "z", "y"]


def test_undated_items_keep_their_order_and_are_noted(tmp_path: Path) -> None:
    items = [news("b"), news("a") | {"date": None}]
    language = read_lamp(dumped(tmp_path / "u.json", [person("ann", items)]))
    assert rows(language, "item", "time") == [("b", 0.0), ("a", 1.0)]
    assert language.notes == ("people with undated items, whose history stays in the file's order: 1",)


def test_an_unusable_date_is_told(tmp_path: Path) -> None:
    path = one_news_person(tmp_path, date="long ago")
    assert message(path) == (
        f"{path}, user 'ann', item 1 of its profile: the date 'long ago' is no time; write an ISO date such "
        "as 2009-04-06, a year or a number"
    )


def test_items_without_text_or_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    items = [news("a"), news("b", " "), news("c", category="")]
    language = read_lamp(dumped(tmp_path / "u.json", [person("ann", items)]))
    assert rows(language, "item") == ["a"]
    assert language.notes == ("items of histories left out for an empty text or answer: 2",)


def test_questions_without_text_or_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    asked = [("q", NEWS.strip(), "crime"), ("r", f"{NEWS}Rain.", "")]
    language = read_lamp(dumped(tmp_path / "u.json", [person("ann", [news("a")], *asked)]))
    assert language.notes == ("questions left out for an empty text or answer: 2",)


def test_an_empty_history_is_told(tmp_path: Path) -> None:
    path = dumped(tmp_path / "u.json", [person("bob", [news("a")]), person("ann", [])])
    assert message(path).startswith(f"{path}, user 'ann': the history holds no item")


def test_a_label_outside_the_tasks_list_is_told_with_the_nearest(tmp_path: Path) -> None:
    path = dumped(tmp_path / "u.json", [person("ann", [news("a")], ("q", f"{NEWS}Rain.", "sport"))])
    assert message(path).startswith(
        f"unknown label of news-category in {path}, user 'ann', query 'q': 'sport': did you mean 'sports'?"
    )


def test_a_label_in_a_history_is_checked_too(tmp_path: Path) -> None:
    path = one_news_person(tmp_path, category="crimes")
    assert "item 1 of its profile: 'crimes': did you mean 'crime'?" in message(path)


def test_a_file_of_tasks_changes_the_labels_that_are_right(tmp_path: Path) -> None:
    tasks_file = tmp_path / "tasks.toml"
    tasks_file.write_text('[news-category]\nlabels = ["weather", "sports"]\n')
    path = one_news_person(tmp_path, category="weather")
    assert rows(read_lamp(path, tasks_file), "label") == ["weather", "sports"]


def test_a_score_may_be_a_number(tmp_path: Path) -> None:
    item = {"id": "a", "text": "x", "score": 4.0}
    path = dumped(tmp_path / "u.json", [person("ann", [item], ("q", "Score? review: Q", "5.0"))])
    assert rows(read_lamp(path), "label") == ["4", "5"]


def test_a_question_id_may_stand_only_once_in_all_splits(tmp_path: Path) -> None:
    for name in ("train_", "dev_"):
        split(tmp_path, [question("1")], {"1": "travel"}, name=name)
    assert "name one of the two files" in message(tmp_path)


def test_an_item_id_may_stand_only_once_in_a_profile(tmp_path: Path) -> None:
    path = dumped(tmp_path / "u.json", [person("ann", [news("a"), news("a", "Other.")])])
    assert "item 2 of its profile: the id 'a' stands in this profile twice" in message(path)


def test_a_folder_with_several_tasks_is_told(tmp_path: Path) -> None:
    split(tmp_path, [question("1")], {"1": "travel"}, name="news_")
    item, asked, gold, number = LAID_OUT["headline"]
    split(tmp_path, [question("1", asked, {"id": "a"} | item)], {"1": gold}, number, name="title_")
    assert "holds several tasks" in message(tmp_path)


@pytest.mark.parametrize(
    ("name", "task", "people", "queries", "items"),
    [
        ("news_categorize", "news-category", 79, 551, 5006),
        ("news_headline", "headline", 85, 769, 6951),
    ],
)
def test_real_records_by_person_are_read_whole(
    shared: Path, name: str, task: str, people: int, queries: int, items: int
) -> None:
    language = read_lamp(shared / "data" / "huffpost_news" / f"{name}_users.json.gz")
    query = language.table["query"].to_pylist()
    assert (language.task, language.notes) == (task, ())
    assert (len(set(rows(language, "user"))), sum(query), len(query) - sum(query)) == (people, queries, items)


@pytest.mark.parametrize(("name", "people"), [("news_categorize", 79), ("news_headline", 85)])
def test_real_questions_are_each_a_person(shared: Path, name: str, people: int) -> None:
    language = read_lamp(shared / "data" / "huffpost_news" / f"{name}_questions.json.gz")
    assert len(rows(language, "user", query=True)) == len(set(rows(language, "user"))) == people
    assert not any("] article: " in text or "Generate" in text for text in rows(language, "text", query=True))


def test_the_folder_of_real_files_holds_two_tasks(shared: Path) -> None:
    assert "news_headline_questions.json.gz): name one of its files" in message(
        shared / "data" / "huffpost_news"
    )
