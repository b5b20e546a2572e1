import numpy as np

from fedpers.evaluation import Scores
from fedpers.study.measures import scores_of, scores_record, value_of
from tests.study.worlds import scores

# By hand: 4 of 4, 2 of 4 and 0 of 2 texts; 6 of 10, and 1, 0.5 and 0 of each person's own.
FOUND = {"test": scores([4, 2, 0], [4, 4, 2]), "another": scores([0, 1, 0], [4, 4, 2])}


def test_a_measure_is_of_the_test_texts_unless_it_names_other_scores() -> None:
    assert value_of("accuracy", FOUND, None) == 0.6
    assert value_of("another.accuracy", FOUND, None) == 0.1
    assert value_of("unseen.accuracy", FOUND, None) is None


def test_measures_over_people_and_ceilings_can_be_shown() -> None:
    spread = value_of("person_std", FOUND, None)
    assert value_of("person_mean", FOUND, None) == 0.5
    assert spread is not None
    assert abs(spread - (1 / 6) ** 0.5) < 1e-12
    assert value_of("ceiling.with_person", FOUND, {"with_person": 0.9}) == 0.9
    assert value_of("ceiling.with_person", FOUND, None) is None


def test_a_measure_that_was_not_taken_is_none() -> None:
    assert value_of("rouge_1", FOUND, None) is None


def test_scores_come_back_from_json_to_the_last_bit() -> None:
    free = Scores(
        *(np.arange(3),) * 3, np.zeros((0, 1), dtype=np.int64), {"rouge_1": np.array([0.1, 1 / 3, 0])}
    )
    for found in (FOUND["test"], free):
        back = scores_of(scores_record(found))
        assert all((a == b).all() for a, b in zip(back.sums.values(), found.sums.values(), strict=True))
        for field in ("persons", "correct", "total", "confusion"):
            assert np.array_equal(getattr(back, field), getattr(found, field))
