"""Laws of backgrounds: a circuit in one is the plain model with values put in by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compiled import architectures
from tiny import OPTIONS, encoded_pairs, random_nodes, random_values, tiny_model

from circuitkit.compiled.background import FoldedBackground, constant, other_prompts, sizes_of
from circuitkit.compiled.patched import PatchedCircuit
from circuitkit.extraction.gated_background import GatedBackground
from circuitkit.extraction.masked_model import gates_of, masked_differences, tapped_differences
from circuitkit.model import gate_tap, logit_differences, record_tap
from circuitkit.nodes import NodeSet
from circuitkit.validation.claims.no_norm_leak import run_frozen

SHARES = (0.0, 0.1, 0.4, 0.8, 1.0)


def by_hand(model, pairs, kept):
    """One prompt at a time, unpadded: all but ``kept`` as on the other prompt of its pair."""
    n, found = len(pairs), []
    prompts = [t[: last + 1] for t, last in zip(pairs.tokens, pairs.last.tolist(), strict=True)]
    for row, prompt in enumerate(prompts):
        other, seen = prompts[(row + n) % (2 * n)], {}
        same = 0
        while same < min(len(prompt), len(other)) - 1 and prompt[same] == other[same]:
            same += 1
        shift = len(other) - len(prompt)
        at = torch.tensor([i if i < same else max(0, i + shift) for i in range(len(prompt))])
        model(other[None], record_tap(seen))
        values = {site: x[:, at.clamp(max=len(other) - 1)] for site, x in seen.items()}
        logits = model(prompt[None], gate_tap(gates_of(kept, model.arch.widths), values))[0, -1]
        found.append(logits[pairs.answers[row]] - logits[pairs.foils[row]])
    return torch.stack(found)


def assert_near(found, expected):
    tolerance = 1e-4 * max(1.0, float(expected.abs().max()) / 5)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


@torch.no_grad()
def assert_interchange(model, pairs, kept):
    folded = FoldedBackground(model, other_prompts(model, pairs))
    assert_near(PatchedCircuit(folded, kept).differences(), by_hand(model, pairs, kept))


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("share", SHARES)
def test_an_interchange_is_a_plain_patched_forward(option, share):
    """To 1e-4, on prompts of different lengths, whatever the architecture."""
    for seed in range(2):
        model = tiny_model(option, seed, density=0.5)
        assert_interchange(
            model, encoded_pairs(model.arch, 5, seed), random_nodes(model.arch, share, seed)
        )


@pytest.mark.slow
@settings(max_examples=30)
@given(st.data())
def test_any_architecture_can_be_patched(data):
    """Any norm, positions, sink and top-k together."""
    model = tiny_model("plain", data.draw(st.integers(0, 3)), **data.draw(architectures()))
    kept = random_nodes(model.arch, data.draw(st.sampled_from(SHARES)))
    assert_interchange(model, encoded_pairs(model.arch, 3), kept)


@pytest.mark.parametrize("option", OPTIONS)
def test_everything_kept_is_the_model(option):
    """Then nothing is taken from the other prompt."""
    model = tiny_model(option)
    pairs = encoded_pairs(model.arch)
    folded = FoldedBackground(model, other_prompts(model, pairs))
    found = PatchedCircuit(folded, NodeSet.full(model.arch.widths)).differences()
    assert_near(found, tapped_differences(model, pairs, None))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("share", SHARES)
def test_a_constant_background_is_the_masked_model(option, share):
    model = tiny_model(option, density=0.5)
    pairs, values = encoded_pairs(model.arch, 5), random_values(model.arch)
    kept = random_nodes(model.arch, share)
    folded = FoldedBackground(model, constant(pairs, values))
    assert_near(
        PatchedCircuit(folded, kept).differences(), masked_differences(model, pairs, kept, values)
    )


@pytest.mark.parametrize("option", OPTIONS)
def test_sizes_are_those_of_a_run_with_frozen_norms(option):
    """Differences and the final norm's gain, as the claim no_norm_leak runs them."""
    model = tiny_model(option, density=0.5)
    pairs, values = encoded_pairs(model.arch, 5), random_values(model.arch)
    kept = random_nodes(model.arch, 0.4)
    frozen = run_frozen(model, pairs, gate_tap(gates_of(kept, model.arch.widths), values))
    folded = FoldedBackground(model, constant(pairs, values, sizes_of(model, pairs)))
    with torch.no_grad():
        found = PatchedCircuit(folded, kept).run()
    assert_near(found.differences, frozen.differences)
    torch.testing.assert_close(found.gains, frozen.gains, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("option", ["plain", "sink", "concatenated positions", "the paper's"])
def test_gradients_of_gates_are_those_of_the_patched_model(option):
    """With every gate half open."""
    model = tiny_model(option, density=0.5)
    pairs, values = encoded_pairs(model.arch, 4), random_values(model.arch)
    widths = model.arch.widths
    folded = FoldedBackground(model, constant(pairs, values))
    gated = GatedBackground(folded, NodeSet.full(widths))
    slopes = []
    for run in (
        lambda gates: gated.run(gates).differences,
        lambda gates: logit_differences(
            model(pairs.tokens, gate_tap(gates, values), pairs.last)[:, 0], pairs
        ),
    ):
        gates = {
            site: torch.full((width,), 0.5, requires_grad=True) for site, width in widths.items()
        }
        run(gates).sum().backward(inputs=list(gates.values()))
        slopes.append(torch.cat([gate.grad for gate in gates.values()]))
    assert_near(slopes[0], slopes[1])


def test_narrowing_folds_nothing_that_matters():
    """Gates that are 0 may be folded away: the numbers stay."""
    model = tiny_model("the paper's", density=0.5)
    pairs = encoded_pairs(model.arch, 4)
    kept, widths = random_nodes(model.arch, 0.3), model.arch.widths
    gates = gates_of(kept, widths)
    gated = GatedBackground(
        FoldedBackground(model, other_prompts(model, pairs)), NodeSet.full(widths)
    )
    before = gated.run(gates).differences
    gated.narrow(kept)
    assert_near(gated.run(gates).differences, before)
