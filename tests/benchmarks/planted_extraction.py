"""How much of a known circuit extraction finds, method by method and model by model.

Every planted model is wired and searched by brute force under either ablation, then extracted
from its folder. Precision, recall and F1 are against the nearest of the smallest circuits;
exact is the share of runs that found one of them; names others is the share whose circuit.json
names another circuit of the same size, where brute force found several and where it found one.

Ours finds the smallest circuit; the paper's schedule runs 500 steps at λ 1e-3, lr 1e-2 and
nothing after its bisection; attribution and random go through the same elimination as ours.
CPU seconds are the median of a run's, without planting and brute force.

Usage: python tests/benchmarks/planted_extraction.py [--seeds N] [--jobs N] [NAME ...]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from goal import tell

from circuitkit import Checkpoint, Circuit, Task, load_checkpoint, load_task
from circuitkit.extraction import PAPER, extract, measure_means, zero_means
from circuitkit.planted import Truth, find_truth, plant, planted_names
from circuitkit.planted.planted_model import TARGET_NATS

VARIATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"noise": 0.1, "width": 32},
    {"sink": True, "noise": 0.1},
    {"topk": 0.5, "noise": 0.1},
)
"""Seed i is planted in variation i modulo their number."""

METHODS: dict[str, dict[str, Any]] = {
    "ours": {},
    "paper": {
        "schedule": "paper", "refine": False, "restarts": 1,
        "pruning": replace(PAPER, n_steps=500, pressure_start=1e-3, lr=1e-2),
    },
    "attribution": {"method": "attribution", "restarts": 1},
    "random": {"method": "random", "restarts": 1},
}  # fmt: skip
OURS, MEAN = "ours", "mean"

SUMMARY = ("method", "ablation", "runs", "node P", "node R", "node F1", "edge P", "edge R",
           "edge F1", "exact", "exact, one truth", "names others, several", "names others, one",
           "CPU s")  # fmt: skip
BY_MODEL = ("model", "truth", "circuits", "found", "node P", "node R", "node F1", "edge P",
            "edge R", "edge F1", "exact", "names others", "CPU s")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How much of a truth was found, nodes or edges."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.precision * self.recall / ((self.precision + self.recall) or 1)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One extraction against the truth."""

    method: str
    ablation: str
    name: str
    seed: int
    n_circuits: int
    n_truth: int
    n_found: int
    nodes: Overlap
    edges: Overlap
    is_exact: bool
    is_told: bool
    outcome: str
    seconds: float
    lacks: tuple[str, ...]
    extra: tuple[str, ...]


def overlap(found: Collection[Any], truth: Collection[Any]) -> Overlap:
    """Precision and recall of a set; an empty one is precise."""
    shared = len(set(found) & set(truth))
    return Overlap(
        precision=shared / len(found) if found else 1.0,
        recall=shared / len(truth) if truth else 1.0,
    )


def compare(circuit: Circuit, truth: Truth, seconds: float, **about: Any) -> Run:
    """The circuit against the smallest one that it shares most nodes with."""
    scored = [(overlap(circuit.nodes, nodes).f1, i) for i, nodes in enumerate(truth.circuits)]
    nearest = truth.circuits[max(scored)[1]]
    ends = [
        {(e.source, e.target) for e in es} for es in (circuit.edges, truth.edges[max(scored)[1]])
    ]
    return Run(
        n_circuits=len(truth.circuits),
        n_truth=len(nearest),
        n_found=circuit.n_nodes,
        nodes=overlap(circuit.nodes, nearest),
        edges=overlap(*ends),
        is_exact=circuit.nodes == nearest,
        is_told=len(circuit.alternatives) > 0,
        outcome=circuit.outcome,
        seconds=seconds,
        lacks=tuple(str(n) for n in nearest if n not in circuit.nodes),
        extra=tuple(str(n) for n in circuit.nodes if n not in nearest),
        **about,
    )


def truth_of(checkpoint: Checkpoint, task: Task, ablation: str) -> Truth:
    """The smallest circuits under an ablation, on all selection pairs."""
    model = checkpoint.load_model()
    if ablation == MEAN:
        means = measure_means(model, checkpoint.load_reference())
    else:
        means = zero_means(model.arch.widths)
    pairs = checkpoint.encode(task.up_to("select", 10**6))
    return find_truth(model, pairs, means, TARGET_NATS)


def runs_of(name: str, seed: int, ablation: str, methods: Sequence[str]) -> list[Run]:
    """Plant, search by brute force, extract by each method."""
    torch.set_num_threads(1)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        plant(name, seed=seed, **VARIATIONS[seed % len(VARIATIONS)]).save(folder)
        checkpoint, task = load_checkpoint(folder), load_task(Path(folder) / "task.jsonl")
        truth = truth_of(checkpoint, task, ablation)
        for method in methods:
            began = time.process_time()
            circuit = extract(
                checkpoint, task, rung="smallest", target_loss_nats=truth.target_loss_nats,
                seed=seed, ablation=ablation, **METHODS[method],
            )  # fmt: skip
            about = {"method": method, "ablation": ablation, "name": name, "seed": seed}
            runs.append(compare(circuit, truth, time.process_time() - began, **about))
    return runs


def jobs_of(names: Sequence[str], n_seeds: int) -> Iterator[tuple[str, int, str, tuple[str, ...]]]:
    """Ours under mean ablation on every seed; everything else on every other one."""
    for name in names:
        for seed in range(n_seeds):
            every = tuple(METHODS) if seed % 2 == 0 else (OURS,)
            yield name, seed, MEAN, every
            if seed % 2 == 0:
                yield name, seed, "zero", every


def shares(runs: Sequence[Run]) -> list[str]:
    """Mean precision, recall and F1, of nodes and of edges."""
    return [
        f"{mean(getattr(part, measure) for part in parts):.3f}"
        for parts in ([r.nodes for r in runs], [r.edges for r in runs])
        for measure in ("precision", "recall", "f1")
    ]


def share(runs: Sequence[Run], of: Callable[[Run], bool]) -> str:
    """The share of runs of which something holds."""
    return f"{mean(map(of, runs)):.2f} of {len(runs)}" if runs else "–"


def summary_row(method: str, ablation: str, runs: Sequence[Run]) -> list[str]:
    """A method under an ablation, over all models."""
    one = [r for r in runs if r.n_circuits == 1]
    several = [r for r in runs if r.n_circuits > 1]
    return [
        method, ablation, str(len(runs)), *shares(runs), share(runs, lambda r: r.is_exact),
        share(one, lambda r: r.is_exact), share(several, lambda r: r.is_told),
        share(one, lambda r: r.is_told), f"{median(r.seconds for r in runs):.1f}",
    ]  # fmt: skip


def model_row(name: str, runs: Sequence[Run]) -> list[str]:
    """A model, over the runs of one method."""
    sizes = ([r.n_truth for r in runs], [r.n_circuits for r in runs], [r.n_found for r in runs])
    return [
        name, *(f"{mean(size):.1f}" for size in sizes), *shares(runs),
        f"{mean(r.is_exact for r in runs):.2f}", f"{mean(r.is_told for r in runs):.2f}",
        f"{median(r.seconds for r in runs):.1f}",
    ]  # fmt: skip


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def miss(run: Run) -> str:
    """What a run found instead."""
    return (
        f"{run.name} seed {run.seed}, {run.ablation} ({run.outcome}): "
        f"lacks {', '.join(run.lacks) or 'nothing'}; extra {', '.join(run.extra) or 'nothing'}\n"
    )


def report(runs: Sequence[Run], names: Sequence[str]) -> str:
    """A row a method and ablation, a row a model for ours, every miss of ours."""
    groups = [
        (method, ablation, [r for r in runs if (r.method, r.ablation) == (method, ablation)])
        for method in METHODS
        for ablation in (MEAN, "zero")
    ]
    ours = [r for r in runs if r.method == OURS]
    by_model = [(n, [r for r in ours if r.name == n and r.ablation == MEAN]) for n in names]
    return "\n".join(
        [
            table(SUMMARY, [summary_row(*group) for group in groups if group[2]]),
            table(BY_MODEL, [model_row(name, some) for name, some in by_model]),
            "".join(miss(run) for run in ours if not run.is_exact) or "no misses of ours\n",
        ]
    )


def main() -> None:
    """Print a line as each model is done, then the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="planted models; all by default")
    parser.add_argument("--seeds", type=int, default=4, help="runs a model (default 4)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes side by side")
    given = parser.parse_args()
    names, began = given.names or list(planted_names()), time.perf_counter()
    jobs = list(jobs_of(names, given.seeds))
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        found = pool.map(runs_of, *zip(*jobs, strict=True))
        runs = []
        for job, some in zip(jobs, found, strict=True):
            runs.append(some)
            sys.stderr.write(f"{job[0]} seed {job[1]}, {job[2]}: {len(some)} runs\n")
    every = list(chain(*runs))
    sys.stdout.write(report(every, names))
    sys.stdout.write(f"\n{time.perf_counter() - began:.0f} s, {given.jobs} processes\n")
    one = [r for r in every if r.method == OURS and r.n_circuits == 1]
    found = f"{sum(r.is_exact for r in one)} of {len(one)}"
    tell("planted circuits with one smallest, found exactly", "≥ 95 %", found)


if __name__ == "__main__":
    main()
