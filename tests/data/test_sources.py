import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from fedpers.data.sources import Source
from tests.data.reading import (
    FORMATS,
    ROWS,
    as_csv,
    as_jsonl,
    column,
    jsonl,
    leaf,
    load,
    message,
    parquet,
    shared,
    written,
    zipped,
)


@pytest.fixture
def library_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


# Every plain format gives the same table


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


@pytest.mark.parametrize("blank", ["", "n/a"])
def test_one_that_is_no_number_among_numbers_is_named(blank: str, tmp_path: Path) -> None:
    lines = [f"a,t,1,{time}" for time in (1000, 1001, blank, 1003)]
    path = written(tmp_path / "x.csv", "\n".join(["user_id,text,label,when", *lines]))
    assert message(path, time_column="when").startswith(f"{path}, row 3: when {blank!r} is no time")


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
