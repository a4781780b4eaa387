"""Laws of compiled circuits: equal to the masked model on every circuit of every architecture."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import OPTIONS, encoded_pairs, random_nodes, random_values, tiny_model

from circuitkit.compiled import compile_circuit
from circuitkit.extraction.masked import masked_differences, tapped_differences
from circuitkit.nodes import NodeSet

SHARES = (0.0, 0.1, 0.4, 0.8, 1.0)


def assert_equal(model, kept, values, pairs):
    compiled = compile_circuit(model, kept, values).differences(pairs)
    masked = masked_differences(model, pairs, kept, values)
    tolerance = 1e-4 * max(1.0, float(masked.abs().max()) / 10)
    torch.testing.assert_close(compiled, masked, atol=tolerance, rtol=0)


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


@settings(max_examples=60)
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
