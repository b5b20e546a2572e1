"""The data of IDfree-PL: a cut at one moment for all, the most active people, ratings as classes."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedpers.data import Population, populate
from fedpers.errors import InputError
from fedpers.settings import DataSettings, SyntheticSettings


def rows(person: str, times: list[int], labels: str = "ab") -> list[dict[str, Any]]:
    return [
        {"user_id": person, "text": f"{person} {time}", "label": labels[k % len(labels)], "at": time}
        for k, time in enumerate(times)
    ]


def people(tmp_path: Path, *everyone: list[dict[str, Any]], **settings: object) -> Population:
    path = tmp_path / "people.jsonl"
    path.write_text("\n".join(json.dumps(row) for own in everyone for row in own), encoding="utf-8")
    given = {"data": str(path), "time_column": "at", **settings}
    return populate(DataSettings.model_validate(given), SyntheticSettings(), 0)


def named(population: Population, name: str) -> int:
    return next(int(p) for p in population.clients if population.people.name(int(p)) == name)


def times(population: Population, name: str, part: Any) -> list[int]:
    texts = population.samples(named(population, name), part).texts
    return [int(text.split()[1]) for text in texts]


def test_everyone_is_tested_on_what_lies_behind_the_quantile_of_all_times(tmp_path: Path) -> None:
    # 20 samples at times 0 to 19: the 16th, at time 15, is the last of the first 0.8.
    found = people(
        tmp_path, rows("eve", [*range(0, 20, 2)]), rows("odd", [*range(1, 20, 2)]), split="common-time"
    )
    assert found.moment == 15
    assert times(found, "eve", "test") == [16, 18]
    assert times(found, "odd", "test") == [17, 19]


def test_the_latest_ninth_before_the_moment_is_for_validation(tmp_path: Path) -> None:
    late = [100, 101, 102, 103, 104, 105]
    found = people(
        tmp_path, rows("ann", [*range(18), *late]), rows("bob", [0, 1, 2, 110]), split="common-time"
    )
    before = [time for time in [*range(18), *late] if time <= found.moment]
    assert times(found, "ann", "train") + times(found, "ann", "validation") == before
    assert len(times(found, "ann", "validation")) == round(len(before) / 9) == 2


def test_people_on_one_side_of_the_moment_are_left_out_and_counted(tmp_path: Path) -> None:
    found = people(
        tmp_path,
        rows("ann", [*range(8), 90, 99]),
        rows("early", [1, 2, 3]),
        rows("late", [95, 96, 97]),
        rows("bob", [*range(8), 92, 98]),
        split="common-time",
    )
    assert {found.people.name(int(p)) for p in found.clients} == {"ann", "bob"}
    assert found.notes == (
        "2 people had no sample to test, or fewer than 2 before, at the common moment, and were left out",
    )


def test_samples_of_one_moment_are_never_on_both_sides(tmp_path: Path) -> None:
    found = people(
        tmp_path, rows("ann", [1, 2, 3, 5, 5, 5, 9]), rows("bob", [1, 2, 5, 5, 9]), split="common-time"
    )
    for name in ("ann", "bob"):
        trained = times(found, name, "train") + times(found, name, "validation")
        assert max(trained) <= found.moment < min(times(found, name, "test"))


def test_a_common_moment_needs_times_and_all_samples(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--split common-time needs the column that holds the time"):
        people(tmp_path, rows("ann", [1, 2, 3]), split="common-time", time_column=None)
    with pytest.raises(InputError, match="leave one out"):
        people(tmp_path, rows("ann", [1, 2, 3]), split="common-time", max_samples=3)


def test_a_common_moment_that_leaves_nobody_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"is left: all 2 had no sample to test, .*; use --split random or time"
    ):
        people(tmp_path, rows("ann", [5] * 9), rows("bob", [5] * 9), split="common-time")


def test_the_most_active_people_are_kept(tmp_path: Path) -> None:
    everyone = [rows(f"p{count}", [*range(count)]) for count in (3, 9, 5, 7)]
    found = people(tmp_path, *everyone, most_active=2)
    assert {found.people.name(int(p)) for p in found.clients} == {"p9", "p7"}


def test_more_active_people_than_there_are_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="--most-active 3 is more than the 1 people that are left: use at most 1"
    ):
        people(tmp_path, rows("ann", [1, 2, 3]), most_active=3)


def test_ratings_become_classes_by_their_upper_bounds(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    lines = [
        f"{person},good,{rating}" for person in "ab" for rating in (1, 2, 3, 4, 5, 5.0, 4, 1, 3, 4, 5, 2)
    ]
    path.write_text("user_id,text,label\n" + "\n".join(lines), encoding="utf-8")
    found = populate(DataSettings(data=str(path), rating_bins="3,4"), SyntheticSettings(), 0)
    assert set(found.people.classes) == {"<=3", "<=4", ">4"}
    labels = found.people.samples(0).labels
    names = [found.people.classes[number] for number in labels]
    assert names == ["<=3", "<=3", "<=3", "<=4", ">4", ">4", "<=4", "<=3", "<=3", "<=4", ">4", "<=3"]


@pytest.mark.parametrize("bins", ["", "4,3", "3,3", "three"])
def test_bins_that_are_no_rising_numbers_are_refused(tmp_path: Path, bins: str) -> None:
    with pytest.raises(InputError, match="give rising numbers"):
        people(tmp_path, rows("ann", [1, 2, 3], "12"), rating_bins=bins)


def test_a_label_that_is_no_number_cannot_be_binned(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--rating-bins is for numbers, but a label is none"):
        people(tmp_path, rows("ann", [1, 2, 3]), rating_bins="3")


def test_synthetic_people_have_neither_activity_nor_ratings() -> None:
    for given in ({"most_active": 5}, {"rating_bins": "3,4"}):
        with pytest.raises(InputError, match="for real people"):
            populate(DataSettings.model_validate(given), SyntheticSettings(), 0)


def test_real_critics_are_cut_at_one_moment(shared: Path) -> None:
    source = DataSettings(
        data=str(shared / "data" / "rt_critics" / "rt_critics.jsonl.gz"),
        time_column="date",
        min_samples=20,
        split="common-time",
    )
    found = populate(source, SyntheticSettings(), 0)
    counts = {part: sum(len(found.positions(p, part)) for p in found.clients) for part in ("train", "test")}
    assert 200 < len(found.clients) < 402
    # The moment is the 0.8 quantile of 402 people's times; those on one side only are gone.
    assert 0.1 < counts["test"] / (counts["test"] + counts["train"]) < 0.4
