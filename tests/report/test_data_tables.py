import io

from rich.console import Console

from fedpers.data.describe import Description, Spread
from fedpers.report.data_tables import data_table

SPREAD = Spread(1, 2, 3, 4, 5, 6, 1234, 7.25)


def description(**changes: object) -> Description:
    fields: dict[str, object] = {
        "people": 3,
        "samples": 9,
        "samples_per_person": SPREAD,
        "described_people": 3,
        "class_counts": {"bad": 3, "good": 6},
        "text_words": SPREAD,
        "repeated": 0,
        "tested_samples": 3,
        "global_majority_accuracy": 2 / 3,
        "person_majority_accuracy": None,
        "notes": ("2 rows were left out",),
    }
    return Description(**(fields | changes))  # type: ignore[arg-type] # one dict holds fields of many types


def shown(what: Description) -> str:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        console.print(data_table(what))
    return capture.get()


def test_shows_rates_with_three_places_and_missing_ones_as_a_dash() -> None:
    text = shown(description())
    assert "0.667" in text
    assert " - " in text


def test_shows_the_most_frequent_class_first() -> None:
    text = shown(description())
    assert text.index("good") < text.index("bad")
    assert "66.7 %" in text


def test_shows_the_notes() -> None:
    assert "2 rows were left out" in shown(description())


def test_shows_repeats_where_there_are_some() -> None:
    assert "Repeats" not in shown(description())
    assert "same person" in shown(description(repeated=1_234))
    assert "1,234" in shown(description(repeated=1_234))


def test_says_when_only_a_sample_of_the_people_is_described() -> None:
    text = shown(description(people=1_000_000, described_people=20_000))
    assert "20,000 of the 1,000,000 people" in text


def test_brackets_in_a_class_name_are_no_markup() -> None:
    assert "[red]" in shown(description(class_counts={"[red]": 1}))


def test_sums_up_the_classes_after_the_first_twenty() -> None:
    text = shown(description(class_counts={f"c{i}": 10 for i in range(25)}))
    assert "5 more" in text
    assert "20.0 %" in text


def test_no_column_is_cut_at_80_columns() -> None:
    wide = Spread(1, 20, 300, 4000, 5000, 60_000, 123_456, 7000)
    text = shown(description(samples_per_person=wide, people=10**9, samples=10**10))
    assert all(number in text for number in ("60000", "123456", "7000.0", "10,000,000,000"))
    assert "\u2026" not in text
