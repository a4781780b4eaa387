"""What the thorough claims say of circuits whose truth is known.

True: the whole mechanism of every planted model that is no trap (decoys left out: there the
model itself votes by more than its mechanism). Wrong, though each meets the target: the
smallest circuits of traps, and one of several paths. Wrong as well: a mechanism less a node.
A row a claim: how many of each pass.

Usage: python tests/benchmarks/planted_thorough.py [--searches] [--seeds N] [NAME ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from circuitkit import load_checkpoint, load_task
from circuitkit.checkpoints import save_checkpoint
from circuitkit.extraction import ExtractConfig, measure_means, run_extraction
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.findings import Claim
from circuitkit.nodes import NodeSet
from circuitkit.planted import plant, planted_names
from circuitkit.validation.claims import claims_of
from circuitkit.validation.search_trial import SearchTrial
from circuitkit.validation.trial import Trial

VARIATIONS: tuple[dict[str, Any], ...] = (
    {"noise": 0.1, "width": 32},
    {"topk": 0.5, "noise": 0.1, "sink": True},
)
"""Seed i is planted in variation i modulo their number."""

SEARCHES = (Claim.SEARCH_NULL, Claim.STABLE)
KINDS = ("true", "wrong but sufficient", "less a node")


def circuits(name: str, found: Any) -> Iterator[tuple[str, NodeSet]]:
    """The circuits of a planted model, each with its kind."""
    nodes, smallest = found.mechanism, found.wired[0]
    if not found.is_trap and name != "decoys":
        yield "true", nodes
        yield "less a node", nodes - NodeSet.of([next(iter(nodes))])
    if smallest != nodes:
        yield "wrong but sufficient", smallest


def trials(name: str, seed: int) -> Iterator[tuple[str, SearchTrial]]:
    """Plant a model, and put each of its circuits on trial."""
    found = plant(name, seed=seed, **VARIATIONS[seed % len(VARIATIONS)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.jsonl"
        path.write_text(found.task_lines)
        save_checkpoint(
            folder, found.model, name=name, tokenizer=found.tokenizer, reference=found.reference
        )
        checkpoint, task, model = load_checkpoint(folder), load_task(path), found.model
        reference = checkpoint.load_reference()
        means = measure_means(model, reference, checkpoint_sha256=checkpoint.sha256)
        search = ExtractConfig(target_loss_nats=0.15)
        extracted = run_extraction(checkpoint, task, search, reference=reference).circuit
        pairs = checkpoint.encode(task.up_to("test", extracted.n_pairs))
        for kind, nodes in circuits(name, found):
            edges = edges_between(model, nodes)
            changes = {"nodes": nodes, "edges": edges, "n_nodes": len(nodes)}
            counts = {"n_edges": len(edges), "n_edges_induced": len(edges)}
            trial = Trial(
                checkpoint=checkpoint, model=model, task=task,
                circuit=extracted.model_copy(update=changes | counts),
                means=means, reference=reference, pairs=pairs, seed=0,
            )  # fmt: skip
            yield kind, SearchTrial.of(trial, search)


def main() -> None:
    """Print the table, then the true circuits that a claim did not pass."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="planted models; all by default")
    parser.add_argument("--seeds", type=int, default=2, help="seeds a model (default 2)")
    parser.add_argument("--searches", action="store_true", help="the claims that search, too")
    given = parser.parse_args()
    torch.set_num_threads(1)
    claims = [c for c in claims_of("thorough") if given.searches or c not in SEARCHES]
    passed, tried, odd = Counter(), Counter(), []
    for name in given.names or planted_names():
        for seed in range(given.seeds):
            for kind, trial in trials(name, seed):
                outcomes = {str(c): claims_of("thorough")[c](trial).outcome for c in claims}
                ran = {claim: told for claim, told in outcomes.items() if told != "not_run"}
                ran["all of them"] = "pass" if set(ran.values()) == {"pass"} else "fail"
                tried.update((kind, claim) for claim in ran)
                passed.update((kind, claim) for claim, told in ran.items() if told == "pass")
                odd += [f"{name} seed {seed}, {c}: {o}" for c, o in ran.items() if o != "pass"
                        and kind == "true"]  # fmt: skip
    sys.stdout.write(f"| claim | {' | '.join(KINDS)} |\n|---|---|---|---|\n")
    for claim in [*map(str, claims), "all of them"]:
        cells = [f"{passed[kind, claim]} of {tried[kind, claim]}" for kind in KINDS]
        sys.stdout.write(f"| {claim} | {' | '.join(cells)} |\n")
    sys.stdout.write("\n".join(["", *odd]) + "\n")


if __name__ == "__main__":
    main()
