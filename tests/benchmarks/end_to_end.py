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
    "tinypython-sparse/if_equals",
    "tinypython-sparse/for_while",
)


def seconds(*arguments: str) -> float:
    """How long a command of circuitkit takes; an honest negative (exit code 1) counts as well."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "circuitkit", *arguments, "-q"], check=False, stdout=subprocess.PIPE
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    return time.monotonic() - began


def main() -> None:
    """A row a task."""
    sys.stdout.write(
        "| from the command line (s) | extract | validate | report | all |\n" + "|---" * 5 + "|\n"
    )
    whole: dict[str, float] = {}
    for case in sys.argv[1:] or CASES:
        checkpoint, task = case.split("/")
        with TemporaryDirectory() as folder:
            out = str(Path(folder) / task)
            took = [
                seconds("extract", checkpoint, "--task", task, "--out", out),
                seconds("validate", out),
                seconds("report", out),
            ]
        whole[case] = sum(took)
        cells = " | ".join(f"{t:.1f}" for t in (*took, sum(took)))
        sys.stdout.write(f"| {checkpoint} {task} | {cells} |\n")
        sys.stdout.flush()
    told = ", ".join(f"{case} {took:.1f}" for case, took in whole.items())
    tell("one task, from the command line to the PDF", "< 60 s", f"{told} s")


if __name__ == "__main__":
    main()
