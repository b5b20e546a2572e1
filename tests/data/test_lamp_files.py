"""Which files belong together, and what is wrong with one."""

from pathlib import Path

import pytest

from fedpers.data.lamp import is_lamp, read_lamp
from fedpers.settings import DataSettings
from tests.data.lamp_writing import NEWS, dumped, message, news, person, question, released, rows, split


def test_a_question_gets_its_answer_by_its_id(tmp_path: Path) -> None:
    path = split(tmp_path, [question("1"), question("2")], {"2": "sports", "1": "travel"})
    assert rows(read_lamp(path), "target", query=True) == ["travel", "sports"]


def test_a_folder_reads_every_split_and_leaves_out_one_without_answers(tmp_path: Path) -> None:
    split(tmp_path, [question("1")], {"1": "travel"}, name="train_")
    split(tmp_path, [question("2")], {"2": "travel"}, name="dev_")
    dumped(tmp_path / "test_questions.json", [question("3")])
    language = read_lamp(tmp_path)
    assert rows(language, "item", query=True) == ["2", "1"]
    assert language.notes == ("test_questions.json was left out: it has no test_outputs.json",)


def test_splits_may_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    split(tmp_path / "train", [question("1")], {"1": "travel"}, name="train_")
    split(tmp_path / "dev", [question("2")], {"2": "travel"}, name="dev_")
    assert rows(read_lamp(tmp_path), "item", query=True) == ["2", "1"]


def test_a_compressed_file_of_questions_finds_compressed_answers(tmp_path: Path) -> None:
    dumped(tmp_path / "x_outputs.json.gz", {"task": "LaMP_2N", "golds": [{"id": "1", "output": "travel"}]})
    path = dumped(tmp_path / "x_questions.json.gz", [question("1")])
    assert rows(read_lamp(path), "target", query=True) == ["travel"]


def test_people_in_the_file_of_others_are_public(tmp_path: Path) -> None:
    language = read_lamp(released(tmp_path))
    assert (language.public, rows(language, "user", query=True)) == (("bob",), ["ann", "bob"])


def test_the_tweets_file_of_target_people_has_another_name(tmp_path: Path) -> None:
    language = read_lamp(released(tmp_path, "user_more_100_history.json"))
    assert (language.public, rows(language, "user", query=True)) == (("bob",), ["ann", "bob"])


def test_the_released_files_may_be_compressed(tmp_path: Path) -> None:
    dumped(tmp_path / "user_others.json.gz", [person("bob", [news("b")])])
    assert read_lamp(tmp_path).public == ("bob",)


def test_a_question_without_gold_finds_it_in_the_file_of_labels(tmp_path: Path) -> None:
    folder = released(tmp_path)
    bare = person("ann", [news("a")]) | {"query": [{"id": "q", "input": f"{NEWS}Rain."}]}
    dumped(folder / "user_top_100_history.json", [bare])
    golds = [{"id": "q", "output": "crime"}]
    dumped(folder / "user_top_100_history_label.json", {"task": "LaMP_2", "golds": golds})
    assert rows(read_lamp(folder), "target", query=True) == ["crime", "travel"]


def test_profile_texts_are_read_by_the_persons_id(tmp_path: Path) -> None:
    folder = released(tmp_path)
    dumped(folder / "profile_user_100.json", [{"id": "ann", "output": "Likes sports."}])
    dumped(folder / "profile_user_others.json", [{"id": "bob", "output": "Travels."}])
    assert read_lamp(folder).profiles == {"ann": "Likes sports.", "bob": "Travels."}


def test_a_file_named_alone_has_the_profile_texts_beside_it(tmp_path: Path) -> None:
    folder = released(tmp_path)
    dumped(folder / "profile_user_100.json", [{"id": "ann", "output": "Likes sports."}])
    dumped(folder / "profile_user_others.json", [{"id": "bob", "output": "Travels."}])
    language = read_lamp(folder / "user_top_100_history.json")
    assert (language.profiles, language.notes) == ({"ann": "Likes sports."}, ())


def test_profile_texts_of_strangers_are_left_out_and_noted(tmp_path: Path) -> None:
    folder = released(tmp_path)
    dumped(folder / "profile_user_100.json", [{"id": "eve", "output": "?"}])
    language = read_lamp(folder)
    assert (language.profiles, len(language.notes)) == ({}, 1)


@pytest.mark.parametrize(
    ("key", "place"), [("id", "row 1"), ("input", "question '1'"), ("profile", "question '1'")]
)
def test_a_question_without_a_key_is_told(tmp_path: Path, key: str, place: str) -> None:
    path = split(tmp_path, [{k: v for k, v in question("1").items() if k != key}], {"1": "travel"})
    assert f"{path}, {place}: " in message(path)
    assert repr(key) in message(path)


@pytest.mark.parametrize("key", ["id", "input", "gold"])
def test_a_persons_question_without_a_key_is_told(tmp_path: Path, key: str) -> None:
    entry = person("ann", [news("a")], ("q", f"{NEWS}Rain.", "crime"))
    del entry["query"][0][key]
    path = dumped(tmp_path / "u.json", [entry])
    assert f"{path}, user 'ann', query" in message(path)
    assert repr(key) in message(path)


def test_questions_and_answers_that_do_not_match_are_counted(tmp_path: Path) -> None:
    path = split(tmp_path, [question("1"), question("2"), question("3")], {"1": "travel", "9": "travel"})
    assert message(path) == (
        f"{path} and {tmp_path / 'dev_outputs.json'} do not match; questions without an answer: 2 (first "
        "'2'), answers without a question: 1 (first '9')"
    )


def test_questions_without_a_file_of_answers_are_told_its_name(tmp_path: Path) -> None:
    path = dumped(tmp_path / "test_questions.json", [question("1")])
    assert message(path) == f"{path} has no answers: put its test_outputs.json beside it"


def test_the_file_of_answers_is_not_the_one_to_name(tmp_path: Path) -> None:
    split(tmp_path, [question("1")], {"1": "travel"})
    assert "name the file of questions" in message(tmp_path / "dev_outputs.json")


def test_a_question_id_may_stand_only_once_in_a_file(tmp_path: Path) -> None:
    path = split(tmp_path, [question("1"), question("1")], {"1": "travel"})
    assert message(path) == f"{path}: the question id '1' stands there more than once; ids must differ"


def test_a_person_may_stand_only_once_in_a_file(tmp_path: Path) -> None:
    path = dumped(tmp_path / "u.json", [person("ann", [news("a")])] * 2)
    assert message(path) == f"{path}: the user id 'ann' stands there more than once; ids must differ"


def test_nobody_is_both_public_and_a_target_person(tmp_path: Path) -> None:
    dumped(released(tmp_path) / "user_others.json", [person("ann", [news("b")])])
    assert "nobody may be in both" in message(tmp_path)


def test_a_folder_without_such_files_is_told(tmp_path: Path) -> None:
    assert "has neither *questions.json nor user_others.json" in message(tmp_path)


@pytest.mark.parametrize("text", ["[{", "[3]", "3", "[]", "[[" * 100_000])
def test_what_is_no_list_of_records_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x_questions.json"
    path.write_text(text)
    assert str(path) in message(path)


@pytest.mark.parametrize("name", ["u.json", "u.json.gz"])
def test_a_file_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    path = dumped(tmp_path / name, [person("ann", [news("a")])])
    assert is_lamp(DataSettings(data=str(path)))


def test_a_list_of_plain_rows_is_not_taken_for_lamp(tmp_path: Path) -> None:
    path = dumped(tmp_path / "u.json", [{"user_id": "ann", "text": 'a "profile": [{', "label": "1"}])
    assert not is_lamp(DataSettings(data=str(path)))


def test_folders_of_both_layouts_are_known(tmp_path: Path) -> None:
    split(tmp_path / "lamp", [question("1")], {"1": "travel"})
    released(tmp_path / "oppu")
    assert is_lamp(DataSettings(data=str(tmp_path / "lamp")))
    assert is_lamp(DataSettings(data=str(tmp_path / "oppu")))


@pytest.mark.parametrize("name", ["", "missing.json", "rotten.json.gz"])
def test_other_folders_and_files_are_not_taken_for_lamp(tmp_path: Path, name: str) -> None:
    (tmp_path / "rotten.json.gz").write_bytes(b"x")
    assert not is_lamp(DataSettings(data=str(tmp_path / name)))


def test_a_given_format_decides(tmp_path: Path) -> None:
    path = dumped(tmp_path / "u.json", [person("ann", [news("a")])])
    assert is_lamp(DataSettings(data="anything", format="lamp"))
    assert not is_lamp(DataSettings(data=str(path), format="jsonl"))
