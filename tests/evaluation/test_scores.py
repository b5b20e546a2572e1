import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, label_ranking_average_precision_score, top_k_accuracy_score

from fedpers.errors import FedpersError, InputError
from fedpers.evaluation import Scores, merge, score

CLASSES = 4
# One person: the class predicted and the true one, for each of their samples.
PERSON = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=12
)


def scored(people: list[list[tuple[int, int]]], first: int = 0, classes: int = CLASSES) -> Scores:
    predicted = [np.array([[guess] for guess, _ in person]) for person in people]
    labels = [np.array([truth for _, truth in person]) for person in people]
    return score(range(first, first + len(people)), predicted, labels, classes)


def counted(correct: list[int], total: list[int], persons: list[int] | None = None) -> Scores:
    numbers = np.arange(len(correct)) if persons is None else np.array(persons)
    confusion = np.array([[sum(correct), sum(total) - sum(correct)], [0, 0]])
    return Scores(numbers, np.array(correct), np.array(total), confusion)


def measured(total: list[int], **sums: list[float]) -> Scores:
    """Scores of free texts."""
    people = len(total)
    further = {name: np.array(each, dtype=float) for name, each in sums.items()}
    nothing = np.zeros(people, dtype=np.int64)
    return Scores(np.arange(people), nothing, np.array(total), np.zeros((0, 1), dtype=np.int64), further)


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# By hand: ann has 3 of 4 right, bob 0 of 1; class 0 is predicted rightly twice, class 1 once.
ANN = [(0, 0), (0, 0), (1, 1), (1, 0)]
BOB = [(0, 1)]


def test_accuracy_pools_all_samples() -> None:
    assert scored([ANN, BOB]).accuracy == 3 / 5


def test_each_person_has_an_accuracy() -> None:
    assert scored([ANN, BOB]).by_person.tolist() == [3 / 4, 0]


def test_the_confusion_counts_true_by_predicted_class() -> None:
    assert scored([ANN, BOB], classes=2).confusion.tolist() == [[2, 1], [1, 1]]


def test_macro_f1_by_hand() -> None:
    # class 0: precision 2/3, recall 2/3, F1 2/3; class 1: precision 1/2, recall 1/2, F1 1/2
    assert scored([ANN, BOB]).macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 2)


@given(st.lists(PERSON, min_size=1, max_size=5))
def test_macro_f1_is_scikit_learns_on_the_raw_predictions(people: list[list[tuple[int, int]]]) -> None:
    pairs = [pair for person in people for pair in person]
    expected = f1_score(
        [truth for _, truth in pairs], [guess for guess, _ in pairs], average="macro", zero_division=0
    )
    assert scored(people).macro_f1 == pytest.approx(expected)


def test_a_class_that_nobody_has_and_nobody_predicts_does_not_count_for_macro_f1() -> None:
    assert scored([[(0, 0), (2, 2)]]).macro_f1 == 1


def test_a_summary_gives_the_spread_over_people() -> None:
    # accuracies 0, 0.1, ..., 1: mean 0.5, variance (11^2 - 1) / 12 / 100 = 0.1, deciles 0.1 to 0.9
    summary = counted(list(range(11)), [10] * 11).summary()
    assert summary["person_mean"] == pytest.approx(0.5)
    assert summary["person_std"] == pytest.approx(math.sqrt(0.1))
    assert summary["person_deciles"] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


# The place of the right class in a ranking


def ranked(people: list[list[tuple[list[int], int]]], classes: int) -> Scores:
    """Scores of people's rankings, each with the true class."""
    rankings = [np.array([ranking for ranking, _ in person], dtype=np.int16) for person in people]
    labels = [np.array([truth for _, truth in person]) for person in people]
    return score(range(len(people)), rankings, labels, classes, ranked=True)


# By hand: ann's true classes stand in places 1 and 6, bob's in place 4.
RANKED = [[([3, 0, 1, 2, 4, 5, 6], 3), ([6, 5, 4, 3, 2, 1, 0], 1)], [([0, 1, 2, 3, 4, 5, 6], 3)]]
RANKINGS = st.lists(
    st.lists(st.tuples(st.permutations(range(7)), st.integers(0, 6)), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)


def test_the_first_class_of_a_ranking_is_the_answer() -> None:
    assert ranked(RANKED, 7).correct.tolist() == [1, 0]


def test_recall_at_5_counts_true_classes_among_the_first_five() -> None:
    assert ranked(RANKED, 7).sums["recall_at_5"].tolist() == [1, 1]
    assert ranked(RANKED, 7).mean("recall_at_5") == pytest.approx(2 / 3)


def test_the_mrr_is_the_mean_of_1_over_the_true_classs_place() -> None:
    assert ranked(RANKED, 7).sums["reciprocal_rank"] == pytest.approx([1 + 1 / 6, 1 / 4])
    assert ranked(RANKED, 7).mean("reciprocal_rank") == pytest.approx((1 + 1 / 6 + 1 / 4) / 3)


@given(RANKINGS)
def test_the_mrr_is_scikit_learns_precision_of_one_true_label(people: list[Any]) -> None:
    pairs = [pair for person in people for pair in person]
    truth = np.eye(7)[[label for _, label in pairs]]
    worth = -np.array([np.argsort(ranking) for ranking, _ in pairs])
    expected = label_ranking_average_precision_score(truth, worth)
    assert ranked(people, 7).mean("reciprocal_rank") == pytest.approx(expected)


@given(RANKINGS)
def test_recall_at_5_is_scikit_learns_accuracy_of_the_first_five(people: list[Any]) -> None:
    pairs = [pair for person in people for pair in person]
    worth = -np.array([np.argsort(ranking) for ranking, _ in pairs])
    expected = top_k_accuracy_score([label for _, label in pairs], worth, k=5, labels=range(7))
    assert ranked(people, 7).mean("recall_at_5") == pytest.approx(expected)


def test_five_classes_or_fewer_are_all_recommended() -> None:
    assert ranked([[([0, 1, 2], 2)]], 3).mean("recall_at_5") == 1


def test_places_are_taken_only_where_they_are_asked_for() -> None:
    assert scored([ANN, BOB]).measures == ()
    assert ranked(RANKED, 7).measures == ("recall_at_5", "reciprocal_rank")


# Texts: labels with a column for anything else


def labelled(confusion: list[list[int]]) -> Scores:
    counts = np.array(confusion)
    return Scores(np.array([0]), np.array([np.trace(counts)]), np.array([counts.sum()]), counts)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12))
def test_macro_f1_of_texts_is_scikit_learns_over_all_labels(pairs: list[tuple[int, int]]) -> None:
    guesses, truths = [guess for guess, _ in pairs], [truth for _, truth in pairs]
    confusion = np.zeros((3, 4), dtype=np.int64)
    np.add.at(confusion, (truths, guesses), 1)
    expected = f1_score(truths, guesses, labels=[0, 1, 2], average="macro", zero_division=0)
    assert labelled(confusion.tolist()).macro_f1 == pytest.approx(expected)


def test_a_label_that_nobody_has_counts_0_for_the_macro_f1_of_texts() -> None:
    assert labelled([[2, 0, 0], [0, 0, 0]]).macro_f1 == 1 / 2


def test_an_answer_that_is_no_label_lowers_the_recall_of_the_true_one() -> None:
    # label 0: precision 1, recall 1/3, F1 1/2; label 1: F1 1
    assert labelled([[1, 0, 2], [0, 1, 0]]).macro_f1 == pytest.approx((1 / 2 + 1) / 2)


def test_free_texts_have_no_macro_f1() -> None:
    assert math.isnan(measured([1]).macro_f1)
    assert measured([1]).summary()["macro_f1"] is None


# Further measures


def test_a_mean_pools_all_samples() -> None:
    assert measured([1, 3], rouge_1=[1.0, 0.2]).mean("rouge_1") == pytest.approx(1.2 / 4)


def test_each_person_has_a_mean() -> None:
    assert measured([1, 4], rouge_1=[1.0, 0.2]).means_by_person("rouge_1").tolist() == [1.0, 0.05]


def test_accuracy_is_a_mean_too() -> None:
    scores = scored([ANN, BOB])
    assert scores.mean("accuracy") == scores.accuracy
    assert scores.means_by_person("accuracy").tolist() == scores.by_person.tolist()


def test_rmse_is_the_root_of_the_pooled_squared_error() -> None:
    assert measured([1, 3], squared_error=[4.0, 5.0]).mean("rmse") == 3 / 2


def test_everyones_rmse_is_the_root_of_the_own_squared_error() -> None:
    assert measured([1, 3], squared_error=[4.0, 3.0]).means_by_person("rmse").tolist() == [2, 1]


def test_a_measure_that_was_not_taken_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown summed measure 'rouge_2': did you mean 'rouge_1'"):
        measured([1], rouge_1=[1.0]).mean("rouge_2")


def test_a_summary_gives_further_measures_pooled_and_by_person() -> None:
    measures = measured([1, 3], squared_error=[4.0, 3.0]).summary()["measures"]
    assert measures == {
        "squared_error": {"pooled": 7 / 4, "person_mean": (4 + 1) / 2},
        "rmse": {"pooled": math.sqrt(7 / 4), "person_mean": (2 + 1) / 2},
    }


def test_a_summary_without_further_measures_has_no_room_for_them() -> None:
    assert "measures" not in scored([ANN]).summary()


def test_a_summary_of_free_texts_is_json() -> None:
    json.dumps(measured([1, 3], rouge_1=[1.0, 0.2]).summary(), allow_nan=False)


def test_scores_travel_between_processes() -> None:
    sums = pickle.loads(pickle.dumps(measured([2], rouge_1=[1.5]))).sums
    assert sums["rouge_1"].tolist() == [1.5]
    assert pickle.loads(pickle.dumps(scored([ANN]))).sums == {}


# Merging


def test_merged_sums_are_side_by_side() -> None:
    merged = merge([measured([1], rouge_1=[0.5], rouge_l=[0.25]), measured([1], rouge_l=[0.75], rouge_1=[1])])
    assert {name: each.tolist() for name, each in merged.sums.items()} == {
        "rouge_1": [0.5, 1],
        "rouge_l": [0.25, 0.75],
    }


def test_scores_of_different_measures_do_not_merge() -> None:
    with pytest.raises(FedpersError, match=r"\['rouge_1'\] and \[\] cannot be merged"):
        merge([measured([1], rouge_1=[0.5]), measured([1])])


@given(st.lists(PERSON, min_size=2, max_size=6), st.data())
def test_merged_parts_equal_scoring_at_once(people: list[list[tuple[int, int]]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(people) - 1))
    merged, whole = merge([scored(people[:cut]), scored(people[cut:], first=cut)]), scored(people)
    for name in ("persons", "correct", "total", "confusion"):
        assert np.array_equal(getattr(merged, name), getattr(whole, name)), name


def test_merging_one_part_changes_nothing() -> None:
    assert merge([scored([ANN, BOB])]).summary() == scored([ANN, BOB]).summary()


def test_predictions_and_labels_of_different_people_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        score([0, 1], [np.array([[0]])], [np.array([0]), np.array([1])], 2)
