"""Laws of progress: lines for a log, with the speed of what was done while one looked."""

import pytest

from circuitkit import progress
from circuitkit.progress import Lines


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def lines_of(clock, calls):
    """What is written of calls ``(seconds, stage, done, total)``."""
    written = []
    report = Lines(written.append)
    for seconds, *call in calls:
        clock[0] = seconds
        report(*call)
    return written


def test_the_first_line_has_no_speed(clock):
    """Nothing was timed yet; then the time left is that of the rest at the speed so far."""
    calls = [(0, "masks", 0, 100), (10, "masks", 20, 100)]
    assert lines_of(clock, calls) == [
        "masks: 0 of 100", "masks: 20 of 100, 2/s, 40 s left",
    ]  # fmt: skip


def test_what_was_done_before_is_no_speed(clock):
    """A study that is resumed begins with the cells of the last time."""
    calls = [(0, "cells", 6, 10), (100, "cells", 7, 10)]
    assert lines_of(clock, calls)[1] == "cells: 7 of 10, 0.01/s, 300 s left"


def test_a_stage_that_runs_again_begins_again(clock):
    """Its first run, and what was between, do not count."""
    calls = [(0, "masks", 1, 9), (8, "masks", 9, 9), (500, "masks", 1, 9), (510, "masks", 6, 9)]
    assert lines_of(clock, calls)[2:] == ["masks: 1 of 9", "masks: 6 of 9, 0.5/s, 6 s left"]


def test_lines_are_few(clock):
    """One every five seconds, and one for each stage that begins."""
    calls = [(t / 10, stage, t, 1000) for t in range(100) for stage in ("a", "b")]
    assert len(lines_of(clock, calls)) == 4
