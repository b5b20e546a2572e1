import math
from typing import Any

import pytest

from fedpers.audit import MembershipSettings
from fedpers.audit.guarantee import permitted

SPENT: dict[str, Any] = {"epsilon": 1.0, "delta": 1e-5}


@pytest.mark.parametrize("of", ["text", "person"])
@pytest.mark.parametrize("view", ["model", "rounds"])
def test_privacy_of_people_bounds_attacks_on_both(of: str, view: str) -> None:
    found, why = permitted(
        {"dp": "user", **SPENT}, MembershipSettings.model_validate({"of": of, "view": view})
    )
    assert found is not None
    assert why == []
    # By hand: 1 - (1 - 1e-5)^2 / (1 + e), and 0.01 e + 1e-5.
    assert found["auc"] == pytest.approx(1 - (1 - 1e-5) ** 2 / (1 + math.e))
    assert found["rates"][0] == {"fpr": 0.01, "tpr": pytest.approx(0.01 * math.e + 1e-5)}


def test_privacy_of_texts_bounds_attacks_on_texts_alone() -> None:
    assert permitted({"dp": "sample", **SPENT}, MembershipSettings())[0] is not None
    found, [why] = permitted({"dp": "sample", **SPENT}, MembershipSettings(of="person"))
    assert found is None
    assert "group privacy" in why


def test_a_module_that_stays_on_a_device_is_not_hidden_by_privacy_of_people() -> None:
    found, [why] = permitted({"dp": "user", **SPENT}, MembershipSettings(view="module"))
    assert found is None
    assert "a module that stays" in why


def test_noise_on_embeddings_bounds_nothing_here() -> None:
    assert permitted({"dp": "local", **SPENT}, MembershipSettings())[0] is None


@pytest.mark.parametrize(
    "privacy", [None, {}, {"dp": "none", "epsilon": None, "delta": None}, {"dp": "user", "epsilon": None}]
)
def test_without_a_guarantee_nothing_is_said(privacy: dict[str, Any] | None) -> None:
    assert permitted(privacy, MembershipSettings()) == (None, [])


def test_a_simulated_federations_epsilon_binds_no_run() -> None:
    found, [why] = permitted({"dp": "user", "noised_as": 12000, **SPENT}, MembershipSettings())
    assert found is None
    assert "larger federation" in why
