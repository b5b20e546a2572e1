import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from fedpers.evaluation import Scores, bootstrap, bootstrap_accuracy, change, merge, score

CLASSES = 4
# One person: the class predicted and the true one, for each of their samples.
PERSON = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=12
)


def scored(people: list[list[tuple[int, int]]], first: int = 0, classes: int = CLASSES) -> Scores:
    predicted = [np.array([guess for guess, _ in person]) for person in people]
    labels = [np.array([truth for _, truth in person]) for person in people]
    return score(range(first, first + len(people)), predicted, labels, classes)


def counted(correct: list[int], total: list[int], persons: list[int] | None = None) -> Scores:
    numbers = np.arange(len(correct)) if persons is None else np.array(persons)
    confusion = np.array([[sum(correct), sum(total) - sum(correct)], [0, 0]])
    return Scores(numbers, np.array(correct), np.array(total), confusion)


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# By hand: ann has 3 of 4 right, bob 0 of 1; class 0 is predicted rightly twice, class 1 once.
ANN = [(0, 0), (0, 0), (1, 1), (1, 0)]
BOB = [(0, 1)]


def test_accuracy_pools_all_samples() -> None:
    assert scored([ANN, BOB]).accuracy == 3 / 5


def test_each_person_has_an_accuracy() -> None:
    assert scored([ANN, BOB]).by_person.tolist() == [3 / 4, 0]


def test_the_confusion_counts_true_by_predicted_class() -> None:
    assert scored([ANN, BOB], classes=2).confusion.tolist() == [[2, 1], [1, 1]]


def test_macro_f1_by_hand() -> None:
    # class 0: precision 2/3, recall 2/3, F1 2/3; class 1: precision 1/2, recall 1/2, F1 1/2
    assert scored([ANN, BOB]).macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 2)


@given(st.lists(PERSON, min_size=1, max_size=5))
def test_macro_f1_is_scikit_learns_on_the_raw_predictions(people: list[list[tuple[int, int]]]) -> None:
    pairs = [pair for person in people for pair in person]
    expected = f1_score(
        [truth for _, truth in pairs], [guess for guess, _ in pairs], average="macro", zero_division=0
    )
    assert scored(people).macro_f1 == pytest.approx(expected)


def test_a_class_that_nobody_has_and_nobody_predicts_does_not_count_for_macro_f1() -> None:
    assert scored([[(0, 0), (2, 2)]]).macro_f1 == 1


def test_a_summary_gives_the_spread_over_people() -> None:
    # accuracies 0, 0.1, ..., 1: mean 0.5, variance (11^2 - 1) / 12 / 100 = 0.1, deciles 0.1 to 0.9
    summary = counted(list(range(11)), [10] * 11).summary()
    assert summary["person_mean"] == pytest.approx(0.5)
    assert summary["person_std"] == pytest.approx(math.sqrt(0.1))
    assert summary["person_deciles"] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


# Merging


@given(st.lists(PERSON, min_size=2, max_size=6), st.data())
def test_merged_parts_equal_scoring_at_once(people: list[list[tuple[int, int]]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(people) - 1))
    merged, whole = merge([scored(people[:cut]), scored(people[cut:], first=cut)]), scored(people)
    for name in ("persons", "correct", "total", "confusion"):
        assert np.array_equal(getattr(merged, name), getattr(whole, name)), name


def test_merging_one_part_changes_nothing() -> None:
    assert merge([scored([ANN, BOB])]).summary() == scored([ANN, BOB]).summary()


def test_predictions_and_labels_of_different_people_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        score([0, 1], [np.array([0])], [np.array([0]), np.array([1])], 2)


# Change


def test_the_shares_of_better_same_and_worse_by_hand() -> None:
    ours, baseline = counted([5, 3, 3, 0], [5, 5, 5, 5]), counted([3, 3, 4, 0], [5, 5, 5, 5])
    found = change([ours], [baseline], draw())
    assert (found.better, found.same, found.worse) == (1 / 4, 2 / 4, 1 / 4)


def test_the_difference_is_that_of_the_pooled_accuracies() -> None:
    # 6 of 12 against 3 of 12 samples
    found = change([counted([1, 5], [2, 10])], [counted([1, 2], [2, 10])], draw())
    assert found.difference == 3 / 12


def test_shares_count_each_person_once_a_seed() -> None:
    ours = [counted([2, 2], [3, 3]), counted([1, 2], [3, 3])]
    baseline = [counted([1, 2], [3, 3]), counted([2, 1], [3, 3])]
    found = change(ours, baseline, draw())
    assert (found.better, found.same, found.worse) == (2 / 4, 1 / 4, 1 / 4)


def test_a_method_against_itself_does_not_change() -> None:
    same = counted([1, 2, 3], [4, 4, 4])
    found = change([same], [same], draw())
    assert (found.same, found.difference, found.low, found.high) == (1, 0, 0, 0)


def test_swapping_the_methods_turns_the_signs() -> None:
    ours, baseline = counted([5, 3, 1], [5, 5, 5]), counted([3, 3, 4], [5, 5, 5])
    there, back = change([ours], [baseline], draw()), change([baseline], [ours], draw())
    assert (back.better, back.worse, back.difference) == (there.worse, there.better, -there.difference)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_different_numbers_of_seeds_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        change([counted([1], [1])], [], draw())


# Bootstrap


def percentile(values: list[float], share: float) -> float:
    """Interpolates between the order statistics, as numpy's default rule says it does."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def test_the_interval_equals_a_plain_loops_over_the_same_draws() -> None:
    sums, totals, generator, accuracies = [3, 1, 4, 2], [4, 4, 5, 7], draw(3), []
    for _ in range(2000):
        times_drawn = generator.multinomial(4, [0.25] * 4)
        right = sum(int(n) * s for n, s in zip(times_drawn, sums, strict=True))
        asked = sum(int(n) * t for n, t in zip(times_drawn, totals, strict=True))
        accuracies.append(right / asked)
    expected = (percentile(accuracies, 0.025), percentile(accuracies, 0.975))
    assert bootstrap(np.array(sums), np.array(totals), draw(3)) == pytest.approx(expected)


def test_the_interval_is_near_the_normal_one_where_people_are_many() -> None:
    # Independent samples, 1,000 people of 10: accuracy +- 1.96 sqrt(p (1 - p) / 10,000).
    correct = draw(1).binomial(10, 0.7, size=1000)
    low, high = bootstrap(correct, np.full(1000, 10), draw(2))
    accuracy = correct.mean() / 10
    margin = 1.96 * math.sqrt(0.7 * 0.3 / 10_000)
    assert (low, high) == pytest.approx((accuracy - margin, accuracy + margin), abs=0.15 * margin)


def test_the_interval_covers_the_truth_in_about_95_of_100_repetitions() -> None:
    # A true coverage of 0.95 gives fewer than 88 of 100 with probability 0.0015 (binomial).
    world, covered = draw(4), 0
    for repetition in range(100):
        correct = world.binomial(8, 0.6, size=40)
        low, high = bootstrap(correct, np.full(40, 8), draw(repetition))
        covered += low <= 0.6 <= high
    assert covered >= 88


def test_the_interval_narrows_with_more_people() -> None:
    widths = []
    for people in (20, 80, 320, 1280):
        correct = np.tile([2, 4, 6, 8], people // 4)
        low, high = bootstrap(correct, np.full(people, 8), draw(5))
        widths.append(high - low)
    # Four times the people halve it; 0.1 is for the draws of the resampling.
    assert [narrow / wide for wide, narrow in pairwise(widths)] == pytest.approx([0.5] * 3, abs=0.1)


def test_equal_people_leave_no_interval() -> None:
    assert bootstrap_accuracy([counted([3] * 5, [4] * 5)], draw()) == (0.75, 0.75)


def test_a_person_is_drawn_with_the_samples_of_all_seeds() -> None:
    # Seeds that mirror each other: person by person both seeds together are always half right.
    seeds = [counted([4, 0, 1], [4, 4, 4]), counted([0, 4, 3], [4, 4, 4])]
    assert bootstrap_accuracy(seeds, draw()) == (0.5, 0.5)


def test_people_are_matched_by_number_over_seeds() -> None:
    seeds = [counted([4, 0], [4, 4], persons=[7, 3]), counted([4, 0], [4, 4], persons=[3, 7])]
    assert bootstrap_accuracy(seeds, draw()) == (0.5, 0.5)
