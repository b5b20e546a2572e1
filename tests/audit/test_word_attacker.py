"""Attackers on updates made by hand: ten words in a table four or a hundred numbers wide."""

from typing import Any

import numpy as np
import pytest

from fedpers.audit.sights import Sight, Tables
from fedpers.audit.word_attacker import Attacker
from fedpers.models import Rows
from fedpers.models.families import Doubles

WORDS = 10
TABLES = Tables("words", "words", np.arange(1, WORDS))  # word 0 is a special one


def device(person: int, moves: dict[int, float], identifier: list[int], width: int = 4) -> Sight:
    """Returns a device of ten texts whose words moved so far, all in the same direction."""
    index = np.array(sorted(moves))
    change = np.zeros((len(index), width), dtype=np.float32)
    change[:, 0] = [moves[word] for word in sorted(moves)]
    present = np.setdiff1d(index, [0])
    rows = Rows(index, change, WORDS)
    return Sight(person, 10, {"words": rows}, 0.0, present, np.array(identifier, dtype=np.int64))


# Word 1 is in most people's texts and moved farthest; the identifiers are 2, 3 and 4, 5.
FIRST = device(0, {0: 9.0, 1: 5.0, 2: 4.0, 3: 3.0, 6: 1.0}, [2, 3])
SECOND = device(1, {0: 9.0, 1: 5.0, 4: 4.0, 5: 3.0, 7: 1.0}, [4, 5])
THIRD = device(2, {0: 9.0, 1: 5.0, 8: 4.0, 9: 3.0}, [8, 9])
PUBLIC = np.array([1.0, 0.9, *[0.0] * 8])


def means(
    attacker: Attacker, cohorts: list[list[Sight]], noise: float | None = None
) -> dict[str, float | None]:
    row: Any = attacker.row([FIRST, SECOND, THIRD], cohorts, noise, np.random.default_rng(0))
    names = ("moved", "precision", "recall", "words", "chance", "auc", "tokens", "identifiers")
    further = ("unusual_tokens", "unusual_identifiers", "aimed_words", "aimed_tokens", "took_part")
    return {name: (value := getattr(row, name)) and value.mean for name in (*names, *further)}


def test_one_update_is_read_as_counted_by_hand() -> None:
    found = means(Attacker(TABLES, PUBLIC, bound=1.0), [[FIRST], [SECOND]])
    assert found["moved"] == found["chance"] == pytest.approx(4 / 9)  # the special word counts nowhere
    assert {found[name] for name in ("precision", "recall", "words", "auc")} == {1.0}
    # The two farthest words are the frequent one and one of the identifier's.
    assert (found["tokens"], found["identifiers"]) == (0.5, 0.0)
    # Of ten texts nine are expected to hold the frequent word: 5 / (1 + 9) is less than 3.
    assert (found["unusual_tokens"], found["unusual_identifiers"]) == (1.0, 1.0)
    assert found["took_part"] is None


def test_a_sum_is_read_as_counted_by_hand() -> None:
    found = means(Attacker(TABLES, PUBLIC, bound=1e6), [[FIRST, SECOND]], noise=0)
    assert found["moved"] == found["chance"] == pytest.approx(7 / 9)
    assert {found[name] for name in ("precision", "recall", "words", "auc")} == {1.0}
    # Four guesses: the frequent word (10), two tokens at 4, and the first of two at 3.
    assert (found["tokens"], found["identifiers"]) == (0.75, 0.5)
    assert found["unusual_tokens"] == 1.0
    assert found["took_part"] == 1.0  # the outsider's words did not move


def test_people_without_a_known_word_are_left_out_where_words_are_scored() -> None:
    tables = Tables("words", "identifiers", np.arange(1, WORDS))
    moved = {"words": Rows(np.array([0]), np.ones((1, 4), np.float32), WORDS)}
    named = {"identifiers": Rows(np.array([2, 3]), np.ones((2, 4), np.float32), WORDS)}
    wordless = Sight(3, 10, moved | named, 0.0, np.array([], np.int64), np.array([2, 3]))
    spoken = Sight(4, 10, {**FIRST.moved, **named}, 0.0, FIRST.present, np.array([2, 3]))
    directions = {"words": np.eye(4)[:, :1]}
    both = means(Attacker(tables, None, 1.0, directions), [[spoken], [wordless]])
    alone = means(Attacker(tables, None, 1.0, directions), [[spoken]])
    names = ("precision", "recall", "words", "chance", "auc", "aimed_words")
    assert {name: both[name] for name in names} == {name: alone[name] for name in names}
    assert both["moved"] == pytest.approx((4 / 9 + 0) / 2)
    assert both["tokens"] == both["identifiers"] == 1.0
    nobody = means(Attacker(tables, None, 1.0, directions), [[wordless]])
    assert {nobody[name] for name in names} == {None}


def test_without_public_texts_nothing_is_known_to_be_frequent() -> None:
    found = means(Attacker(TABLES, None, bound=1.0), [[FIRST]])
    assert (found["unusual_tokens"], found["aimed_words"]) == (None, None)


def test_who_looks_along_the_right_direction_hears_less_noise() -> None:
    wide = [[device(person, {1: 3.0, 2: 3.0, 5: 3.0}, [2, 5], width=100)] for person in range(40)]
    bound = wide[0][0].norm
    attacker = Attacker(TABLES, None, bound, {"words": np.eye(100)[:, :1]})
    found = means(attacker, wide, noise=1 / bound)  # a deviation of 1 on each number
    words, aimed = found["words"], found["aimed_words"]
    assert words is not None
    assert aimed is not None
    assert aimed > 0.85 > words > 1 / 3


def test_noise_is_in_units_of_the_bound() -> None:
    norms: list[Doubles] = []
    for bound in (1.0, 2.0):
        attacker = Attacker(TABLES, None, bound)
        norms.append(attacker._seen([FIRST], 50.0, np.random.default_rng(0))["words"])
    assert norms[1] == pytest.approx(2 * norms[0], rel=1e-5)
