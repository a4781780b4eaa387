"""Laws of compiled circuits: equal to the masked model on every circuit of every architecture."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import OPTIONS, encoded_pairs, random_nodes, random_values, tiny_model

from circuitkit.compiled import CompiledCircuit, FoldedModel, compile_circuit
from circuitkit.compiled.distinct_prompts import prepare_prompts
from circuitkit.compiled.partial_topk import PartialTopK
from circuitkit.extraction.gated_model import GatedModel
from circuitkit.extraction.masked_model import (
    gate_gradients,
    masked_differences,
    tapped_differences,
)
from circuitkit.model import EncodedPairs
from circuitkit.nodes import SITE_KINDS, NodeSet

SHARES = (0.0, 0.1, 0.4, 0.8, 1.0)
SWITCHES = ("bias", "attention_sink", "bigram_table", "tied_unembedding")


def assert_equal(model, kept, values, pairs):
    compiled = compile_circuit(model, kept, values).differences(pairs)
    masked = masked_differences(model, pairs, kept, values)
    tolerance = 1e-4 * max(1.0, float(masked.abs().max()) / 10)
    torch.testing.assert_close(compiled, masked, atol=tolerance, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("share", SHARES)
def test_a_compiled_circuit_is_the_masked_model(option, share):
    """To 1e-4, for empty, small, large and full circuits, on prompts of different lengths."""
    for seed in range(3):
        model = tiny_model(option, seed, density=0.5)
        kept = random_nodes(model.arch, share, seed)
        assert_equal(
            model, kept, random_values(model.arch, seed), encoded_pairs(model.arch, 5, seed)
        )


@settings(max_examples=40)
@given(st.data())
def test_any_combination_of_sites_compiles(data):
    """Whole sites in or out: blocks that only read, only write, heads without a query or a key."""
    option = data.draw(st.sampled_from(list(OPTIONS)))
    model = tiny_model(option, data.draw(st.integers(0, 3)))
    widths = model.arch.widths
    chosen = data.draw(st.sets(st.sampled_from(list(widths))))
    kept = NodeSet({site: range(0, widths[site], 2) for site in chosen}, widths)
    assert_equal(model, kept, random_values(model.arch), encoded_pairs(model.arch, 3))


@pytest.mark.parametrize("option", OPTIONS)
def test_the_full_circuit_is_the_model(option):
    """With every node kept the ablation values do not matter."""
    model = tiny_model(option)
    pairs = encoded_pairs(model.arch)
    full = NodeSet.full(model.arch.widths)
    compiled = compile_circuit(model, full, random_values(model.arch)).differences(pairs)
    plain = tapped_differences(model, pairs, None)
    torch.testing.assert_close(compiled, plain, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("place", ["attn.act_in", "attn.k", "mlp.post_act", "mlp.resid_delta"])
def test_a_wrong_ablation_value_would_be_noticed(place):
    """A planted fault: one site's values moved by a little move the differences by more."""
    model = tiny_model("sink")
    pairs, values = encoded_pairs(model.arch), random_values(model.arch)
    kept = random_nodes(model.arch, 0.7)
    masked = masked_differences(model, pairs, kept, values)
    planted = {s: v + 0.05 * (str(s) == f"0.{place}") for s, v in values.items()}
    moved = compile_circuit(model, kept, planted).differences(pairs)
    assert (moved - masked).abs().max() > 1e-3


def test_compiling_changes_nothing():
    """The model's weights and the ablation values stay as they were."""
    model = tiny_model("everything")
    weights = {name: p.clone() for name, p in model.named_parameters()}
    values = random_values(model.arch)
    before = {site: value.clone() for site, value in values.items()}
    compiled = compile_circuit(model, random_nodes(model.arch, 0.5), values)
    first = compiled.differences(encoded_pairs(model.arch))
    assert torch.equal(first, compiled.differences(encoded_pairs(model.arch)))
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    assert all(torch.equal(value, before[site]) for site, value in values.items())


@st.composite
def architectures(draw):
    """Any norm, positions, sink, bias and tying, with activation top-k at any sites."""
    norm = draw(st.sampled_from(["rmsnorm", "layernorm", "none"]))
    positions = draw(st.sampled_from(["none", "learned", "concatenated"]))
    topk = draw(st.dictionaries(st.sampled_from(SITE_KINDS), st.sampled_from([0.25, 0.5, 0.75])))
    options = {name: draw(st.booleans()) for name in SWITCHES}
    return {
        **options,
        "norm": norm,
        "positions": positions,
        "d_position": 3 if positions == "concatenated" else 0,
        "activation_topk": topk,
        "n_layer": draw(st.integers(1, 3)),
    }


@pytest.mark.slow
@settings(max_examples=50)
@given(architectures(), st.sampled_from(SHARES), st.integers(0, 2**20))
def test_any_circuit_of_any_architecture_compiles(changes, share, seed):
    """Sparse or dense weights; also when its parts come from circuits tried before."""
    model = tiny_model("plain", seed, density=(0.2, 0.5, 1.0)[seed % 3], **changes)
    pairs, values = encoded_pairs(model.arch, 4, seed), random_values(model.arch, seed)
    kept = random_nodes(model.arch, share, seed)
    assert_equal(model, kept, values, pairs)
    folded = FoldedModel(model, values)
    prompts = folded.prepare(pairs)
    fewer = random_nodes(model.arch, 0.5, seed) & kept
    for nodes in (kept, fewer, kept):
        again = CompiledCircuit(folded, nodes).differences(prompts)
        assert torch.equal(again, compile_circuit(model, nodes, values).differences(pairs))


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_a_circuit_tried_after_others_gives_the_same_bytes(option):
    """What blocks wrote for neighbours, a node or many apart, is used only where it is the same."""
    model = tiny_model(option, density=0.5)
    folded = FoldedModel(model, random_values(model.arch))
    pairs = encoded_pairs(model.arch, 5)
    shared = folded.prepare(pairs)
    kept = random_nodes(model.arch, 0.6, 1)
    neighbours = [kept - NodeSet.of([node]) for node in list(kept)[::7]]
    for nodes in (kept, *neighbours, random_nodes(model.arch, 0.6, 2), *neighbours[::-1], kept):
        circuit = CompiledCircuit(folded, nodes)
        alone = circuit.differences(folded.prepare(pairs))
        assert torch.equal(circuit.differences(shared), alone)


@pytest.mark.parametrize("option", ["the paper's", "everything", "learned positions"])
def test_prompts_are_shared_exactly(option):
    """Prompts that repeat or share a start give what each gives alone."""
    model = tiny_model(option)
    values, kept = random_values(model.arch), random_nodes(model.arch, 0.6)
    one = encoded_pairs(model.arch, 1, seed=3)
    twice = replace(one, **{
        name: torch.cat([getattr(one, name)[[0, 0, 1, 1]]])
        for name in ("tokens", "last", "answers", "foils")
    }, templates=("a", "b"))  # fmt: skip
    together = compile_circuit(model, kept, values).differences(twice)
    alone = compile_circuit(model, kept, values).differences(one)
    torch.testing.assert_close(together, alone[[0, 0, 1, 1]], atol=1e-6, rtol=0)


def test_distinct_places_are_few():
    """A batch of equal prompts has the places of one; of prompts equal up to the end, one more."""
    tokens = torch.tensor([[1, 2, 3], [1, 2, 3], [1, 2, 4], [1, 2, 3]])
    ends = torch.tensor([2, 2, 2, 1])
    pairs = EncodedPairs(
        tokens=tokens, last=ends, answers=ends, foils=ends, templates=("a", "b")
    )  # fmt: skip
    found = prepare_prompts(pairs, "none")
    assert (len(found.inputs.start), len(found.prefixes.start)) == (4, 4)
    assert found.prefixes.position.tolist() == [0, 1, 2, 2]
    assert found.starts.token[found.lasts.start].tolist() == [3, 3, 4, 2]
    positioned = prepare_prompts(replace(pairs, tokens=torch.ones_like(tokens)), "learned")
    assert (len(positioned.starts.token), len(positioned.prefixes.start)) == (3, 3)


@given(st.data())
def test_a_contest_is_topk_over_all_channels(data):
    """Whatever moves and whatever is fixed, the same channels survive; ties survive together."""
    width = data.draw(st.integers(1, 12))
    n_kept = data.draw(st.integers(1, width))
    numbers = st.lists(st.integers(0, 6).map(float), min_size=width, max_size=width)
    fixed, rows = (torch.tensor([data.draw(numbers) for _ in range(2)]) for _ in range(2))
    moving = sorted(data.draw(st.sets(st.integers(0, width - 1))))
    table = torch.tensor([1, 0])
    whole = fixed[table].clone()
    whole[:, moving] = rows[:, moving]
    topk = PartialTopK(fixed, torch.tensor(moving, dtype=torch.long), n_kept)
    survived = topk.survive(whole, rows[:, moving], table)
    smallest = whole.sort(1, descending=True).values[:, n_kept - 1 : n_kept]
    assert torch.equal(survived, whole >= smallest)


def test_gradients_in_the_gates_are_the_masked_models():
    """A tap on the kept channels sees what a tap on the whole model sees."""
    for option in ("the paper's", "everything", "GPT-2's"):
        model = tiny_model(option)
        pairs, values = encoded_pairs(model.arch), random_values(model.arch)
        more = random_nodes(model.arch, 0.3, seed=1)
        for kept in (NodeSet.full(model.arch.widths), random_nodes(model.arch, 0.5)):
            found = GatedModel(model, values, kept | more).gradients(pairs, nodes=kept)
            masked = gate_gradients(model, pairs, kept, values)
            for site, channels in (kept | more).channels.items():
                at = list(channels)
                torch.testing.assert_close(found[site][at], masked[site][at], atol=1e-5, rtol=1e-3)


def test_a_model_is_let_go_with_its_circuits():
    """Nothing that circuits share holds a large model in a cycle until someone collects it."""
    model = tiny_model("sink")
    folded = FoldedModel(model, random_values(model.arch))
    prompts = folded.prepare(encoded_pairs(model.arch))
    CompiledCircuit(folded, random_nodes(model.arch, 0.8)).differences(prompts)
    held = weakref.ref(folded)
    gc.disable()
    try:
        del folded
        assert held() is None
    finally:
        gc.enable()
