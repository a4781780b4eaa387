"""One bundled task from the command line to the PDF: seconds of each verb, by the wall clock.

Usage: python tests/benchmarks/end_to_end.py [CHECKPOINT/TASK ...]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from goal import tell

CASES = (
    "tinypython-nano/for_while",
    "tinypython-nano/bracket_counting",
    "tinypython-sparse/with_open",
    "tinypython-sparse/for_while",
)
GOALS = {
    ("tinypython-nano", "trusted"): 60,
    ("tinypython-sparse", "smallest"): 60,
    ("tinypython-sparse", "trusted"): 120,
}
"""Seconds, by checkpoint and how far to climb."""


def seconds(*arguments: str) -> float:
    """How long a command of circuitkit takes; an honest negative (exit code 1) counts as well."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "circuitkit", *arguments, "-q"], check=False, stdout=subprocess.PIPE
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    return time.monotonic() - began


def from_start_to_end(checkpoint: str, task: str, rung: str) -> list[float]:
    """The seconds of each verb; the circuit of the highest rung is validated."""
    with TemporaryDirectory() as folder:
        out = str(Path(folder) / task)
        return [
            seconds("extract", checkpoint, "--task", task, "--rung", rung, "--out", out),
            seconds("validate", out),
            seconds("report", out),
        ]


def main() -> None:
    """A row a task and rung; what a goal was set for."""
    sys.stdout.write(
        "| from the command line (s) | rung | extract | validate | report | all |\n"
        + "|---" * 6 + "|\n"
    )  # fmt: skip
    whole: dict[tuple[str, str], dict[str, float]] = {}
    for case in sys.argv[1:] or CASES:
        checkpoint, task = case.split("/")
        for rung in [rung for name, rung in GOALS if name == checkpoint]:
            took = from_start_to_end(checkpoint, task, rung)
            whole.setdefault((checkpoint, rung), {})[task] = sum(took)
            cells = " | ".join(f"{t:.1f}" for t in (*took, sum(took)))
            sys.stdout.write(f"| {checkpoint} {task} | {rung} | {cells} |\n")
            sys.stdout.flush()
    for (checkpoint, rung), tasks in whole.items():
        told = ", ".join(f"{task} {took:.1f}" for task, took in tasks.items())
        what = f"{checkpoint}, {rung}, from the command line to the PDF"
        tell(what, f"≤ {GOALS[checkpoint, rung]} s", f"{told} s")


if __name__ == "__main__":
    main()
