"""Laws of the parts of extraction: masks, means, edges, the criterion and the search's steps."""

import json
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy import stats
from tiny import (
    OPTIONS,
    encoded_pairs,
    names,
    nodes,
    random_nodes,
    random_tokens,
    random_values,
    tiny_architecture,
    tiny_model,
    write_over,
    zeroed,
)

from circuitkit.errors import CircuitError
from circuitkit.extraction import masked_model, means
from circuitkit.extraction.criterion import DRIFT_NATS, Criterion, upper_bound
from circuitkit.extraction.discretise import discretise, ranked_nodes, smallest_prefix
from circuitkit.extraction.elimination import eliminate, minimise, on_a_path
from circuitkit.extraction.induced_edges import edges_between, n_edges, wiring
from circuitkit.extraction.mask_learning import PruningConfig, Scores, learn_masks, open_gates
from circuitkit.extraction.masked_model import (
    gate_gradients,
    gates_of,
    masked_differences,
    nodes_of,
    tapped_differences,
)
from circuitkit.extraction.means import Means, halves_differ, measure_means, zero_means
from circuitkit.extraction.scoring import four_differences
from circuitkit.model import pair_losses, record_tap
from circuitkit.nodes import FINAL_RESID, Node, NodeSet, Site

ARCH = tiny_architecture()
WIDTHS = ARCH.widths


# Gates and the masked model


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_gates_and_nodes_are_two_ways_to_say_the_same(seed, share):
    """nodes_of undoes gates_of; gates are 1 at the kept nodes and 0 elsewhere."""
    kept = random_nodes(ARCH, share, seed)
    gates = gates_of(kept, WIDTHS)
    assert nodes_of(gates) == kept
    assert sum(float(gate.sum()) for gate in gates.values()) == len(kept)
    assert {site: len(gate) for site, gate in gates.items()} == WIDTHS


@pytest.mark.parametrize("option", ["plain", "the paper's", "everything"])
def test_the_masked_model_with_every_node_is_the_model(option):
    """Bitwise, in batches or at once."""
    model = tiny_model(option)
    pairs = encoded_pairs(model.arch, 70)
    full = NodeSet.full(model.arch.widths)
    masked = masked_differences(model, pairs, full, random_values(model.arch))
    assert torch.equal(masked, tapped_differences(model, pairs, None))


def test_gate_gradients_are_the_slopes_of_the_loss():
    """To first order the loss rises by that much a gate; checked by finite differences."""
    model = tiny_model("sink").double()
    values = {site: value.double() for site, value in random_values(ARCH).items()}
    pairs, kept = encoded_pairs(ARCH), random_nodes(ARCH, 0.5)
    found = gate_gradients(tiny_model("sink"), pairs, kept, random_values(ARCH))

    def loss(gates):
        def tap(site, x):
            return gates[site] * x + (1 - gates[site]) * values[site]

        return float(pair_losses(tapped_differences(model, pairs, tap)).mean())

    for node in Random(0).sample(list(NodeSet.full(WIDTHS)), 25):
        up, down = (gates_of(kept, WIDTHS) for _ in range(2))
        up[node.site][node.channel] += 1e-3
        down[node.site][node.channel] -= 1e-3
        slope = (loss(up) - loss(down)) / 2e-3
        assert float(found[node.site][node.channel]) == pytest.approx(slope, abs=1e-3, rel=1e-2)


def test_four_models_are_scored():
    """The circuit of every node is the model and leaves the empty one; and the other way round."""
    model, values, pairs = tiny_model("sink"), random_values(ARCH), encoded_pairs(ARCH, 20)
    full, empty = NodeSet.full(WIDTHS), NodeSet(widths=WIDTHS)
    whole = four_differences(model, pairs, full, values)
    nothing = four_differences(model, pairs, empty, values)
    assert torch.equal(whole.circuit, whole.model)
    assert torch.equal(whole.complement, nothing.circuit)
    assert torch.allclose(nothing.circuit, whole.empty, atol=1e-5)
    assert torch.equal(nothing.complement, whole.model)
    assert whole.losses().circuit == pytest.approx(float(pair_losses(whole.model).mean()))
    right = float((whole.model > 0).float().mean())
    assert whole.accuracies().model == pytest.approx(right)


# Edges


def one_neuron():
    """A model with two nonzero weights: neuron 5 of layer 0 reads channel 1 and writes 2."""
    model = zeroed(tiny_model())
    model.transformer.h[0].mlp.c_fc.weight[5, 1] = 0.5
    model.transformer.h[0].mlp.c_proj.weight[2, 5] = -2.0
    return model


def test_one_neuron_is_three_nodes_and_two_edges():
    """Gao et al. 2025, footnote 3."""
    kept = nodes("0.mlp.act_in:1", "0.mlp.post_act:5", "0.mlp.resid_delta:2")
    found = edges_between(one_neuron(), kept)
    assert [(str(e.source), str(e.target), e.weight) for e in found] == [
        ("0.mlp.act_in:1", "0.mlp.post_act:5", 0.5),
        ("0.mlp.post_act:5", "0.mlp.resid_delta:2", -2.0),
    ]
    assert n_edges(one_neuron()) == 2


KINDS = {
    ("0.attn.act_in:3", "0.attn.q:1"): ("attn.c_attn", 1, 3),
    ("0.attn.act_in:3", "0.attn.k:1"): ("attn.c_attn", 8 + 1, 3),
    ("0.attn.act_in:3", "0.attn.v:1"): ("attn.c_attn", 16 + 1, 3),
    ("0.attn.v:1", "0.attn.resid_delta:3"): ("attn.c_proj", 3, 1),
    ("0.mlp.act_in:3", "0.mlp.post_act:9"): ("mlp.c_fc", 9, 3),
    ("0.mlp.post_act:9", "0.mlp.resid_delta:3"): ("mlp.c_proj", 3, 9),
}


@pytest.mark.parametrize("ends", KINDS)
def test_there_are_six_kinds_of_edge(ends):
    """Each is one weight of one matrix, in the layout of the files."""
    model = zeroed(tiny_model())
    matrix, row, column = KINDS[ends]
    model.transformer.h[0].get_submodule(matrix).weight[row, column] = 1.5
    everything = edges_between(model, NodeSet.full(WIDTHS))
    assert [(str(e.source), str(e.target), e.weight) for e in everything] == [(*ends, 1.5)]


@pytest.mark.parametrize(
    "option", ["plain", "narrow heads", "concatenated positions", "everything"]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_edges_are_nonzero_weights_between_kept_nodes(option, seed):
    """Exactly those; of all nodes, as many as the model has edges."""
    model = tiny_model(option, seed, density=0.2)
    widths = model.arch.widths
    kept = random_nodes(model.arch, 0.5, seed)
    everything = edges_between(model, NodeSet.full(widths))
    assert len(everything) == n_edges(model)
    matrices = [p for n, p in model.named_parameters() if ".c_" in n and n.endswith("weight")]
    assert n_edges(model) == sum(int(m.count_nonzero()) for m in matrices)
    expected = [e for e in everything if e.source in kept and e.target in kept]
    found = edges_between(model, kept)
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert all(edge.weight != 0 for edge in found)
    assert len({(e.source, e.target) for e in found}) == len(found)


def test_the_empty_circuit_has_no_edges():
    """Nothing to draw."""
    assert edges_between(tiny_model(), NodeSet(widths=WIDTHS)) == ()


# Means


@pytest.mark.parametrize("option", OPTIONS)
def test_means_are_those_of_the_activations(option):
    """numpy's mean over every position of the reference, top-k on."""
    model, seen = tiny_model(option), {}
    tokens = random_tokens(model.arch, 23, 7)
    model(tokens, record_tap(seen))
    found = measure_means(model, tokens)
    for site, width in model.arch.widths.items():
        x = seen[site].double().numpy().reshape(-1, width)
        np.testing.assert_allclose(found.values[site], x.mean(0), atol=1e-5)
        by_sequence = seen[site].double().numpy().mean(1)
        error = by_sequence.std(0, ddof=1) / np.sqrt(23)
        np.testing.assert_allclose(found.standard_errors[site], error, atol=1e-5)
    assert found.n_tokens == 23 * 7
    assert found.ablation == "mean"


@pytest.mark.parametrize("tokens_a_batch", [1, 20, 10**6])
def test_batches_do_not_matter_to_means(monkeypatch, tokens_a_batch):
    """Sums are in float64; what is left is the rounding of the forward pass."""
    model = tiny_model("the paper's")
    tokens = random_tokens(model.arch, 23, 7)
    expected = measure_means(model, tokens)
    told = []
    monkeypatch.setattr(means, "_TOKENS_A_BATCH", tokens_a_batch)
    found = measure_means(model, tokens, progress=lambda *step: told.append(step))
    for site in model.arch.widths:
        torch.testing.assert_close(found.values[site], expected.values[site], atol=1e-6, rtol=1e-5)
    assert told[-1] == ("means", 161, 161)


@pytest.mark.parametrize("kind", ["mean", "zero"])
def test_loading_undoes_saving_means(tmp_path, kind):
    """The same values, hash and bytes."""
    model = tiny_model()
    made = measure_means(model, random_tokens(ARCH, 5, 4), checkpoint_sha256="c0" * 32)
    made = made if kind == "mean" else zero_means(WIDTHS, "c0" * 32)
    made.save(tmp_path)
    loaded = Means.load(tmp_path, WIDTHS)
    assert loaded.sha256 == made.sha256
    assert (loaded.ablation, loaded.n_tokens) == (kind, made.n_tokens)
    assert loaded.checkpoint_sha256 == "c0" * 32
    assert all(torch.equal(loaded.values[site], made.values[site]) for site in WIDTHS)
    assert kind == "mean" or not any(value.any() for value in loaded.values.values())


def spoiled_means(tmp_path, edit, metadata=None):
    measure_means(tiny_model(), random_tokens(ARCH, 5, 4)).save(tmp_path)
    path = tmp_path / "means.safetensors"
    tensors = load_file(path)
    edit(tensors)
    right = {"format": means.FORMAT, "ablation": "mean", "n_tokens": 20, "checkpoint_sha256": ""}
    save_file(tensors, path, {"circuitkit": json.dumps(right | (metadata or {}))})


MEAN = "mean/0.attn.q"
SPOILED = {
    "misshapen": (lambda t: t.update({MEAN: torch.zeros(3)}), r"mean/0\.attn\.q is not 8 finite"),
    "NaN": (lambda t: t[MEAN].fill_(float("nan")), r"mean/0\.attn\.q is not 8 finite numbers"),
    "integers": (lambda t: t.update({MEAN: t[MEAN].int()}), r"float32, got int32 \(8,\); extract"),
    "float64": (lambda t: t.update({MEAN: t[MEAN].double()}), r"float32, got float64 \(8,\)"),
    "missing": (lambda t: t.pop(MEAN), r"does not hold this model's means: .*0\.attn\.q"),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_wrong_means_are_refused_by_site(tmp_path, fault):
    """Another model's, or damaged."""
    edit, match = SPOILED[fault]
    spoiled_means(tmp_path, edit)
    with pytest.raises(CircuitError, match=rf"means\.safetensors.*{match}"):
        Means.load(tmp_path, WIDTHS)


def test_means_of_another_format_are_refused(tmp_path):
    """Both formats are named."""
    spoiled_means(tmp_path, lambda t: None, {"format": "x"})
    with pytest.raises(CircuitError, match=r"'format': 'x'.*expected format 'circuitkit\.means/1'"):
        Means.load(tmp_path, WIDTHS)


@pytest.mark.parametrize("change", [{"n_tokens": "x"}, {"ablation": "max"}, {"ablation": 1}])
def test_means_that_say_something_odd_of_themselves_are_refused(tmp_path, change):
    """Every key is of its type, the ablation one of the two there are."""
    spoiled_means(tmp_path, lambda t: None, change)
    with pytest.raises(CircuitError, match=r"metadata .*expected format .*extract the circuit"):
        Means.load(tmp_path, WIDTHS)


def test_means_once_read_do_not_follow_their_file(tmp_path):
    """The file may be written over in place."""
    spoiled_means(tmp_path, lambda t: None)
    means = Means.load(tmp_path, WIDTHS)
    before = {site: value.clone() for site, value in means.values.items()}
    write_over(tmp_path / "means.safetensors")
    assert all(torch.equal(means.values[site], before[site]) for site in WIDTHS)


def test_missing_and_truncated_means_are_refused(tmp_path):
    """With what to do."""
    with pytest.raises(CircuitError, match=r"no such file: .*; extract the circuit again"):
        Means.load(tmp_path, WIDTHS)
    spoiled_means(tmp_path, lambda t: None)
    path = tmp_path / "means.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CircuitError, match="does not hold this model's means"):
        Means.load(tmp_path, WIDTHS)


@pytest.mark.parametrize("option", ["plain", "the paper's", "everything"])
def test_weights_that_want_gradients_change_nothing_and_get_none(option):
    """A model fresh from a user's own training: what its optimiser holds is not added to."""
    config = PruningConfig(n_steps=6, batch_pairs=4)

    def found(model):
        pairs, values = encoded_pairs(model.arch, 8), random_values(model.arch)
        masks = learn_masks(model, pairs, values, target_loss_nats=0.1, config=config)
        slopes = gate_gradients(model, pairs, NodeSet.full(model.arch.widths), values)
        return torch.cat([*masks.ranks.values(), *slopes.values()])

    frozen, trained = tiny_model(option), tiny_model(option).requires_grad_()
    assert torch.equal(found(trained), found(frozen))
    assert all(p.grad is None for p in trained.parameters())


# The criterion


def test_the_bound_lies_above_the_mean_and_tightens_with_clusters():
    """Ten times the templates narrow it by about the square root of ten."""
    losses = torch.rand(400, generator=torch.Generator().manual_seed(0))
    few, many = torch.arange(400) // 40, torch.arange(400) // 4
    mean = float(losses.mean())
    assert upper_bound(losses, few) > mean
    assert upper_bound(losses, many) > mean
    spread = torch.arange(400).float() / 400  # correlated within clusters
    ratio = (upper_bound(spread, few) - 0.5) / (upper_bound(spread, many) - 0.5)
    assert ratio == pytest.approx(10**0.5, rel=0.2)


@pytest.mark.parametrize("seed", range(5))
def test_duplicates_within_a_template_do_not_narrow_the_bound(seed):
    """Asking the same thing again is no new evidence."""
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(60, generator=generator)
    clusters = torch.arange(60) % 12
    once = upper_bound(losses, clusters)
    again = upper_bound(losses.repeat(10), clusters.repeat(10))
    assert again == pytest.approx(once, abs=1e-6)


def test_the_bound_is_that_of_independent_pairs_when_each_is_its_own_template():
    """mean + 1.645 standard errors."""
    losses = torch.rand(200, generator=torch.Generator().manual_seed(1))
    expected = losses.mean() + 1.6449 * losses.std() / 200**0.5
    assert upper_bound(losses, torch.arange(200)) == pytest.approx(float(expected), abs=1e-4)


def judge_of(target, seed=0, option="sink"):
    model = tiny_model(option, seed)
    pairs = encoded_pairs(model.arch, 70, seed, n_templates=10)
    return Criterion(
        model=model, values=random_values(model.arch), pairs=pairs, target_loss_nats=target
    )


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_judge_accepts_when_the_bound_meets_the_target(share):
    """Stopping early never changes the answer."""
    criterion = judge_of(1.0)
    kept = random_nodes(criterion.model.arch, share)
    bound = criterion.bound(kept)
    assert bound > float(criterion.losses(kept).mean())
    for factor, accepted in ((0.2, False), (0.999, False), (1.001, True), (5.0, True)):
        criterion.target_loss_nats = bound * factor
        assert criterion.meets(kept) is accepted
    assert criterion.n_asked == 4


def test_the_judges_losses_are_those_of_the_masked_model():
    """In its own order of the pairs."""
    criterion = judge_of(1.0)
    kept = random_nodes(criterion.model.arch, 0.6)
    expected = pair_losses(
        masked_differences(criterion.model, criterion.pairs, kept, criterion.values)
    )
    torch.testing.assert_close(criterion.losses(kept), expected, atol=1e-4, rtol=1e-4)


# Learning masks


def test_gates_are_exactly_open_or_shut_and_still_have_a_slope():
    """Heaviside forward, sigmoid derivative backward."""
    scores = torch.linspace(-1, 1, 11).requires_grad_()
    gates = open_gates(scores, 0.5)
    assert torch.equal(gates.detach(), (scores > 0).float())
    gates.sum().backward()
    soft = torch.sigmoid(scores.detach() / 0.5)
    torch.testing.assert_close(scores.grad, soft * (1 - soft) / 0.5)


SHORT = PruningConfig(n_steps=12, batch_pairs=4)


def learned(seed, **changes):
    model = tiny_model("the paper's", n_layer=1)
    pairs = encoded_pairs(model.arch, 12)
    told = []
    found = learn_masks(
        model,
        pairs,
        random_values(model.arch),
        target_loss_nats=0.5,
        config=replace(SHORT, **changes),
        seed=seed,
        progress=lambda *step: told.append(step),
    )
    assert told[-1] == ("masks", len(told), len(told))
    return found


def test_the_same_seed_learns_the_same_masks():
    """Bitwise; another seed learns others."""
    first, second, third = learned(0), learned(0), learned(1)
    assert first.history == second.history
    assert first.learned == second.learned
    assert all(torch.equal(first.ranks[site], second.ranks[site]) for site in first.ranks)
    assert third.history != first.history


def test_the_pressure_rises_while_the_loss_is_comfortable_and_falls_otherwise():
    """By the same factor each way."""
    history = learned(0, n_steps=40).history
    for (loss, _, before), (_, _, after) in pairwise(history):
        factor = 1.05 if loss < 0.8 * 0.5 else 1 / 1.05
        assert after == pytest.approx(before * factor)


@pytest.mark.parametrize("seed", [0, 1])
def test_pressure_shuts_gates(seed):
    """Much of it leaves next to nothing, none of it leaves the learned set large."""
    crushed = learned(seed, n_steps=60, pressure_start=1e3).learned
    free = learned(seed, n_steps=60, pressure_start=1e-12).learned
    assert len(free) > 0.5 * sum(free.widths.values())
    assert len(crushed) < 0.5 * len(free)


# Ranking, discretising, eliminating


class RuleJudge(Criterion):
    """A criterion that accepts by a rule on node names; it remembers what it accepted."""

    def __init__(self, rule, model=None):
        self.model = tiny_model() if model is None else model
        self.rule, self.accepted, self.n_asked = rule, [], 0

    def meets(self, nodes):
        self.n_asked += 1
        answer = self.rule(set(names(nodes)))
        if answer:
            self.accepted.append(nodes)
        return answer


def scores_with(learned_nodes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ranks = {site: torch.rand(width, generator=generator) for site, width in WIDTHS.items()}
    for node in learned_nodes:
        ranks[node.site][node.channel] += 1
    return Scores(ranks=ranks, learned=NodeSet.of(learned_nodes, WIDTHS), history=())


def test_the_ranking_holds_every_node_best_first():
    """Equal scores stay in the order of the forward pass."""
    scores = scores_with(nodes("1.mlp.post_act:3", "final_resid:0"))
    ranking = ranked_nodes(scores)
    values = [float(scores.ranks[node.site][node.channel]) for node in ranking]
    assert set(ranking) == set(NodeSet.full(WIDTHS))
    assert values == sorted(values, reverse=True)
    flat = Scores(
        ranks={s: torch.zeros(w) for s, w in WIDTHS.items()}, learned=NodeSet(), history=()
    )
    assert ranked_nodes(flat) == sorted(NodeSet.full(WIDTHS))


CORE = {"0.attn.act_in:1", "0.attn.v:2", "0.attn.resid_delta:3", "final_resid:3"}


def test_a_learned_set_that_meets_the_target_is_kept():
    """One question to the criterion."""
    criterion = RuleJudge(lambda kept: kept >= CORE)
    scores = scores_with(nodes(*CORE, "0.mlp.post_act:0"))
    assert discretise(scores, criterion) == scores.learned
    assert criterion.n_asked == 1


@pytest.mark.parametrize("size", [5, 17, 60])
def test_the_smallest_prefix_meets_the_target(size):
    """Found by the grid and a bisection, for a rule that is monotone in the size."""
    scores = scores_with(nodes(*CORE))
    needed = set(names(ranked_nodes(scores)[:size]))
    criterion = RuleJudge(lambda kept: kept >= needed)
    found = smallest_prefix(scores, criterion)
    assert set(names(found)) >= needed
    assert len(found) <= max(size, 8) * 1.1
    assert found.widths == WIDTHS
    assert found in criterion.accepted


def test_no_prefix_is_no_answer():
    """None, not the whole model, when even the whole model fails."""
    assert smallest_prefix(scores_with(nodes(*CORE)), RuleJudge(lambda kept: False)) is None


RULES = {
    "a core": lambda kept: kept >= CORE,
    "either of two": lambda kept: kept >= CORE or "1.mlp.post_act:1" in kept,
    "a count": lambda kept: len(kept) >= 7,
    "not monotone": lambda kept: kept >= CORE and len(kept) % 3 != 2,
    "parity": lambda kept: len(kept) % 2 == 0,
    "nothing needed": lambda kept: True,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_what_elimination_leaves_is_1_minimal(rule, seed):
    """It meets the target, lies in the start, and no single node can go, whatever the rule."""
    extra = random_nodes(ARCH, 0.3, seed)
    start = extra | nodes(*CORE)
    start = start if RULES[rule](set(names(start))) else start | nodes("1.attn.q:7", "1.attn.q:6")
    start = start if RULES[rule](set(names(start))) else start - nodes("1.attn.q:7")
    assert RULES[rule](set(names(start)))
    criterion = RuleJudge(RULES[rule])
    order = list(start)
    Random(seed).shuffle(order)
    found = eliminate(start, criterion, order)
    assert found <= start
    assert RULES[rule](set(names(found)))
    assert not any(RULES[rule](set(names(found)) - {str(node)}) for node in found)


@pytest.mark.parametrize(("goes", "n_asked"), [("", 6), ("f", 6), ("a", 11)])
def test_elimination_ends_once_each_was_refused_since_the_last_went(goes, n_asked):
    """Six items, tried from the end: no question is asked again of what is unchanged."""
    asked = []

    def meets(kept):
        asked.append(frozenset(kept))
        return set(kept) >= set("abcdef") - set(goes)

    assert minimise("abcdef", meets, first_block=1) == sorted(set("abcdef") - set(goes))
    assert len(asked) == len(set(asked)) == n_asked


def test_elimination_tries_the_least_important_first():
    """Of two nodes of which one must stay, the first in the order does."""
    either = {"0.attn.q:0", "0.attn.q:1"}
    criterion = RuleJudge(lambda kept: bool(kept & either))
    for first, second in (sorted(either), sorted(either, reverse=True)):
        order = [Node.parse(first), Node.parse(second)]
        assert names(eliminate(nodes(*either), criterion, order)) == [first]


def test_nodes_on_no_path_are_found():
    """From the embedding to the final read, over weights, residual links and attention."""
    model = one_neuron()
    on = {"0.mlp.act_in:1", "0.mlp.post_act:5", "0.mlp.resid_delta:2", "final_resid:2"}
    off = {"0.mlp.post_act:6", "0.mlp.act_in:3", "1.mlp.resid_delta:2", "0.attn.v:1", "1.attn.q:0"}
    criterion = RuleJudge(lambda kept: True, model)
    found = on_a_path(nodes(*on, *off), criterion)
    assert {str(node) for node in found} == on


def test_queries_and_keys_reach_what_their_head_writes():
    """A query moves the writes of its head's values, of no other head's."""
    model = zeroed(tiny_model())
    model.transformer.h[0].attn.c_proj.weight[2, 1] = 1.0  # head 0 writes channel 2
    model.transformer.h[0].attn.c_proj.weight[3, 5] = 1.0  # head 1 writes channel 3
    kept = nodes("0.attn.q:0", "0.attn.k:6", "0.attn.resid_delta:2", "0.attn.resid_delta:3")
    found = {(str(a), str(b)) for a, b in wiring(model, kept).edges}
    assert found == {("0.attn.q:0", "0.attn.resid_delta:2"), ("0.attn.k:6", "0.attn.resid_delta:3")}


def test_shape_annotations_of_extraction_are_executed():
    """A float sample, or one row of it, is refused."""
    with pytest.raises(BeartypeCallHintViolation, match="reference"):
        measure_means(tiny_model(), torch.zeros(3, 4))
    with pytest.raises(BeartypeCallHintViolation, match="losses"):
        upper_bound(torch.zeros(3, 4), torch.zeros(3))


def test_sites_are_hashable_keys_of_every_mapping():
    """Equal sites are one key."""
    assert WIDTHS[Site.parse("0.mlp.post_act")] == 12


def test_a_circuit_that_hangs_on_the_sample_is_not_accepted():
    """Values pushed apart that change the loss are a no, whatever the target."""
    model, pairs = tiny_model(), encoded_pairs(ARCH)
    nothing = NodeSet(widths=WIDTHS)
    values = zero_means(WIDTHS).values
    far = {site: value + 5.0 * torch.arange(len(value)) for site, value in values.items()}
    still, moved = (
        Criterion(model=model, values=values, pushed=pushed, pairs=pairs, target_loss_nats=99.0)
        for pushed in ((values, values), (values, far))
    )
    assert still.drift(nothing) == 0.0
    assert still.meets(nothing)
    assert moved.drift(nothing) > DRIFT_NATS
    assert not moved.meets(nothing)


def test_few_clusters_bound_a_mean_by_students_quantile():
    """As scipy's interval of a mean does; from twelve on the normal one is near enough."""
    for n in (2, 5, 11):
        losses = torch.linspace(0.1, 0.3, n)
        error = float(losses.double().std() / n**0.5)
        expected = float(losses.mean()) + stats.t.ppf(0.95, n - 1) * error
        assert upper_bound(losses, torch.arange(n)) == pytest.approx(expected, abs=1e-6)
    assert stats.t.ppf(0.95, 11) / stats.norm.ppf(0.95) < 1.1


def test_of_a_single_template_the_pairs_bound_the_mean():
    """A mean without any bound would take luck for the target."""
    model, pairs = tiny_model(), encoded_pairs(ARCH, 8, n_templates=1)
    criterion = Criterion(
        model=model, values=zero_means(WIDTHS).values, pairs=pairs, target_loss_nats=9.0
    )
    kept = random_nodes(ARCH, 0.5)
    losses = criterion.losses(kept)
    assert criterion.n_templates == 1
    assert criterion.bound(kept) == upper_bound(losses, torch.arange(8)) > float(losses.mean())


@pytest.mark.parametrize(
    ("rows", "differ"),
    [
        ([[1, 2]], False),
        ([[3, 3]] * 6, False),
        ([[1, 2], [1, 2], [2, 1], [2, 1]], False),
        ([[1, 2], [2, 1]], True),
        ([[1, 2], [2, 1], [1, 1]], True),
    ],
)
def test_halves_of_the_same_text_say_nothing(rows, differ):
    """One sequence has no halves; copies agree whatever the sample."""
    assert halves_differ(torch.tensor(rows)) is differ


def test_a_loss_that_moves_alike_either_way_drifts():
    """An even response, where pushing up costs as much as pushing down, is no steadiness."""
    model = zeroed(tiny_model())
    model.transformer.ln_f.weight.fill_(1.0)
    model.transformer.wte.weight[:, 0] = torch.linspace(-2.0, 2.0, ARCH.vocab_size)
    model.lm_head.weight[:, 0] = torch.linspace(-2.0, 2.0, ARCH.vocab_size)
    kept = NodeSet({FINAL_RESID: [0]}, WIDTHS)
    values = zero_means(WIDTHS).values
    up, down = (
        {site: sign * 3.0 * (torch.arange(len(v)) == 1) for site, v in values.items()}
        for sign in (1, -1)
    )
    asked = {"model": model, "pairs": encoded_pairs(ARCH), "target_loss_nats": 99.0}
    criterion = Criterion(values=values, pushed=(up, down), **asked)
    ends = [Criterion(values=pushed, **asked).losses(kept).mean() for pushed in (up, down)]
    torch.testing.assert_close(*ends)
    assert abs(criterion.losses(kept).mean() - ends[0]) > DRIFT_NATS
    assert criterion.drift(kept) > DRIFT_NATS
    assert not criterion.meets(kept)


def test_gradients_do_not_depend_on_how_many_are_held(monkeypatch):
    """A large model is differentiated a few pairs at a time; the sum is the same."""
    pairs, kept = encoded_pairs(ARCH, 5), random_nodes(ARCH, 0.7)
    model, values = tiny_model("sink"), random_values(ARCH)
    whole = gate_gradients(model, pairs, kept, values)
    monkeypatch.setattr(masked_model, "_GRADIENTS_AT_ONCE", 1)
    for site, gradient in gate_gradients(model, pairs, kept, values).items():
        torch.testing.assert_close(gradient, whole[site], atol=1e-6, rtol=1e-4)
