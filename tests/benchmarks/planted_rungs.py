"""What the search finds at both rungs in models whose mechanism is known.

The smallest circuit should be one of the smallest that were wired, the trusted one the mechanism:
all paths through which the model does the task. Where they are one set of nodes, both rungs should
be that set.

Usage: python tests/benchmarks/planted_rungs.py [--seeds N] [--jobs N] [NAME ...]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from goal import tell
from planted_cases import TARGET_NATS, VARIATIONS

from circuitkit import ExtractConfig, NodeSet, load_checkpoint, load_task, run_extraction
from circuitkit.planted import plant, planted_names
from circuitkit.planted.planted_model import TASK
from circuitkit.progress import silent


@dataclass(frozen=True, kw_only=True)
class Run:
    """Both circuits of one model and seed, beside what was planted; nodes by name."""

    name: str
    seed: int
    mechanism: frozenset[str]
    wired: tuple[frozenset[str], ...]
    smallest: frozenset[str]
    trusted: frozenset[str] | None

    @property
    def has_one(self) -> bool:
        """Whether the mechanism is the only smallest circuit."""
        return self.wired == (self.mechanism,)

    @property
    def is_smallest(self) -> bool:
        """Whether the first rung is one of the smallest circuits."""
        return self.smallest in self.wired

    @property
    def is_mechanism(self) -> bool:
        """Whether the second rung is the mechanism."""
        return self.trusted == self.mechanism


def run(name: str, seed: int) -> Run:
    """Plant, and climb."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        planted = plant(name, seed=seed, **VARIATIONS[seed % len(VARIATIONS)])
        planted.save(folder)
        config = ExtractConfig(target_loss_nats=TARGET_NATS, seed=seed)
        found = run_extraction(
            load_checkpoint(folder), load_task(Path(folder) / TASK), config, progress=silent
        )
    climbed = found.circuit if found.circuit.rung == "trusted" else None
    smallest = found.smallest or found.circuit
    return Run(
        name=name, seed=seed, mechanism=named(planted.mechanism),
        wired=tuple(map(named, planted.wired)), smallest=named(smallest.nodes),
        trusted=climbed and named(climbed.nodes),
    )  # fmt: skip


def named(nodes: NodeSet) -> frozenset[str]:
    """Their names, which go from process to process."""
    return frozenset(map(str, nodes))


def row(name: str, runs: Sequence[Run]) -> str:
    """A model."""
    sizes = ", ".join("none" if r.trusted is None else str(len(r.trusted)) for r in runs)
    return (
        f"| {name} | {len(runs[0].wired[0])} | {sum(r.is_smallest for r in runs)} of {len(runs)} "
        f"| {len(runs[0].mechanism)} | {sum(r.is_mechanism for r in runs)} of {len(runs)} "
        f"| {sizes} |\n"
    )


def misses(run: Run) -> str:
    """What the trusted circuit has and lacks."""
    if run.trusted is None or run.is_mechanism:
        return ""
    lacks = ", ".join(sorted(run.mechanism - run.trusted)) or "nothing"
    extra = ", ".join(sorted(run.trusted - run.mechanism)) or "nothing"
    return f"{run.name} seed {run.seed}: trusted lacks {lacks}; has besides {extra}\n"


def main() -> None:
    """A row a model, as it is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="planted models; all by default")
    parser.add_argument("--seeds", type=int, default=3, help="runs a model (default 3)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes side by side")
    given = parser.parse_args()
    names = given.names or list(planted_names())
    sys.stdout.write(
        "| model | smallest wired (nodes) | found | mechanism (nodes) | trusted is it "
        "| trusted (nodes) |\n|---|---|---|---|---|---|\n"
    )
    every: list[Run] = []
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        waiting = {name: [pool.submit(run, name, seed) for seed in range(given.seeds)]
                   for name in names}  # fmt: skip
        for name, futures in waiting.items():
            runs = [future.result() for future in futures]
            sys.stdout.write(row(name, runs))
            sys.stdout.flush()
            every += runs
    sys.stdout.write("\n" + "".join(map(misses, every)))
    one = [r for r in every if r.has_one]
    both = sum(r.is_smallest and r.is_mechanism for r in one)
    tell("planted circuits with one smallest, found by both rungs", "all", f"{both} of {len(one)}")


if __name__ == "__main__":
    main()
