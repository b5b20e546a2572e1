import numpy as np
import pytest

from fedpers.errors import InputError
from fedpers.privacy import Groups, cut, linked, singles
from fedpers.privacy.links import turns
from tests.privacy.crowds import draw

SENDERS = np.array([1, 0, 1, 1, 0, 3, 1, 1])  # five of person 1, two of 0, one of 3, none of 2


def parts(groups: Groups) -> list[list[int]]:
    return [sorted(part.tolist()) for part in np.split(groups.members, groups.starts[1:-1])]


def test_each_persons_uploads_are_dealt_out_from_0() -> None:
    found = turns(SENDERS, draw())
    assert [sorted(found[person == SENDERS].tolist()) for person in (0, 1, 3)] == [
        [0, 1],
        [0, 1, 2, 3, 4],
        [0],
    ]


def test_the_order_of_a_persons_uploads_is_drawn() -> None:
    assert any(
        turns(SENDERS, draw(0)).tolist() != turns(SENDERS, draw(seed)).tolist() for seed in range(1, 5)
    )


def test_groups_hold_one_persons_uploads_and_the_remainder_is_left_out() -> None:
    groups = cut(SENDERS, 2, draw())
    assert sorted(SENDERS[part].tolist() for part in parts(groups)) == [[0, 0], [1, 1], [1, 1]]


def test_no_upload_is_in_two_groups() -> None:
    members = cut(SENDERS, 2, draw()).members
    assert len(set(members.tolist())) == len(members)


@pytest.mark.parametrize("size", [0, 6])
def test_more_uploads_than_anybody_has_are_refused_with_the_largest_number_possible(size: int) -> None:
    with pytest.raises(InputError, match=f"groups of {size} linked uploads .* must be 1 to 5"):
        cut(SENDERS, size, draw())


def test_single_uploads_are_not_linked() -> None:
    assert parts(singles(3)) == [[0], [1], [2]]


def test_a_block_adds_up_the_uploads_of_its_groups() -> None:
    groups = Groups(np.array([4, 1, 0, 2, 3]), np.array([0, 2, 3, 5]))
    members, add = groups.block(slice(1, 3))
    assert (members.tolist(), add.toarray().tolist()) == ([0, 2, 3], [[1, 0, 0], [0, 1, 1]])


def test_without_messages_all_of_a_persons_uploads_are_linked() -> None:
    assert parts(linked(SENDERS)) == [[1, 4], [0, 2, 3, 6, 7], [5]]


def test_uploads_of_one_message_are_linked() -> None:
    messages = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    assert parts(linked(SENDERS, messages)) == [[1], [4], [0, 2, 7], [3, 6], [5]]
