import numpy as np
import pytest

from fedpers.errors import InputError
from fedpers.models.families import Gaussian
from fedpers.privacy import attribute, channels, distributions
from tests.privacy.crowds import draw, gaussians, line, margin, rate


@pytest.mark.parametrize(("people", "classes", "sizes"), [(10, 1, [10]), (10, 3, [4, 3, 3]), (4, 4, [1] * 4)])
def test_device_classes_are_as_even_as_can_be(people: int, classes: int, sizes: list[int]) -> None:
    assert np.bincount(channels.device_class(people, classes, draw())).tolist() == sizes


@pytest.mark.parametrize(("size", "sizes"), [(10, [10]), (3, [4, 3, 3]), (4, [5, 5]), (1, [1] * 10)])
def test_no_batch_is_smaller_than_its_size(size: int, sizes: list[int]) -> None:
    assert np.bincount(channels.batch(10, size, draw())).tolist() == sizes


def test_who_is_dealt_where_is_drawn() -> None:
    dealt = [channels.device_class(20, 2, draw(seed)).tolist() for seed in (0, 0, 1)]
    assert dealt[0] == dealt[1] != dealt[2]


@pytest.mark.parametrize("number", [0, 11])
def test_impossible_numbers_of_classes_and_sizes_of_batches_are_refused(number: int) -> None:
    with pytest.raises(InputError, match=f"{number} device classes: there must be 1 to 10"):
        channels.device_class(10, number, draw())
    with pytest.raises(InputError, match=f"batches of {number} people: they must have 1 to 10"):
        channels.batch(10, number, draw())


def test_the_count_makes_people_with_as_many_uploads_candidates() -> None:
    assert channels.count(np.array([0, 1, 1, 2]), 4).tolist() == [1, 2, 1, 0]


def test_time_links_all_of_a_senders_uploads() -> None:
    assert channels.time(np.array([1, 0, 1])).sizes.tolist() == [1, 2]


def test_the_chance_level_is_that_of_the_candidates() -> None:
    # By hand: 2 candidates for two thirds of the uploads, 1 for the rest: 1 - (2 / 3 / 2 + 1 / 3) = 1 / 3
    uploads = gaussians(line(0, 0, 0), 1.0, 2000)
    evidence = distributions(Gaussian(1.0), {"mean": line(0, 0, 0)}, uploads.vectors)
    found = attribute([evidence], uploads.senders, draw(), kinds=np.array([0, 0, 1]))
    assert found.chance == pytest.approx(1 / 3)
    assert rate(found) == pytest.approx(1 / 3, abs=margin(0.5, 4000) * 2 / 3)


def test_only_candidates_are_named() -> None:
    # Persons 0 and 1 are equal but of different kinds; persons 0 and 2 are far apart.
    uploads = gaussians(line(0, 0, 99), 1.0, 50)
    evidence = distributions(Gaussian(1.0), {"mean": line(0, 0, 99)}, uploads.vectors)
    assert rate(attribute([evidence], uploads.senders, draw(), kinds=np.array([0, 1, 0]))) == 0
