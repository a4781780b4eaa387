"""Progress of long work: a bar in a terminal or a notebook, lines in a log, or nothing.

In: calls ``progress(stage, done, total)``, from any thread. Out: what a person sees on stderr.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
                bars[stage] = shown_bars.add_task(stage, total=total, rate="", note="")
            speed = shown_bars.tasks[shown_bars.task_ids.index(bars[stage])].speed
            rate = f"{speed:,.3g}/s" if speed else ""
            shown_bars.update(bars[stage], completed=done, total=total, rate=rate, note=f"  {note}")

        yield report


class Lines:
    """A line when a stage begins and every few seconds, for logs; stages may interleave."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write
        self.began: dict[str, float] = {}
        self.written: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        began = self.began.setdefault(stage, now)
        if stage in self.written and now - self.written[stage] < _LINE_EVERY_SECONDS:
            return
        self.written[stage], spent = now, now - began
        left = f", {spent * (total - done) / done:.0f} s left" if done and spent > 1 else ""
        rate = f", {done / spent:,.3g}/s" if done and spent > 1 else ""
        self.write(f"{stage}: {done:,} of {total:,}{rate}{left}{f', {note}' if note else ''}")


def _in_notebook() -> bool:
    """Whether IPython's kernel runs this: there stderr is no terminal, yet bars can be shown."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"
