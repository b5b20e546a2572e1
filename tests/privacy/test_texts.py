import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from fedpers.errors import InputError
from fedpers.models.families import Gaussian
from fedpers.privacy import attribute, distributions, singles, writing
from tests.privacy.crowds import draw, gaussians, line, rate

REFERENCES = ["tea and rain", "rain again !", "sun and sand", "beach sand"]
WRITERS = np.array([0, 0, 1, 1])


def test_scores_are_scikit_learns_log_posteriors_up_to_one_term_each() -> None:
    texts = ["tea rain rain", "sand and sun ?"]
    words = CountVectorizer(token_pattern=r"\w+|[^\w\s]+")
    model = MultinomialNB(alpha=0.1, fit_prior=False).fit(words.fit_transform(REFERENCES), WRITERS)
    expected = model.predict_log_proba(words.transform(texts))
    found = writing(REFERENCES, WRITERS, 2, texts).score(singles(2), slice(0, 2))
    assert np.diff(found, axis=1) == pytest.approx(np.diff(expected, axis=1))


def test_own_words_give_a_person_away() -> None:
    evidence = writing(REFERENCES, WRITERS, 2, ["rain tea", "sun beach", "and rain"])
    assert rate(attribute([evidence], np.array([0, 1, 0]), draw())) == 0


def test_words_that_nobody_is_known_for_leave_the_chance_level() -> None:
    evidence = writing(REFERENCES, WRITERS, 2, ["unheard of"] * 2000)
    assert rate(attribute([evidence], np.arange(2000) % 2, draw())) == pytest.approx(0.5, abs=0.05)


def test_text_and_distribution_together_tell_more_than_either() -> None:
    # Distributions tell the left pair of people from the right one, texts the odd from the even.
    means, senders = line(0, 0, 9, 9), np.repeat(np.arange(4), 500)
    vectors = gaussians(means, 0.1, 500).vectors
    texts = [("even", "odd")[person % 2] for person in senders]
    text = writing(["even", "odd", "even", "odd"], np.arange(4), 4, texts)
    known = distributions(Gaussian(0.1), {"mean": means}, vectors)
    rates = [rate(attribute(each, senders, draw())) for each in ([text], [known], [text, known])]
    assert rates == pytest.approx([0.5, 0.5, 0], abs=0.05)


def test_who_has_no_reference_text_is_still_a_candidate() -> None:
    evidence = writing(REFERENCES, WRITERS, 3, ["tea"])
    assert evidence.score(singles(1), slice(0, 1)).argsort().tolist() == [[1, 2, 0]]


def test_blocks_of_references_do_not_change_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = writing(REFERENCES, WRITERS, 2, ["tea"])
    monkeypatch.setattr("fedpers.privacy.outcomes._CELLS", 2)
    np.testing.assert_allclose(writing(REFERENCES, WRITERS, 2, ["tea"]).weights, whole.weights)


@pytest.mark.parametrize(("references", "writers"), [(["a"], [0, 1]), ([" ", ""], [0, 1]), ([], [])])
def test_references_without_words_or_of_other_writers_are_refused(
    references: list[str], writers: list[int]
) -> None:
    with pytest.raises(InputError, match="there must be as many of both, and a word in some"):
        writing(references, np.array(writers), 2, ["a"])


def test_texts_that_tell_nothing_are_not_trusted() -> None:
    # Everyone draws their words from the same fifty: naive Bayes is sure of its guesses all the same.
    words = [" ".join(f"w{number}" for number in draw().permutation(50)[k : k + 12]) for k in range(30)]
    writers = np.repeat(np.arange(10), 20)
    references = [words[number] for number in draw().integers(30, size=200)]
    senders = np.arange(1000) % 10
    text = writing(references, writers, 10, [words[number] for number in draw().integers(30, size=1000)])
    means = line(*range(10))
    known = distributions(Gaussian(1.0), {"mean": means}, means[senders] + draw().standard_normal((1000, 1)))
    both, alone = (rate(attribute(each, senders, draw())) for each in ([known, text], [known]))
    assert both == pytest.approx(alone, abs=0.02)
    assert 0.3 < alone < 0.8
