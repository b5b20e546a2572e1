"""Attacks on rows that moved, against cases counted by hand and noise drawn number by number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpers.privacy.updates import (
    auc,
    estimate,
    leading,
    moved_scores,
    noised_norms,
    ranked,
    row_norms,
    share_found,
    took_part,
    unusual,
)

# Five words: two of the texts, one of which moved little, and three others.
NORMS = np.array([0.1, 0.0, 4.0, 0.2, 0.0])
PRESENT = np.array([True, False, True, False, False])


def test_precision_and_recall_of_moved_rows_are_those_counted_by_hand() -> None:
    assert moved_scores(NORMS, PRESENT) == (2 / 3, 1.0)
    assert moved_scores(np.array([0.0, 0.0, 1.0, 0.0, 0.0]), PRESENT) == (1.0, 0.5)


def test_where_nothing_moved_nothing_was_claimed() -> None:
    assert moved_scores(np.zeros(5), PRESENT) == (1.0, 0.0)


def test_words_are_ranked_by_how_far_they_moved() -> None:
    assert ranked(NORMS).tolist() == [2, 3, 0, 1, 4]


def test_only_words_among_the_guesses_are_found() -> None:
    assert [share_found(NORMS, PRESENT, guesses) for guesses in (1, 2, 3)] == [0.5, 0.5, 1.0]


def test_the_auc_counts_pairs_and_half_of_the_ties() -> None:
    # 4.0 is above all three others; 0.1 above two of them, and below 0.2.
    assert auc(NORMS, PRESENT) == pytest.approx(5 / 6)
    assert auc(np.ones(5), PRESENT) == 0.5


def test_there_is_no_auc_without_both_kinds() -> None:
    assert auc(NORMS, np.ones(5, dtype=bool)) is None
    assert auc(NORMS, np.zeros(5, dtype=bool)) is None


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12), st.data())
def test_the_auc_is_the_share_of_pairs_in_the_right_order(scores: list[int], data: st.DataObject) -> None:
    size = len(scores)
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    told = auc(np.array(scores, dtype=float), wanted)
    pairs = [(scores[i], scores[j]) for i in np.flatnonzero(wanted) for j in np.flatnonzero(~wanted)]
    expected = [1.0 if own > other else 0.5 if own == other else 0.0 for own, other in pairs]
    assert told == (pytest.approx(np.mean(expected)) if pairs else None)


def test_a_frequent_word_falls_behind_a_rare_one_that_moved_less() -> None:
    norms, shares = np.array([6.0, 3.0]), np.array([0.5, 0.0])
    assert ranked(norms).tolist() == [0, 1]
    # 6 / (1 + 10 * 0.5) = 1 and 3 / 1 = 3
    assert unusual(norms, 10, shares).tolist() == [1.0, 3.0]


def test_without_noise_norms_stay_as_they_are() -> None:
    assert noised_norms(NORMS, 8, 0.0, np.random.default_rng(0)) is NORMS


def test_norms_with_noise_have_the_law_of_rows_with_noise() -> None:
    width, deviation, times = 6, 0.5, 20_000
    draw = np.random.default_rng(0)
    row = np.array([1.0, -2.0, 0.0, 0.5, 0.0, 0.0])
    by_numbers = row_norms(row + deviation * draw.standard_normal((times, width)))
    by_law = noised_norms(np.full(times, np.linalg.norm(row)), width, deviation, draw)
    levels = np.linspace(0.05, 0.95, 10)
    assert np.quantile(by_law, levels) == pytest.approx(np.quantile(by_numbers, levels), rel=0.01)


def test_rows_that_did_not_move_get_noise_too() -> None:
    noised = noised_norms(np.zeros(1000), 64, 0.1, np.random.default_rng(0))
    assert noised.min() > 0
    assert (noised**2).mean() == pytest.approx(64 * 0.1**2, rel=0.02)


def test_the_directions_are_those_in_which_rows_move_most() -> None:
    first = np.array([[3.0, 0.0, 0.0], [-5.0, 0.0, 0.1]])
    second = np.array([[0.0, 2.0, 0.0]])
    found = leading([change.T @ change for change in (first, second)], kept=2)
    assert np.abs(found).round(1).tolist() == [[1, 0], [0, 1], [0, 0]]


def test_members_are_told_from_outsiders_by_how_they_stand() -> None:
    members = np.array([True, True, False, False])
    assert took_part(np.array([3.0, 1.0, 2.0, 1.0]), members) == [1.0, 0.25]


def test_an_estimate_is_the_mean_within_its_interval() -> None:
    found = estimate([0.0, 1.0, 1.0, 0.0], np.random.default_rng(0))
    assert found is not None
    assert found.mean == 0.5
    assert 0 <= found.low < 0.5 < found.high <= 1


def test_of_nobody_there_is_no_estimate() -> None:
    assert estimate([], np.random.default_rng(0)) is None
