from pathlib import Path

import numpy as np

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


def test_people_are_drawn_with_the_shares_of_those_who_gain(tmp_path: Path) -> None:
    pair = Pair("tokens", "none", np.array([1.0, 0.5, 0.5, 0.2]), np.array([0.5, 0.5, 0.1, 0.4]))
    files = draw_people([pair], tmp_path)
    # By hand: two of four are better, one is the same, one is worse.
    text = files[1].read_text()
    assert [file.name for file in files] == ["people.png", "people.svg"]
    assert all(
        f"{name} ({share}%)" in text for name, share in (("better", 50.0), ("same", 25.0), ("worse", 25.0))
    )
