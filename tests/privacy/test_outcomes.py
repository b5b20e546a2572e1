import json
import re
from dataclasses import asdict

import numpy as np
import pytest

from fedpers.errors import InputError
from fedpers.privacy import Decisions, Uploads, row
from fedpers.privacy.outcomes import blocks, decide, rank
from tests.privacy.crowds import draw, line, uploads_of

# By hand: person 0 is found twice of four times, person 2 never; nobody asks for person 1.
DECISIONS = Decisions(np.array([0, 0, 0, 0, 2, 2]), np.array([0, 1, 0, 4, 5, 9]), 2 / 3)


def test_a_person_is_found_where_nobody_is_likelier() -> None:
    wrong, total = DECISIONS.wrong()
    assert (wrong.tolist(), total.tolist()) == ([2, 0, 2], [4, 0, 2])


def test_rates_by_person_leave_out_who_was_not_attacked() -> None:
    assert DECISIONS.by_person.tolist() == [0.5, 1]


def test_shares_are_those_of_the_decisions() -> None:
    assert DECISIONS.shares.tolist() == [4 / 6, 0, 2 / 6]


def test_a_row_by_hand() -> None:
    found = row("example", DECISIONS, draw(), 2, 0.25)
    assert (found.attacker, found.uploads, found.attributed, found.bound) == ("example", 2, 6, 0.25)
    assert (found.misattribution_rate, found.chance, found.worst_person) == (4 / 6, 2 / 3, 0.5)
    assert found.top5_misattribution == 2 / 6
    assert (found.low, found.high) == (0.5, 1)


def test_a_row_becomes_json() -> None:
    assert json.loads(json.dumps(asdict(row("example", DECISIONS, draw()))))["bound"] is None


def test_ranks_count_who_is_likelier() -> None:
    scores = np.array([[1.0, 3.0, 2.0], [-np.inf, 5.0, 9.0]])
    assert rank(scores, np.array([2.0, 9.0]), np.array([0.5, 0.5])).tolist() == [1, 0]


@pytest.mark.parametrize(("luck", "expected"), [(0.0, 1), (0.34, 2), (0.999, 3)])
def test_ties_give_each_place_among_them_equally_often(luck: float, expected: int) -> None:
    # one is likelier, three are level up to rounding
    scores = np.array([[7.0, 5.0, 5.0 + 1e-12, 5.0, 1.0]])
    assert rank(scores, np.array([5.0]), np.array([luck])).tolist() == [expected]


def test_blocks_do_not_change_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, truth = draw(1).integers(3, size=(50, 4)).astype(float), draw(2).integers(4, size=50)
    whole = decide(lambda rows: scores[rows], truth, 4, draw(3))
    monkeypatch.setattr("fedpers.privacy.outcomes._CELLS", 12)
    assert len(blocks(50, 4)) == 17
    assert decide(lambda rows: scores[rows], truth, 4, draw(3)).ranks.tolist() == whole.ranks.tolist()


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        decide(lambda rows: np.array([[np.nan, 1.0]]), np.array([0]), 2, draw())


def test_uploads_of_different_numbers_are_refused() -> None:
    with pytest.raises(InputError, match=re.escape("number [2, 1, 2, 2]: all must be as many")):
        Uploads(line(0, 1), ("a",), np.array([0, 0]), np.array([0, 1]))


def test_some_uploads_can_be_taken() -> None:
    some = uploads_of(line(0, 1, 2), np.array([0, 1, 2])).take(np.array([2, 0]))
    assert (some.vectors[:, 0].tolist(), some.senders.tolist(), some.people) == ([2, 0], [2, 0], 3)
