"""Make reports/gallery again: some built-in tasks on the bundled checkpoint, by the CLI.

Usage: python reports/make_gallery.py [TASK ...]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from circuitkit import Circuit, Validation

GALLERY = Path(__file__).parent / "gallery"
CHECKPOINT = "tinypython-nano"
TASKS = (
    *("bracket_counting", "for_while", "fstring_brace", "if_equals", "single_double_quote"),
    "with_open",
)
"""Shown where no others are asked for; the bundled checkpoint does all of them."""


def run(*arguments: str | Path) -> None:
    """Run circuitkit; an honest negative (exit code 1) is a result like any other."""
    done = subprocess.run(["circuitkit", *map(str, arguments)], check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)


def extract(task: str) -> None:
    """Find the circuit of one task."""
    shutil.rmtree(GALLERY / task, ignore_errors=True)
    run("extract", CHECKPOINT, "--task", task, "--out", GALLERY / task, "-q")


def judge(task: str) -> str:
    """Validate and report one task; returns its row of the table.

    Once all are extracted: a circuit is compared with those beside it.
    """
    folder = GALLERY / task
    run("validate", folder, "-q")
    run("report", folder, "-q")
    circuit, validation = Circuit.load(folder), Validation.load(folder)
    loss, accuracy = circuit.loss_nats, circuit.accuracy
    return (
        f"| {task} | {loss.model:.4f} | {accuracy.model:.3f} | {circuit.n_nodes} | "
        f"{circuit.n_edges} | {loss.circuit:.3f} | {accuracy.complement:.3f} | "
        f"{validation.grade} | {validation.weakest} |"
    )


def main() -> None:
    """Print the table of the README."""
    tasks = sys.argv[1:] or TASKS
    for task in tasks:
        extract(task)
    rows = [judge(task) for task in tasks]
    sys.stdout.write(
        "\n| task | model loss (nats) | model accuracy | nodes | edges | circuit loss (nats) | "
        "complement accuracy | grade | weakest |\n"
        "|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    main()
