import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpers.data import Part, Population, open_source, populate
from fedpers.data.samples import TablePeople
from fedpers.data.synthetic import SyntheticPeople
from fedpers.errors import InputError
from fedpers.settings import DataSettings, SyntheticSettings

PARTS: tuple[Part, ...] = ("train", "validation", "test")
MIXED = ["0", "1"] * 5


def written(folder: Path, people: Mapping[str, Sequence[str]], times: Sequence[float] = ()) -> Path:
    """Writes people with their labels, texts named by person and place, times the same for everyone."""
    path = folder / "people.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for name, labels in people.items():
            for place, label in enumerate(labels):
                row = {"user_id": name, "text": f"{name} {place}", "label": label}
                file.write(json.dumps(row | ({"when": times[place]} if times else {})) + "\n")
    return path


def crowd(folder: Path, size: int = 12, samples: int = 10) -> Path:
    return written(folder, {f"p{number:02d}": (MIXED * 10)[:samples] for number in range(size)})


def open_people(path: Path | str, seed: int = 0, **data: object) -> Population:
    settings = DataSettings.model_validate({"data": str(path), **data})
    return populate(settings, SyntheticSettings(samples_per_person=5, plain_words=50), seed)


def message(path: Path | str, **data: object) -> str:
    with pytest.raises(InputError) as caught:
        open_people(path, 0, **data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(population: Population) -> list[str]:
    return sorted(population.people.name(int(person)) for person in population.clients)


def alone(samples: int, seed: int = 0, max_samples: int | None = None) -> Population:
    """Returns one made-up person with so many samples."""
    people = SyntheticPeople(SyntheticSettings(samples_per_person=samples, plain_words=50), seed, 1)
    nobody = np.array([], dtype=np.int64)
    return Population(people, np.array([0]), nobody, nobody, max_samples=max_samples, seed=seed)


def positions(population: Population, person: int = 0) -> dict[Part, list[int]]:
    return {part: population.positions(person, part).tolist() for part in PARTS}


# Roles

SOURCES = pytest.mark.parametrize("synthetic", [True, False], ids=["synthetic", "real"])


def source(synthetic: bool, folder: Path) -> Path | str:
    return "synthetic" if synthetic else crowd(folder)


@SOURCES
def test_roles_have_the_sizes_asked_for(synthetic: bool, tmp_path: Path) -> None:
    people = open_people(source(synthetic, tmp_path), clients=5, public_people=3, held_out_people=2)
    assert (len(people.clients), len(people.public), len(people.held_out)) == (5, 3, 2)


@SOURCES
def test_nobody_has_two_roles(synthetic: bool, tmp_path: Path) -> None:
    people = open_people(source(synthetic, tmp_path), clients=6, public_people=4, held_out_people=2)
    assert len(set(people.everyone().tolist())) == 12


@SOURCES
def test_everyone_is_clients_then_public_then_held_out_people(synthetic: bool, tmp_path: Path) -> None:
    people = open_people(source(synthetic, tmp_path), clients=5, public_people=3, held_out_people=2)
    assert people.everyone().tolist() == [*people.clients, *people.public, *people.held_out]


@SOURCES
def test_fewer_clients_are_the_first_of_more(synthetic: bool, tmp_path: Path) -> None:
    path = source(synthetic, tmp_path)
    few, many = open_people(path, clients=5), open_people(path, clients=10)
    assert few.clients.tolist() == many.clients[:5].tolist()


def test_public_and_held_out_people_do_not_depend_on_the_number_of_clients(tmp_path: Path) -> None:
    path = crowd(tmp_path)
    few, many = (open_people(path, clients=n, public_people=3, held_out_people=2) for n in (4, 7))
    assert few.public.tolist() == many.public.tolist()
    assert few.held_out.tolist() == many.held_out.tolist()


def test_without_a_number_all_others_are_clients(tmp_path: Path) -> None:
    assert len(open_people(crowd(tmp_path), public_people=3, held_out_people=2).clients) == 12 - 3 - 2


def test_without_numbers_the_synthetic_roles_are_1100_200_and_100() -> None:
    people = open_people("synthetic")
    assert (len(people.clients), len(people.public), len(people.held_out)) == (1100, 200, 100)


def test_the_order_of_people_goes_by_the_seed(tmp_path: Path) -> None:
    path = crowd(tmp_path)
    assert open_people(path, seed=1).clients.tolist() == open_people(path, seed=1).clients.tolist()
    assert open_people(path, seed=1).clients.tolist() != open_people(path, seed=2).clients.tolist()


# Parts


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (3, (1, 1, 1)),
        (4, (2, 1, 1)),
        (10, (8, 1, 1)),
        (14, (12, 1, 1)),
        (16, (12, 2, 2)),
        (51, (41, 5, 5)),
        (100, (80, 10, 10)),
    ],
)
def test_parts_are_tenths_rounded_by_hand(count: int, sizes: tuple[int, int, int]) -> None:
    assert tuple(len(part) for part in positions(alone(count)).values()) == sizes


@given(st.integers(3, 200), st.integers(0, 2**31))
def test_parts_are_disjoint_and_complete(count: int, seed: int) -> None:
    parts = positions(alone(count, seed))
    assert sorted(place for part in parts.values() for place in part) == list(range(count))


@given(st.integers(3, 200))
def test_no_part_is_empty_or_more_than_half_a_sample_from_its_share(count: int) -> None:
    train, validation, test = (len(part) for part in positions(alone(count)).values())
    assert validation == test
    assert min(train, test) >= 1
    assert abs(test - count / 10) <= 0.5 or (test == 1 and count < 10)


@given(st.integers(3, 200), st.integers(3, 200))
def test_all_are_the_first_samples_up_to_the_most(count: int, most: int) -> None:
    everything = alone(count, max_samples=most).positions(0, "all")
    assert everything.tolist() == list(range(min(count, most)))


@given(st.integers(3, 200), st.integers(3, 200))
def test_parts_of_limited_people_are_complete_too(count: int, most: int) -> None:
    parts = positions(alone(count, max_samples=most))
    assert sorted(place for part in parts.values() for place in part) == list(range(min(count, most)))


def test_random_parts_are_reproducible() -> None:
    assert positions(alone(50)) == positions(alone(50))


def test_random_parts_are_the_same_in_any_order_of_asking() -> None:
    people = alone(50)
    backwards = {part: people.positions(0, part).tolist() for part in reversed(PARTS)}
    assert backwards == positions(people)


def test_random_parts_go_by_the_seed_and_the_person() -> None:
    people = open_people("synthetic", clients=2, public_people=0, held_out_people=0)
    other = open_people("synthetic", seed=1, clients=2, public_people=0, held_out_people=0)
    assert len({str(positions(*pair)) for pair in ((people, 0), (people, 1), (other, 0))}) == 3


def test_every_sample_is_for_testing_in_about_a_tenth_of_the_seeds() -> None:
    # 20 samples, 2 of them for testing: 500 seeds give 50 each, with a standard deviation of 6.7.
    chosen = np.bincount(
        np.concatenate([alone(20, seed).positions(0, "test") for seed in range(500)]), minlength=20
    )
    assert np.abs(chosen - 50).max() < 4.5 * 6.7


def test_the_samples_of_a_part_are_those_at_its_positions(tmp_path: Path) -> None:
    people = open_people(crowd(tmp_path))
    person = int(people.clients[0])
    name = people.people.name(person)
    texts = [f"{name} {place}" for place in people.positions(person, "train")]
    assert people.samples(person, "train").texts == texts


def test_by_time_the_latest_samples_are_for_testing_and_those_before_for_validation(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": MIXED, "bob": MIXED}, times=[5, 1, 9, 3, 8, 2, 7, 4, 6, 0])
    people = open_people(path, split="time", time_column="when")
    assert positions(people) == {"train": [9, 1, 5, 3, 7, 0, 8, 6], "validation": [4], "test": [2]}


def test_equal_times_keep_the_order_of_the_source(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": MIXED, "bob": MIXED}, times=[1] * 10)
    people = open_people(path, split="time", time_column="when")
    assert positions(people) == {"train": list(range(8)), "validation": [8], "test": [9]}


def test_by_time_the_seed_does_not_matter(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": MIXED, "bob": MIXED}, times=[5, 1, 9, 3, 8, 2, 7, 4, 6, 0])
    one, other = (open_people(path, seed, split="time", time_column="when") for seed in (1, 2))
    assert positions(one) == positions(other)


def test_the_first_samples_are_the_earliest_where_there_are_times(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": MIXED, "bob": MIXED}, times=[2, 5, 9, 3, 8, 1, 7, 4, 6, 0])
    people = replace(open_people(path, time_column="when"), max_samples=4)
    assert people.positions(0, "all").tolist() == [9, 5, 0, 3]


# Filters


def test_people_with_too_few_samples_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": MIXED, "bob": MIXED[:4], "cy": MIXED[:5]})
    assert names(open_people(path, min_samples=5)) == ["ann", "cy"]


def test_skewed_keeps_those_with_at_least_that_share_of_one_label(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"ann": ["1"] * 9 + ["0"], "bob": MIXED, "cy": ["0"] * 8 + ["1"] * 2, "dee": ["0"] * 10},
    )
    assert names(open_people(path, skewed=0.9)) == ["ann", "dee"]


def test_a_skew_of_zero_keeps_everyone(tmp_path: Path) -> None:
    assert len(open_people(crowd(tmp_path), skewed=0).clients) == 12


def test_notes_of_the_source_are_kept(tmp_path: Path) -> None:
    path = crowd(tmp_path)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"user_id": "p00", "text": "t", "label": null}\n')
    assert open_people(path).notes == ("1 row without label was left out",)


# Classes


def test_classes_are_those_of_the_people_who_take_part(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": MIXED, "bob": MIXED, "odd": ["9", "9"]})
    assert open_people(path).people.classes == ("0", "1")


def test_classes_of_public_people_count_as_trained(tmp_path: Path) -> None:
    path = written(tmp_path, {f"p{number}": [f"{number}", "x"] * 10 for number in range(4)})
    people = open_people(path, public_people=1)
    public = people.people.samples(int(people.public[0]))
    assert public.labels.min() >= 0


# Errors


def test_too_many_clients_says_how_many_there_are(tmp_path: Path) -> None:
    path = crowd(tmp_path)
    assert message(path, clients=13) == (
        f"--clients 13 is more than there are: {path} has 12 people with at least 3 samples; use at most 12"
    )


def test_too_many_clients_beside_others_says_how_many_are_left(tmp_path: Path) -> None:
    path = crowd(tmp_path)
    assert message(path, clients=10, public_people=2, held_out_people=3) == (
        f"--clients 10 is more than there are: {path} has 12 people with at least 3 samples, 5 of them asked "
        "for as public or held-out people; use at most 7"
    )


def test_as_many_clients_as_the_error_says_can_be_had(tmp_path: Path) -> None:
    people = open_people(crowd(tmp_path), clients=7, public_people=2, held_out_people=3)
    assert len(people.clients) == 7


def test_too_many_clients_counts_after_the_filters(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": ["1"] * 10, "bob": MIXED, "cy": ["0"] * 10})
    assert message(path, clients=3, skewed=0.9) == (
        f"--clients 3 is more than there are: {path} has 2 people with at least 3 samples, skewed; "
        "use at most 2"
    )


def test_others_that_leave_no_client_are_an_error(tmp_path: Path) -> None:
    path = crowd(tmp_path)
    assert message(path, public_people=7, held_out_people=5) == (
        f"12 public and held-out people leave no client: {path} has 12 people with at least 3 samples"
    )


def test_nobody_with_enough_samples_says_how_many_there_are_at_most(tmp_path: Path) -> None:
    path = crowd(tmp_path)
    assert message(path, min_samples=11) == (
        f"no person in {path} has 11 samples: the most is 10, and a split needs 3 at least; "
        "set --min-samples between the two"
    )


def test_nobody_skewed_enough_is_an_error(tmp_path: Path) -> None:
    assert message(crowd(tmp_path), skewed=0.9) == "nobody has 90% of one label: lower --skewed"


@pytest.mark.parametrize("place", [8, 9], ids=["validation", "test"])
def test_a_label_only_in_evaluation_texts_names_it_and_a_person(place: int, tmp_path: Path) -> None:
    labels = [*MIXED]
    labels[place] = "odd"
    path = written(tmp_path, {"ann": MIXED, "bob": labels}, times=range(10))
    assert message(path, split="time", time_column="when") == (
        "label 'odd' of 'bob' is in the evaluation texts but in nobody's training texts (labels there: 0, 1)"
        ": drop its rows, raise --clients, or take another --seed"
    )


def test_a_label_that_only_held_out_people_have_is_an_error(tmp_path: Path) -> None:
    people = {f"p{number}": [f"{number}", "x"] * 5 for number in range(4)}
    assert "is in the evaluation texts but in nobody's training texts" in message(
        written(tmp_path, people), held_out_people=1
    )


def test_a_label_of_evaluation_texts_that_others_train_on_is_no_error(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": ["odd", *MIXED[1:]], "bob": [*MIXED[:9], "odd"]}, times=range(10))
    people = open_people(path, split="time", time_column="when")
    assert people.people.classes == ("0", "1", "odd")


def test_one_label_for_everything_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": ["1"] * 10})
    assert message(path) == "every training text has the label '1': two are needed"


def test_a_split_by_time_without_times_names_the_flag(tmp_path: Path) -> None:
    assert message(crowd(tmp_path), split="time") == (
        "--split time needs the column that holds the time: add --time-column NAME"
    )


def test_synthetic_people_cannot_be_split_by_time() -> None:
    assert message("synthetic", split="time") == "synthetic texts have no time: use --split random"


def test_synthetic_people_cannot_be_filtered_by_skew() -> None:
    assert message("synthetic", skewed=0.9) == (
        "--skewed filters real people: synthetic ones are made on demand"
    )


# A source alone


def test_a_source_is_opened_with_everyone_in_it(tmp_path: Path) -> None:
    path = written(tmp_path, {"ann": MIXED, "bob": MIXED[:1]})
    people, notes = open_source(DataSettings(data=str(path), clients=1), SyntheticSettings(), 0)
    assert isinstance(people, TablePeople)
    assert (len(people), notes) == (2, ())


def test_a_synthetic_source_is_as_large_as_asked() -> None:
    people, _ = open_source(DataSettings(clients=7), SyntheticSettings(), 0)
    assert len(people) == 7


def test_the_times_of_a_part_are_those_of_its_texts(tmp_path: Path) -> None:
    times = [30.0, 10.0, 20.0, 50.0, 40.0]
    population = open_people(
        written(tmp_path, {"p": "01010"}, times), clients=1, time_column="when", split="time"
    )
    found = {part: population.times(0, part) for part in PARTS}
    assert {part: None if own is None else own.tolist() for part, own in found.items()} == {
        "train": [10.0, 20.0, 30.0],
        "validation": [40.0],
        "test": [50.0],
    }


def test_without_a_time_column_there_are_no_times() -> None:
    assert alone(5).times(0, "train") is None


# Halves, for shadow runs


def halves(count: int, number: int) -> dict[Part, list[int]]:
    return positions(replace(alone(count), half=number))


@given(st.integers(3, 60), st.integers(0, 5))
def test_a_half_of_training_and_test_texts_is_for_training_and_the_other_for_the_test(
    count: int, number: int
) -> None:
    before, after = positions(alone(count)), halves(count, number)
    assert after["validation"] == before["validation"]
    assert sorted(after["train"] + after["test"]) == sorted(before["train"] + before["test"])
    assert abs(len(after["train"]) - len(after["test"])) <= 1


def test_two_halves_of_one_draw_make_up_the_whole_and_two_draws_differ() -> None:
    assert halves(51, 0)["train"] == halves(51, 1)["test"]
    assert halves(51, 0)["train"] != halves(51, 2)["train"]


def test_a_history_is_all_but_the_test_of_a_half_too() -> None:
    population = replace(alone(51), half=3)
    parts = positions(population)
    assert population.positions(0, "history").tolist() == parts["train"] + parts["validation"]


def test_only_clients_are_halved() -> None:
    people = open_people("synthetic", clients=3, public_people=2, held_out_people=2)
    half = replace(people, half=0)
    for person in (*people.public.tolist(), *people.held_out.tolist()):
        assert positions(half, person) == positions(people, person)
    assert positions(half, int(people.clients[0])) != positions(people, int(people.clients[0]))
