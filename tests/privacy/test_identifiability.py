import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta

from fedpers.errors import InputError
from fedpers.privacy import BetaMixture, equal_mixtures, mixture_density

POINTS = np.linspace(0.01, 0.99, 50)
SHAPE = st.floats(0.2, 20)


@given(SHAPE, SHAPE)
def test_a_beta_density_is_a_mixture_of_its_neighbours(a: float, b: float) -> None:
    neighbours = BetaMixture(np.array([a, b]) / (a + b), np.array([a + 1, a]), np.array([b, b + 1]))
    np.testing.assert_allclose(mixture_density(neighbours, POINTS), beta.pdf(POINTS, a, b), rtol=1e-9)


@given(SHAPE, SHAPE)
def test_two_mixtures_have_one_density(a: float, b: float) -> None:
    one, other = (mixture_density(mixture, POINTS) for mixture in equal_mixtures(a, b))
    np.testing.assert_allclose(one, other, rtol=1e-9)


@given(SHAPE, SHAPE)
def test_the_mixtures_are_of_different_people(a: float, b: float) -> None:
    one, other = (set(zip(m.alphas, m.betas, strict=True)) for m in equal_mixtures(a, b))
    assert one != other


def test_the_weights_of_a_mixture_add_up_to_1() -> None:
    assert [mixture.weights.sum() for mixture in equal_mixtures(2, 5)] == pytest.approx([1, 1])


def test_a_mixtures_density_integrates_to_1() -> None:
    one, _ = equal_mixtures(2, 5)
    assert quad(lambda x: mixture_density(one, np.array([x]))[0], 0, 1)[0] == pytest.approx(1)


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, -2), (float("nan"), 1)])
def test_parameters_must_be_above_0(a: float, b: float) -> None:
    with pytest.raises(InputError, match="both parameters must be above 0"):
        equal_mixtures(a, b)
