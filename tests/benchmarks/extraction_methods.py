"""Extraction against the paper's own algorithm, as ratios from one run on this machine.

On tasks of a bundled checkpoint, with the same means, target and pairs, the clock running from
pairs to nodes: ours as it is by default and with one restart, and the paper's algorithm written
down plainly (``plain_pruning.py``) with 500 steps at λ 1e-3, lr 1e-2 and with 2,000 steps at
the centres of its search. All are asked for the target on the mean of all pairs, as the paper
asks it. A run that misses the target on the selection pairs counts with all
edges of the model: censored, never dropped.

Usage: python tests/benchmarks/extraction_methods.py [--checkpoint NAME] [--seeds N] [--short]
       [TASK ...]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import geometric_mean, median
from typing import Any

import torch
from goal import tell
from plain_pruning import Settings, prune_plainly

from circuitkit import Checkpoint, Means, NodeSet, load_checkpoint, load_task
from circuitkit.extraction import (
    ExtractConfig,
    edges_between,
    extract,
    four_differences,
    measure_means,
)

TASKS = ("if_equals", "for_while", "bracket_counting", "single_double_quote")
TARGET_NATS = 0.15
OURS, ONCE = "ours", "ours, one restart"
SHORT, LONG = "paper, 500 steps", "paper, 2,000 steps"
PLAIN = {SHORT: Settings(n_steps=500, pressure=1e-3, lr=1e-2), LONG: Settings()}
GOALS = {
    SHORT: "≥ 10 × faster, edges ≤ 0.5 ×",
    LONG: "≥ 30 × faster, edges ≤ 0.35 ×",
}
"""As docs/results.md#goals-and-measurements has them."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One extraction; ``n_edges`` is the model's where the target was missed."""

    method: str
    task: str
    seed: int
    n_nodes: int
    n_edges: int
    loss_nats: float
    knocked_out: float
    seconds: float
    is_censored: bool


class AfterMeans:
    """A clock that starts anew when the means are measured, so that the search is what is timed."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage == "means" and done == total:
            self.began = time.perf_counter()


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A checkpoint, its means and its model, shared by all runs."""

    checkpoint: Checkpoint
    means: Means

    @classmethod
    def of(cls, name: str) -> Bench:
        """Of a bundled checkpoint."""
        checkpoint = load_checkpoint(name)
        return cls(
            checkpoint=checkpoint,
            means=measure_means(
                checkpoint.load_model(), checkpoint.load_reference(),
                checkpoint_sha256=checkpoint.sha256,
            ),
        )  # fmt: skip

    def ours(self, task: str, seed: int, method: str = OURS, **options: Any) -> Run:
        """The default extraction, or another by the same verb."""
        clock = AfterMeans()
        circuit = extract(
            self.checkpoint, load_task(task), target_loss_nats=TARGET_NATS, seed=seed,
            rung="smallest", on_average=True, progress=clock, **options,
        )  # fmt: skip
        return self.run(
            method, task, seed, None if circuit.outcome != "target_met" else circuit.nodes,
            time.perf_counter() - clock.began,
        )  # fmt: skip

    def plain(self, task: str, method: str) -> Run:
        """The paper's algorithm on the same pairs."""
        config, asked = ExtractConfig(), load_task(task)
        began = time.perf_counter()
        train = self.checkpoint.encode(asked.up_to("train", config.n_train, 0))
        select = self.checkpoint.encode(asked.up_to("select", config.n_select, 0))
        model = self.checkpoint.load_model()
        nodes = prune_plainly(
            model, train, select, self.means.values, TARGET_NATS, PLAIN[method]
        )  # fmt: skip
        return self.run(method, task, 0, nodes, time.perf_counter() - began)

    def run(self, method: str, task: str, seed: int, nodes: NodeSet | None, seconds: float) -> Run:
        """Count and score, after the clock has stopped."""
        model = self.checkpoint.load_model()
        kept = NodeSet.full(model.arch.widths) if nodes is None else nodes
        test = self.checkpoint.encode(load_task(task).up_to("test", 512))
        scored = four_differences(model, test, kept, self.means.values)
        return Run(
            method=method, task=task, seed=seed, n_nodes=len(kept),
            n_edges=len(edges_between(model, kept)), loss_nats=scored.losses().circuit,
            knocked_out=scored.accuracies().complement, seconds=seconds,
            is_censored=nodes is None,
        )  # fmt: skip


def lines(runs: Sequence[Run]) -> Iterator[str]:
    """A row a run."""
    yield "| method | task | seed | nodes | edges | test loss | complement accuracy | seconds |"
    yield "|" + "---|" * 8
    for r in runs:
        missed = " (missed)" if r.is_censored else ""
        yield (
            f"| {r.method} | {r.task} | {r.seed} | {r.n_nodes}{missed} | {r.n_edges} "
            f"| {r.loss_nats:.3f} | {r.knocked_out:.3f} | {r.seconds:.1f} |"
        )


def compare(runs: Sequence[Run], ours: str, other: str) -> str:
    """How much faster (median and range) and smaller ours is, task by task."""
    by = {(r.method, r.task, r.seed): r for r in runs}
    twos = [(by[ours, r.task, r.seed], r) for r in runs if r.method == other]
    faster = [b.seconds / a.seconds for a, b in twos]
    smaller = geometric_mean(max(1, a.n_edges) / max(1, b.n_edges) for a, b in twos)
    censored = f"{sum(a.is_censored for a, _ in twos)} and {sum(b.is_censored for _, b in twos)}"
    return (
        f"{median(faster):.1f} × ({min(faster):.1f} to {max(faster):.1f}), edges {smaller:.2f} ×; "
        f"{ours}, {len(twos)} tasks, {torch.get_num_threads()} threads; target missed by "
        f"{censored}"
    )


def spread(runs: Sequence[Run]) -> Iterator[str]:
    """Ours over several seeds: the sizes of each task."""
    for task in dict.fromkeys(r.task for r in runs):
        ours = [r for r in runs if (r.method, r.task) == (OURS, task)]
        if len(ours) > 1:
            sizes = [f"{r.n_nodes} / {r.n_edges}" for r in ours]
            yield f"{task}: {', '.join(sizes)} nodes / edges over {len(ours)} seeds"


def asking(about: str | None) -> argparse.ArgumentParser:
    """What is asked of a comparison: tasks of a checkpoint."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=TASKS)
    parser.add_argument("--checkpoint", default="tinypython-nano")
    return parser


class Runs(list[Run]):
    """The runs of a comparison, each told as it is done."""

    def done(self, run: Run) -> None:
        """Add a run."""
        self.append(run)
        sys.stderr.write(f"{run}\n")


def main() -> None:
    """Print every run, then the rows."""
    parser = asking(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of ours (default 3)")
    parser.add_argument("--short", action="store_true", help="without the 2,000 steps")
    given = parser.parse_args()
    bench, runs = Bench.of(given.checkpoint), Runs()
    plain = [SHORT] if given.short else list(PLAIN)
    for task in given.tasks:
        runs.done(bench.ours(task, 0))
        runs.done(bench.ours(task, 0, ONCE, restarts=1))
        for method in plain:
            runs.done(bench.plain(task, method))
        for seed in range(1, given.seeds):
            runs.done(bench.ours(task, seed))
    sys.stdout.write("\n".join([*lines(runs), "", *spread(runs), ""]))
    for other in plain:
        for ours in (OURS, ONCE):
            tell(f"against {other}", GOALS[other], compare(runs, ours, other))


if __name__ == "__main__":
    main()
