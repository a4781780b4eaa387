"""Rows of the table of goals: what was aimed at, and what came of it (docs/results.md).

A benchmark prints its own tables, and such a row for each goal that it measures; ``make bench``
collects them.
"""

from __future__ import annotations

import sys

MARK = "goal: "


def tell(what: str, aim: str, measured: str) -> None:
    """Print a row, marked so that it is found among the other lines."""
    sys.stdout.write(f"{MARK}| {what} | {aim} | {measured} |\n")
