"""What tuning is worth: the best of 32 tuned runs of the paper's schedule, and of ours.

On tasks of a bundled checkpoint: ours as it is by default and with one restart and one plain
run of the paper's algorithm with 500 steps, each timed alone; then the smallest circuit of N
tuned runs of the paper's schedule, for which ours computes (``circuitkit extract --schedule
paper --no-refine --tune 32``) and each of which is charged what the plain run took, and ours
tuned as often. The tuned runs share the cores, a thread each, so their seconds are no timing.

Usage: python tests/benchmarks/tuned.py [--checkpoint NAME] [--tune N] [TASK ...]
"""

from __future__ import annotations

import functools
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import torch
from extraction_methods import ONCE, OURS, SHORT, Bench, Run, Runs, asking, compare, lines
from goal import tell

from circuitkit.extraction import PAPER

TUNED, OURS_TUNED = "paper, best tuned", "ours, best tuned"
METHODS = OURS, ONCE, SHORT, TUNED, OURS_TUNED
GOAL = "≥ 300 × cheaper, edges ≤ 1 ×"
"""As docs/results.md#goals-and-measurements has it."""
AS_PAPER = {
    "schedule": "paper", "refine": False,
    "pruning": replace(PAPER, n_steps=500, pressure_start=1e-3, lr=1e-2),
}  # fmt: skip

bench_of = functools.cache(Bench.of)
"""A process measures the means once."""


def tuned(checkpoint: str, task: str, method: str, n_tries: int) -> Run:
    """The smallest of several tries, on one thread."""
    torch.set_num_threads(1)
    options: dict[str, Any] = AS_PAPER if method == TUNED else {}
    return bench_of(checkpoint).ours(task, 0, method, tune=n_tries, **options)


def main() -> None:
    """Print every run, then the rows."""
    parser = asking(__doc__)
    parser.add_argument("--tune", type=int, default=32, help="tuned runs (default 32)")
    given = parser.parse_args()
    bench, runs = Bench.of(given.checkpoint), Runs()
    for task in given.tasks:
        runs.done(bench.ours(task, 0))
        runs.done(bench.ours(task, 0, ONCE, restarts=1))
        runs.done(bench.plain(task, SHORT))
    jobs = [(task, method) for method in (TUNED, OURS_TUNED) for task in given.tasks]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(tuned, given.checkpoint, *job, given.tune) for job in jobs]
        for future in as_completed(futures):
            runs.done(future.result())
    runs.sort(key=lambda run: (given.tasks.index(run.task), METHODS.index(run.method)))
    sys.stdout.write("\n".join([*lines(runs), ""]))
    plain = {run.task: run.seconds for run in runs if run.method == SHORT}
    charged = [
        replace(run, seconds=given.tune * plain[run.task]) if run.method == TUNED else run
        for run in runs
    ]
    for ours in (OURS, ONCE):
        tell(f"against the best of {given.tune} tuned runs", GOAL, compare(charged, ours, TUNED))


if __name__ == "__main__":
    main()
