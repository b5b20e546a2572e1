import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import ndtr

from fedpers.errors import InputError
from fedpers.models.families import Beta, Gaussian, log_densities
from fedpers.privacy import Groups, attribute, cut, distributions, known_rows, sample_shares, singles
from tests.privacy.crowds import attacked, draw, gaussians, line, margin, rate, simulate


def orthogonal(people: int, shift: float) -> float:
    """Returns the misattribution of equal priors and orthogonal shifts in units of the noise."""
    right, _ = quad(
        lambda x: np.exp(-((x - shift) ** 2) / 2) / np.sqrt(2 * np.pi) * ndtr(x) ** (people - 1), -10, 20
    )
    return 1 - float(right)


@pytest.mark.parametrize("distance", [0.3, 1.0, 2.5])
def test_two_gaussians_are_confused_as_often_as_the_closed_form_says(distance: float) -> None:
    # Phi(-D / 2s) with s = 0.5
    expected = float(ndtr(-distance / (2 * 0.5)))
    assert rate(attacked(line(0, distance), 0.5, 5000)) == pytest.approx(
        expected, abs=margin(expected, 10_000)
    )


def test_the_integral_gives_the_published_misattribution() -> None:
    # 163 people and 70.93 % need shifts of 2.08 noise spreads (to two digits)
    assert brentq(lambda shift: orthogonal(163, shift) - 0.7093, 0, 5) == pytest.approx(2.08, abs=5e-3)


def test_the_integral_of_two_people_is_the_closed_form() -> None:
    # they are sqrt(2) shifts apart
    assert orthogonal(2, 1.3) == pytest.approx(float(ndtr(-1.3 / np.sqrt(2))))


def test_orthogonal_gaussians_are_confused_as_often_as_the_integral_says() -> None:
    found = rate(attacked(2.08 * 0.3 * np.eye(163), 0.3, 60))
    assert found == pytest.approx(orthogonal(163, 2.08), abs=margin(0.71, 163 * 60))


def test_equal_distributions_leave_the_chance_level() -> None:
    # all scores are level, so that this is the breaking of ties: 1 - 1 / 7
    decisions = attacked(np.full((7, 33), 0.1), 0.2, 1000)
    assert decisions.chance == pytest.approx(6 / 7)
    assert rate(decisions) == pytest.approx(6 / 7, abs=margin(6 / 7, 7000))


def test_equal_distributions_do_not_favour_anybody() -> None:
    found = attacked(np.full((7, 33), 0.1), 0.2, 1000).by_person
    assert found == pytest.approx(np.full(7, 6 / 7), abs=margin(6 / 7, 1000))


def test_linked_gaussians_are_as_one_further_away_by_the_root_of_their_number() -> None:
    # Phi(-D sqrt(n) / 2s) with D = 0.5, s = 1, n = 9
    uploads, means = gaussians(line(0, 0.5), 1.0, 18_000), line(0, 0.5)
    evidence = distributions(Gaussian(1.0), {"mean": means}, uploads.vectors)
    found = rate(attribute([evidence], uploads.senders, draw(), cut(uploads.senders, 9, draw())))
    expected = float(ndtr(-0.75))
    assert found == pytest.approx(expected, abs=margin(expected, 4000))


def test_scores_are_the_log_densities_of_the_family_added_up() -> None:
    theta = {"alpha": draw(1).uniform(1, 4, (3, 5)), "beta": draw(2).uniform(1, 4, (3, 5))}
    uploads = simulate(Beta(), theta, 2, 0)
    each = log_densities(Beta(), theta, uploads.vectors)
    groups = Groups(np.array([5, 0, 3]), np.array([0, 2, 3]))
    found = distributions(Beta(), theta, uploads.vectors).score(groups, slice(0, 2))
    np.testing.assert_allclose(found, [each[5] + each[0], each[3]], rtol=1e-10)


def test_blocks_do_not_change_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    uploads, means = gaussians(line(0, 1, 2), 1.0, 6), line(0, 1, 2)
    evidence = distributions(Gaussian(1.0), {"mean": means}, uploads.vectors)
    groups = cut(uploads.senders, 3, draw())
    whole = evidence.score(groups, slice(0, 6))
    monkeypatch.setattr("fedpers.privacy.outcomes._CELLS", 8)
    parts = [evidence.score(groups, slice(start, start + 2)) for start in (0, 2, 4)]
    np.testing.assert_allclose(np.concatenate(parts), whole)


def test_the_prior_moves_the_border_between_two_gaussians() -> None:
    # Shares 0.9 and 0.1, D = s = 1: the border lies at 1/2 + ln 9.
    senders_each = np.array([9000, 1000])
    uploads = gaussians(line(0, 1), 1.0, senders_each)
    evidence = distributions(Gaussian(1.0), {"mean": line(0, 1)}, uploads.vectors)
    found = attribute([evidence], uploads.senders, draw(), prior=sample_shares(uploads.senders, 2))
    border = 0.5 + np.log(9)
    assert found.by_person == pytest.approx([ndtr(-border), ndtr(border - 1)], abs=0.02)


def test_who_knows_the_shares_alone_names_the_largest() -> None:
    # Uploads that tell nothing: the attack is no better than its own chance.
    uploads = gaussians(line(0, 0, 0), 1.0, np.array([90, 5, 5]))
    evidence = distributions(Gaussian(1.0), {"mean": line(0, 0, 0)}, uploads.vectors)
    found = attribute([evidence], uploads.senders, draw(), prior=sample_shares(uploads.senders, 3))
    assert found.chance == pytest.approx(0.1)
    assert rate(found) == pytest.approx(0.1)


def test_of_shares_that_are_alike_each_is_named_as_often() -> None:
    # Candidates are people of the upload's kind: the first two, or the third.
    uploads = gaussians(line(0, 0, 0), 1.0, np.array([40, 40, 20]))
    evidence = distributions(Gaussian(1.0), {"mean": line(0, 0, 0)}, uploads.vectors)
    prior, kinds = sample_shares(uploads.senders, 3), np.array([0, 0, 1])
    found = attribute([evidence], uploads.senders, draw(), prior=prior, kinds=kinds)
    assert found.chance == pytest.approx(0.4)


def test_evidence_of_two_halves_is_that_of_the_whole() -> None:
    means, uploads = draw(1).normal(size=(4, 6)), gaussians(draw(1).normal(size=(4, 6)), 1.0, 30)
    halves = [
        distributions(Gaussian(1.0), {"mean": means[:, part]}, uploads.vectors[:, part])
        for part in (slice(0, 2), slice(2, 6))
    ]
    whole = [distributions(Gaussian(1.0), {"mean": means}, uploads.vectors)]
    found, expected = (attribute(each, uploads.senders, draw()).ranks.tolist() for each in (halves, whole))
    assert found == expected


def test_rows_cover_the_sizes_and_the_sample_shares() -> None:
    theta = {"mean": line(0, 1, 3)}
    rows = known_rows(Gaussian(1.0), theta, gaussians(theta["mean"], 1.0, 11), [1, 5], draw())
    assert [(row.attacker, row.uploads, row.attributed) for row in rows] == [
        ("distributions", 1, 33),
        ("distributions", 5, 6),
        ("distributions and sample shares", 1, 33),
    ]


def test_someone_without_uploads_may_have_no_share() -> None:
    uploads = gaussians(line(0, 50), 1.0, 20)
    evidence = distributions(Gaussian(1.0), {"mean": line(0, 50, 70)}, uploads.vectors)
    prior = sample_shares(uploads.senders, 3)
    assert rate(attribute([evidence], uploads.senders, draw(), prior=prior)) == 0


def test_a_sender_must_not_have_a_prior_of_0() -> None:
    uploads = gaussians(line(0, 1), 1.0, 2)
    evidence = distributions(Gaussian(1.0), {"mean": line(0, 1)}, uploads.vectors)
    with pytest.raises(InputError, match="must be above 0"):
        attribute([evidence], uploads.senders, draw(), prior=np.array([1.0, 0.0]))


def test_groups_of_one_are_single_uploads() -> None:
    uploads = gaussians(line(0, 1, 2), 1.0, 50)
    evidence = [distributions(Gaussian(1.0), {"mean": line(0, 1, 2)}, uploads.vectors)]
    cut_up = attribute(evidence, uploads.senders, draw(1), cut(uploads.senders, 1, draw()))
    single = attribute(evidence, uploads.senders, draw(1), singles(150))
    assert np.bincount(cut_up.ranks).tolist() == np.bincount(single.ranks).tolist()
