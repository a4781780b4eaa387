"""What commands share: progress on stderr, results on stdout, common options."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from circuitkit.progress import Lines, Progress, bar, silent

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress.")
device = click.option(
    "--device", default="cpu", show_default=True, metavar="cpu|cuda|cuda:N",
    help="Where the model computes.",
)  # fmt: skip
without_progress = click.option(
    "-q", "--quiet", is_flag=True, expose_value=False, help="No progress: there is none here."
)
"""``-q`` for a command that shows none: it is known to every command."""

_COLOURS = {
    **dict.fromkeys(("pass", "target_met", "A", "B", "C"), "green"),
    **dict.fromkeys(("fail", "target_missed", "collapsed", "F"), "red"),
    **dict.fromkeys(("inconclusive", "C-redundant"), "yellow"),
}


def print_json(value: Any) -> None:
    """Print a result for machines."""
    click.echo(json.dumps(value, indent=1))


def coloured(outcome: str, text: str | None = None) -> str:
    """An outcome or a grade in its colour, which click takes out again where there is none."""
    shown = outcome if text is None else text
    return click.style(shown, fg=_COLOURS.get(outcome), dim=True if outcome == "not_run" else None)


def print_notes(notes: Iterable[str]) -> None:
    """What a reader should know that is no result and no error: on stderr, even when quiet."""
    for note in notes:
        click.echo(f"note: {note}", err=True)


@contextmanager
def goes_on(*options: str, at: type[BaseException] = KeyboardInterrupt) -> Iterator[None]:
    """Where an interrupt leaves finished parts: print the command that goes on with them."""
    try:
        yield
    except at:
        given = [word for word in sys.argv[1:] if word not in options]
        command = shlex.join(["circuitkit", *given, *options])
        click.echo(f"interrupted and saved; go on with: {command}", err=True)
        raise


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress]:
    """A bar with rate and time left on a terminal, else plain lines, all on stderr."""
    if quiet:
        yield silent
    elif sys.stderr.isatty():
        with bar() as report:
            yield report
    else:
        yield Lines(lambda line: click.echo(line, err=True))
