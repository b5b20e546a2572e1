import io

import pytest
from rich.console import Console

from fedpers.report.progress import Reporter


def written(*, terminal: bool) -> str:
    stream = io.StringIO()
    reporter = Reporter(Console(file=stream, force_terminal=terminal, width=80))
    reporter.say("two people left out")
    with reporter.stage("federated rounds", 3) as stage:
        stage.advance()
        stage.advance("validation accuracy 0.500")
        stage.advance()
    return stream.getvalue()


def test_without_a_terminal_progress_is_plain_lines() -> None:
    lines = written(terminal=False).splitlines()
    assert lines == ["two people left out", "federated rounds: 3/3, validation accuracy 0.500"]


def test_in_a_terminal_progress_is_a_bar_with_count_and_note() -> None:
    shown = written(terminal=True)
    assert "3/3" in shown
    assert "validation accuracy 0.500" in shown


def test_a_silent_reporter_writes_nothing() -> None:
    stream = io.StringIO()
    reporter = Reporter(Console(file=stream, quiet=True))
    reporter.say("nothing")
    with reporter.stage("rounds", 1) as stage:
        stage.advance()
    assert stream.getvalue() == ""


def test_the_time_left_goes_by_the_pace_after_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # By hand: workers start for 20 s, then a step takes 15 s; two of four left are 30 s.
    times = iter([0.0, 20.0, 35.0, 50.0, 65.0])
    monkeypatch.setattr("fedpers.report.progress.time.monotonic", lambda: next(times))
    stream = io.StringIO()
    with Reporter(Console(file=stream, width=80)).stage("rounds", 4) as stage:
        for _ in range(4):
            stage.advance()
    assert stream.getvalue().splitlines() == [
        "rounds: 1/4",
        "rounds: 2/4, 30 s left",
        "rounds: 3/4, 15 s left",
        "rounds: 4/4",
    ]


def test_few_long_steps_have_a_line_each_and_one_before_the_first() -> None:
    stream = io.StringIO()
    with Reporter(Console(file=stream, width=80)).stage("runs", 3, 1, each=True) as stage:
        stage.advance("one")
        stage.advance("two")
    assert stream.getvalue().splitlines() == ["runs: 1/3", "runs: 2/3, one", "runs: 3/3, two"]


def test_few_long_steps_have_a_line_each_above_the_bar() -> None:
    stream = io.StringIO()
    with Reporter(Console(file=stream, force_terminal=True, width=80)).stage("runs", 2, each=True) as stage:
        stage.advance("the first")
        stage.advance("the second")
    assert "the first\n" in stream.getvalue().replace("\r", "")


def test_a_step_without_a_note_has_no_line_above_the_bar() -> None:
    def lines(*notes: str) -> int:
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=True, width=80)
        with Reporter(console).stage("shadow runs", 3, each=True) as stage:
            for note in notes:
                stage.advance(note)
        return stream.getvalue().count("\n")

    assert lines("", "", "") == lines()
    assert lines("", "the second", "") == lines() + 1
