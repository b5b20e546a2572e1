import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from fedpers.privacy import largest_auc, largest_tpr

EPSILONS, DELTAS = st.floats(0, 20), st.floats(0, 1)


@given(EPSILONS, DELTAS)
def test_the_largest_auc_is_the_integral_of_the_largest_tpr(epsilon: float, delta: float) -> None:
    bend = (1 - delta) / (1 + math.exp(epsilon))  # told to the integration, which would miss a steep start
    ends = [0.0, bend, max(bend, 1 - delta), 1.0]
    parts = [quad(largest_tpr, a, b, (epsilon, delta))[0] for a, b in pairwise(ends)]
    assert largest_auc(epsilon, delta) == pytest.approx(sum(parts), abs=1e-9)


@given(st.floats(0, 10), st.floats(0, 0.5), st.floats(0, 1))
def test_the_curve_is_its_own_mirror_image(epsilon: float, delta: float, fpr: float) -> None:
    # Who exchanges the hypotheses has 1 - TPR false positives and finds 1 - FPR, which is permitted too.
    tpr = largest_tpr(fpr, epsilon, delta)
    assert largest_tpr(1 - tpr, epsilon, delta) >= 1 - fpr - 1e-9


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0, 6.0])
def test_randomised_response_reaches_the_bound_exactly(epsilon: float) -> None:
    # The true bit is told with probability e^epsilon / (1 + e^epsilon) (Warner, 1965).
    truth = math.exp(epsilon) / (1 + math.exp(epsilon))
    assert largest_tpr(1 - truth, epsilon, 0.0) == pytest.approx(truth)
    # Its ROC curve is (0, 0), (1 - truth, truth), (1, 1): the area below is truth.
    assert largest_auc(epsilon, 0.0) == pytest.approx(truth)


def test_what_is_told_with_probability_delta_is_added() -> None:
    # At epsilon 0 a mechanism that tells all with probability 0.2: TPR = FPR + 0.2.
    assert largest_tpr(0.5, 0.0, 0.2) == pytest.approx(0.7)
    assert largest_auc(0.0, 0.2) == pytest.approx(1 - 0.8**2 / 2)


@pytest.mark.parametrize("epsilon", [800.0, math.inf])
def test_an_epsilon_beyond_floats_permits_everything(epsilon: float) -> None:
    assert largest_tpr(0.01, epsilon, 0.0) == 1.0
    assert largest_auc(epsilon, 0.0) == 1.0


@given(EPSILONS, DELTAS, st.floats(0, 1))
def test_rates_stay_rates(epsilon: float, delta: float, fpr: float) -> None:
    assert np.clip(fpr, 0, 1) - 1e-12 <= largest_tpr(fpr, epsilon, delta) <= 1
