"""Laws of explanations: contributions add up, a cut takes away what flows, planted paths show."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import OPTIONS, encoded_pairs, random_nodes, random_values, tiny_model

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.checkpoints.token_names import token_names
from circuitkit.circuit import CircuitFolder, Explanation
from circuitkit.circuit.explanation import FILE
from circuitkit.errors import CircuitError
from circuitkit.explaining.chosen_pairs import ChosenPair, shortest
from circuitkit.explaining.circuit_flows import measure_flows
from circuitkit.explaining.contexts import find_contexts
from circuitkit.explaining.explain import _Explainer, _notes
from circuitkit.explaining.token_paths import _named, _ways, _ways_above
from circuitkit.extraction import (
    ExtractConfig,
    PruningConfig,
    measure_means,
    run_extraction,
)
from circuitkit.extraction.edge_pruning import cut_edges
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.masked_model import masked_differences
from circuitkit.model import record_tap
from circuitkit.nodes import NodeSet, Site
from circuitkit.planted import plant
from circuitkit.planted.catalogue import MECHANISMS
from circuitkit.progress import silent
from circuitkit.task import load_task
from circuitkit.validation import validate_folder


def explainer_of(model, nodes, values):
    names = [f"t{i}" for i in range(model.arch.vocab_size)]
    return _Explainer(model=model, circuit_model=model, nodes=nodes, values=values, names=names)


def random_explainer(option, share=0.7, seed=0, **changes):
    model = tiny_model(option, seed, **changes)
    nodes = random_nodes(model.arch, share, seed)
    return explainer_of(model, nodes, random_values(model.arch, seed)), encoded_pairs(model.arch, 3)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_paths_and_what_is_constant_add_up_to_the_logit_difference(option):
    """Whatever the architecture: the listed paths, the rest and the constant, to 1e-4."""
    explainer, pairs = random_explainer(option)
    own = masked_differences(explainer.model, pairs, explainer.nodes, explainer.values)
    for i, explained in enumerate(explainer.explained(pairs)):
        example = explainer.example(explained, ChosenPair("shown", pairs[i : i + 1]))
        for side, d in zip("ab", own.view(2, -1)[:, i].tolist(), strict=True):
            listed = sum(getattr(path.adds, side) for path in example.paths)
            rest = getattr(example.constant, side) + getattr(example.rest, side)
            assert listed + rest == pytest.approx(d, abs=1e-4 * max(1, abs(d)))


@pytest.mark.parametrize("option", OPTIONS)
def test_all_paths_together_are_all_flows_together(option):
    """What every way through the parts adds sums up to what one pass over all of them finds."""
    explainer, pairs = random_explainer(option)
    for run in explainer.sides(pairs[:1]):
        by_way = sum(float(added.sum()) for _, _, added in _ways_above(run, 0.0))
        total = measure_flows(run, explainer.texts(run)).total
        assert by_way == pytest.approx(total, rel=1e-6, abs=1e-6)


def test_of_too_many_ways_the_stronger_are_followed(monkeypatch):
    """Those that are left carry more than those that are not."""
    explainer, pairs = random_explainer("plain")
    run, _ = explainer.sides(pairs[:1])
    before = {way: added for way, kind, added in _ways(run) if way and kind == "token"}
    most = len(_ways(run)) // 2
    monkeypatch.setattr("circuitkit.explaining.token_paths._MOST_WAYS", most)
    ways = _ways(run)
    after = {way for way, *_ in ways if way}
    assert 0 < len(ways) <= most
    assert after < before.keys()
    means = [
        np.mean([np.abs(before[way]).sum() for way in some])
        for some in (after, before.keys() - after)
    ]
    assert means[0] > means[1]


@pytest.mark.parametrize(
    ("a", "b", "role"),
    [(0.4, 0.4, "cue"), (0.4, -0.4, "offset"), (0.0, 0.0, "constant"), (0.02, 0.0, "constant")],
)
def test_a_role_is_of_the_size_of_the_answers(a, b, role):
    """Where the circuit does not tell the prompts apart they cancel, and their mean is 0."""
    explainer, pairs = random_explainer("plain")
    (one,) = explainer.explained(pairs[:1])
    for flows, adds in zip(one.flows, (a, b), strict=True):
        flows.nodes["x"] = adds
    for differences in ((4.85, -4.85), (4.85, 4.85)):
        assert _notes([replace(one, differences=differences)], ["x"])["x"][0] == role
    if a == b == 0:
        assert _notes([replace(one, differences=(0.0, 0.0))], ["x"])["x"][0] == role


@pytest.mark.parametrize("option", OPTIONS)
def test_what_flows_into_a_node_flows_on(option):
    """The links out of a node on a path add up to what flows through it."""
    explainer, pairs = random_explainer(option)
    for run in explainer.sides(pairs[:1]):
        flows, out = measure_flows(run, explainer.texts(run)), defaultdict(float)
        for link, value in flows.links.items():
            out[link.split(">")[0]] += value
        for node, value in flows.nodes.items():
            assert out[node] == pytest.approx(value, rel=1e-6, abs=1e-6), node


def linear(seed=0):
    """A circuit that is linear: no norm, no neuron, and attention that nothing moves."""
    model = tiny_model("no norm", seed)
    nodes = random_nodes(model.arch, 0.7, seed)
    moving = ("q", "k", "post_act")
    still = {s: c for s, c in nodes.channels.items() if s.place not in moving}
    values = random_values(model.arch, seed)
    return explainer_of(model, NodeSet(still, model.arch.widths), values)


@pytest.mark.parametrize("seed", range(3))
def test_in_a_linear_circuit_what_flows_is_what_a_cut_takes_away(seed):
    """Through every node and every edge, in both prompts."""
    explainer = linear(seed)
    model, nodes, values = explainer.model, explainer.nodes, explainer.values
    pairs = encoded_pairs(model.arch, 1, seed)
    whole = masked_differences(model, pairs, nodes, values)
    flows = [measure_flows(run, explainer.texts(run)) for run in explainer.sides(pairs)]
    for node in nodes:
        without = nodes - NodeSet.of([node], nodes.widths)
        lost = (whole - masked_differences(model, pairs, without, values)).tolist()
        assert [f.nodes.get(str(node), 0.0) for f in flows] == pytest.approx(lost, abs=1e-4)
    for edge in edges_between(model, nodes):
        cut = cut_edges(model, [edge], values)
        lost = (whole - masked_differences(cut, pairs, nodes, values)).tolist()
        link = f"{edge.source}>{edge.target}"
        assert [f.links.get(link, 0.0) for f in flows] == pytest.approx(lost, abs=1e-4)


def test_a_node_on_no_path_has_what_is_lost_without_it():
    """Queries and keys decide where a head looks; their links share it out."""
    explainer, pairs = random_explainer("plain")
    whole = masked_differences(explainer.model, pairs, explainer.nodes, explainer.values)
    explained = explainer.explained(pairs)[0]
    example = explainer.example(explained, ChosenPair("shown", pairs[:1]))
    looking = [n for n in explainer.nodes if n.site.place in ("q", "k")]
    assert {str(node) for node in looking} <= set(example.by_ablation)
    for node in looking[:6]:
        without = explainer.nodes - NodeSet.of([node], explainer.nodes.widths)
        lost = whole - masked_differences(explainer.model, pairs, without, explainer.values)
        assert example.nodes[str(node)].a == pytest.approx(float(lost[0]), abs=1e-4)
        into = [adds.a for link, adds in example.links.items() if link.endswith(f">{node}")]
        assert sum(into) == pytest.approx(float(lost[0]) if into else 0.0, abs=1e-4)


SHOWN = {
    "closing_quote": {("'", "neurons 0", "head 1.1")},
    "nesting_depth": {("[", "head 0.2", "neurons 0")},
    "variable_binding": {("set()", "head 0.5", "head 1.1"), ("str()", "head 0.5", "head 1.1")},
    "induction": {("red", "head 1.1")},
    "selected_slot": {("red2", "head 0.5")},
    "neuron_chain": {("on", "neurons 0", "neurons 1")},
    "either_feature": {("alarm", "head 0.2", "neurons 0")},
    "both_features": {("end", "neurons 0"), ("alarm", "head 0.2", "neurons 0")},
    "long_range_mode": {("end", "neurons 0"), ("alarm", "head 0.2", "neurons 0")},
    "decoys": {("left", "head 1.1")},
    "twin_paths": {("left", "head 0.5"), ("left", "head 1.1")},
    "long_way_round": {("left", "head 0.5", "neurons 0"), ("left", "head 1.1")},
    "weak_votes": {("left", f"head 0.{head}") for head in (0, 2, 3, 5, 6, 7)},
    "cancelling_pair": {("left", "head 0.5")},
    "cancellation_trap": {("'", "head 0.5", "neurons 0")},
    "norm_trap": {("left", f"head 0.{head}") for head in (0, 2, 3, 5, 6, 7)},
    "outweighed": {("left", "head 0.5")}
    | {("left", "head 0.6", f"head 1.{head}") for head in (0, 1, 3, 4)},
    "twin_heads": {("left", "head 0.5"), ("left", "head 0.6")},
    "twin_neurons": {("left", "head 0.5", "neurons 0")},
    "borrowed_constant": {("left", "head 0.5", "neurons 0"), ("open", "neurons 0")},
    "two_mechanisms": {("left", "head 0.5")},
    "shared_entry": {("left", "head 0.5", "neurons 0"), ("?1", "neurons 0")},
    "shared_exit": {("left", "head 0.5")},
    "surface_forms": {("left", "head 0.5")},
    "harder_form": {("left", "head 0.5"), ("down", "head 0.5"), ("down", "head 0.6")},
    "either_way": {("left", "head 0.5"), ("left", "head 1.1")},
}
"""By planted model the paths of its whole mechanism that add a quarter of the strongest."""


def saved(planted, folder):
    """A planted model as a user has it: a checkpoint and a task."""
    save_checkpoint(
        folder, planted.model, name=planted.name, tokenizer=planted.tokenizer,
        reference=planted.reference,
    )  # fmt: skip
    (folder / "task.jsonl").write_text(planted.task_lines)
    return load_checkpoint(folder), load_task(folder / "task.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISMS)
def test_the_strongest_paths_are_those_that_were_planted(name, tmp_path):
    """From the token that decides, through the heads and neurons wired for it, and no other."""
    planted = plant(name, seed=0)
    checkpoint, task = saved(planted, tmp_path)
    values = measure_means(planted.model, planted.reference).values
    explainer = _Explainer(
        model=planted.model, circuit_model=planted.model, nodes=planted.mechanism, values=values,
        names=token_names(checkpoint),
    )  # fmt: skip
    pair = shortest(checkpoint.ask(task, "test", 16))
    found = explainer.example(explainer.explained(pair)[0], ChosenPair("shown", pair))
    most = max(abs(path.adds.both) for path in found.paths)
    strong = {
        (path.source.a, *(hop.part for hop in path.hops))
        for path in found.paths
        if abs(path.adds.both) > most / 4
    }
    assert strong == SHOWN[name]
    assert found.explained(5) >= 0.8


def test_a_path_names_the_nodes_of_both_prompts():
    """Also those that carry it in one prompt alone; a node that carries nothing is not named."""
    kept, site = np.array([3, 5, 9, 11]), Site.parse("final_resid")
    in_a, in_b = np.array([0.0, 2.2, 1.1, 0.0]), np.array([3.9, 0.5, 0.0, 0.1])
    names = ["final_resid:3", "final_resid:5", "final_resid:9"]
    assert _named(kept, site, [in_a, in_b]) == names
    assert _named(kept, site, [in_b]) == names[:1]
    assert _named(kept, site, [np.zeros(4)]) == []
    assert _named(kept[:0], site, [np.zeros(0)]) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A circuit with all that extraction writes."""
    out = tmp_path_factory.mktemp("closing_quote")
    checkpoint, task = saved(plant("closing_quote", seed=0), out / "model")
    config = ExtractConfig(
        restarts=1, n_train=96, n_select=48, n_test=48, target_loss_nats=0.15,
        pruning=PruningConfig(n_steps=80),
    )  # fmt: skip
    run_extraction(checkpoint, task, config, out=out / "circuit", progress=silent)
    return CircuitFolder.open(out / "circuit")


@pytest.mark.slow
def test_extraction_explains_and_the_file_is_the_same_each_time(folder):
    """It is loaded as it was saved, and made again to the same bytes."""
    explanation = folder.explanation
    assert explanation.circuit_sha256 == folder.circuit.sha256
    assert [example.kind for example in explanation.examples][:2] == ["shown", "typical"]
    assert set(explanation.nodes) == {str(node) for node in folder.circuit.nodes}
    before = (folder.path / FILE).read_bytes()
    (folder.path / FILE).unlink()
    validate_folder(folder, n_pairs=48, progress=silent)
    assert (folder.path / FILE).read_bytes() == before
    explanation.save(folder.path)
    assert (folder.path / FILE).read_bytes() == before


@pytest.mark.slow
def test_roles_tell_what_turns_with_the_answer_from_what_does_not(folder):
    """The copied value is a cue; so is what the head finds it by, through what is lost."""
    explanation = folder.explanation
    cue = {name for name, note in explanation.nodes.items() if note.role == "cue"}
    assert {"final_resid:15", "1.attn.v:4", "1.attn.k:4"} <= cue


def test_contexts_are_the_highest_and_lowest_of_the_sample():
    """One a sequence, by the activation in the whole model."""
    model = tiny_model("plain")
    nodes = random_nodes(model.arch, 0.2)
    sample = torch.randint(model.arch.vocab_size, (12, 9), generator=torch.Generator())
    names = [f"t{i}" for i in range(model.arch.vocab_size)]
    seen = {}
    model.stream(sample, record_tap(seen))
    for node, found in zip(
        nodes, find_contexts(model, sample, nodes, names, 0).values(), strict=True
    ):
        values = seen[node.site][..., node.channel]
        highest, lowest = values.amax(1).sort(descending=True), values.amin(1).sort()
        assert [c.activation for c in found.highest] == pytest.approx(
            highest.values[:3].tolist(), rel=1e-3
        )
        assert [c.activation for c in found.lowest] == pytest.approx(
            lowest.values[:3].tolist(), rel=1e-3
        )
        at = found.highest[0].at
        assert found.highest[0].tokens[at] in names


@pytest.mark.slow
def test_an_explanation_of_another_circuit_is_none(folder, tmp_path):
    """It is bound to the circuit by hash."""
    other = folder.explanation.model_copy(update={"circuit_sha256": "0" * 64})
    folder.circuit.save(tmp_path)
    other.save(tmp_path)
    assert CircuitFolder(tmp_path).explanation is None


def test_a_broken_file_is_refused(tmp_path):
    """In one message that says what is wrong."""
    with pytest.raises(CircuitError, match=r"explanation\.json"):
        Explanation.load(tmp_path)
    (tmp_path / FILE).write_text('{"format": "circuitkit.explaining/2"}')
    with pytest.raises(CircuitError, match="is not an explanation"):
        Explanation.load(tmp_path)
