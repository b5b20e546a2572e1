import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import chi2_contingency, norm
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from fedpers.data.samples import People, TablePeople
from fedpers.data.synthetic import Floats, SyntheticPeople, ceilings, spell
from fedpers.seeds import stream
from fedpers.settings import SyntheticSettings

ROOT = Path(__file__).resolve().parents[2]


def world(size: int = 10, seed: int = 0, **rule: float) -> SyntheticPeople:
    return SyntheticPeople(
        SyntheticSettings.model_validate({"agreed_words": 20, "plain_words": 100, **rule}), seed, size
    )


# The rule again, from the module's docstring: signs by word, camp and lean by person.


def signs(people: SyntheticPeople) -> dict[str, tuple[int, int]]:
    """Learns each opinion word's sign as (agreed, contested) from one-word texts with sure labels.

    Camps are told apart by the contested words that each likes; the first camp is the one of tilt > 0.5.
    """
    rule = people.settings
    found = {}
    for agreed_share in (1.0, 0.0):
        sure = {"text_words": 1, "samples_per_person": 300, "strength": 50.0, "lean": 0.0}
        shares = {"agreed_share": agreed_share, "contested_share": 1 - agreed_share}
        samples = SyntheticPeople(rule.model_copy(update={**sure, **shares}), people.seed, 1).samples(0)
        push = dict(zip(samples.texts, (2 * samples.labels - 1).tolist(), strict=True))
        camp = 1 if agreed_share else int(np.sign(sum(push.values()) * (rule.tilt - 0.5)))
        for word, sign in push.items():
            found[word] = (sign, 0) if agreed_share else (0, camp * sign)
    return found


def sums(people: SyntheticPeople, person: int) -> tuple[Floats, Floats]:
    """Returns a and c of each of a person's texts, from the words themselves."""
    known = signs(people)
    pairs = [[known.get(word, (0, 0)) for word in t.split()] for t in people.samples(person).texts]
    both = np.array(pairs, dtype=np.float64).sum(axis=1)
    return both[:, 0], both[:, 1]


def camp_and_lean(people: SyntheticPeople, person: int) -> tuple[int, float]:
    draw = stream(people.seed, "synthetic-person", person)
    return int(draw.choice([-1, 1])), float(draw.normal(0, people.settings.lean))


def without_person(a: float, c: float, strength: float, lean: float) -> float:
    """Averages Pr(label = 1) over camps and leans by adaptive quadrature."""

    def average(camp: int) -> float:
        log_odds = strength * (a + camp * c)
        steep = -log_odds / lean if lean else 0
        value, _ = quad(
            lambda z: expit(log_odds + lean * z) * norm.pdf(z),
            -10,
            10,
            points=[min(max(steep, -9), 9)],
            limit=200,
        )
        return float(value)

    return (average(-1) + average(1)) / 2


@pytest.fixture(scope="module")
def crowd() -> SyntheticPeople:
    return world(size=700, seed=3)


# People come from (seed, person) alone


def test_people_are_the_same_in_another_process() -> None:
    code = (
        "import json; from fedpers.data import SyntheticPeople; "
        "from fedpers.settings import SyntheticSettings; "
        "s = SyntheticPeople(SyntheticSettings(agreed_words=20, plain_words=100), 5, 10).samples(7); "
        "print(json.dumps([s.texts, s.labels.tolist()]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1234"}
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    here = world(seed=5).samples(7)
    assert json.loads(there.stdout) == [here.texts, here.labels.tolist()]


def test_a_person_is_the_same_however_many_there_are() -> None:
    few, many = world(size=8).samples(7), world(size=10_000_000).samples(7)
    assert (few.texts, few.labels.tolist()) == (many.texts, many.labels.tolist())


def test_looking_at_others_first_changes_no_one() -> None:
    people = world()
    for person in (3, 9, 1):
        people.samples(person)
    assert people.samples(7).texts == world().samples(7).texts


def test_looking_twice_gives_the_same() -> None:
    people = world()
    assert people.samples(7).labels.tolist() == people.samples(7).labels.tolist()


def test_two_people_write_different_texts() -> None:
    assert set(world().samples(0).texts).isdisjoint(world().samples(1).texts)


def test_seeds_give_different_texts() -> None:
    assert world(seed=0).samples(0).texts != world(seed=1).samples(0).texts


def test_names_are_numbers_of_readers() -> None:
    assert [world().name(person) for person in (0, 123)] == ["reader000000", "reader000123"]


def test_everyone_writes_as_many_texts_as_set() -> None:
    people = world(size=3, samples_per_person=7)
    assert people.counts().tolist() == [7, 7, 7]
    assert len(people.samples(2)) == 7


def test_texts_have_as_many_words_as_set() -> None:
    assert {len(text.split()) for text in world(text_words=5).samples(0).texts} == {5}


def test_nobody_has_times() -> None:
    people: People = world()
    assert people.times(0) is None


# Texts say nothing about who wrote them


@pytest.mark.parametrize("changed", [world(lean=3), world(strength=9), world(tilt=0.9)])
def test_texts_do_not_depend_on_what_makes_the_labels(changed: SyntheticPeople) -> None:
    assert changed.samples(4).texts == world().samples(4).texts


def test_both_camps_use_the_opinion_words_alike(crowd: SyntheticPeople) -> None:
    # Chi-squared test of independence between camp and word; the seed is fixed, so it can't flicker.
    words = {word: place for place, word in enumerate(signs(crowd))}
    counts = np.zeros((2, len(words)))
    for person in range(300):
        camp, _ = camp_and_lean(crowd, person)
        for text in crowd.samples(person).texts:
            for word in text.split():
                if word in words:
                    counts[(camp + 1) // 2, words[word]] += 1
    assert chi2_contingency(counts).pvalue > 0.001


def test_the_camps_are_about_equally_large(crowd: SyntheticPeople) -> None:
    # 4 standard errors of a fair coin
    camps = [camp_and_lean(crowd, person)[0] for person in range(len(crowd))]
    assert abs(np.mean(camps)) < 4 / np.sqrt(len(crowd))


@pytest.mark.parametrize(("share", "expected"), [("agreed_share", 0.15), ("contested_share", 0.5)])
def test_opinion_words_have_their_share(share: str, expected: float, crowd: SyntheticPeople) -> None:
    known = signs(crowd)
    which = 0 if share == "agreed_share" else 1
    hits = [
        known.get(word, (0, 0))[which] != 0
        for person in range(100)
        for text in crowd.samples(person).texts
        for word in text.split()
    ]
    assert abs(np.mean(hits) - expected) < 4 * np.sqrt(expected * (1 - expected) / len(hits))


# Ceilings


def test_a_text_has_the_sums_of_its_words_signs() -> None:
    people = world()
    a, c = people._sums(people._words(2))
    expected_a, expected_c = sums(people, 2)
    assert (a.tolist(), c.tolist()) == (expected_a.tolist(), expected_c.tolist())


@pytest.mark.parametrize(
    ("strength", "lean"), [(1.5, 0.5), (1.5, 0.0), (0.5, 2.0), (1.5, 10.0), (4.0, 0.5), (0.3, 4.0)]
)
def test_the_ceiling_without_the_person_is_the_integral_over_camps_and_leans(
    strength: float, lean: float
) -> None:
    people = world(strength=strength, lean=lean, samples_per_person=15)
    likes = [without_person(*pair, strength, lean) for pair in zip(*sums(people, 1), strict=True)]
    assert people.best_accuracies(1)[0] == pytest.approx([max(p, 1 - p) for p in likes], abs=1e-9)


def test_the_ceiling_with_the_person_is_the_rules_own_probability() -> None:
    people = world()
    camp, lean = camp_and_lean(people, 1)
    a, c = sums(people, 1)
    likes = expit(1.5 * (a + camp * c) + lean)
    assert people.best_accuracies(1)[1] == pytest.approx(np.maximum(likes, 1 - likes))


def test_without_contested_words_and_lean_the_person_does_not_matter() -> None:
    without, with_ = world(contested_share=0, lean=0).best_accuracies(0)
    assert without == pytest.approx(with_)


def test_without_agreed_words_and_tilt_a_text_alone_says_nothing() -> None:
    assert world(agreed_share=0, contested_share=1).best_accuracies(0)[0] == pytest.approx(0.5)


def test_very_strong_opinions_leave_nothing_to_chance() -> None:
    people = world(strength=1e6, lean=0, agreed_share=1, contested_share=0, text_words=1)
    assert people.best_accuracies(0)[0] == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    strength=st.floats(0.01, 100),
    lean=st.floats(0, 20),
    agreed=st.floats(0, 0.5),
    contested=st.floats(0, 0.5),
)
def test_both_ceilings_lie_between_a_half_and_one(
    seed: int, strength: float, lean: float, agreed: float, contested: float
) -> None:
    people = world(seed=seed, strength=strength, lean=lean, agreed_share=agreed, contested_share=contested)
    for best in people.best_accuracies(0):
        assert best.min() >= 0.5 - 1e-12
        assert best.max() <= 1 + 1e-12


def test_ceilings_are_means_over_the_texts_they_are_asked_for() -> None:
    people = world()
    positions = {2: np.array([5, 0]), 4: np.array([1])}
    found = ceilings(people, positions)
    assert found is not None
    third, fifth = people.best_accuracies(2), people.best_accuracies(4)
    for value, which in ((found.without_person, 0), (found.with_person, 1)):
        assert value == pytest.approx((third[which][5] + third[which][0] + fifth[which][1]) / 3)


def test_real_people_have_no_ceilings() -> None:
    real = TablePeople(pa.table({"user": ["a"], "text": ["t"], "label": ["1"]}))
    assert ceilings(real, {0: np.array([0])}) is None


def test_the_best_guess_that_knows_the_person_reaches_its_ceiling(crowd: SyntheticPeople) -> None:
    known = signs(crowd)
    right, expected = [], []
    for person in range(400):
        camp, lean = camp_and_lean(crowd, person)
        samples = crowd.samples(person)
        for text, label in zip(samples.texts, samples.labels, strict=True):
            push = sum(
                known.get(word, (0, 0))[0] + camp * known.get(word, (0, 0))[1] for word in text.split()
            )
            right.append((1.5 * push + lean > 0) == label)
        expected.append(crowd.best_accuracies(person)[1])
    best = np.concatenate(expected)
    error = np.sqrt(np.mean(best * (1 - best)) / len(best))
    assert abs(np.mean(right) - best.mean()) < 4 * error


def test_the_best_guess_from_the_text_alone_reaches_its_ceiling(crowd: SyntheticPeople) -> None:
    # With as many agreed words of either sign, Pr(label = 1 | text) > 1/2 where a > 0: camps and leans
    # cancel out. Ties count half.
    known = signs(crowd)
    scores = []
    for person in range(400):
        samples = crowd.samples(person)
        a = np.array([sum(known.get(word, (0, 0))[0] for word in text.split()) for text in samples.texts])
        scores.append(np.where(a == 0, 0.5, (a > 0) == samples.labels))
    found = ceilings(crowd, {person: np.arange(51) for person in range(400)})
    assert found is not None
    error = np.std([score.mean() for score in scores]) / np.sqrt(400)
    assert abs(np.mean(scores) - found.without_person) < 4 * error


def test_a_classifier_that_knows_no_person_stays_below_its_ceiling_and_comes_near(
    crowd: SyntheticPeople,
) -> None:
    train = [crowd.samples(person) for person in range(400)]
    test = [crowd.samples(person) for person in range(400, 700)]
    count = CountVectorizer(token_pattern=r"\S+")
    model = LogisticRegression(max_iter=1000).fit(
        count.fit_transform([text for s in train for text in s.texts]),
        np.concatenate([samples.labels for samples in train]),
    )
    by_person = [np.mean(model.predict(count.transform(s.texts)) == s.labels) for s in test]
    found = ceilings(crowd, {person: np.arange(51) for person in range(400, 700)})
    assert found is not None
    error = np.std(by_person) / np.sqrt(len(by_person))
    assert found.without_person - 0.03 < np.mean(by_person) < found.without_person + 3 * error


def test_scatter_is_the_spread_of_the_measured_accuracy_over_worlds() -> None:
    # A standard deviation from n draws is known to within a share of 1 / sqrt(2 n), twice 5 % at 200.
    away, scatters = [], []
    for seed in range(200):
        people = world(size=20, seed=seed, samples_per_person=10)
        found = ceilings(people, {person: np.arange(10) for person in range(20)})
        assert found is not None
        right = []
        for person in range(20):
            a, _ = people._sums(people._words(person))
            coin = np.random.default_rng([seed, person]).random(10) < 0.5
            right.append(np.where(a == 0, coin, a > 0) == people.samples(person).labels)
        away.append(np.mean(right) - found.without_person)
        scatters.append(found.scatter)
    assert np.std(away) == pytest.approx(np.mean(scatters), rel=0.15)


# Tilt


@pytest.mark.parametrize(("tilt", "liked"), [(0.0, 0), (0.25, 5), (0.5, 10), (0.6, 12), (1.0, 20)])
def test_tilt_is_the_share_of_contested_words_the_first_camp_likes(tilt: float, liked: int) -> None:
    contested = world(tilt=tilt)._signs[20:40]
    assert (contested > 0).sum() == liked


def test_with_tilt_the_camps_differ_in_how_often_they_like_a_text(crowd: SyntheticPeople) -> None:
    rates: dict[int, list[float]] = {-1: [], 1: []}
    for person in range(200):
        rates[camp_and_lean(crowd, person)[0]].append(float(crowd.samples(person).labels.mean()))
    assert np.mean(rates[1]) - np.mean(rates[-1]) > 0.1


def test_half_of_the_agreed_words_are_liked() -> None:
    assert world()._signs[:20].sum() == 0


def test_plain_words_push_nothing() -> None:
    assert not world()._signs[40:].any()


# Words


def test_every_number_has_a_word_of_its_own() -> None:
    # 4,900 words of two syllables come before those of three.
    assert len({spell(number) for number in range(20_001)}) == 20_001


def test_words_get_longer_only_where_the_shorter_ones_are_used_up() -> None:
    # 70 syllables of two letters: 70^2 = 4,900 words of two, then 343,000 of three.
    lengths = [len(spell(number)) for number in (0, 4_899, 4_900, 347_899, 347_900)]
    assert lengths == [4, 4, 6, 6, 8]


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_two_numbers_share_no_word(one: int, other: int) -> None:
    assert (spell(one) == spell(other)) == (one == other)


def test_neighbours_do_not_look_alike() -> None:
    assert all(spell(one)[:2] != spell(other)[:2] for one, other in pairwise(range(100)))
