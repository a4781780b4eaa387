"""Are families of prompts named as they were planted, and what would a naive measure have said?

Every planted model whose prompts have forms, and some whose families only effects can find, each
with three seeds in the variations of the confusion table: extracted by family, the outcome
compared with the planted one. Beside it what two usual measures would say of the same circuits:
the overlap of nodes (two circuits that share less than half of their nodes are two mechanisms)
and the loss of the whole circuit over all prompts (on target: one mechanism). Below, between which
values the two limits of ``name_mechanisms`` lie.

Usage: python tests/benchmarks/planted_families.py [--each] [--jobs N] [--seeds N] [NAME ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from planted_cases import VARIATIONS

from circuitkit import ExtractConfig, extract_by_family
from circuitkit.checkpoints import save_checkpoint
from circuitkit.circuit.transfer import WHOLE, Transfer
from circuitkit.families.name_mechanisms import ALIKE, F_DOES
from circuitkit.planted import plant

BY_FORM = {
    "two_mechanisms": "several", "shared_entry": "several", "shared_exit": "several",
    "surface_forms": "one", "harder_form": "nested", "either_way": "either",
}  # fmt: skip
BY_EFFECTS = {
    "two_mechanisms": "several", "shared_entry": "several", "shared_exit": "several",
    "surface_forms": "one", "closing_quote": "one", "nesting_depth": "one",
    "variable_binding": "one",
}  # fmt: skip
"""What is true of the families that effects find. First-order effects see nothing of two ways of
which either is enough, so that ``either_way`` is one family there."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One planted model, extracted by family."""

    name: str
    by: str
    seed: int
    planted: str
    transfer: Transfer
    whole_met: bool
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether the outcome is the planted one."""
        return self.transfer.outcome == self.planted

    @property
    def by_overlap(self) -> str:
        """What the overlap of nodes alone would say."""
        alike = [overlap.jaccard for overlap in self.transfer.overlaps]
        return "one" if min(alike, default=1.0) >= ALIKE else "several"

    @property
    def by_loss(self) -> str:
        """What the loss of the whole circuit over all prompts would say."""
        return "one" if self.whole_met else "several"

    @property
    def line(self) -> str:
        """The run in a line."""
        cells = ", ".join(f"{c.circuit} on {c.family} {c.f}" for c in self.transfer.cells)
        return (
            f"{self.name} by {self.by}, seed {self.seed}: {self.transfer.outcome} "
            f"({self.transfer.reason}); {cells}; {self.seconds:.1f} s"
        )


def run(name: str, by: str, seed: int) -> Run:
    """Plant, extract by family, compare."""
    torch.set_num_threads(1)
    began = time.process_time()
    planted = plant(name, seed=seed, **VARIATIONS[seed % len(VARIATIONS)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        save_checkpoint(
            path, planted.model, name=name, tokenizer=planted.tokenizer,
            reference=planted.reference,
        )  # fmt: skip
        (path / "task.jsonl").write_text(planted.task_lines)
        config = ExtractConfig(rung="smallest", seed=seed)
        found = extract_by_family(
            path, path / "task.jsonl", config, by=by, progress=lambda *_, **__: None
        )
    truth = BY_FORM if by == "forms" else BY_EFFECTS
    return Run(
        name=name, by=by, seed=seed, planted=truth[name], transfer=found.transfer,
        whole_met=found.whole.circuit.outcome == "target_met",
        seconds=time.process_time() - began,
    )  # fmt: skip


def table(runs: Sequence[Run]) -> Iterator[str]:
    """A row a model and sorting."""
    heads = (
        "planted",
        "by",
        "outcome",
        "named right",
        "overlap",
        "right by it",
        "loss",
        "right by it",
    )
    yield f"| {' | '.join(heads)} |\n|" + "---|" * len(heads)
    for name, by in dict.fromkeys((r.name, r.by) for r in runs):
        some = [r for r in runs if (r.name, r.by) == (name, by)]
        alike = [o.jaccard for r in some for o in r.transfer.overlaps]
        shown = f"{min(alike):.2f} to {max(alike):.2f}" if alike else "one family"
        right = [sum(test(r) for r in some) for test in (
            lambda r: r.is_right, lambda r: r.by_overlap == r.planted,
            lambda r: r.by_loss == r.planted,
        )]  # fmt: skip
        n = len(some)
        met = "on target" if all(r.whole_met for r in some) else "missed"
        counts = [f"{each} of {n}" for each in right]
        cells = name, by, some[0].planted, counts[0], shown, counts[1], met, counts[2]
        yield f"| {' | '.join(cells)} |"
    n_right = sum(r.is_right for r in runs)
    yield f"\nnamed right: {n_right} of {len(runs)} ({n_right / len(runs):.0%})"


def ranges(runs: Sequence[Run]) -> Iterator[str]:
    """Between which values the limits part what was planted."""
    across = [
        c.f.effect for r in runs for c in r.transfer.cells
        if c.circuit not in (WHOLE, c.family)
    ]  # fmt: skip
    own = [c.f.effect for r in runs for c in r.transfer.cells if c.circuit == c.family]
    low, high = [f for f in across if f < F_DOES], [f for f in across if f >= F_DOES]
    yield f"F on the own family: {min(own):.2f} to {max(own):.2f}"
    yield f"F on another: up to {max(low):.2f} where not done, from {min(high):.2f} where done"
    for outcome in ("one", "either"):
        alike = [o.jaccard for r in runs if r.planted == outcome for o in r.transfer.overlaps]
        if alike:
            yield f"overlap where the outcome is {outcome}: {min(alike):.2f} to {max(alike):.2f}"


def main() -> None:
    """Run every model, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="planted models; all by default")
    parser.add_argument("--seeds", type=int, default=3, help="of every model (default 3)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--each", action="store_true", help="a line a run, too")
    given = parser.parse_args()
    asked = [(n, "forms") for n in BY_FORM] + [(n, "effects") for n in BY_EFFECTS]
    asked = [each for each in asked if not given.names or each[0] in given.names]
    units = [(name, by, seed) for (name, by), seed in product(asked, range(given.seeds))]
    with ProcessPoolExecutor(given.jobs) as pool:
        runs = list(pool.map(run, *zip(*units, strict=True)))
    each = [r.line for r in runs] if given.each else []
    sys.stdout.write("\n".join([*each, *table(runs), "", *ranges(runs)]) + "\n")


if __name__ == "__main__":
    main()
