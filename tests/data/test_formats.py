import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest

from fedpers.data.formats import wanted
from fedpers.data.json_rows import read_fast, read_plain
from fedpers.settings import DataSettings
from tests.data.reading import ROWS, as_csv, as_parquet, column, jsonl, load, message, parquet, written


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_one_column_may_have_two_roles(suffix: str, tmp_path: Path) -> None:
    path, rows = tmp_path / f"x.{suffix}", [{"who": name, "said": f"by {name}"} for name in "ab"]
    if suffix == "jsonl":
        jsonl(path, *rows)
    elif suffix == "parquet":
        parquet(path, {"who": ["a", "b"], "said": ["by a", "by b"]})
    else:
        sign = "," if suffix == "csv" else "\t"
        written(path, "\n".join(sign.join(line) for line in (["who", "said"], *(r.values() for r in rows))))
    found = load(path, user_column="who", label_column="who", text_column="said,said")
    assert column(found, "label") == column(found, "user") == ["a", "b"]
    assert column(found, "text") == ["by a by a", "by b by b"]


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
