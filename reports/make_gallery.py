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


def make(task: str) -> str:
    """One task: extract, validate, report; returns its row of the table."""
    folder = GALLERY / task
    shutil.rmtree(folder, ignore_errors=True)
    run("extract", CHECKPOINT, "--task", task, "--out", folder, "-q")
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
    rows = [make(task) for task in sys.argv[1:] or TASKS]
    sys.stdout.write(
        "\n| task | model loss (nats) | model accuracy | nodes | edges | circuit loss (nats) | "
        "complement accuracy | grade | weakest |\n"
        "|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    main()
