"""circuitkit: extract a circuit, and validate the mechanism and every wrong circuit.

Run in circuitkit's own environment. A circuit is turned into heads, neurons and the edges between
parts as those of truth.json are.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from planted_folder import Folder, main

sys.path.append(str(Path(__file__).parents[1]))
from planted_cases import Bench
from scoring import edges as edges_of
from scoring import parts as parts_of

from circuitkit import Node, NodeSet, extract, validate
from circuitkit.planted.components import components_of


def run(folder: Folder) -> dict[str, dict]:
    """The circuit alone, and with its alternatives; the grades."""
    path, name = Path(folder.path), folder.truth["name"]
    bench, began = Bench.at(name, folder.truth["seed"], path), time.process_time()
    circuit = extract(path, path / "task.csv", rung="smallest", seed=0)
    seconds = time.process_time() - began
    named = NodeSet(circuit.nodes.channels)
    for other in circuit.alternatives:
        named |= NodeSet(other.channels)
    found = {
        "extract": chosen(bench, circuit.nodes) | {"seconds": seconds},
        "extract, with alternatives": chosen(bench, named) | {"seconds": seconds},
    }
    began = time.process_time()
    grades = [grade(bench, circuit["nodes"]) for circuit in folder.circuits]
    return found | {"validate": {"grades": grades, "seconds": time.process_time() - began}}


def chosen(bench: Bench, nodes: NodeSet) -> dict:
    """A circuit in heads, neurons and edges between parts."""
    found = components_of(bench.model, NodeSet(nodes.channels, bench.model.arch.widths))
    parts = {"heads": found.heads, "mlps": found.mlps, "neurons": found.neurons}
    return {
        "chosen_parts": sorted(parts_of(parts, neurons=True)),
        "chosen_edges": sorted(edges_of({"part_edges": found.edges})),
    }


def grade(bench: Bench, names: Sequence[str]) -> str:
    """What the default suite says of some nodes."""
    case = bench.case("", "", NodeSet.of(map(Node.parse, names)))
    return validate(case.checkpoint, case.task, case.circuit, means=case.means).grade


if __name__ == "__main__":
    main(("sparse-circuitkit", "torch"), run)
