"""A study of made-up cells over a tiny checkpoint, in milliseconds.

``tiny_study.py OUT SECONDS`` runs it in a process of its own, for a test that kills it.
"""

import os
import sys
import time
from pathlib import Path

from tiny import tiny_checkpoint

from circuitkit.studies import run_study as run_study_module
from circuitkit.studies.result_columns import row_of
from circuitkit.studies.run_cell import CellResult, error_rows
from circuitkit.studies.run_study import run_study

N_CELLS = 8
TEXT = """
format = "circuitkit.study/1"
name = "tiny"
question = "Is everything there once?"
checkpoints = ["model"]
tasks = ["for_while"]
seeds = [0, 1, 2, 3, 4, 5, 6, 7]
rungs = ["smallest"]
plots = ["size_by_target"]
"""


def tiny_study(folder, text=TEXT):
    """The file of the study, beside its checkpoint."""
    if not (folder / "model").exists():
        tiny_checkpoint(folder / "model")
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def made_up(work):
    """A cell that takes no time: its circuit has as many edges as its seed says."""
    seed, row = work.cell.settings["seed"], error_rows(work.cell, "")[0]
    found = {"outcome": "target_met", "error": None, "n_edges": 10 + seed, "seconds": time.time()}
    return CellResult(rows=[row_of(**row | found)], files={"circuit.json": b"{}" * seed})


def slow(work):
    """The same, in some time; a file holds the number of the process."""
    Path(f"{sys.argv[1]}.pid").write_text(str(os.getpid()))
    time.sleep(float(sys.argv[2]))
    return made_up(work)


if __name__ == "__main__":
    run_study_module.run_cell = slow
    run_study(tiny_study(Path(sys.argv[1]).parent), sys.argv[1], workers=1, resume=True)
