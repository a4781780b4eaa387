"""Laws of written programs: equal to the circuit, run by NumPy alone, safe whatever a text holds."""

import ast
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from example_circuit import example_circuit
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compiled import architectures
from tiny import OPTIONS, encoded_pairs, random_nodes, random_values, tiny_model

from circuitkit.circuit.folded_circuit import FoldedCircuit, Tried
from circuitkit.errors import CircuitError
from circuitkit.exports import fold_circuit
from circuitkit.exports.fold_folder import exact_differences
from circuitkit.exports.run_program import check_names, largest_error
from circuitkit.exports.survival import roundest, survival
from circuitkit.nodes import NodeSet
from circuitkit.views.numpy_program import program_text

SHARES = (0.0, 0.1, 0.4, 0.8, 1.0)
REFUSED = "Export the circuit as graphml or node-link instead"


def fold(model, kept, pairs, seed=0):
    texts = [f"t{i}" for i in range(model.arch.vocab_size)]
    return fold_circuit(model, kept, random_values(model.arch, seed), pairs, texts)


def differences(folded, digits=17):
    """What the program gives for every prompt that was tried."""
    names = {"__name__": "program"}
    exec(program_text(example_circuit(), folded, digits), names)
    return [names["logit_difference"](list(t.tokens), t.answer, t.foil) for t in folded.tried]


def assert_equal(model, kept, pairs, seed=0):
    """The program and the masked model, both in float64."""
    try:
        folded = fold(model, kept, pairs, seed)
    except CircuitError as error:
        assert REFUSED in str(error)
        assert model.arch.norm == "layernorm"
        assert any(kind.endswith("act_in") for kind in model.arch.activation_topk)
        return
    own = exact_differences(model, pairs, kept, random_values(model.arch, seed)).numpy()
    np.testing.assert_allclose(differences(folded), own, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("share", SHARES)
def test_a_program_is_the_masked_model(option, share):
    """For empty, small, large and full circuits, on prompts of different lengths."""
    for seed in range(3):
        model = tiny_model(option, seed, density=0.5)
        kept = random_nodes(model.arch, share, seed)
        assert_equal(model, kept, encoded_pairs(model.arch, 5, seed), seed)


@settings(max_examples=30)
@given(st.data())
def test_any_combination_of_sites_is_written(data):
    """Whole sites in or out: blocks that only read, only write, heads without a query or a key."""
    model = tiny_model(data.draw(st.sampled_from(list(OPTIONS))), data.draw(st.integers(0, 3)))
    widths = model.arch.widths
    chosen = data.draw(st.sets(st.sampled_from(list(widths))))
    kept = NodeSet({site: range(0, widths[site], 2) for site in chosen}, widths)
    assert_equal(model, kept, encoded_pairs(model.arch, 3))


@settings(max_examples=50)
@given(architectures(), st.sampled_from(SHARES), st.integers(0, 2**20))
def test_any_circuit_of_any_architecture_is_written(changes, share, seed):
    """Or refused in words, where LayerNorm moves every channel that competes."""
    model = tiny_model("plain", seed, density=(0.2, 0.5, 1.0)[seed % 3], **changes)
    assert_equal(
        model, random_nodes(model.arch, share, seed), encoded_pairs(model.arch, 4, seed), seed
    )
