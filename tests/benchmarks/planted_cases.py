"""Circuits that a validator should accept or refuse, on models whose mechanism is known.

In: the name of a planted model and a seed. Out: cases, each a circuit with its checkpoint,
task and means. Results: docs/results.md#models-with-known-circuits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from side_by_side import SideBySide, place_side_by_side

from circuitkit import Circuit, NodeSet, load_checkpoint, load_task
from circuitkit.checkpoints import Checkpoint, save_checkpoint
from circuitkit.circuit import Minimality
from circuitkit.extraction import (
    ExtractConfig,
    Means,
    PruningConfig,
    edges_between,
    four_differences,
    measure_means,
    run_extraction,
)
from circuitkit.files import write_whole
from circuitkit.model import Transformer
from circuitkit.planted import Planted, plant
from circuitkit.planted.live_nodes import find_alive
from circuitkit.planted.planted_model import TABLE, TASK
from circuitkit.provenance import Named, record
from circuitkit.task import Task
from circuitkit.validation.controls.same_size import location_matched

TARGET_NATS = 0.15
N_PASSENGERS = 20
N_LESS_ONE, N_RANDOM = 3, 2

VARIATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"noise": 0.1, "width": 32},
    {"sink": True, "noise": 0.1},
)
"""Seed i is planted in variation i modulo their number."""

TRUE = "true circuit"
ALONE = "its mechanism alone"
LESS_ONE = "less any one node"
PASSENGERS = "plus 20 passengers"
RANDOM = "same-size random"
OTHER_TASK = "another task's circuit"
PERMUTED = "labels permuted per prompt"
PERMUTED_MOVED = "the same nodes, on the task itself"
CANCELLATION = "cancellation trap"
NORM = "norm trap"
TWINS = "twin paths, one of them"
INSIDE = "twins inside, one of them"
OUTWEIGHED = "outweighed"
BORROWED = "lives on ablation values"
CASES = (
    TRUE, ALONE, LESS_ONE, PASSENGERS, RANDOM, OTHER_TASK, PERMUTED, PERMUTED_MOVED,
    CANCELLATION, NORM, TWINS, INSIDE, OUTWEIGHED, BORROWED,
)  # fmt: skip

KINDS_OF_SMALLEST = {
    "cancellation_trap": CANCELLATION,
    "norm_trap": NORM,
    "twin_paths": TWINS,
    "long_way_round": TWINS,
    "either_way": TWINS,
    "twin_heads": INSIDE,
    "twin_neurons": INSIDE,
    "weak_votes": INSIDE,
    "outweighed": OUTWEIGHED,
    "borrowed_constant": BORROWED,
}
"""What is wrong with a smallest circuit that is not the mechanism.

True is the mechanism: all paths through which the model does the task. One of two equal paths,
or three of six equal votes, meets the target alone; put into the run on the other prompt it is
outvoted by those left out, so it is no account of what decides.
"""

IN_WORDS = {
    "decoys": "what is left without its mechanism, a decoy's vote, is right in three templates of "
    "four: that is not chance. The model goes by both.",
    "cancellation_trap": "its mechanism reads a channel that a cancelled shortcut reads too; "
    "knocked out, what cancels the shortcut is left alone and votes wrong: ANTI-CHANCE. With both "
    "kept, the nodes that cancel are passengers, without which the loss is lower.",
    "norm_trap": "its weak writers do the task in the model only beside a loud bystander; with "
    "that ablated they are amplified, with it kept it is a passenger.",
}
"""Models whose mechanism alone cannot pass, and why."""

NEIGHBOURS = {
    "closing_quote": "nesting_depth",
    "variable_binding": "neuron_chain",
    "selected_slot": "both_features",
    "twin_paths": "closing_quote",
    "neuron_chain": "variable_binding",
}
"""Models that are put side by side: the second one's circuit is tried for the first one's task."""

ASKED_WRONGLY = ("closing_quote", "neuron_chain", "both_features", "selected_slot", "twin_paths")
"""Models on which a circuit is searched for labels permuted per prompt."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One circuit to be validated; ``backup`` is what a REDUNDANT finding should name."""

    kind: str
    model: str
    seed: int
    what: str
    checkpoint: Checkpoint
    task: Task
    circuit: Circuit
    means: Means
    backup: NodeSet | None = None


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A saved model with what every circuit on it shares."""

    name: str
    seed: int
    checkpoint: Checkpoint
    task: Task
    model: Transformer
    means: Means

    @classmethod
    def at(cls, name: str, seed: int, folder: Path) -> Bench:
        """Read a folder that holds a checkpoint and a task."""
        file = TASK if (folder / TASK).exists() else TABLE
        checkpoint, task = load_checkpoint(folder), load_task(folder / file)
        model = checkpoint.load_model()
        reference = checkpoint.load_reference()
        means = measure_means(model, reference, checkpoint_sha256=checkpoint.sha256)
        return cls(name=name, seed=seed, checkpoint=checkpoint, task=task, model=model, means=means)

    def case(self, kind: str, what: str, nodes: NodeSet, backup: NodeSet | None = None) -> Case:
        """Nodes as a circuit, with the losses they have."""
        return Case(
            kind=kind, model=self.name, seed=self.seed, what=what, checkpoint=self.checkpoint,
            task=self.task, circuit=self.circuit(nodes), means=self.means, backup=backup,
        )  # fmt: skip

    def circuit(self, nodes: NodeSet) -> Circuit:
        """A circuit file for nodes that no search found."""
        nodes = NodeSet(nodes.channels, self.model.arch.widths)
        pairs = self.checkpoint.encode(self.task.up_to("test", 512))
        scored = four_differences(self.model, pairs, nodes, self.means.values)
        edges = edges_between(self.model, nodes)
        return Circuit(
            task=Named(name=self.task.name, sha256=self.task.sha256),
            checkpoint=Named(name=self.checkpoint.name, sha256=self.checkpoint.sha256),
            means_sha256=self.means.sha256, ablation="mean", target_loss_nats=TARGET_NATS,
            granularity="node", seed=0, outcome="target_met", nodes=nodes, edges=edges,
            n_nodes=len(nodes), n_edges=len(edges), n_edges_induced=len(edges),
            loss_nats=scored.losses(), accuracy=scored.accuracies(), n_pairs=len(pairs),
            minimality=Minimality(
                nodes_1_minimal=False, edges_1_minimal=False, split="test", n_pairs=len(pairs)
            ),
            provenance=record("tests/benchmarks/planted_validation.py", {}, 0),
        )  # fmt: skip


def cases_of(name: str, seed: int, folder: Path) -> Iterator[Case]:
    """Every case of a model and a seed."""
    variation = VARIATIONS[seed % len(VARIATIONS)]
    planted = plant(name, seed=seed, **variation)
    bench = Bench.at(name, seed, _saved(planted, folder / "alone"))
    yield from _true(bench, planted)
    yield from _changed(bench, planted.mechanism)
    yield from _smallest(bench, planted)
    if name in NEIGHBOURS:
        other = plant(NEIGHBOURS[name], seed=seed, **variation)
        yield _others(place_side_by_side(planted, other), name, seed, folder / "both")
    if name in ASKED_WRONGLY:
        yield from _permuted(bench, planted, folder / "permuted")


def _true(bench: Bench, planted: Planted) -> Iterator[Case]:
    """The mechanism, or, where it cannot pass alone, with all that is wired to the answers."""
    if bench.name not in IN_WORDS:
        yield bench.case(TRUE, "the mechanism", planted.mechanism)
        return
    yield bench.case(ALONE, "the mechanism", planted.mechanism)
    if bench.name == "decoys":
        pairs = bench.checkpoint.encode(bench.task.up_to("test", 512))
        wired = NodeSet.of(find_alive(bench.model, pairs, bench.means.values).nodes)
        yield bench.case(TRUE, "with the decoy's vote", wired)


def _saved(planted: Planted | SideBySide, folder: Path, lines: str | None = None) -> Path:
    save_checkpoint(
        folder, planted.model, name=planted.name, tokenizer=planted.tokenizer,
        reference=planted.reference,
    )  # fmt: skip
    write_whole(folder / TASK, planted.task_lines if lines is None else lines)
    return folder


def _changed(bench: Bench, true: NodeSet) -> Iterator[Case]:
    """The true circuit made worse at random."""
    draw = Random(f"{bench.name}:{bench.seed}")
    for node in draw.sample(list(true), N_LESS_ONE):
        yield bench.case(LESS_ONE, f"less {node}", true - NodeSet.of([node]))
    rest = list(NodeSet.full(bench.model.arch.widths) - true)
    passengers = NodeSet.of(draw.sample(rest, N_PASSENGERS))
    yield bench.case(PASSENGERS, f"plus {N_PASSENGERS}", true | passengers)
    sized = NodeSet(true.channels, bench.model.arch.widths)
    for nodes in location_matched(sized, N_RANDOM, bench.seed):
        yield bench.case(RANDOM, "as many nodes at each site", nodes)


def _smallest(bench: Bench, planted: Planted) -> Iterator[Case]:
    """Smallest circuits that are not how the model does it, or not all of it."""
    kind = KINDS_OF_SMALLEST.get(bench.name)
    if kind is None:
        assert planted.wired == (planted.mechanism,), bench.name
        return
    for nodes in planted.wired[:2]:
        backup = planted.mechanism - nodes if kind in (TWINS, INSIDE, OUTWEIGHED) else None
        yield bench.case(kind, "the smallest circuit", nodes, backup)


def _others(both: SideBySide, name: str, seed: int, folder: Path) -> Case:
    bench = Bench.at(f"{name} beside {NEIGHBOURS[name]}", seed, _saved(both, folder))
    return bench.case(OTHER_TASK, f"the circuit of {NEIGHBOURS[name]}", both.second)


def _permuted(bench: Bench, planted: Planted, folder: Path) -> Iterator[Case]:
    """What the search finds where each pair's answers change places by the toss of a coin."""
    lines = permute_labels(planted.task_lines.splitlines(), bench.seed)
    wrong = Bench.at(bench.name, bench.seed, _saved(planted, folder, lines))
    config = ExtractConfig(
        target_loss_nats=TARGET_NATS, n_train=96, n_select=48, pruning=PruningConfig(n_steps=60)
    )
    nodes = run_extraction(wrong.checkpoint, wrong.task, config).circuit.nodes
    yield wrong.case(PERMUTED, "what the search found", nodes)
    yield bench.case(PERMUTED_MOVED, "what the search found", nodes)


def permute_labels(lines: Sequence[str], seed: int) -> str:
    """The lines of a task with the answers of half the pairs exchanged."""
    draw, told = Random(seed), []
    for line in lines:
        pair = json.loads(line)
        if draw.random() < 0.5:
            pair["a"]["answer"], pair["b"]["answer"] = pair["b"]["answer"], pair["a"]["answer"]
        told.append(json.dumps(pair))
    return "".join(line + "\n" for line in told)
