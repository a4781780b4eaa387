"""Laws of the local engine: every item once, whatever happens to its process."""

import os
import signal
import subprocess
import sys
import time

import pytest

from circuitkit.errors import UsageError
from circuitkit.studies.local_engine import LostError, run_local


def squared(item):
    """What a process makes of an item: some fail, and one dies."""
    if item == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "fails":
        raise ValueError("no square")
    return item**2


def pid_after(item):
    time.sleep(item)
    return os.getpid()


def test_every_item_is_done_once_though_one_dies():
    """One whose process is killed is lost, alone, with what to do; those after it are run."""
    found = {}
    run_local(squared, [1, "dies", 2, 3], found.__setitem__, workers=1)
    assert isinstance(lost := found.pop("dies"), LostError)
    assert "fewer --workers" in str(lost)
    assert found == {1: 1, 2: 4, 3: 9}


def test_a_fault_of_the_function_ends_it():
    """A cell makes a row of what it cannot do, so this is a fault of ours."""
    with pytest.raises(ValueError, match="no square"):
        run_local(squared, ["fails"], lambda item, result: None, workers=1)


def test_an_error_while_results_are_kept_ends_the_processes():
    """A full disk, say: what runs is stopped, what waits is not begun."""
    pids = []

    def keep(item, pid):
        pids.append(pid)
        raise UsageError("no space left")

    began = time.monotonic()
    with pytest.raises(UsageError, match="no space left"):
        run_local(pid_after, [0.0, *[30.0] * 20], keep, workers=1)
    assert time.monotonic() - began < 25
    with pytest.raises(ProcessLookupError):
        until_gone(pids[0])


def until_gone(pid):
    for _ in range(200):
        os.kill(pid, 0)
        time.sleep(0.05)


SCRIPT = """
from circuitkit.errors import UsageError
from circuitkit.studies.local_engine import run_local
try:
    run_local(abs, [1], lambda item, result: None, workers=1)
except UsageError as error:
    raise SystemExit(f"refused: {error}")
"""


def test_a_script_without_a_guard_is_told_so(tmp_path):
    """A spawned process would run the script again: one message, and not one a cell."""
    (tmp_path / "script.py").write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "refused: no process could be started" in ran.stderr
    assert "__main__" in ran.stderr.splitlines()[-1]
