"""How much of a known circuit extraction finds, model by model.

Every planted model is wired and searched by brute force, then extracted from its folder.
Precision, recall and F1 are against the nearest of the smallest circuits; exact is the
share of runs that found one of them.

Usage: python tests/benchmarks/planted_extraction.py [--seeds N] [NAME ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from circuitkit import Circuit, load_checkpoint, load_task
from circuitkit.extraction import ExtractConfig, extract
from circuitkit.planted import Truth, plant, planted_names

VARIATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"noise": 0.1, "width": 32},
    {"sink": True, "noise": 0.1},
    {"topk": 0.5, "noise": 0.1},
)
"""Seed i is planted in variation i modulo their number."""

HEADER = (
    "| model | truth | circuits | found | node P | node R | node F1 | edge P | edge R | edge F1 "
    "| exact | seconds |\n|" + "---|" * 12
)


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

    n_circuits: int
    n_truth: int
    n_found: int
    nodes: Overlap
    edges: Overlap
    is_exact: bool
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


def compare(circuit: Circuit, truth: Truth, seconds: float) -> Run:
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
        outcome=circuit.outcome,
        seconds=seconds,
        lacks=tuple(str(n) for n in nearest if n not in circuit.nodes),
        extra=tuple(str(n) for n in circuit.nodes if n not in nearest),
    )


def run(name: str, seed: int, restarts: int) -> Run:
    """Plant, search, extract."""
    with tempfile.TemporaryDirectory() as folder:
        variation = VARIATIONS[seed % len(VARIATIONS)]
        truth = plant(name, seed=seed, **variation).save(folder)
        checkpoint, task = load_checkpoint(folder), load_task(Path(folder) / "task.jsonl")
        began = time.perf_counter()
        circuit = extract(
            checkpoint, task, target_loss_nats=truth.target_loss_nats, seed=seed, restarts=restarts
        )
        return compare(circuit, truth, time.perf_counter() - began)


def row(name: str, runs: Sequence[Run]) -> str:
    """Means over the runs of a model."""
    figures = [
        mean(value)
        for value in (
            [r.n_truth for r in runs],
            [r.n_circuits for r in runs],
            [r.n_found for r in runs],
        )
    ]
    shares = [
        mean(getattr(part, measure) for part in parts)
        for parts in ([r.nodes for r in runs], [r.edges for r in runs])
        for measure in ("precision", "recall", "f1")
    ]
    cells = [f"{x:.1f}" for x in figures] + [f"{x:.3f}" for x in shares]
    exact, seconds = mean(r.is_exact for r in runs), mean(r.seconds for r in runs)
    return f"| {name} | {' | '.join(cells)} | {exact:.2f} | {seconds:.1f} |"


def misses(name: str, runs: Sequence[Run]) -> Iterator[str]:
    """A line for every run that found something else."""
    for seed, each in enumerate(runs):
        if not each.is_exact:
            yield (
                f"{name} seed {seed} ({each.outcome}): lacks {', '.join(each.lacks) or 'nothing'}; "
                f"extra {', '.join(each.extra) or 'nothing'}"
            )


def main() -> None:
    """Print a row as each model is done, then the misses."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="planted models; all by default")
    parser.add_argument("--seeds", type=int, default=4, help="runs a model (default 4)")
    parser.add_argument(
        "--restarts", type=int, default=ExtractConfig().restarts, help="restarts a run"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    told: list[str] = []
    every: list[Run] = []
    sys.stdout.write(HEADER + "\n")
    for name in given.names or planted_names():
        runs = [run(name, seed, given.restarts) for seed in range(given.seeds)]
        every += runs
        told += misses(name, runs)
        sys.stdout.write(row(name, runs) + "\n")
        sys.stdout.flush()
    sys.stdout.write("\n".join([row("all", every), "", *told]) + "\n")


if __name__ == "__main__":
    main()
