from typing import Any

import pytest

from fedpers.report.privacy_tables import privacy_notes

SPENT: dict[str, Any] = {
    "dp": "sample", "unit": "text", "epsilon": 7.99, "delta": 1e-5, "accountant": "prv",
    "noise_multiplier": 1.04, "clip": 1.0, "clipping": "flat", "noised_as": None,
    "people": 1100, "epsilon_median": 4.18,
}  # fmt: skip


@pytest.mark.parametrize(
    ("dp", "unit", "hidden"),
    [
        ("user", "person", "people"),
        ("sample", "text", "each text"),
        ("sample", "example", "each training example"),
        ("local", "embedding", "each uploaded embedding"),
    ],
)
def test_what_is_hidden_is_named(dp: str, unit: str, hidden: str) -> None:
    first, *_ = privacy_notes({**SPENT, "dp": dp, "unit": unit})
    assert first == f"Privacy of {hidden}: epsilon 7.99 at delta 1e-05 (PRV),"


def test_of_texts_the_worst_and_the_median_are_told() -> None:
    assert privacy_notes(SPENT)[-1] == "That is of who spent most of 1,100; half spent 4.18 or less."


def test_without_noise_nothing_is_promised() -> None:
    assert privacy_notes({**SPENT, "epsilon": None}) == [
        "Privacy of each text: none, for there was no noise (epsilon is infinite)."
    ]
    assert privacy_notes(None) == []
