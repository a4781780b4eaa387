"""Equals: another head, neuron or chain between the same reads and writes is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import encoded_pairs, random_nodes, random_values, tiny_model

from circuitkit import Node, NodeSet, extract, load_checkpoint, load_task
from circuitkit.extraction import Criterion, measure_means
from circuitkit.extraction.equals import equals
from circuitkit.planted import plant, save_gpt2
from circuitkit.planted.catalogue import planted_from
from circuitkit.planted.plan import Plan
from circuitkit.planted.planted_model import Planted
from circuitkit.planted.planted_prompts import Layout
from circuitkit.planted.truth import Truth
from circuitkit.planted.variation import Variation
from circuitkit.planted.wire import wire


def twin_chains(seed: int) -> Planted:
    """Two chains of two neurons, each by a channel of its own, from one channel to one."""
    w = wire(Variation(seed=seed, noise=0.2), ("on", "off", "yes", "no"))
    w.embed("state", {"on": 1})
    twins = [
        w.neuron(0, {"state": 2}, {middle: 1}, bias=-0.5)
        | w.neuron(1, {middle: 1}, {"say_yes": 1}, bias=-0.5)
        for middle in ("one", "other")
    ]
    answer = w.answer("say_yes", "yes", "no", gain=8, middle=0.5)

    def sides(i: Layout) -> tuple[str, str]:
        return f"{i.before} {i.after} on", f"{i.before} {i.after} off"

    plan = Plan(
        wiring=w, mechanism=answer.union(*twins), smallest=tuple(t | answer for t in twins),
        smallest_is="one of several equals", answers=("yes", "no"), sides=sides,
    )  # fmt: skip
    return planted_from(plan, "twin_chains", "two chains")


PLANTED = {
    "twin_heads": lambda seed: plant("twin_heads", seed=seed, noise=0.2),
    "twin_neurons": lambda seed: plant("twin_neurons", seed=seed, noise=0.2),
    "twin_chains": twin_chains,
    "selected_slot": lambda seed: plant("selected_slot", seed=seed, noise=0.2),
    "neuron_chain": lambda seed: plant("neuron_chain", seed=seed, noise=0.2),
}


def criterion_of(planted: Planted, folder: Path) -> tuple[Criterion, Truth]:
    truth = planted.save(folder)
    checkpoint = load_checkpoint(folder)
    model = checkpoint.load_model()
    means = measure_means(model, checkpoint.load_reference(), checkpoint_sha256=checkpoint.sha256)
    pairs = checkpoint.ask(load_task(folder / "task.jsonl"), "select", 192)
    return Criterion(model=model, values=means.values, pairs=pairs, target_loss_nats=0.15), truth


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", PLANTED)
def test_every_smallest_circuit_names_all_others(name: str, seed: int, tmp_path: Path) -> None:
    """Given one of several equal circuits, the equals are the others, and nothing else."""
    criterion, truth = criterion_of(PLANTED[name](seed), tmp_path)
    widths = criterion.model.arch.widths
    for nodes in truth.circuits:
        found = {
            NodeSet(other.channels) for other in equals(NodeSet(nodes.channels, widths), criterion)
        }
        assert found == {NodeSet(other.channels) for other in truth.circuits if other != nodes}


def test_a_chain_of_twins_is_in_the_planted_truth(tmp_path: Path) -> None:
    """The plan of this test has two smallest circuits, or its law would be empty."""
    assert len(criterion_of(twin_chains(0), tmp_path)[1].circuits) == 2


@pytest.mark.parametrize(("option", "d_mlp"), [("plain", 2), ("concatenated positions", 12)])
def test_a_copy_of_a_neuron_is_its_equal(option: str, d_mlp: int) -> None:
    """In any model, also one whose layers have fewer neurons than are tried for a chain."""
    judge, nodes, own, copy = next(with_a_copy(option, d_mlp))
    found = list(equals(nodes, judge))
    assert nodes - own | copy in found
    assert all(judge.meets(other) and len(other) <= len(nodes) for other in found)


def with_a_copy(option: str, d_mlp: int) -> Iterator[tuple[Criterion, NodeSet, NodeSet, NodeSet]]:
    """Circuits that need a neuron of which the model has a copy: judge, nodes, the two neurons."""
    for seed in range(20):
        model = tiny_model(option, seed, d_mlp=d_mlp, n_layer=2)
        mlp, values = model.layers[1].mlp, random_values(model.arch)
        mlp.c_fc.weight[1], mlp.c_fc.bias[1] = mlp.c_fc.weight[0], mlp.c_fc.bias[0]
        mlp.c_proj.weight[:, 1] = mlp.c_proj.weight[:, 0]
        values[mlp.sites["post_act"]][1] = values[mlp.sites["post_act"]][0]
        own, copy = (NodeSet.of([Node(mlp.sites["post_act"], i)]) for i in (0, 1))
        nodes = (random_nodes(model.arch, 0.6, seed) | own) - copy
        judge = Criterion(
            model=model, values=values, pairs=encoded_pairs(model.arch, 8), target_loss_nats=1.0,
            is_strict=False,
        )  # fmt: skip
        target = float(judge.losses(nodes).mean()) + 1e-5
        judge = replace(judge, target_loss_nats=target)
        if judge.meets(nodes) and not judge.meets(nodes - own):
            yield judge, nodes, own, copy


def test_a_circuit_of_many_nodes_has_no_parts_to_swap(tmp_path: Path) -> None:
    criterion, _ = criterion_of(plant("twin_heads", width=64), tmp_path)
    whole = NodeSet.full(criterion.model.arch.widths)
    assert list(equals(whole, criterion)) == []
    assert criterion.n_asked == 0


@pytest.mark.slow
def test_extract_names_both_of_two_saturating_twins(tmp_path: Path) -> None:
    """No swap nor detour leads from one twin of this model to the other."""
    truth = save_gpt2(plant("twin_heads", format="gpt2"), tmp_path)
    found = extract(tmp_path, tmp_path / "task.csv", rung="smallest", seed=0)
    named = [sorted(map(str, nodes)) for nodes in (found.nodes, *found.alternatives)]
    assert all(sorted(circuit.nodes) in named for circuit in truth.smallest)
