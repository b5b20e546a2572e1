import numpy as np
import pytest

from fedpers.errors import InputError
from fedpers.privacy import labelled_rows
from fedpers.privacy.labelled import nearest_mean, nearest_neighbours, split
from tests.privacy.crowds import draw, gaussians, line, margin, uploads_of


@pytest.mark.parametrize("place", range(3))
def test_separated_people_are_told_apart(place: int) -> None:
    uploads = gaussians(10 * np.eye(6), 0.1, 20)
    assert labelled_rows(uploads, 10, draw())[place].misattribution_rate == 0


@pytest.mark.parametrize("place", range(3))
def test_equal_people_are_not_told_apart(place: int) -> None:
    row = labelled_rows(gaussians(np.zeros((5, 3)), 1.0, 310), 10, draw())[place]
    assert row.misattribution_rate == pytest.approx(row.chance, abs=margin(0.8, 1500))


def test_two_people_are_enough_for_every_attacker() -> None:
    rows = labelled_rows(gaussians(line(0, 9), 0.1, 10), 5, draw())
    assert [row.misattribution_rate for row in rows] == [0, 0, 0]


def test_one_labelled_upload_leaves_out_the_discriminants() -> None:
    rows = labelled_rows(gaussians(line(0, 9), 0.1, 10), 1, draw())
    assert [row.attacker for row in rows] == ["1 labelled, nearest mean", "1 labelled, nearest neighbours"]


def test_the_nearest_mean_by_hand() -> None:
    # means 1 and 5, the middle 3
    score = nearest_mean(uploads_of(np.array([[0.0], [2.0], [4.0], [6.0]]), np.array([0, 0, 1, 1])))
    assert score(np.array([[2.9], [3.1]])).argmax(axis=1).tolist() == [0, 1]


def test_the_nearest_neighbours_by_hand() -> None:
    # of 1.9 the three nearest are 2 (person 1), 1 and 0 (person 0)
    known = uploads_of(np.array([[0.0], [1.0], [-9.0], [2.0], [9.0], [10.0]]), np.array([0, 0, 0, 1, 1, 1]))
    assert nearest_neighbours(known, 3)(np.array([[1.4]])) == pytest.approx(np.array([[2 / 3, 1 / 3]]))


def test_nobodys_labelled_uploads_are_attacked() -> None:
    known, rest = split(gaussians(line(0, 1, 2), 1.0, 7), 3, draw())
    assert (np.bincount(known.senders).tolist(), np.bincount(rest.senders).tolist()) == ([3] * 3, [4] * 3)
    assert not set(known.vectors[:, 0]) & set(rest.vectors[:, 0])


@pytest.mark.parametrize("labelled", [0, 4, 9])
def test_everyone_must_have_an_upload_left(labelled: int) -> None:
    with pytest.raises(InputError, match="somebody has only 4, which allows 1 to 3"):
        split(gaussians(line(0, 1), 1.0, np.array([9, 4])), labelled, draw())


def test_people_of_one_upload_cannot_be_attacked() -> None:
    with pytest.raises(InputError, match="everyone must have 2 or more, somebody has 1"):
        split(gaussians(line(0, 1), 1.0, 1), 1, draw())
