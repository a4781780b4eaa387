"""Progress of long work: a bar in a terminal or a notebook, lines in a log, or nothing.

In: calls ``progress(stage, done, total)``, from any thread. Out: what a person sees on stderr.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

Progress = Callable[..., None]
"""``progress(stage, done, total, note="")``: so much of a stage is done; the note is optional."""

_LINE_EVERY_SECONDS = 5.0


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Show nothing."""


@contextmanager
def shown(progress: Progress | None) -> Iterator[Progress]:
    """The progress given; for None a bar where there is a terminal or a notebook to show it."""
    if progress is not None:
        yield progress
    elif sys.stderr.isatty() or _in_notebook():
        with bar() as report:
            yield report
    else:
        yield silent


@contextmanager
def bar() -> Iterator[Progress]:
    """A bar a stage, with rate and time left; it disappears when the work is done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as shown_bars:
        bars = {}

        def report(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in bars:
                bars[stage] = shown_bars.add_task(
                    stage, total=total, completed=done, rate="", note=""
                )
            if done < shown_bars.tasks[shown_bars.task_ids.index(bars[stage])].completed:
                shown_bars.reset(bars[stage], total=total, completed=done)
            speed = shown_bars.tasks[shown_bars.task_ids.index(bars[stage])].speed
            rate = f"{speed:,.3g}/s" if speed else ""
            shown_bars.update(bars[stage], completed=done, total=total, rate=rate, note=f"  {note}")

        yield report


@dataclass(slots=True)
class _Run:
    """One run through a stage: when and where it began, how far it is, when that was written."""

    began: float
    first: int
    done: int
    written: float


class Lines:
    """A line when a stage begins and every few seconds, for logs; stages may interleave.

    A stage whose count falls has begun again. What was done before it began is no speed.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write
        self.runs: dict[str, _Run] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now, run = time.monotonic(), self.runs.get(stage)
        if run is None or done < run.done:
            run = self.runs[stage] = _Run(began=now, first=done, done=done, written=-inf)
        run.done = done
        if now - run.written < _LINE_EVERY_SECONDS:
            return
        run.written, spent = now, now - run.began
        speed = (done - run.first) / spent if spent > 1 else 0.0
        said = f", {speed:,.3g}/s, {(total - done) / speed:.0f} s left" if speed else ""
        self.write(f"{stage}: {done:,} of {total:,}{said}{f', {note}' if note else ''}")


def _in_notebook() -> bool:
    """Whether IPython's kernel runs this: there stderr is no terminal, yet bars can be shown."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"
