import numpy as np
import pytest
from scipy.special import ndtr
from sklearn.mixture import GaussianMixture

from fedpers.privacy import blind_rows, linkability
from fedpers.privacy.blind import Clustering, by_distance, by_mixture, centres, match
from tests.privacy.crowds import draw, gaussians, line, uploads_of


@pytest.mark.parametrize("place", [0, 2])
def test_well_separated_people_are_found_by_as_many_clusters(place: int) -> None:
    row = blind_rows(gaussians(10 * np.eye(6), 0.1, 30), draw())[place]
    assert (row.misattribution_rate, row.attributed) == (0, 180)


@pytest.mark.parametrize("place", [1, 3])
def test_the_number_of_well_separated_people_is_found(place: int) -> None:
    row = blind_rows(gaussians(10 * np.eye(6), 0.1, 30), draw())[place]
    assert ("6 clusters (by BIC)" in row.attacker, row.misattribution_rate) == (True, 0)


@pytest.mark.parametrize("place", [1, 3])
def test_equal_people_are_taken_for_one(place: int) -> None:
    # one cluster, matched to one of four: 3 / 4
    row = blind_rows(gaussians(np.zeros((4, 3)), 1.0, 100), draw())[place]
    assert (" 1 clusters (by BIC)" in row.attacker, row.misattribution_rate, row.chance) == (True, 0.75, 0.75)


@pytest.mark.parametrize("place", [0, 2])
def test_clusters_of_equal_people_give_what_shuffled_senders_give(place: int) -> None:
    row = blind_rows(gaussians(np.zeros((4, 3)), 1.0, 500), draw())[place]
    assert row.misattribution_rate == pytest.approx(row.chance, abs=0.03)


def test_uploads_in_unmatched_clusters_are_misattributed() -> None:
    # By hand: clusters 0 and 1 are person 0's and 1's, cluster 2 is left over with one upload.
    scores = np.eye(3)[[0, 0, 2, 1, 1]]
    assert (match(scores, np.array([0, 0, 0, 1, 1]), draw()).ranks > 0).tolist() == [0, 0, 1, 0, 0]


def test_people_without_a_cluster_are_misattributed() -> None:
    scores = np.eye(2)[[0, 0, 1, 1, 1]]
    decisions = match(scores, np.array([0, 0, 1, 1, 2]), draw())
    assert decisions.by_person.tolist() == [0, 0, 1]


def test_no_more_uploads_are_clustered_than_asked_for() -> None:
    assert blind_rows(gaussians(line(0, 9), 0.1, 30), draw(), most=25)[0].attributed == 25


def test_equal_uploads_can_be_clustered() -> None:
    rows = blind_rows(uploads_of(np.zeros((12, 2)), np.repeat(np.arange(3), 4)), draw())
    assert all(row.misattribution_rate <= 2 / 3 for row in rows)


@pytest.mark.parametrize(("clustering", "kind"), [(by_distance, "spherical"), (by_mixture, "diag")])
def test_one_cluster_has_the_criterion_of_one_gaussian(clustering: Clustering, kind: str) -> None:
    # scikit-learn's own BIC of one sphere and of one diagonal Gaussian
    vectors = draw().normal(size=(400, 3))
    expected = GaussianMixture(1, covariance_type=kind).fit(vectors).bic(vectors)
    assert clustering(vectors, centres(vectors, 1, 0))[1] == pytest.approx(expected, rel=5e-3)


def test_pairs_of_equal_people_are_not_told_apart() -> None:
    assert linkability(gaussians(np.zeros((5, 8)), 1.0, 200), draw()) == pytest.approx(0.5, abs=0.015)


def test_pairs_of_separated_people_are_told_apart() -> None:
    assert linkability(gaussians(10 * np.eye(5), 0.1, 20), draw()) == 1


@pytest.mark.parametrize("distance", [0.5, 1.5, 3.0])
def test_linkability_of_two_gaussians_in_one_dimension_has_a_closed_form(distance: float) -> None:
    # P(|D + sqrt(2) s X| > |sqrt(2) s Y|), a product of the independent X - Y and X + Y:
    # Phi(D / 2s)^2 + Phi(-D / 2s)^2
    expected = float(ndtr(distance / 2) ** 2 + ndtr(-distance / 2) ** 2)
    uploads = gaussians(np.array([[0.0], [distance]]), 1.0, 10_000)
    assert linkability(uploads, draw()) == pytest.approx(expected, abs=0.015)


def test_pairs_need_two_people() -> None:
    assert linkability(gaussians(line(0), 1.0, 5), draw()) is None


def test_pairs_need_somebody_with_two_uploads() -> None:
    assert linkability(gaussians(line(0, 1, 2), 1.0, 1), draw()) is None
