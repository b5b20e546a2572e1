"""Methods compared over the same people: shares, paired tests, intervals."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from fedpers.errors import InputError
from fedpers.evaluation import bootstrap, bootstrap_accuracy, change, paired_test
from tests.evaluation.test_scores import counted, draw, measured

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


def test_scores_of_different_people_are_not_compared() -> None:
    ours, theirs = counted([1, 2], [3, 3], persons=[0, 1]), counted([1, 2], [3, 3], persons=[1, 0])
    with pytest.raises(InputError, match="same people in the same order"):
        change([ours], [theirs], draw())


def test_another_measure_is_compared_by_its_sums() -> None:
    # sums 3 and 2.5 of 6 samples; the first has more, the second less, the third the same
    ours, baseline = measured([1, 1, 4], rouge_1=[1, 1, 1]), measured([1, 1, 4], rouge_1=[0.2, 1.3, 1])
    found = change([ours], [baseline], draw(), "rouge_1")
    assert (found.better, found.same, found.worse) == (1 / 3, 1 / 3, 1 / 3)
    assert found.difference == pytest.approx(0.5 / 6)


def test_fewer_errors_are_better() -> None:
    ours, baseline = measured([2, 2], absolute_error=[1, 1]), measured([2, 2], absolute_error=[3, 2])
    found = change([ours], [baseline], draw(), "absolute_error")
    assert (found.better, found.worse, found.difference) == (1, 0, -3 / 4)
    assert found.low <= found.difference <= found.high < 0


def test_sums_that_differ_by_rounding_are_the_same() -> None:
    ours, baseline = measured([3], rouge_1=[0.1 + 0.2 + 0.3]), measured([3], rouge_1=[0.3 + 0.2 + 0.1])
    assert ours.sums["rouge_1"] != baseline.sums["rouge_1"]
    assert change([ours], [baseline], draw(), "rouge_1").same == 1


def test_another_measures_interval_is_the_one_accuracy_has_for_the_same_numbers() -> None:
    ours, baseline = [counted([5, 3, 1], [5, 6, 7])], [counted([3, 3, 4], [5, 6, 7])]
    texts = [
        [measured([5, 6, 7], rouge_1=[5, 3, 1])],
        [measured([5, 6, 7], rouge_1=[3, 3, 4])],
    ]
    assert change(texts[0], texts[1], draw(), "rouge_1") == change(ours, baseline, draw())


def test_a_root_is_no_sum_to_compare() -> None:
    errors = [measured([1], squared_error=[1])]
    with pytest.raises(InputError, match="valid: accuracy, squared_error"):
        change(errors, errors, draw(), "rmse")


# Paired test


@settings(deadline=None, max_examples=40)  # scipy goes through all signs of up to 13 people
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=60))
def test_the_paired_test_is_scipys_on_the_means_of_people_who_differ(people: list[tuple[int, int]]) -> None:
    ours, theirs = [mine for mine, _ in people], [other for _, other in people]
    # eighths are exact, so scipy sees every tie
    differences = np.array([(mine - other) / 8 for mine, other in people if mine != other])
    expected = wilcoxon(differences).pvalue if len(differences) else 1.0
    total = [8] * len(people)
    assert paired_test(counted(ours, total), counted(theirs, total), "accuracy") == expected


def test_five_people_who_all_gain_by_hand() -> None:
    # all signs alike: 2 of 2^5 equally likely ways
    ours, theirs = measured([1] * 5, rouge_1=[1, 2, 3, 4, 5]), measured([1] * 5, rouge_1=[0] * 5)
    assert paired_test(ours, theirs, "rouge_1") == pytest.approx(2 / 2**5)


def test_a_method_does_not_differ_from_itself() -> None:
    same = counted([1, 2], [3, 4])
    assert paired_test(same, same, "accuracy") == 1


def test_ties_are_seen_through_rounding() -> None:
    # 3/10 - 2/10 and 2/10 - 1/10 are no equal floats
    ours, theirs = counted([3, 2, 9, 1], [10] * 4), counted([2, 1, 1, 4], [10] * 4)
    expected = wilcoxon([1, 1, 8, -3]).pvalue
    assert paired_test(ours, theirs, "accuracy") == pytest.approx(expected)


def test_a_persons_own_mean_counts_and_not_the_sum() -> None:
    # sums differ by 4, -2, -3: other ranks than means, by 1, -2, -3
    total = [4, 1, 1]
    ours, theirs = measured(total, rouge_1=[4, 0, 0]), measured(total, rouge_1=[0, 2, 3])
    assert paired_test(ours, theirs, "rouge_1") == pytest.approx(wilcoxon([1, -2, -3]).pvalue)


def test_people_are_tested_by_their_own_rmse() -> None:
    ours, theirs = measured([1] * 3, squared_error=[9, 1, 4]), measured([1] * 3, squared_error=[1, 0, 1])
    assert paired_test(ours, theirs, "rmse") == pytest.approx(wilcoxon([2, 1, 1]).pvalue)


def test_different_samples_are_not_tested() -> None:
    with pytest.raises(InputError, match="with 3 samples and of 1 with 4"):
        paired_test(counted([1], [3]), counted([1], [4]), "accuracy")


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


def test_the_interval_of_several_seeds_is_that_of_their_mean() -> None:
    # People 0 to 2 in the first seed, 1 to 3 in the second, which is the larger one.
    first, second = counted([2, 1, 3], [4, 4, 4]), counted([9, 6, 8], [10, 10, 10], persons=[1, 2, 3])
    sums, totals = np.array([[2, 1, 3, 0], [0, 9, 6, 8]]), np.array([[4, 4, 4, 0], [0, 10, 10, 10]])
    generator, means = draw(3), []
    for _ in range(2000):
        times_drawn = generator.multinomial(4, [0.25] * 4)
        seeds = zip(sums @ times_drawn, totals @ times_drawn, strict=True)
        means.append(float(np.mean([right / asked for right, asked in seeds if asked])))
    expected = (percentile(means, 0.025), percentile(means, 0.975))
    assert bootstrap_accuracy([first, second], draw(3)) == pytest.approx(expected)


def test_a_difference_over_seeds_is_that_of_the_mean_accuracies() -> None:
    ours = [counted([2, 1], [2, 2]), counted([9, 6], [10, 10])]
    baseline = [counted([1, 1], [2, 2]), counted([6, 6], [10, 10])]
    means = [np.mean([scores.accuracy for scores in each]) for each in (ours, baseline)]
    assert change(ours, baseline, draw()).difference == pytest.approx(means[0] - means[1])


def test_blocks_of_resamples_do_not_change_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, totals = np.array([3, 1, 4, 2]), np.array([4, 4, 5, 7])
    whole = bootstrap(sums, totals, draw(3))
    monkeypatch.setattr("fedpers.evaluation.scores._CELLS", 12)  # three resamples at a time
    assert bootstrap(sums, totals, draw(3)) == whole


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
