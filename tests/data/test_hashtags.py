import unicodedata
from pathlib import Path

import datasets
import numpy as np
import pytest

from fedpers.data import open_source, populate
from fedpers.data.hashtags import tags_in, without
from fedpers.data.sources import Source
from fedpers.errors import InputError
from fedpers.settings import DataSettings, SyntheticSettings
from tests.conftest import Run
from tests.data.reading import column, jsonl, leaf, load, message, parquet, written


def texts(path: Path, *texts: str) -> Path:
    """Writes one person's texts, without a column of tags."""
    return jsonl(path / "x.jsonl", *({"user_id": "ann", "text": text} for text in texts))


def tagged(path: Path, *rows: tuple[str, object]) -> Path:
    """Writes one person's texts, each with its tag."""
    return jsonl(
        path / "x.jsonl", *({"user_id": "ann", "text": text, "label": label} for text, label in rows)
    )


def read(path: Path, *written: str, k: int = 2) -> Source:
    return load(texts(path, *written), hashtags=k)


# What a hashtag is


def test_a_texts_hashtags_are_told_once_and_in_lower_case() -> None:
    assert tags_in("#Go and #stop or #GO") == ["go", "stop"]


def test_a_hashtag_ends_where_its_word_ends() -> None:
    assert tags_in("#end. (#in_2_parts), #it's") == ["end", "in_2_parts", "it"]


def test_a_number_is_no_hashtag() -> None:
    assert tags_in("we are #1 and #2024 but #2fast") == ["2fast"]


def test_an_entity_of_html_is_no_hashtag() -> None:
    assert tags_in("it&#x27;s &#39;good&#39; #day") == ["day"]


def test_hashtags_may_touch_each_other_and_other_words() -> None:
    assert tags_in("#a#b go#c ##d") == ["a", "b", "c", "d"]


@pytest.mark.parametrize("tag", ["día", "日本", "हिन्दी", "привет"])
def test_words_of_any_script_are_whole_hashtags(tag: str) -> None:
    assert tags_in(f"so #{tag}!") == [tag]


def test_the_full_width_sign_is_a_sign_too() -> None:
    assert tags_in("\uff03日本") == ["日本"]


def test_an_accent_counts_the_same_written_apart() -> None:
    assert tags_in(unicodedata.normalize("NFD", "#Día #straße #STRASSE")) == ["día", "strasse"]


# What is left of a text


@pytest.mark.parametrize(
    "text", ["see #go now", "see #GO now", "see ##Go now", "see\uff03go now", "#go see #go now"]
)
def test_a_tag_leaves_a_text_wherever_it_occurs_in_any_case(text: str) -> None:
    assert without(text, "go") == "see now"


def test_a_tag_leaves_a_text_behind_a_word_and_before_a_sign() -> None:
    assert without("they#go, then #go!", "go") == "they, then!"


def test_a_longer_tag_and_the_plain_word_stay() -> None:
    assert without("#gone go #go_on", "go") == "#gone go #go_on"


def test_a_tag_of_more_than_a_word_leaves_a_text_whole() -> None:
    assert without("in #New-York, not #new or #new-yorker", "new-york") == "in, not #new or #new-yorker"


def test_a_tag_with_its_accent_written_apart_leaves_a_text() -> None:
    assert without(unicodedata.normalize("NFD", "buen #Día"), "día") == "buen"


# Tags of the texts


def test_a_row_has_the_class_of_its_hashtag_and_a_text_without_it(tmp_path: Path) -> None:
    source = read(tmp_path, "go #Red", "stop #blue")
    assert column(source, "label") == ["red", "blue"]
    assert column(source, "text") == ["go", "stop"]


def test_a_row_of_two_frequent_hashtags_is_left_out(tmp_path: Path) -> None:
    source = read(tmp_path, "a #red", "b #blue", "c #red #blue")
    assert column(source, "text") == ["a", "b"]
    assert source.notes[1:] == ("1 row with several of the 2 most frequent tags was left out",)


def test_a_rarer_hashtag_stays_in_the_text_beside_a_frequent_one(tmp_path: Path) -> None:
    source = read(tmp_path, "a #red #odd", "b #red", "c #blue", "d #blue")
    assert column(source, "text") == ["a #odd", "b", "c", "d"]


def test_a_hashtag_written_twice_is_one(tmp_path: Path) -> None:
    source = read(tmp_path, "#red a #Red", "b #blue")
    assert column(source, "text") == ["a", "b"]


def test_rows_of_rarer_hashtags_or_none_are_left_out_and_counted(tmp_path: Path) -> None:
    source = read(tmp_path, *["a #red"] * 2, *["b #blue"] * 2, "c #odd", "d", "e")
    assert column(source, "text") == ["a", "a", "b", "b"]
    assert source.notes == (
        "no column 'label' holds tags: they were read from the texts",
        "2 rows without a hashtag were left out",
        "1 row without one of the 2 most frequent tags was left out",
    )


def test_a_text_of_nothing_but_its_tag_is_left_out_and_counted(tmp_path: Path) -> None:
    source = read(tmp_path, "a #red", "#red", "b #blue", " #Blue #blue")
    assert column(source, "text") == ["a", "b"]
    assert source.notes[1:] == ("2 rows of nothing but the tag were left out",)


def test_the_most_frequent_tag_is_in_the_most_rows(tmp_path: Path) -> None:
    # red is in two rows, odd five times in one
    source = read(tmp_path, "a #red", "b #red", "c #blue", "d #blue", "e #odd #odd #odd #odd #odd")
    assert source.classes == ("blue", "red")


def test_equally_frequent_tags_are_taken_by_name(tmp_path: Path) -> None:
    assert read(tmp_path, "a #d", "b #c", "c #b", "d #a", "e #d").classes == ("d", "a")


def test_a_frequent_tag_that_never_stands_alone_is_a_class_all_the_same(tmp_path: Path) -> None:
    source = read(tmp_path, "a #red", "b #red #blue", "c #red #blue")
    assert source.classes == ("red", "blue")
    assert column(source, "label") == ["red"]


def test_tags_are_counted_before_people_are_left_out(tmp_path: Path) -> None:
    # ann and bob have enough samples; the most frequent tag is that of the many who have one each.
    known = [{"user_id": name, "text": f"a #{tag}"} for name in ("ann", "bob") for tag in "bbbcc"]
    many = [{"user_id": f"p{number}", "text": "a #a"} for number in range(9)]
    path = jsonl(tmp_path / "x.jsonl", *known, *many)
    found = populate(DataSettings(data=str(path), hashtags=2), SyntheticSettings(), 0)
    assert found.people.classes == ("a", "b")


def test_sentiment140s_polarity_is_no_tag(tmp_path: Path) -> None:
    line = '"0","1","Mon Apr 06 22:19:45 PDT 2009","NO_QUERY","ann","{}"\n'
    path = written(tmp_path / "x.csv", line.format("a #red") + line.format("b #blue"))
    assert column(load(path, hashtags=2), "label") == ["red", "blue"]


def test_leafs_texts_are_read_for_tags(tmp_path: Path) -> None:
    people = {"ann": {"x": ["a #red", "b #blue"], "y": [1, 0]}}
    assert column(load(leaf(tmp_path / "x.json", people), hashtags=2), "label") == ["red", "blue"]


def test_tags_stand_in_any_of_several_text_columns(tmp_path: Path) -> None:
    rows = [{"user_id": "ann", "title": "a", "body": f"#{tag}"} for tag in ("red", "blue")]
    source = load(jsonl(tmp_path / "x.jsonl", *rows), text_column="title,body", hashtags=2)
    assert (column(source, "label"), column(source, "text")) == (["red", "blue"], ["a", "a"])


# A column of tags


def test_a_column_holds_tags_with_or_without_the_sign_in_any_case(tmp_path: Path) -> None:
    source = load(tagged(tmp_path, ("a", "#Red"), ("b", "red"), ("c", " BLUE ")), hashtags=2)
    assert column(source, "label") == ["red", "red", "blue"]
    assert source.notes == ()


def test_a_columns_tag_leaves_the_text_and_others_stay(tmp_path: Path) -> None:
    source = load(tagged(tmp_path, ("a #RED #blue", "red"), ("b #red", "blue")), hashtags=2)
    assert column(source, "text") == ["a #blue", "b #red"]


def test_rows_of_rarer_tags_of_a_column_or_none_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [("a", "red"), ("b", "red"), ("c", "blue"), ("d", "blue"), ("e", "odd"), ("f", None), ("g", "#")]
    source = load(tagged(tmp_path, *rows), hashtags=2)
    assert column(source, "text") == ["a", "b", "c", "d"]
    assert source.notes == (
        "1 row without label was left out",
        "1 row without a hashtag was left out",
        "1 row without one of the 2 most frequent tags was left out",
    )


def test_a_tag_of_a_column_may_be_a_number(tmp_path: Path) -> None:
    source = load(tagged(tmp_path, ("in #2024", 2024), ("then", 2023)), hashtags=2)
    assert (column(source, "label"), column(source, "text")) == (["2024", "2023"], ["in", "then"])


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_a_column_of_tags_may_be_missing_in_every_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    columns = {"user_id": ["ann", "bob"], "text": ["a #red", "b #blue"]}
    if suffix == "parquet":
        parquet(path, columns)
    elif suffix in ("csv", "tsv"):
        tab = "," if suffix == "csv" else "\t"
        written(
            path,
            "".join(f"{u}{tab}{t}\n" for u, t in [("user_id", "text"), *zip(*columns.values(), strict=True)]),
        )
    else:
        jsonl(path, *({"user_id": u, "text": t} for u, t in zip(*columns.values(), strict=True)))
    assert column(load(path, hashtags=2), "label") == ["red", "blue"]


@pytest.mark.parametrize("label", [{}, {"label": 1}])
def test_a_saved_data_set_may_have_a_column_of_tags_or_none(label: dict[str, int], tmp_path: Path) -> None:
    rows = [
        {"user_id": "ann", "text": f"a #{tag}", **dict.fromkeys(label, f"not{tag}")}
        for tag in ("red", "blue")
    ]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    expected = ["notred", "notblue"] if label else ["red", "blue"]
    assert column(load(tmp_path / "saved", hashtags=2), "label") == expected


def test_a_tag_that_only_a_late_line_has_is_a_column_of_tags(tmp_path: Path) -> None:
    # The fast reader looks at the first 1,000 lines.
    rows = [{"user_id": "ann", "text": "a #no"}] * 1001
    late = [{"user_id": "ann", "text": "b", "label": tag} for tag in ("red", "blue")]
    assert column(load(jsonl(tmp_path / "x.jsonl", *rows, *late), hashtags=2), "text") == ["b", "b"]


# People


def people_of(path: Path) -> Path:
    rows = [{"user_id": name, "text": f"a{n} #t{n % 3}"} for name in ("ann", "bob") for n in range(9)]
    return jsonl(path / "x.jsonl", *rows)


def test_a_population_is_judged_by_places_if_hashtags_are_asked_for(tmp_path: Path) -> None:
    data = DataSettings(data=str(people_of(tmp_path)), hashtags=3)
    assert populate(data, SyntheticSettings(), 0).ranked
    classes = DataSettings(data=str(tagged(tmp_path, *[("a", n % 2) for n in range(20)])))
    assert not populate(classes, SyntheticSettings(), 0).ranked


def test_a_tag_of_the_evaluation_texts_alone_is_a_class(tmp_path: Path) -> None:
    times = [{"user_id": "ann", "text": "a #red", "day": day} for day in range(9)]
    last = {"user_id": "ann", "text": "a #blue", "day": 9}
    data = DataSettings(
        data=str(jsonl(tmp_path / "x.jsonl", *times, last)), hashtags=2, split="time", time_column="day"
    )
    found = populate(data, SyntheticSettings(), 0)
    assert found.people.classes == ("red", "blue")
    assert found.samples(0, "test").labels.tolist() == [1]


def test_a_source_is_opened_with_the_tags_as_its_classes(tmp_path: Path) -> None:
    people, _ = open_source(DataSettings(data=str(people_of(tmp_path)), hashtags=2), SyntheticSettings(), 0)
    assert people.classes == ("t0", "t1")
    assert np.bincount(people.samples(0).labels).tolist() == [3, 3]


# What cannot be


def test_more_hashtags_than_there_are_is_an_error(tmp_path: Path) -> None:
    path = texts(tmp_path, "a #red", "b #blue", "c #odd")
    assert message(path, hashtags=9) == (
        f"--hashtags 9 is more than there are: {path} has 3 different tags; use at most 3"
    )


def test_no_hashtag_at_all_is_an_error(tmp_path: Path) -> None:
    path = texts(tmp_path, "a", "b")
    assert message(path, hashtags=2, label_column="tag") == (
        f"--hashtags 2: {path} has no hashtag, neither in a column 'tag' nor in its texts; name the column "
        "that holds them by --label-column"
    )


def test_a_single_hashtag_is_an_error(tmp_path: Path) -> None:
    assert message(texts(tmp_path, "a #red"), hashtags=2).endswith(
        "has one tag only, 'red', and 2 are needed"
    )


def test_hashtags_and_ratings_in_bins_are_an_error(tmp_path: Path) -> None:
    text = message(texts(tmp_path, "a #red"), hashtags=2, rating_bins="3,4")
    assert text == "--hashtags 2 makes classes, and so does --rating-bins 3,4: leave one out"


@pytest.mark.parametrize("answer", ["text", "next-word"])
def test_hashtags_are_no_answers_in_words(answer: str, tmp_path: Path) -> None:
    assert message(texts(tmp_path, "a #red"), hashtags=2, answer=answer) == (
        f"--hashtags 2 makes classes, which --answer {answer} is not for: use --answer class"
    )


def test_synthetic_texts_have_no_hashtags() -> None:
    with pytest.raises(InputError, match="synthetic ones have none: give --data"):
        populate(DataSettings(hashtags=2), SyntheticSettings(), 0)


def test_lamps_files_have_a_task_of_their_own(shared: Path) -> None:
    path = shared / "data" / "huffpost_news" / "news_categorize_users.json.gz"
    with pytest.raises(InputError, match="is not for LaMP's files"):
        populate(DataSettings(data=str(path), hashtags=2), SyntheticSettings(), 0)


@pytest.mark.parametrize(
    ("command", "further", "rule"),
    [
        ("describe", ["--hashtags", "9"], "use at most 3"),
        ("simulate", ["--hashtags", "9"], "use at most 3"),
        (
            "simulate",
            ["--hashtags", "1"],
            "--hashtags '1': input should be greater than or equal to 2 (nearest: 2)",
        ),
        ("simulate", ["--hashtags", "many"], "--hashtags 'many': input should be a valid integer"),
        ("describe", ["--hashtags", "2", "--answer", "text"], "use --answer class"),
        ("simulate", ["--hashtags", "2", "--answer", "next-word"], "use --answer class"),
        ("simulate", ["--hashtags", "2", "--text-column", "user_id"], "has no hashtag"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(
    command: str, further: list[str], rule: str, run: Run, tmp_path: Path
) -> None:
    path = str(people_of(tmp_path))
    given = ["data", "describe", path] if command == "describe" else ["simulate", "--data", path]
    status, out, err = run(*given, *further)
    assert (status, out) == (2, "")
    assert rule in err
    assert err.count("\n") == 1


def test_describe_shows_the_tags_and_what_is_left_out(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("data", "describe", str(people_of(tmp_path)), "--hashtags", "2")
    assert status == 0
    assert "t0" in out
    assert "6 rows without one of the 2 most frequent tags were left out" in out
