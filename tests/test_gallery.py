"""Laws of the circuits that are shown: each is what its file says."""

import json
import sys
from pathlib import Path

import pytest

from circuitkit import Circuit, Validation, load_checkpoint
from circuitkit.nodes import NodeSet

sys.path.append(str(Path(__file__).parent / "benchmarks"))

from minimality import Selected
from shown import GALLERY, Shown, shown_folders

SMALL = [f"tinypython-nano/{task}" for task in ("final_kwarg", "if_ternary")]


@pytest.mark.parametrize("name", SMALL)
def test_no_single_node_can_go(name):
    """By the masked model, apart from the search; a passenger is told as one."""
    shown = Shown.load(GALLERY / name)
    tried, nodes = Selected.of(shown), shown.nodes
    assert shown.circuit.minimality.nodes_1_minimal
    assert tried.meets(nodes)
    assert tried.could_go(nodes) == []
    passenger = next(iter(NodeSet.full(nodes.widths) - nodes))
    assert passenger in tried.could_go(nodes | NodeSet.of([passenger]))


@pytest.mark.parametrize("folder", shown_folders(), ids=lambda path: "/".join(path.parts[-2:]))
def test_a_shown_circuit_is_of_a_bundled_checkpoint_and_has_a_verdict(folder):
    """Bound by hash; the target met or said not to be; 1-minimal where met and refined."""
    circuit, validation = Circuit.load(folder), Validation.load(folder)
    checkpoint = load_checkpoint(folder.parent.name)
    assert circuit.checkpoint.sha256 == checkpoint.sha256
    assert circuit.task.name == folder.name
    assert circuit.outcome in ("target_met", "target_missed", "collapsed")
    refined = json.loads((folder / "pruning.json").read_text())["config"]["refine"]
    assert circuit.minimality.nodes_1_minimal == (circuit.outcome == "target_met" and refined)
    assert refined or folder.parent.name == "tinypython-dense"
    assert validation.grade in ("A", "B", "C", "C-redundant", "F")
    assert not [p.name for p in folder.iterdir() if p.name == "search.json"]
    sources = json.loads((folder / "sources.json").read_text())
    assert (sources["checkpoint"], sources["reference"]) == (folder.parent.name, None)
