"""Extraction against the paper's own algorithm, as ratios from one run on this machine.

On tasks of a bundled checkpoint, with the same means, target and pairs: ours as it is by
default, and the paper's schedule (64 pairs a step, nothing after its bisection, judged by the
mean loss) with 500 steps at λ 1e-3, lr 1e-2 and with 2,000 steps at the centres of its search.
A run that misses the target counts with all edges of the model: censored, never dropped.

Usage: python tests/benchmarks/extraction_methods.py [--checkpoint NAME] [--seeds N] [TASK ...]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean, median
from typing import Any

import torch

from circuitkit import Checkpoint, load_checkpoint, load_task
from circuitkit.extraction import PAPER, Partial, extract, measure_means

TASKS = ("if_equals", "for_while", "bracket_counting", "single_double_quote")
PAPERS_WAY = {"schedule": "paper", "refine": False, "restarts": 1}
OURS, SHORT, LONG = "ours", "paper, 500 steps", "paper, 2,000 steps"
METHODS: dict[str, dict[str, Any]] = {
    OURS: {},
    SHORT: PAPERS_WAY | {"pruning": replace(PAPER, n_steps=500, pressure_start=1e-3, lr=1e-2)},
    LONG: PAPERS_WAY,
}
GOALS = {SHORT: "≥ 10 × faster, edges ≤ 0.5 ×", LONG: "≥ 30 × faster, edges ≤ 0.35 ×"}
"""EXTRACTION section 7."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One extraction; ``n_edges`` is the model's where the target was missed."""

    method: str
    task: str
    seed: int
    outcome: str
    n_nodes: int
    n_edges: int
    loss_nats: float
    seconds: float
    is_censored: bool


class Measured(Partial):
    """Means that are measured once, so that what is compared is the search."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        reference = checkpoint.load_reference()
        self._means = measure_means(
            checkpoint.load_model(), reference, checkpoint_sha256=checkpoint.sha256
        )

    def means(self, widths):
        return self._means


def run(checkpoint: Checkpoint, measured: Measured, method: str, task: str, seed: int) -> Run:
    """Search once; the clock runs from pairs to circuit.json, without the means."""
    began = time.perf_counter()
    circuit = extract(checkpoint, load_task(task), seed=seed, partial=measured, **METHODS[method])
    surroundings, is_censored = circuit.surroundings, circuit.outcome != "target_met"
    assert surroundings is not None
    return Run(
        method=method, task=task, seed=seed, outcome=circuit.outcome, n_nodes=circuit.n_nodes,
        n_edges=surroundings.n_edges_model if is_censored else circuit.n_edges,
        loss_nats=circuit.loss_nats.circuit, seconds=time.perf_counter() - began,
        is_censored=is_censored,
    )  # fmt: skip


def lines(runs: Sequence[Run]) -> Iterator[str]:
    """A row a run."""
    yield "| method | task | seed | outcome | nodes | edges | test loss | seconds |"
    yield "|" + "---|" * 8
    for r in runs:
        yield (
            f"| {r.method} | {r.task} | {r.seed} | {r.outcome} | {r.n_nodes} | {r.n_edges} "
            f"| {r.loss_nats:.3f} | {r.seconds:.1f} |"
        )


def ratios(runs: Sequence[Run], other: str) -> str:
    """A row of EXTRACTION section 7: how much faster and smaller ours is, task by task."""
    by = {(r.method, r.task, r.seed): r for r in runs}
    twos = [(by[OURS, r.task, r.seed], r) for r in runs if r.method == other]
    faster = [b.seconds / a.seconds for a, b in twos]
    smaller = geometric_mean(max(1, a.n_edges) / max(1, b.n_edges) for a, b in twos)
    censored = f"{sum(a.is_censored for a, _ in twos)} and {sum(b.is_censored for _, b in twos)}"
    return (
        f"| {other} | {GOALS[other]} | {median(faster):.1f} × ({min(faster):.1f} to "
        f"{max(faster):.1f}) | {smaller:.2f} × | {censored} of {len(twos)} |"
    )


def spread(runs: Sequence[Run]) -> Iterator[str]:
    """Ours over several seeds: the sizes of each task."""
    for task in dict.fromkeys(r.task for r in runs):
        sizes = sorted(r.n_edges for r in runs if (r.method, r.task) == (OURS, task))
        if len(sizes) > 1:
            yield f"{task}: {', '.join(map(str, sizes))} edges over {len(sizes)} seeds"


def main() -> None:
    """Print every run, then the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=TASKS)
    parser.add_argument("--checkpoint", default="tinypython-nano")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of ours (default 1)")
    given = parser.parse_args()
    checkpoint = load_checkpoint(given.checkpoint)
    measured = Measured(checkpoint)
    asked = [(m, t, 0) for m in METHODS for t in given.tasks]
    asked += [(OURS, t, seed) for t in given.tasks for seed in range(1, given.seeds)]
    runs = []
    for method, task, seed in asked:
        runs.append(run(checkpoint, measured, method, task, seed))
        sys.stderr.write(f"{runs[-1]}\n")
    rows = [
        "",
        f"| ours against ({torch.get_num_threads()} threads) | goal | faster, median | edges, "
        "geometric mean | target missed, ours and theirs |",
        "|" + "---|" * 5,
        *(ratios(runs, other) for other in GOALS),
        "",
        *spread(runs),
    ]
    sys.stdout.write("\n".join([*lines(runs), *rows]) + "\n")


if __name__ == "__main__":
    main()
