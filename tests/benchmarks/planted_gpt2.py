"""Planted models in GPT-2's format: does extraction find them, does the validator know them?

Every model is exported to a folder, read back as any GPT-2 is, and extracted. Then its mechanism
and every wrong circuit of its truth.json go through the default suite.

Usage: python tests/benchmarks/planted_gpt2.py [--seeds N] [--noise D] [NAME ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from planted_cases import Bench

from circuitkit import Node, NodeSet, extract, validate
from circuitkit.planted import TruthFile, plant, save_gpt2

NAMES = (
    "selected_slot", "closing_quote", "variable_binding", "neuron_chain", "twin_heads",
    "twin_neurons", "cancelling_pair", "decoys", "outweighed", "either_feature",
)  # fmt: skip
"""The mechanisms of docs/ground-truth.md."""

TRUE = "the mechanism"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model: seconds and bytes of the export, what extraction found, grades by kind."""

    name: str
    seconds: float
    n_bytes: int
    is_smallest: bool
    n_named: int
    n_smallest: int
    grades: dict[str, list[str]]


def run(name: str, seed: int, noise: float) -> Row:
    """Export, extract and validate a model."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        began = time.process_time()
        truth = save_gpt2(plant(name, seed=seed, noise=noise, format="gpt2"), folder)
        seconds = time.process_time() - began
        found = extract(folder, folder / "task.csv", rung="smallest", seed=0)
        smallest = [_nodes(circuit.nodes) for circuit in truth.smallest]
        named = [found.nodes, *found.alternatives]
        return Row(
            name=name, seconds=seconds,
            n_bytes=sum(file.stat().st_size for file in folder.iterdir()),
            is_smallest=NodeSet(found.nodes.channels) in smallest,
            n_named=sum(NodeSet(nodes.channels) in smallest for nodes in named),
            n_smallest=len(smallest), grades=_grades(name, seed, folder, truth),
        )  # fmt: skip


def _grades(name: str, seed: int, folder: Path, truth: TruthFile) -> dict[str, list[str]]:
    bench, grades = Bench.at(name, seed, folder), defaultdict(list)
    for kind, nodes in [(TRUE, truth.mechanism.nodes), *((w.kind, w.nodes) for w in truth.wrong)]:
        case = bench.case(kind, kind, _nodes(nodes))
        found = validate(case.checkpoint, case.task, case.circuit, means=case.means)
        grades[kind].append(found.grade)
    return dict(grades)


def _nodes(names: Sequence[str]) -> NodeSet:
    return NodeSet.of(map(Node.parse, names))


def report(rows: Sequence[Row]) -> Iterator[str]:
    """A row a model, then a row a kind of circuit."""
    yield "| model | exports | found a smallest | named, of all smallest | grade of the mechanism |"
    yield "|" + "---|" * 5
    for name in dict.fromkeys(row.name for row in rows):
        own = [row for row in rows if row.name == name]
        named, n = sum(row.n_named for row in own), sum(row.n_smallest for row in own)
        grades = " ".join(grade for row in own for grade in row.grades[TRUE])
        found = sum(row.is_smallest for row in own)
        yield f"| {name} | {len(own)} | {found} of {len(own)} | {named} of {n} | {grades} |"
    yield ""
    yield "| circuit | n | A or B | C or C-redundant | F | models accepted |\n|" + "---|" * 6
    for kind in dict.fromkeys(kind for row in rows for kind in row.grades):
        grades = Counter(grade for row in rows for grade in row.grades.get(kind, []))
        good, refused = grades["A"] + grades["B"], grades["F"]
        passed = {r.name for r in rows if {"A", "B"} & set(r.grades.get(kind, []))}
        shown = ", ".join(sorted(passed)) if kind != TRUE else ""
        rest = grades.total() - good - refused
        yield f"| {kind} | {grades.total()} | {good} | {rest} | {refused} | {shown} |"
    yield ""
    seconds, sizes = [row.seconds for row in rows], [row.n_bytes for row in rows]
    yield f"export: at most {max(seconds):.1f} CPU s and {max(sizes) / 2**20:.2f} MB"


def main() -> None:
    """Run every model and print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(NAMES)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--noise", type=float, nargs="*", default=[0.0, 0.2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in given.names or NAMES:
        for seed in range(given.seeds):
            rows += [run(name, seed, noise) for noise in given.noise]
        sys.stderr.write(f"{name}\n")
    sys.stdout.write("\n".join(report(rows)) + "\n")


if __name__ == "__main__":
    main()
