import math
from typing import Any

import pytest

from fedpers.audit import MembershipSettings
from fedpers.audit.guarantee import permitted

TERMS: dict[str, Any] = {"epsilon": 1.0, "delta": 1e-5, "texts_leave": False}
USER = {"dp": "user", "unit": "person", "sampling": "fixed", **TERMS}
SAMPLE = {"dp": "sample", "unit": "text", "sampling": None, **TERMS}
LOCAL = {"dp": "local", "unit": "embedding", "sampling": None, **TERMS, "texts_leave": True}


@pytest.mark.parametrize("of", ["text", "person"])
@pytest.mark.parametrize("view", ["model", "rounds"])
def test_privacy_of_people_bounds_attacks_on_both(of: str, view: str) -> None:
    found, why = permitted(USER, MembershipSettings.model_validate({"of": of, "view": view}))
    assert found is not None
    assert why == []
    # By hand: 1 - (1 - 1e-5)^2 / (1 + e), and 0.01 e + 1e-5.
    assert found["auc"] == pytest.approx(1 - (1 - 1e-5) ** 2 / (1 + math.e))
    assert found["rates"][0] == {"fpr": 0.01, "tpr": pytest.approx(0.01 * math.e + 1e-5)}


def test_privacy_of_texts_bounds_attacks_on_texts_alone() -> None:
    assert permitted(SAMPLE, MembershipSettings())[0] is not None
    found, [why] = permitted(SAMPLE, MembershipSettings(of="person"))
    assert found is None
    assert "group privacy" in why


def test_where_people_come_and_go_a_text_is_two_people_away() -> None:
    poisson = {**USER, "sampling": "poisson"}
    found, [why] = permitted(poisson, MembershipSettings())
    assert found is not None
    delta = 1e-5 * (1 + math.e)
    assert (found["epsilon"], found["delta"]) == (2.0, pytest.approx(delta))
    assert found["auc"] == pytest.approx(1 - (1 - delta) ** 2 / (1 + math.e**2))
    assert "two persons'" in why
    person, none = permitted(poisson, MembershipSettings(of="person"))
    assert person is not None
    assert (person["epsilon"], none) == (1.0, [])
    loose, _ = permitted({**poisson, "epsilon": 1e4}, MembershipSettings())
    assert loose is not None
    assert loose["auc"] == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"texts_leave": True}, "texts themselves are uploaded"),
        ({"unit": "example"}, "several training examples"),
    ],
)
def test_texts_that_leave_or_are_in_several_examples_are_not_bounded(
    changed: dict[str, Any], message: str
) -> None:
    found, [why] = permitted({**SAMPLE, **changed}, MembershipSettings())
    assert found is None
    assert message in why


def test_a_module_that_stays_on_a_device_is_not_hidden_by_privacy_of_people() -> None:
    found, [why] = permitted(USER, MembershipSettings(view="module"))
    assert found is None
    assert "a module that stays" in why


def test_noise_on_embeddings_bounds_nothing_here() -> None:
    assert permitted(LOCAL, MembershipSettings())[0] is None


@pytest.mark.parametrize(
    "privacy", [None, {}, {"dp": "none", "epsilon": None, "delta": None}, {"dp": "user", "epsilon": None}]
)
def test_without_a_guarantee_nothing_is_said(privacy: dict[str, Any] | None) -> None:
    assert permitted(privacy, MembershipSettings()) == (None, [])


def test_a_simulated_federations_epsilon_binds_no_run() -> None:
    found, [why] = permitted({**USER, "noised_as": 12000}, MembershipSettings())
    assert found is None
    assert "larger federation" in why
