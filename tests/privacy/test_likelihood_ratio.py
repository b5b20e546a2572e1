import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from fedpers.models.families import Doubles
from fedpers.privacy import Bools, offline, online
from tests.privacy.crowds import draw

TEXTS, APART, SPREAD = 4000, 1.0, 0.7


def world(shadows: int, seed: int = 0, width: float = 3.0) -> tuple[Doubles, Bools, Doubles, Bools, Doubles]:
    """Makes texts of unequal difficulty, whose log odds rise by one and the same amount when trained on.

    Returns:
        The attacked model's log odds and what it was trained on, both (texts,), the shadow models' and what
        they were trained on, both (shadows, texts), and how hard each text is (texts,).
    """
    luck = draw(seed)
    hard = width * luck.normal(size=TEXTS)
    members = luck.random(TEXTS) < 0.5
    halves = luck.random((shadows // 2, TEXTS)) < 0.5
    inside = np.concatenate([halves, ~halves])
    observed = hard + APART * members + SPREAD * luck.normal(size=TEXTS)
    odds = hard + APART * inside + SPREAD * luck.normal(size=inside.shape)
    return observed, members, odds, inside, hard


def test_with_many_shadow_models_it_is_the_exact_likelihood_ratio() -> None:
    observed, members, odds, inside, hard = world(400)
    exact = norm.logpdf(observed, hard + APART, SPREAD) - norm.logpdf(observed, hard, SPREAD)
    found = online(observed, odds, inside)
    assert np.abs(found - exact).mean() < 0.35
    expected = norm.cdf(APART / SPREAD / np.sqrt(2))  # of the exact ratio of two such Gaussians
    assert roc_auc_score(members, exact) == pytest.approx(expected, abs=0.02)
    assert roc_auc_score(members, found) == pytest.approx(roc_auc_score(members, exact), abs=0.005)


def test_models_trained_without_a_text_are_enough_where_training_moves_every_text_alike() -> None:
    observed, members, odds, inside, hard = world(400)
    found = offline(observed, odds, inside)
    np.testing.assert_allclose(found, (observed - hard) / SPREAD, atol=0.9)
    expected = norm.cdf(APART / SPREAD / np.sqrt(2))
    assert roc_auc_score(members, found) == pytest.approx(expected, abs=0.02)


def test_models_trained_with_a_text_have_no_say_offline() -> None:
    observed, _, odds, inside, _ = world(8)
    changed = np.where(inside, 99.0, odds)
    np.testing.assert_array_equal(offline(observed, odds, inside), offline(observed, changed, inside))


def test_it_beats_the_confidence_alone_by_knowing_which_texts_are_hard() -> None:
    observed, members, odds, inside, _ = world(8)
    alone = roc_auc_score(members, observed)
    assert alone < 0.62
    assert roc_auc_score(members, online(observed, odds, inside)) > alone + 0.1


def test_few_shadow_models_share_one_variance_over_all_texts() -> None:
    # By hand: deviations from the texts' means 1 and 10 are -1, 1 and 0, 0: 2 over 4 - 2 degrees of freedom.
    odds = np.array([[0.0, 10.0], [2.0, 10.0], [5.0, 5.0], [5.0, 5.0]])
    inside = np.array([[False, False], [False, False], [True, True], [True, True]])
    found = offline(np.array([2.0, 12.0]), odds, inside)
    assert found.tolist() == pytest.approx([1.0, 2.0])


def test_many_shadow_models_give_each_text_its_own_variance() -> None:
    luck = draw()
    spread = np.array([0.1, 5.0])
    odds = spread * luck.normal(size=(400, 2))
    inside = np.arange(400)[:, None] % 2 == np.zeros(2, dtype=int)
    found = offline(np.array([1.0, 1.0]), odds, inside)
    assert found[0] == pytest.approx(10, rel=0.2)
    assert found[1] == pytest.approx(0.2, abs=0.1)


def test_shadow_models_that_all_say_the_same_give_finite_scores() -> None:
    inside = np.array([[True, False], [True, False], [False, True], [False, True]])
    assert np.isfinite(online(np.array([1.0, 2.0]), np.ones((4, 2)), inside)).all()
