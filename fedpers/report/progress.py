"""What a person sees while a run goes on: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 10.0


class Stage:
    """One counted piece of work, such as the rounds; shown as plain lines now and then."""

    def __init__(self, console: Console, name: str, steps: int, done: int = 0, *, each: bool = False) -> None:
        """Starts counting.

        Args:
            console: Where lines go.
            name: What is counted, such as "rounds".
            steps: How many steps there will be.
            done: Steps that were done before.
            each: Whether every step has a line that stays, for few and long ones.
        """
        self._each = each
        self._console, self._name, self._steps = console, name, steps
        self._done = self._before = done
        self._note = self._spent = ""
        self._first = self._last = time.monotonic()

    def begin(self) -> None:
        """Says how many steps there are, where the first of them may take long."""
        if self._each:
            self._print(self._last, "")

    def advance(self, note: str = "", spent: str = "") -> None:
        """Counts one step done; a note says how things stand, another what was spent, until a newer one."""
        self._done += 1
        self._note, self._spent = note or self._note, spent or self._spent
        now = time.monotonic()
        if self._done == self._before + 1:
            self._first = now
        if self._each or self._done == self._steps or now - self._last >= _SECONDS_BETWEEN_LINES:
            self._print(now, self._standing())

    def _standing(self) -> str:
        return ", ".join(part for part in (self._note, self._spent) if part)

    def tell(self, done: int, devices: int) -> None:
        """Says how far the present step is, if it is taking long."""
        now = time.monotonic()
        if done < devices and now - self._last >= _SECONDS_BETWEEN_LINES:
            self._print(now, f"{done}/{devices} devices of the next")

    def _print(self, now: float, note: str) -> None:
        self._last = now
        shown = f", {note}" if note else ""
        line = f"{self._name}: {self._done}/{self._steps}{shown}{self._left(now)}"
        self._console.print(line, highlight=False)

    def _left(self, now: float) -> str:
        """Returns how long it will take at the pace so far; the first step, which starts workers, aside."""
        timed = self._done - self._before - 1
        if timed < 1 or self._done == self._steps:
            return ""
        return f", {(now - self._first) * (self._steps - self._done) / timed:.0f} s left"


class LiveStage(Stage):
    """The same in a terminal, as one line with a bar."""

    def __init__(
        self, console: Console, name: str, steps: int, done: int, bars: Progress, *, each: bool = False
    ) -> None:
        """Adds a bar to a live display."""
        super().__init__(console, name, steps, done, each=each)
        self._bars = bars
        self._bar = bars.add_task(name, total=steps, completed=done, note="")

    def advance(self, note: str = "", spent: str = "") -> None:
        self._done += 1
        self._note, self._spent = note or self._note, spent or self._spent
        if self._each and note:
            self._console.print(note, highlight=False, markup=False)
        self._bars.update(self._bar, completed=self._done, note=self._standing())

    def tell(self, done: int, devices: int) -> None:
        self._bars.update(self._bar, note=f"{done}/{devices} devices" if done < devices else self._standing())


class Reporter:
    """Where a run tells how far it is; everything goes to standard error."""

    def __init__(self, console: Console | None = None, *, silent: bool = False) -> None:
        """Chooses live bars for a terminal, plain lines otherwise.

        Args:
            console: Where to write; standard error by default.
            silent: Whether to write nothing.
        """
        self.console = console or Console(stderr=True, quiet=silent)

    def say(self, line: str) -> None:
        """Shows a line that stays."""
        self.console.print(line, highlight=False, markup=False)

    @contextmanager
    def stage(self, name: str, steps: int, done: int = 0, *, each: bool = False) -> Iterator[Stage]:
        """Counts a piece of work, some of it perhaps done before, while the block runs.

        Args:
            name: What is counted.
            steps: How many steps there will be.
            done: Steps that were done before.
            each: Whether every step has a line that stays.
        """
        if not self.console.is_terminal:
            plain = Stage(self.console, name, steps, done, each=each)
            plain.begin()
            yield plain
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self.console) as bars:
            yield LiveStage(self.console, name, steps, done, bars, each=each)
