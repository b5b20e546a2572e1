import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpers.data.samples import Samples, TablePeople

ROWS = {
    "user": ["bob", "ann", "bob", "cy", "ann", "bob"],
    "text": ["b1", "a1", "b2", "c1", "a2", "b3"],
    "label": ["10", "9", "9", "x", "10", "10"],
}


def people(**columns: list[object]) -> TablePeople:
    return TablePeople(pa.table({**ROWS, **columns}))


def labelled(*labels: str) -> TablePeople:
    count = len(labels)
    return people(user=["ann"] * count, text=["t"] * count, label=list(labels))


# Samples


def test_taken_samples_have_the_order_of_the_positions() -> None:
    taken = Samples(["a", "b", "c"], np.array([0, 1, 2])).take(np.array([2, 0]))
    assert (taken.texts, taken.labels.tolist()) == (["c", "a"], [2, 0])


def test_samples_are_counted() -> None:
    assert len(Samples(["a", "b"], np.array([0, 1]))) == 2


def test_no_samples_may_be_taken() -> None:
    assert len(Samples(["a"], np.array([0])).take(np.array([], dtype=np.int64))) == 0


# People in a table


def test_people_are_numbered_by_name() -> None:
    table = people()
    assert [table.name(person) for person in range(len(table))] == ["ann", "bob", "cy"]


def test_a_persons_texts_keep_the_order_of_the_source() -> None:
    assert people().samples(1).texts == ["b1", "b2", "b3"]


def test_a_persons_labels_go_with_their_texts() -> None:
    assert people().samples(1).labels.tolist() == [1, 0, 1]


def test_the_samples_of_everyone_are_counted() -> None:
    assert people().counts().tolist() == [2, 3, 1]


def test_a_table_in_several_chunks_gives_the_same_people() -> None:
    table = pa.table(ROWS)
    parted = TablePeople(pa.concat_tables([table.slice(0, 2), table.slice(2)]))
    assert [parted.samples(person).texts for person in range(3)] == [["a1", "a2"], ["b1", "b2", "b3"], ["c1"]]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=3)), min_size=1, max_size=30))
def test_grouping_loses_no_row_and_mixes_none(rows: list[tuple[str, str]]) -> None:
    columns = {"user": [u for u, _ in rows], "text": [t for _, t in rows], "label": [u for u, _ in rows]}
    table = TablePeople(pa.table(columns))
    found = {table.name(person): table.samples(person).texts for person in range(len(table))}
    assert found == {name: [t for u, t in rows if u == name] for name in sorted({u for u, _ in rows})}


# Classes


def test_numbers_are_ordered_by_value_and_before_names() -> None:
    assert people().classes == ("9", "10", "x")


def test_negative_numbers_and_fractions_are_ordered_by_value() -> None:
    assert labelled("0.5", "-1", "1e1", "2").classes == ("-1", "0.5", "2", "1e1")


def test_names_are_ordered_by_letter() -> None:
    assert labelled("sport", "art", "news").classes == ("art", "news", "sport")


def test_names_that_python_reads_as_numbers_are_names() -> None:
    assert labelled("nan", "2", "inf", "1").classes == ("1", "2", "inf", "nan")


@given(st.permutations(["nan", "3", "1", "2", "infinity", "art"]))
def test_the_order_of_classes_does_not_depend_on_the_order_of_rows(labels: list[str]) -> None:
    assert labelled(*labels).classes == ("1", "2", "3", "art", "infinity", "nan")


def test_given_classes_are_numbered_as_given() -> None:
    assert people().with_classes(["x", "10", "9"]).samples(1).labels.tolist() == [1, 2, 1]


def test_a_label_outside_the_given_classes_is_minus_one() -> None:
    assert people().with_classes(["10", "x"]).samples(0).labels.tolist() == [-1, 0]


def test_given_classes_leave_the_original_alone() -> None:
    table = people()
    table.with_classes(["10"])
    assert (table.classes, table.samples(0).labels.tolist()) == (("9", "10", "x"), [0, 1])


def test_classes_may_be_given_again() -> None:
    narrowed = people().with_classes(["10"]).with_classes(["9", "10"])
    assert narrowed.samples(0).labels.tolist() == [0, 1]


# Times


def test_times_go_with_their_person_and_order() -> None:
    times = people(time=[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]).times(1)
    assert times is not None
    assert times.tolist() == [6.0, 4.0, 1.0]


def test_a_table_without_times_has_none() -> None:
    assert people().times(0) is None


# Digest


def test_a_digest_stays_where_only_people_are_mixed() -> None:
    mixed: dict[str, list[object]] = {
        name: [row[i] for i in (3, 1, 0, 2, 4, 5)] for name, row in ROWS.items()
    }
    assert people(**mixed).digest() == people().with_classes(["x"]).digest() == people().digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"text": ["b2", "a1", "b1", "c1", "a2", "b3"]},  # the order of one person's
        {"label": ["10", "9", "9", "x", "10", "9"]},
        {"user": ["bob", "ann", "bob", "cyd", "ann", "bob"]},
        {"time": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]},
    ],
    ids=["text", "label", "user", "time"],
)
def test_a_digest_tells_what_has_changed(changed: dict[str, list[object]]) -> None:
    assert people(**changed).digest() != people().digest()
