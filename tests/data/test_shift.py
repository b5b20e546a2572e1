from dataclasses import replace

import numpy as np
import pyarrow as pa

from fedpers.data import Population, TablePeople
from fedpers.data.shift import least_alike


def people(*, tweets: bool = False) -> TablePeople:
    texts = ["red cat", "blue dogs", "red dog", "green fish", "red cat here"]
    rows = {
        "user": ["ann"] * 5,
        "text": texts,
        "label": ["x", "y", "x", "y", "x"],
        "time": [1.0, 2.0, 3.0, 4.0, 9.0],
        "query": [False, False, False, False, True],
    }
    if tweets:
        rows |= {"text": ["", "", "", "", "a red cat"], "target": texts}
    return TablePeople(pa.table(rows))


def population(irrelevant: int | None) -> Population:
    nobody = np.array([], dtype=np.int64)
    return Population(people(), np.array([0]), nobody, nobody, split="given", irrelevant=irrelevant)


def test_the_items_least_like_the_queries_are_left_in_their_own_order() -> None:
    assert least_alike(["red cat", "blue dogs", "red dog"], ["red cat"], 2).tolist() == [1, 2]


def test_fewer_items_than_asked_for_are_all_left() -> None:
    assert least_alike(["red", "blue"], ["red"], 5).tolist() == [0, 1]


def test_a_history_is_cut_for_training_and_for_the_test_alike() -> None:
    cut = population(irrelevant=2)
    for part in ("history", "test"):
        history, _ = cut.background(0, part)
        assert history.texts == ["blue dogs", "green fish"]
    assert cut.background(0, "test")[1].tolist() == [2]


def test_items_without_a_text_are_compared_by_what_was_written() -> None:
    cut = replace(population(irrelevant=2), people=people(tweets=True), answer="text")
    assert cut.background(0, "test")[0].targets == ["blue dogs", "green fish"]


def test_without_the_setting_a_history_is_whole() -> None:
    assert len(population(irrelevant=None).background(0, "test")[0]) == 4


def test_what_came_before_a_sample_is_counted_among_what_is_left() -> None:
    assert population(irrelevant=2).background(0, "history")[1].tolist() == [0, 0, 1, 1]
