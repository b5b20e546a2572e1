from pathlib import Path

import numpy as np
import pytest

from fedpers.report.study_plots import Pair, draw_lines, draw_people, shares_by_bin
from tests.report.test_study_tables import MEASURED, RESULT


def test_bins_are_tenths_and_hold_their_lower_ends() -> None:
    # By hand: 3/10 is in the fourth of ten bins, whatever 0.1 + 0.2 is as a float.
    values = np.array([0.1 + 0.2, 0.3, 0.29, 1.0])
    assert shares_by_bin(values).tolist() == [0, 0, 0.25, 0.5, 0, 0, 0, 0, 0, 0.25]


def test_lines_are_drawn_as_png_and_svg(tmp_path: Path) -> None:
    none, tokens = RESULT["cells"]
    drawn = {**RESULT, "cells": [none, {**tokens, "measures": {"accuracy": MEASURED}}]}
    files = draw_lines(drawn, "length", "kind", tmp_path)
    assert [file.name for file in files] == ["lines.png", "lines.svg"]
    assert files[0].stat().st_size > 1000
    assert "published: Paper" in files[1].read_text()


def test_equal_places_with_equal_values_are_drawn(tmp_path: Path) -> None:
    none, tokens = RESULT["cells"]
    cells = [
        {**tokens, "labels": {"kind": "tokens", "length": length}, "measures": {"accuracy": measured}}
        for length, measured in (("5", {**MEASURED, "low": 0.3}), ("5.0", MEASURED))
    ]
    files = draw_lines({**RESULT, "cells": [none, *cells]}, "length", "kind", tmp_path)
    assert [file.name for file in files] == ["lines.png", "lines.svg"]


@pytest.mark.parametrize("label", ["inf", "nan"])
def test_what_has_no_place_on_the_axis_is_a_level_line(tmp_path: Path, label: str) -> None:
    cells = [
        {
            **RESULT["cells"][1],
            "labels": {"kind": "tokens", "length": own},
            "measures": {"accuracy": MEASURED},
        }
        for own in ("5", label)
    ]
    _, svg = draw_lines({**RESULT, "cells": cells}, "length", "kind", tmp_path)
    assert f"tokens {label}" in svg.read_text()


def test_people_are_drawn_with_the_shares_of_those_who_gain(tmp_path: Path) -> None:
    pair = Pair("tokens", "none", np.array([1.0, 0.5, 0.5, 0.2]), np.array([0.5, 0.5, 0.1, 0.4]))
    files = draw_people([pair], tmp_path)
    # By hand: two of four are better, one is the same, one is worse.
    text = files[1].read_text()
    assert [file.name for file in files] == ["people.png", "people.svg"]
    assert all(
        f"{name} ({share}%)" in text for name, share in (("better", 50.0), ("same", 25.0), ("worse", 25.0))
    )
