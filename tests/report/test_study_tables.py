import io
from typing import Any

from rich.console import Console

from fedpers.report.study_tables import studies_table, study_csv, study_markdown, study_table

MEASURED = {"mean": 0.5, "spread": 0.25, "low": 0.4, "high": 0.6, "by_seed": [0.25, 0.75]}
RESULT: dict[str, Any] = {
    "study": "small",
    "title": "A small study",
    "about": "Two lines\nof text.",
    "columns": ["kind", "length"],
    "headings": ["accuracy", "± people"],
    "seeds": [0, 1],
    "cells": [
        {
            "labels": {"kind": "none", "length": "-"},
            "name": "none",
            "where": "central",
            "seeds": [0, 1],
            "measures": {"accuracy": MEASURED, "± people": {**MEASURED, "mean": 0.125}},
        },
        {
            "labels": {"kind": "tokens", "length": "5"},
            "name": "tokens 5",
            "where": "central",
            "seeds": [],
            "measures": {"accuracy": None, "± people": None},
        },
    ],
    "gains": [
        {
            "heading": "gain",
            "of": "accuracy",
            "over": "accuracy",
            "rows": [
                {
                    "labels": {"kind": "tokens", "length": "5"},
                    "against": "none",
                    "difference": 0.2,
                    "low": -0.1,
                    "high": 0.5,
                    "better": 0.5,
                    "same": 0.25,
                    "worse": 0.25,
                }
            ],
        }
    ],
    "published": [
        {
            "heading": "Paper",
            "source": "Table 1",
            "figures": [{"labels": {"kind": "none", "length": "-"}, "value": 0.45}],
        }
    ],
    "ceilings": {"without_person": 0.6, "with_person": 0.9, "scatter": 0.01},
    "failed": [{"cell": "tokens 5", "seed": 1, "reason": "ValueError: too long"}],
    "runs": 4,
    "finished": 2,
    "finished_before": 1,
    "interrupted": False,
    "seconds": 61.2,
    "work_seconds": 100.0,
    "run": "runs/small",
}


def shown(table: Any) -> str:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_a_row_has_the_interval_the_scatter_over_seeds_and_the_papers_figure() -> None:
    lines = [line.split() for line in shown(study_table(RESULT)).splitlines()]
    assert ["none", "-", "0.500", "0.400", "..", "0.600", "0.250", "0.125", "0.450"] in lines


def test_a_failed_cell_is_shown_with_its_reason_below() -> None:
    text = shown(study_table(RESULT))
    assert ["tokens", "5", "failed", "-", "-", "-", "-"] in [line.split() for line in text.splitlines()]
    assert "Failed: tokens 5, seed 1: ValueError: too long" in text


def test_gains_have_their_interval_and_shares_of_people() -> None:
    text = shown(study_table(RESULT))
    row = "tokens 5 +0.200 -0.100 .. 0.500 50.0% 25.0% 25.0%".split()
    assert "gain: accuracy against none, person by person" in text
    assert row in [line.split() for line in text.splitlines()]


def test_the_notes_tell_ceilings_sources_and_time() -> None:
    text = " ".join(shown(study_table(RESULT)).split())
    assert "Best possible without knowing the person 0.600, with it 0.900." in text
    assert "Paper: published, Table 1." in text
    assert "Finished 2 of 4 runs, 1 of them before, in 61 s; they take 100 s one after another." in text


def test_the_table_fits_80_columns() -> None:
    assert max(map(len, shown(study_table(RESULT)).splitlines())) <= 80


def test_markdown_holds_the_same_rows() -> None:
    lines = study_markdown(RESULT).splitlines()
    assert lines[:3] == ["# A small study", "", "Two lines of text."]
    assert "| kind | length | accuracy | 95 % interval | ± seeds | ± people | Paper |" in lines
    assert "| none | - | 0.500 | 0.400 .. 0.600 | 0.250 | 0.125 | 0.450 |" in lines


def test_csv_has_unrounded_numbers_and_blanks_for_what_is_missing() -> None:
    head, first, second = study_csv(RESULT).splitlines()
    assert head.startswith("kind,length,where,seeds,accuracy mean,accuracy spread,accuracy low,accuracy high")
    assert first == "none,-,central,0 1,0.5,0.25,0.4,0.6,0.125,0.25,0.4,0.6,,,,,,,0.45"
    assert second == "tokens,5,central,,,,,,,,,,0.2,-0.1,0.5,0.5,0.25,0.25,"


def test_the_list_has_names_runs_and_titles() -> None:
    text = shown(studies_table([{"name": "small", "runs": 4, "title": "A small study"}]))
    assert ["small", "4", "A", "small", "study"] in [line.split() for line in text.splitlines()]
