"""What sharing saves a search by family: CPU seconds of all families together, and one by one.

Together they share means, candidates and the compiled foundation, and every circuit is run on every
family. Alone, each is a plain extraction that measures its own means.

Usage: python tests/benchmarks/family_cost.py CHECKPOINT TASK ... [--rung R] [--by BY]
"""

from __future__ import annotations

import argparse
import sys
import time

import torch
from goal import tell

from circuitkit import ExtractConfig, load_checkpoint, load_task, run_extraction
from circuitkit.checkpoints import Checkpoint
from circuitkit.extraction import means as measured_means
from circuitkit.families import find_families
from circuitkit.families.family_search import FamilySearch
from circuitkit.progress import silent


def together(search: FamilySearch) -> float:
    """The circuits of all families, and what each does on the others."""
    began = time.process_time()
    parts = search.run()
    search.transfer({k: part.circuit for k, part in parts.items()}, None)
    return time.process_time() - began


def alone(search: FamilySearch) -> float:
    """One extraction a family, as many restarts as a family has."""
    began = time.process_time()
    config = search.settings(search.config.restarts)
    for family in search.found.families.families:
        measured_means._last.clear()
        run_extraction(search.checkpoint, family.task_of(search.task), config, progress=silent)
    return time.process_time() - began


def searched(
    checkpoint: Checkpoint, name: str, by: str | None, config: ExtractConfig
) -> FamilySearch:
    """A search by family of a task, with its means."""
    task = load_task(name)
    found = find_families(checkpoint, task, by=by, progress=silent)
    measured_means._last.clear()
    means = measured_means.means_of(
        checkpoint, checkpoint.load_model(), checkpoint.load_reference(), silent
    )
    return FamilySearch(
        checkpoint=checkpoint, task=task, found=found, config=config, means=means, where={},
        progress=silent,
    )  # fmt: skip


def main() -> None:
    """A line a task."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", help="a bundled name or a folder")
    parser.add_argument("tasks", nargs="+", metavar="TASK")
    parser.add_argument("--rung", choices=("smallest", "trusted"), default="smallest")
    parser.add_argument("--by", default=None, help="forms, effects or a column")
    given = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint, config = load_checkpoint(given.checkpoint), ExtractConfig(rung=given.rung)
    for name in given.tasks:
        began = time.process_time()
        search = searched(checkpoint, name, given.by, config)
        shared = time.process_time() - began
        both = shared + together(search), alone(search)
        n = len(search.found.families.families)
        sys.stdout.write(
            f"{name}: {n} families together {both[0]:.1f} s, alone {both[1]:.1f} s (CPU)\n"
        )
        tell(f"{name} by family", "≤ 0.6 × single searches", f"{both[0] / both[1]:.2f} ×")


if __name__ == "__main__":
    main()
