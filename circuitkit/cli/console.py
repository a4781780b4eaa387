"""What commands share: progress on stderr, results on stdout, common options."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress.")

_PLAIN_EVERY_SECONDS = 5.0


def print_json(value: Any) -> None:
    """Print a result for machines."""
    click.echo(json.dumps(value, indent=1))


def print_notes(notes: Iterable[str]) -> None:
    """What a reader should know that is no result and no error: on stderr, even when quiet."""
    for note in notes:
        click.echo(f"note: {note}", err=True)


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Any]:
    """A ``Progress``: a bar with rate and time left on a terminal, else plain lines."""
    if quiet:
        yield lambda stage, done, total, note="": None
    elif sys.stderr.isatty():
        with _rich_bar() as report:
            yield report
    else:
        yield _PlainLines()


@contextmanager
def _rich_bar() -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bars: dict[str, Any] = {}

        def report(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in bars:
                bars[stage] = bar.add_task(stage, total=total, rate="", note="")
            speed = bar.tasks[bar.task_ids.index(bars[stage])].speed
            rate = f"{speed:,.3g}/s" if speed else ""
            bar.update(bars[stage], completed=done, total=total, rate=rate, note=f"  {note}")

        yield report


class _PlainLines:
    """A line when a stage begins and every few seconds, for logs; stages may interleave."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.told: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        began = self.began.setdefault(stage, now)
        if now - self.told.get(stage, 0.0) < _PLAIN_EVERY_SECONDS:
            return
        self.told[stage], spent = now, now - began
        left = f", {spent * (total - done) / done:.0f} s left" if done and spent > 1 else ""
        rate = f", {done / spent:,.3g}/s" if done and spent > 1 else ""
        shown = f", {note}" if note else ""
        click.echo(f"{stage}: {done:,} of {total:,}{rate}{left}{shown}", err=True)
