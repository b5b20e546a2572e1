import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from sklearn.metrics import roc_auc_score, roc_curve

from fedpers.errors import InputError
from fedpers.privacy import FALSE_POSITIVES, membership_row
from tests.privacy.crowds import draw


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 400), st.integers(1, 50))
def test_auc_and_rates_are_those_of_another_library_with_ties_too(seed: int, size: int, values: int) -> None:
    luck = draw(seed)
    scores = luck.integers(values, size=size).astype(float)
    members = np.concatenate([[True, False], luck.random(size - 2) < 0.5])
    row = membership_row("any", scores, members, np.arange(size), draw())
    assert row.auc == pytest.approx(roc_auc_score(members, scores))
    fpr, tpr, _ = roc_curve(members, scores, drop_intermediate=False)
    for rate in row.rates:
        reached = tpr[fpr <= rate.fpr + 1e-12].max()
        assert rate.tpr is None or rate.tpr == pytest.approx(reached)


def test_of_two_gaussians_it_is_the_closed_form() -> None:
    # AUC = Phi(d / sqrt 2); TPR = Phi(d - z), z being the quantile of the false positives.
    luck, apart, size = draw(), 1.5, 10_000
    members = np.arange(2 * size) < size
    scores = luck.normal(size=2 * size) + apart * members
    row = membership_row("any", scores, members, np.arange(2 * size), draw())
    assert row.auc == pytest.approx(ndtr(apart / np.sqrt(2)), abs=0.01)
    assert row.low < ndtr(apart / np.sqrt(2)) < row.high
    expected = [ndtr(apart - 2.3263), ndtr(apart - 3.0902)]
    assert [rate.tpr for rate in row.rates] == pytest.approx(expected, abs=0.03)
    for rate, p in zip(row.rates, expected, strict=True):
        assert rate.low is not None
        assert rate.high is not None
        assert rate.low < p < rate.high


@pytest.mark.parametrize(("outsiders", "given_"), [(99, 0), (100, 1), (999, 1), (1000, 2)])
def test_a_rate_that_a_single_non_member_exceeds_is_not_given(outsiders: int, given_: int) -> None:
    members = np.arange(outsiders + 50) >= outsiders
    row = membership_row("any", draw().normal(size=len(members)), members, np.arange(len(members)), draw())
    assert sum(rate.tpr is not None for rate in row.rates) == given_
    assert [rate.needed for rate in row.rates] == [100, 1000]
    assert [rate.fpr for rate in row.rates] == list(FALSE_POSITIVES)


def test_scores_that_tell_nothing_have_an_interval_around_a_half_about_19_times_in_20() -> None:
    members, people = np.arange(400) % 3 > 0, np.arange(400) // 10
    luck, covered = draw(), 0
    for _ in range(100):
        # People differ in how easy all of their texts are, members or not.
        scores = luck.normal(size=400) + luck.normal(size=40)[people]
        row = membership_row("any", scores, members, people, luck)
        covered += row.low < 0.5 < row.high
    assert 88 <= covered <= 99


def test_texts_that_hang_together_by_person_widen_the_interval() -> None:
    luck = draw()
    people = np.repeat(np.arange(60), 20)
    members = np.repeat(np.arange(60) < 30, 20)  # whole people, whose texts all have one score
    scores = (members + 2 * np.repeat(luck.normal(size=60), 20)).astype(float)
    apart = membership_row("any", scores, members, np.arange(1200), draw())
    together = membership_row("any", scores, members, people, draw())
    assert apart.auc == together.auc
    assert together.high - together.low > 2.5 * (apart.high - apart.low)


def test_members_and_non_members_are_never_drawn_away() -> None:
    members = np.array([True, False])
    row = membership_row("any", np.array([1.0, 0.0]), members, np.arange(2), draw())
    assert (row.auc, row.low, row.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("members", [[True, True], [False, False]])
def test_one_sort_alone_cannot_be_told_from_the_other(members: list[bool]) -> None:
    with pytest.raises(InputError, match="some of either sort"):
        membership_row("any", np.zeros(2), np.array(members), np.arange(2), draw())


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="not a number"):
        membership_row("any", np.array([np.nan, 0.0]), np.array([True, False]), np.arange(2), draw())
