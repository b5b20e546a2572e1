import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from fedpers.data.formats import wanted
from fedpers.data.json_rows import read_fast, read_plain
from fedpers.data.sources import Source, read
from fedpers.errors import InputError
from fedpers.settings import DataSettings

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
ROWS = [
    {"user_id": "ann", "text": "good", "label": 1},
    {"user_id": "bob", "text": "bad", "label": 0},
]
# 22:19:45 in UTC-7 is 05:19:45 on 7 April in UTC: `date -u -d '2009-04-07 05:19:45' +%s`
TWEET_SECONDS = 1239081585.0
TWEETS = (
    '"0","1467810369","Mon Apr 06 22:19:45 PDT 2009","NO_QUERY","ann","that\'s a ""bummer"", caf\xe9"\n'
    '"4","1467810672","Tue Apr 07 05:19:46 UTC 2009","NO_QUERY","bob","happy"\n'
)


def load(path: object, **settings: object) -> Source:
    return read(DataSettings.model_validate({"data": str(path), **settings}))


def message(path: object, **settings: object) -> str:
    with pytest.raises(InputError) as caught:
        load(path, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def column(source: Source, name: str) -> list[Any]:
    values: list[Any] = source.table[name].to_pylist()
    return values


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(path: Path) -> Path:
    target = path.with_name(f"{path.name}.gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    pa.parquet.write_table(pa.table(columns), path)
    return path


def leaf(path: Path, people: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = [len(part.get("x", ())) for part in people.values()]
    top = {"users": list(people), "num_samples": counts, "user_data": people}
    return written(path, json.dumps(top))


@pytest.fixture
def library_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs the real data in {path}")
    return path


# Every plain format gives the same table


def as_jsonl(folder: Path) -> Path:
    return jsonl(folder / "x.jsonl", *ROWS)


def as_json_list(folder: Path) -> Path:
    return written(folder / "x.json", json.dumps(ROWS, indent=1))


def as_csv(folder: Path) -> Path:
    return written(folder / "x.csv", "user_id,text,label\nann,good,1\nbob,bad,0\n")


def as_tsv(folder: Path) -> Path:
    return written(folder / "x.tsv", "user_id\ttext\tlabel\nann\tgood\t1\nbob\tbad\t0\n")


def as_parquet(folder: Path) -> Path:
    return parquet(folder / "x.parquet", {name: [row[name] for row in ROWS] for name in ROWS[0]})


FORMATS = [as_jsonl, as_json_list, as_csv, as_tsv, as_parquet]


@pytest.mark.parametrize("write", FORMATS)
def test_reads_named_columns_of_every_format(write: Callable[[Path], Path], tmp_path: Path) -> None:
    source = load(write(tmp_path))
    assert source.table.to_pydict() == {"user": ["ann", "bob"], "text": ["good", "bad"], "label": ["1", "0"]}


@pytest.mark.parametrize("write", FORMATS)
def test_reads_every_format_compressed(write: Callable[[Path], Path], tmp_path: Path) -> None:
    assert column(load(zipped(write(tmp_path))), "text") == ["good", "bad"]


@pytest.mark.parametrize("write", FORMATS)
def test_gives_strings_whatever_the_format(write: Callable[[Path], Path], tmp_path: Path) -> None:
    assert load(write(tmp_path)).table.schema.types == [pa.string()] * 3


@pytest.mark.parametrize("write", FORMATS)
def test_names_the_missing_column_and_the_nearest_one(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)
    assert message(path, label_column="labl") == (
        f"{path} has no column 'labl': did you mean 'label'? "
        "set --label-column to one that is there (user_id, text, label)"
    )


def test_a_file_with_a_wrong_suffix_is_read_in_the_format_named(tmp_path: Path) -> None:
    path = as_csv(tmp_path).rename(tmp_path / "x.dat")
    assert column(load(path, format="csv"), "text") == ["good", "bad"]


def test_other_column_names_are_taken_from_the_settings(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"who": "ann", "said": "good", "stars": 5})
    source = load(path, user_column="who", text_column="said", label_column="stars")
    assert source.table.to_pylist() == [{"user": "ann", "text": "good", "label": "5"}]


def test_a_long_list_of_columns_is_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", ",".join(f"c{i}" for i in range(25)))
    assert message(path).endswith("c18, c19, and 5 more)")


def test_a_line_break_in_a_columns_name_is_folded(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", '"user\nid",t,l\n')
    assert message(path).endswith("(user id, t, l)")


# JSON Lines


def test_a_column_that_is_not_needed_may_change_its_type(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", *({**row, "z": z} for row, z in zip(ROWS, [1, ["a"]], strict=True)))
    assert column(load(path), "text") == ["good", "bad"]


def test_labels_of_mixed_types_become_text(tmp_path: Path) -> None:
    labels: list[object] = [1, "one", 2.0, 2.5, True]
    path = jsonl(tmp_path / "x.jsonl", *({"user_id": "a", "text": "t", "label": label} for label in labels))
    assert column(load(path), "label") == ["1", "one", "2", "2.5", "true"]


@pytest.mark.parametrize("labels", [[1, None, 3], [1.0, 2.5, 4.0], ["a", None, "1.0"], [True, False, True]])
def test_the_fast_reader_gives_the_plain_readers_table(labels: list[object]) -> None:
    rows = [{"user_id": i, "text": f"t\u00e9xt {i}", "label": label} for i, label in enumerate(labels)]
    data = "\n\n".join(json.dumps(row) for row in rows).encode()
    names = wanted(DataSettings())
    fast = read_fast("x", data, names)
    assert fast is not None
    assert fast.to_pydict() == read_plain("x", data, names).to_pydict()


def test_the_fast_reader_leaves_a_change_of_type_to_the_plain_one() -> None:
    lines = (json.dumps({"user_id": "a", "text": "t", "label": label}) for label in (1, "x"))
    assert read_fast("x", "\n".join(lines).encode(), wanted(DataSettings())) is None


def test_a_byte_order_mark_and_a_missing_last_newline_are_no_matter(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", b"\xef\xbb\xbf" + json.dumps(ROWS[0]).encode())
    assert column(load(path), "user") == ["ann"]


def test_half_a_surrogate_pair_becomes_a_question_mark(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"user_id": "ann", "text": "cut \\ud83d", "label": 1}\n')
    assert column(load(path), "text") == ["cut ?"]


def test_a_broken_json_line_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", json.dumps(ROWS[0]) + '\n\n{"user_id": "b')
    assert message(path) == (
        f"{path}, line 3: not a sound JSON object; unterminated string starting at (column 13)"
    )


def test_a_json_line_nested_too_deeply_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"user_id": ' + "[" * 100_000)
    assert message(path) == f"{path}, line 1: not a sound JSON object; it is nested too deeply"


def test_a_json_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    assert message(jsonl(tmp_path / "x.jsonl", ROWS[0], 5)).endswith(
        "line 2: each line must be a JSON object"
    )


def test_an_entry_of_a_json_list_that_is_no_object_is_named(tmp_path: Path) -> None:
    assert message(jsonl(tmp_path / "x.json", [ROWS[0], 5])).endswith(
        "row 2: each entry must be a JSON object"
    )


def test_a_broken_json_list_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "x.json", '[{"user_id": "a"},\n oops]')
    assert message(path) == f"{path}, line 2: not sound JSON; expecting value (column 2)"


def test_a_json_text_that_is_a_list_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", {**ROWS[0], "text": ["good", "bad"]})
    assert message(path) == f"{path}, line 1: 'text' holds a list; it must hold a plain value"


def test_json_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    line = '{"user_id": "ann", "text": "caf\xe9", "label": 1}\n'.encode("latin-1")
    path = written(tmp_path / "x.jsonl", json.dumps(ROWS[0]).encode() + b"\n" + line)
    assert message(path) == f"{path}, line 2: not UTF-8; convert the file to UTF-8"


def test_a_json_list_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "x.json", b'[\n{"user_id": "\xe9"}]')
    assert message(path) == f"{path}, line 2: not UTF-8; convert the file to UTF-8"


# CSV and TSV


def test_quoted_commas_newlines_and_quotes_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", 'label,text,user_id\n1,"a, ""b""\nc",ann\n')
    assert column(load(path), "text") == ['a, "b"\nc']


def test_words_that_look_like_missing_values_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "user_id,text,label\nNA,null,nan\n")
    assert load(path).table.to_pylist() == [{"user": "NA", "text": "null", "label": "nan"}]


def test_whole_floats_among_csv_labels_lose_their_point(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "user_id,text,label\na,t,4.0\na,t,4.5\na,t,v1.0\n")
    assert column(load(path), "label") == ["4", "4.5", "v1.0"]


def test_an_empty_csv_label_is_left_out_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "user_id,text,label\na,t,\na,t,1\n")
    assert load(path).notes == ("1 row without label was left out",)


def test_a_short_csv_row_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "user_id,text,label\na,t,1\nb,t\n")
    assert message(path) == (f"{path}, row 2: 2 fields where 3 belong; is a quote left open or missing?")


def test_a_csv_with_an_open_quote_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise pa.ArrowInvalid("straddling object straddles two block boundaries")

    monkeypatch.setattr(pa.csv, "read_csv", refuse)
    path = as_csv(tmp_path)
    assert message(path) == f"{path} is not sound delimited text: a quote is probably left open"


def test_csv_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "user_id,text,label\na,t,1\nb,caf\xe9,1\n".encode("latin-1"))
    assert message(path) == f"{path}, line 3: not UTF-8; convert the file to UTF-8"


def test_a_header_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "user_id,text,label\na,t,1\n".encode("utf-16"))
    assert message(path) == f"{path}, line 1: not UTF-8; convert the file to UTF-8"


def test_a_header_too_long_for_one_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "a" * 200_000)
    assert message(path) == f"{path}: its first line is no header of column names"


def test_a_column_there_twice_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "user_id,text,text,label\na,t,t,1\n")
    assert message(path) == f"{path} has 2 columns 'text': rename all but one"


# Parquet


def test_categories_floats_and_missing_labels_of_parquet_become_text(tmp_path: Path) -> None:
    columns = {
        "user_id": pa.array(["a", "b", "b", "b"]).dictionary_encode(),
        "text": pa.array(["s", "t", "u", "v"], pa.large_string()),
        "label": [4.0, 2.5, float("nan"), None],
    }
    source = load(parquet(tmp_path / "x.parquet", columns))
    assert column(source, "user") == ["a", "b"]
    assert column(source, "label") == ["4", "2.5"]
    assert source.notes == ("2 rows without label were left out",)


def test_booleans_of_parquet_are_written_as_in_json(tmp_path: Path) -> None:
    columns = {"user_id": ["a"], "text": ["t"], "label": [True]}
    assert column(load(parquet(tmp_path / "x.parquet", columns)), "label") == ["true"]


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet", as_parquet(tmp_path).read_bytes()[:-20])
    assert message(path) == f"{path} is not a sound Parquet file: fetch or write it again"


def test_a_parquet_column_of_lists_is_an_error(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", {"user_id": ["a"], "text": [["t"]], "label": [1]})
    assert message(path).startswith(f"{path}: column 'text' holds list<")
    assert message(path).endswith("it must hold plain values")


def test_parquet_bytes_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", {"user_id": ["a"], "text": [b"\xff"], "label": [1]})
    assert message(path) == (
        f"{path}: column 'text' holds binary, which is no text: store it as UTF-8 strings"
    )


# Hugging Face data sets


def test_reads_a_saved_data_set(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    assert column(load(tmp_path / "saved"), "label") == ["1", "0"]


def test_reads_the_split_of_a_saved_dict_of_data_sets(tmp_path: Path) -> None:
    parts = {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS[:1])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert column(load(tmp_path / "saved", dataset_split="test"), "user") == ["ann"]


def test_a_split_that_is_not_saved_is_an_error(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "saved")
    assert message(tmp_path / "saved", dataset_split="trian") == (
        f"unknown split of {tmp_path / 'saved'} 'trian': did you mean 'train'? (valid: train)"
    )


def test_class_labels_become_their_names_and_minus_one_is_unlabelled(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "user_id": datasets.Value("string"),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["bad", "good"]),
        }
    )
    rows = [*ROWS, {"user_id": "cy", "text": "?", "label": -1}]
    datasets.Dataset.from_list(rows, features=features).save_to_disk(tmp_path / "saved")
    source = load(tmp_path / "saved")
    assert column(source, "label") == ["good", "bad"]
    assert source.notes == ("1 row without label was left out",)


def test_an_empty_text_of_a_data_set_is_named_by_row(tmp_path: Path) -> None:
    datasets.Dataset.from_list([*ROWS, {**ROWS[0], "text": None}]).save_to_disk(tmp_path / "saved")
    assert message(tmp_path / "saved").startswith(f"{tmp_path / 'saved'}, row 3: the text is empty")


@pytest.mark.usefixtures("library_cache")
def test_reads_a_folder_that_the_library_reads(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    jsonl(tmp_path / "plain" / "train.jsonl", *ROWS)
    assert column(load(tmp_path / "plain"), "text") == ["good", "bad"]


@pytest.mark.usefixtures("library_cache")
def test_a_folder_the_library_cannot_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    text = message(tmp_path / "plain")
    assert text.startswith(f"cannot load the data set '{tmp_path / 'plain'}': ")
    assert text.endswith("; check the folder")


@pytest.mark.usefixtures("library_cache")
def test_a_broken_file_in_a_folder_says_what_broke(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    jsonl(tmp_path / "plain" / "train.jsonl", {"a": 1})
    written(tmp_path / "plain" / "train2.jsonl", '{"a": 1\n')
    assert "An error occurred while generating the dataset" not in message(tmp_path / "plain")


def test_a_hub_name_that_cannot_be_fetched_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, split: str) -> None:
        raise ConnectionError("Couldn't reach the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    assert message("owner/name") == (
        "cannot load the data set 'owner/name': Couldn't reach the Hub; "
        "check the name and the network, or give a local file"
    )


def test_a_hub_name_is_loaded_with_the_split_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def stand_in(name: str, split: str) -> datasets.Dataset:
        return datasets.Dataset.from_list([{"user_id": name, "text": split, "label": 1}])

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    source = load("owner/name", dataset_split="validation")
    assert source.table.to_pylist() == [{"user": "owner/name", "text": "validation", "label": "1"}]


def test_format_datasets_on_a_file_is_an_error(tmp_path: Path) -> None:
    path = as_csv(tmp_path)
    assert message(path, format="datasets") == (
        f"{path} is a file: format datasets reads a folder or a Hugging Face name"
    )


# Sentiment140


def test_reads_sentiment140_by_its_shape(tmp_path: Path) -> None:
    path = written(tmp_path / "tweets.csv", TWEETS.encode("latin-1"))
    assert load(path).table.to_pylist() == [
        {"user": "ann", "text": 'that\'s a "bummer", caf\xe9', "label": "0", "time": TWEET_SECONDS},
        {"user": "bob", "text": "happy", "label": "4", "time": TWEET_SECONDS + 1},
    ]


def test_reads_sentiment140_by_the_formats_name_too(tmp_path: Path) -> None:
    path = written(tmp_path / "tweets", gzip.compress(TWEETS.encode("latin-1")))
    assert column(load(path, format="sentiment140"), "user") == ["ann", "bob"]


def test_a_tweets_unreadable_date_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", TWEETS.replace("07 05:19:46 UTC", "07 05:19:46 XYZ"))
    assert message(path) == (
        f"{path}, line 2: the date 'Tue Apr 07 05:19:46 XYZ 2009' must look like "
        "'Mon Apr 06 22:19:45 PDT 2009'"
    )


def test_a_short_line_of_sentiment140_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", TWEETS + '"4","1","2"\n')
    assert message(path).startswith(f"{path}, row 3: 3 fields where 6 belong")


def test_an_empty_tweet_is_named_by_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", TWEETS.replace("happy", " "))
    assert message(path).startswith(f"{path}, line 2: the text is empty")


# LEAF


def tweet(text: str, date: str = "Mon Apr 06 22:19:45 PDT 2009") -> list[str]:
    return ["1467810369", date, "NO_QUERY", "ann", text]


def test_reads_leaf_tweets_with_their_times(tmp_path: Path) -> None:
    path = leaf(tmp_path / "all.json", {"ann": {"x": [tweet("hi"), tweet("ho")], "y": [0, 4]}})
    assert load(path).table.to_pylist() == [
        {"user": "ann", "text": "hi", "label": "0", "time": TWEET_SECONDS},
        {"user": "ann", "text": "ho", "label": "4", "time": TWEET_SECONDS},
    ]


def test_reads_leaf_samples_that_are_texts_or_lists_of_words(tmp_path: Path) -> None:
    path = leaf(tmp_path / "all.json", {"ann": {"x": ["a b", ["c", "d"]], "y": ["p", "q"]}})
    assert load(path).table.to_pydict() == {
        "user": ["ann", "ann"],
        "text": ["a b", "c d"],
        "label": ["p", "q"],
    }


def test_pools_the_train_and_test_folders_of_leaf(tmp_path: Path) -> None:
    leaf(tmp_path / "train" / "a.json", {"ann": {"x": ["one"], "y": [1]}})
    leaf(tmp_path / "test" / "a.json", {"ann": {"x": ["two"], "y": [1]}})
    leaf(tmp_path / "all_data" / "a.json", {"ann": {"x": ["one"], "y": [1]}})
    assert sorted(column(load(tmp_path), "text")) == ["one", "two"]


def test_an_empty_leaf_text_is_named_by_user_and_sample(tmp_path: Path) -> None:
    people = {"ann": {"x": ["a"], "y": [1]}, "bo": {"x": [], "y": []}, "cy": {"x": ["b", ""], "y": [1, 1]}}
    path = leaf(tmp_path / "all.json", people)
    assert message(path).startswith(f"{path}, user 'cy', sample 2: the text is empty")


def test_leaf_samples_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    path = leaf(tmp_path / "all.json", {"ann": {"x": [[0.5, 1.0]], "y": [1]}})
    assert message(path) == (
        f"{path}, user 'ann', sample 1: neither a text, a list of words nor a tweet's fields; "
        "fedpers reads text only"
    )


def test_leaf_samples_without_their_labels_are_an_error(tmp_path: Path) -> None:
    path = leaf(tmp_path / "all.json", {"ann": {"x": ["a", "b"], "y": [1]}})
    assert message(path) == f"{path}, user 'ann': 2 samples x but 1 labels y"


def test_a_leaf_person_without_lists_is_an_error(tmp_path: Path) -> None:
    path = leaf(tmp_path / "all.json", {"ann": {"y": [1]}})
    assert message(path) == f"{path}, user 'ann': a person's data must be an object with lists x and y"


def test_json_without_user_data_is_not_leaf(tmp_path: Path) -> None:
    path = written(tmp_path / "all.json", '{"users": []}')
    assert message(path, format="leaf") == (
        f"{path} is not LEAF: its top level must be an object with users and user_data"
    )


def test_a_folder_without_leaf_files_is_an_error(tmp_path: Path) -> None:
    assert message(tmp_path, format="leaf") == (
        f"{tmp_path} has no file *.json: format leaf needs at least one"
    )


def test_leaf_json_nested_too_deeply_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "all.json", '{"users": [], "user_data": ' + "[" * 100_000)
    assert message(path) == f"{path}: not sound JSON; it is nested too deeply"


# User-product files


def test_reads_double_tabs_and_joins_the_sentences(tmp_path: Path) -> None:
    path = written(tmp_path / "yelp.train.ss", "u1\t\tp1\t\t5\t\tgreat food . <sssss> come\t\tback\n")
    assert load(path).table.to_pylist() == [
        {"user": "u1", "text": "great food . come\t\tback", "label": "5"},
    ]


def test_pools_the_parts_in_a_folder_and_in_a_and_b(tmp_path: Path) -> None:
    for place in ("a/train.tsv", "a/dev.tsv", "b/test.tsv", "yelp-2013.test.ss", "a/readme.txt"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        written(tmp_path / place, f"u\t\tp\t\t1\t\t{place}\n")
    assert sorted(column(load(tmp_path), "text")) == [
        "a/dev.tsv",
        "a/train.tsv",
        "b/test.tsv",
        "yelp-2013.test.ss",
    ]


def test_a_user_product_line_with_too_few_fields_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "train.tsv", "u\t\tp\t\t1\t\tgood\nu\t\tp\t\t1\n")
    assert message(path) == (
        f"{path}, line 2: 3 fields where 4 belong (user, product, rating, text, parted by double tabs)"
    )


def test_user_product_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "train.tsv", "u\t\tp\t\t1\t\tcaf\xe9\n".encode("latin-1"))
    assert message(path) == f"{path}, line 1: not UTF-8; convert the file to UTF-8"


def test_a_text_file_without_a_double_tab_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "train.txt", "hello\n")
    assert message(path) == (
        f"{path}: a .txt file is read as user-product, but its first line has no double tab; "
        "set --format to what it is"
    )


def test_a_folder_without_user_product_files_is_an_error(tmp_path: Path) -> None:
    assert message(tmp_path, format="user-product") == (
        f"{tmp_path} has no file train, dev or test *.tsv, *.txt or *.ss: "
        "format user-product needs at least one"
    )


# Rows that break a rule


def test_unlabelled_rows_are_left_out_whatever_else_they_lack(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", *ROWS, {"user_id": None, "text": "", "label": None})
    assert load(path).notes == ("1 row without label was left out",)


def test_unlabelled_rows_are_counted_over_all_files(tmp_path: Path) -> None:
    for part in ("train", "test"):
        leaf(tmp_path / part / "x.json", {"ann": {"x": ["a"] * 1000, "y": [1] + [None] * 999}})
    assert load(tmp_path).notes == ("1,998 rows without label were left out",)


def test_a_source_without_any_label_is_an_error(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"user_id": "a", "text": "t", "label": None})
    assert message(path) == f"{path} has no usable row: 1 row without label was left out"


def test_a_source_with_a_header_only_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "user_id,text,label\n")
    assert message(path) == f"{path} has no usable row: it is empty"


@pytest.mark.parametrize("text", [None, "", " \n\t"])
def test_an_empty_text_is_named_with_the_way_out(text: str | None, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", *ROWS, {**ROWS[0], "text": text})
    assert message(path) == (
        f"{path}, line 3: the text is empty; fill it in, or leave such rows out with --drop-empty"
    )


def test_the_line_of_a_bad_row_counts_blank_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", "\n\n" + json.dumps({**ROWS[0], "text": ""}))
    assert message(path).startswith(f"{path}, line 3: the text is empty")


def test_the_row_of_a_bad_csv_row_counts_from_one_below_the_header(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", 'user_id,text,label\na,"t\nt",1\nb,,1\n')
    assert message(path).startswith(f"{path}, row 2: the text is empty")


def test_empty_texts_are_left_out_on_request(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", *ROWS, {**ROWS[0], "text": ""}, {**ROWS[0], "text": None})
    source = load(path, drop_empty=True)
    assert column(source, "text") == ["good", "bad"]
    assert source.notes == ("2 rows with an empty text were left out",)


@pytest.mark.parametrize("user", [None, " "])
def test_a_row_without_a_person_is_named(user: str | None, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", ROWS[0], {**ROWS[0], "user_id": user})
    assert message(path) == f"{path}, line 2: no user_id; name the person or remove the row"


# Times


def timed(folder: Path, *times: object) -> Path:
    return jsonl(folder / "x.jsonl", *({**ROWS[0], "when": time} for time in times))


def test_numbers_stay_as_they_are(tmp_path: Path) -> None:
    assert column(load(timed(tmp_path, 12, 2.5), time_column="when"), "time") == [12.0, 2.5]


def test_a_table_without_a_time_column_has_no_time(tmp_path: Path) -> None:
    assert load(timed(tmp_path, 12)).table.column_names == ["user", "text", "label"]


def test_iso_dates_become_seconds_since_1970_in_utc(tmp_path: Path) -> None:
    path = timed(tmp_path, "1970-01-02", "1970-01-01T00:01:00.5")
    assert column(load(path, time_column="when"), "time") == [86400.0, 60.5]


def test_iso_dates_with_and_without_zones_may_be_mixed(tmp_path: Path) -> None:
    path = timed(tmp_path, "1970-01-02", "1970-01-01T01:00:00+01:00", "1970-01-01T00:00:01Z")
    assert column(load(path, time_column="when"), "time") == [86400.0, 0.0, 1.0]


def test_timestamps_of_parquet_become_seconds(tmp_path: Path) -> None:
    for kind in (pa.timestamp("ns"), pa.timestamp("s", tz="Europe/Berlin"), pa.date32()):
        when = pa.array([86400], pa.int64()).cast(pa.timestamp("s")).cast(pa.timestamp("ms"))
        columns = {"user_id": ["a"], "text": ["t"], "label": [1], "when": when.cast(kind)}
        if pa.types.is_timestamp(kind) and kind.tz:
            columns["when"] = pa.array([86400], pa.int64()).cast(kind)
        path = parquet(tmp_path / "x.parquet", columns)
        assert column(load(path, time_column="when"), "time") == [86400.0]


@pytest.mark.parametrize("time", ["soon", None, True])
def test_a_time_that_is_neither_number_nor_date_is_named(time: object, tmp_path: Path) -> None:
    printed = "true" if time is True else time
    path = timed(tmp_path, "2009-04-06", time)
    assert message(path, time_column="when") == (
        f"{path}, line 2: when {printed!r} is no time; every row needs a number, or every row an ISO date "
        "such as 2009-04-06"
    )


def test_an_infinite_time_is_no_time(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", "user_id,text,label,when\na,t,1,5\na,t,1,inf\n")
    assert message(path, time_column="when").startswith(f"{path}, row 2: when 'inf' is no time")


# Files that are not there or not sound


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    there = as_jsonl(tmp_path)
    assert message(tmp_path / "x.json") == f"no file or folder {tmp_path / 'x.json'}: did you mean {there}?"


def test_a_missing_file_with_nothing_near_says_what_a_hub_name_looks_like(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    assert message(path) == f"no file or folder {path}; a Hugging Face name looks like owner/name"


def test_a_missing_file_in_a_folder_that_is_there_is_no_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert message("data/reviews").startswith("no file or folder data/reviews")


def test_a_word_that_is_neither_path_nor_hub_name_says_so() -> None:
    assert message("quux") == "no file or folder quux; a Hugging Face name looks like owner/name"


def test_a_misspelt_synthetic_is_recognised() -> None:
    assert message("synthetik") == "no file or folder synthetik: did you mean synthetic?"


def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    path = written(tmp_path / "x.xls", "a")
    assert message(path) == (
        f"{path}: cannot tell the format from the suffix '.xls'; rename it to one of .jsonl, .ndjson, "
        ".json, .csv, .tsv, .txt, .ss, .parquet (each also with .gz) or set --format"
    )


def test_a_gzip_file_cut_short_is_named(tmp_path: Path) -> None:
    path = zipped(as_jsonl(tmp_path))
    path.write_bytes(path.read_bytes()[:-12])
    assert message(path) == f"{path} is cut short: fetch or compress it again"


def test_a_gz_file_that_is_not_gzip_is_named(tmp_path: Path) -> None:
    path = as_jsonl(tmp_path).rename(tmp_path / "x.jsonl.gz")
    assert message(path) == f"{path} is not a sound gzip file: fetch or compress it again"


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", "\n")
    assert message(path) == f"{path} is empty"


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = as_csv(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert message(path) == f"cannot read {path}: Permission denied"


def test_a_folder_for_a_format_of_one_file_is_an_error(tmp_path: Path) -> None:
    assert message(tmp_path, format="csv") == (
        f"{tmp_path} is a folder: format csv reads one file; name a file in it"
    )


# Real data, against the counts in their READMEs


def test_huffpost_has_its_labelled_items_and_authors() -> None:
    path = shared("huffpost_news", "huffpost_news.jsonl.gz")
    source = load(path, label_column="lamp2n_category", time_column="date")
    assert source.table.num_rows == 6014
    assert source.notes == (f"{8332 - 6014:,} rows without lamp2n_category were left out",)


def test_huffpost_by_its_own_categories_has_every_author() -> None:
    path = shared("huffpost_news", "huffpost_news.jsonl.gz")
    table = load(path, label_column="category").table
    assert (table.num_rows, len(table["user"].unique()), len(table["label"].unique())) == (8332, 331, 39)


def test_rt_critics_has_its_snippets_and_critics() -> None:
    table = load(shared("rt_critics", "rt_critics.jsonl.gz"), time_column="date").table
    assert (table.num_rows, len(table["user"].unique())) == (33720, 2435)
    assert column(Source(table, ()), "label").count("1") == 20542


def test_amazon_stops_at_its_first_empty_text() -> None:
    path = shared("amazon_musical_instruments", "amazon_musical_instruments.jsonl.gz")
    assert message(path).startswith(f"{path}, line 4327: the text is empty")


def test_amazon_without_its_seven_empty_texts_has_all_users() -> None:
    path = shared("amazon_musical_instruments", "amazon_musical_instruments.jsonl.gz")
    source = load(path, drop_empty=True, time_column="time")
    assert (source.table.num_rows, len(source.table["user"].unique())) == (7265 - 7, 1014)
    assert source.notes == ("7 rows with an empty text were left out",)
