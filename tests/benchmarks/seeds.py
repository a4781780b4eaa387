"""What other seeds find: the size of a task's circuit over three seeds, and why sizes differ.

Of the smallest rung; the first is the gallery's. A seed draws other pairs, train and selection, and
other starting scores. Where edges differ by more than a quarter, the smallest circuit is put
before the criteria of all seeds: if one refuses it (the bound of its loss exceeds the target, or
its loss drifts by more than 0.01 nats as the ablation values are pushed), their draw asks for
more; if all take it, their searches missed it.

Usage: python tests/benchmarks/seeds.py [--seeds N] [FOLDER | CHECKPOINT ...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from goal import tell
from shown import GALLERY, Shown

from circuitkit import NodeSet, load_task
from circuitkit.extraction import Criterion, extract
from circuitkit.extraction.ask_maker import AskMaker
from circuitkit.extraction.criterion import PUSH

WITHIN = 1.25


def found(shown: Shown, seeds: Sequence[int]) -> Iterator[tuple[NodeSet, int] | None]:
    """The circuit and the edges of every seed; None where the target was missed."""
    for seed in seeds:
        circuit = shown.circuit
        if seed != shown.config["seed"]:
            circuit = extract(
                shown.checkpoint, load_task(circuit.task.name), seed=seed,
                restarts=shown.config["restarts"], rung="smallest",
            )  # fmt: skip
        nodes = NodeSet(circuit.nodes.channels, shown.model.arch.widths)
        yield None if circuit.outcome != "target_met" else (nodes, circuit.n_edges)


def judge_of(shown: Shown, seed: int) -> Criterion:
    """As the search of that seed was judged."""
    pairs = shown.pairs("select", shown.config["n_select"], seed)
    asked = {
        "model": shown.model, "values": shown.means.values, "pairs": pairs,
        "target_loss_nats": shown.circuit.target_loss_nats,
    }  # fmt: skip
    limits = AskMaker(sample=None, seed=seed, **asked).form_limits
    pushed = (shown.means.pushed(PUSH), shown.means.pushed(-PUSH))
    return Criterion(pushed=pushed, limits=limits, **asked)


def why(shown: Shown, nodes: NodeSet, seeds: Sequence[int]) -> str:
    """Why the other seeds did not end at this circuit."""
    criteria = {seed: judge_of(shown, seed) for seed in seeds}
    refused = [
        f"{seed} (bound {criterion.bound(nodes):.3f}, drift {criterion.drift(nodes):.3f})"
        for seed, criterion in criteria.items()
        if not criterion.meets(nodes)
    ]
    return "refused on the pairs of " + ", ".join(refused) if refused else "missed by the others"


def row(shown: Shown, seeds: Sequence[int]) -> tuple[str, float]:
    """Sizes by seed, the largest over the smallest, and why; the ratio of edges once more."""
    all_found = list(found(shown, seeds))
    sizes = [f"{len(f[0])} / {f[1]}" if f else "missed" for f in all_found]
    met = [f for f in all_found if f]
    nodes, edges = [len(kept) for kept, _ in met], [n for _, n in met]
    ratio = max(edges) / max(1, min(edges))
    smallest = min(met, key=lambda x: x[1])
    told = why(shown, smallest[0], seeds) if ratio > WITHIN else ""
    cells = (shown.name, *sizes, f"{max(nodes) / min(nodes):.2f}", f"{ratio:.2f}", told)
    return f"| {' | '.join(cells)} |", ratio


def main() -> None:
    """A row a circuit, as it comes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("asked", nargs="*", metavar="FOLDER | CHECKPOINT")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds (default 3)")
    given = parser.parse_args()
    seeds = range(given.seeds)
    head = ["circuit", *(f"seed {seed}" for seed in seeds), "nodes ×", "edges ×", "the smallest"]
    sys.stdout.write(f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n")
    ratios: list[float] = []
    for name in given.asked or ["tinypython-nano", "tinypython-sparse"]:
        inside = sorted((GALLERY / name).glob("*/circuit.json"))
        for folder in [path.parent for path in inside] or [Path(name)]:
            line, ratio = row(Shown.load(folder), seeds)
            ratios.append(ratio)
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    near = f"{sum(ratio <= WITHIN for ratio in ratios)} of {len(ratios)}"
    tell(f"edges of {given.seeds} seeds within 25 %", "all, or why not", near)


if __name__ == "__main__":
    main()
