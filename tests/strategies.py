"""Hypothesis strategies: sites, nodes, sets of them, circuits and validations."""

from __future__ import annotations

from typing import Any

from example_circuit import empty_circuit
from hypothesis import strategies as st

from circuitkit.circuit import Calibration, Circuit, Minimality, Scores
from circuitkit.findings import Claim, Finding, Validation
from circuitkit.nodes import PLACES, Edge, Node, NodeSet, Site, transformer_sites
from circuitkit.provenance import Named

finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-6, max_value=1e6)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

_inner = st.sampled_from([(block, place) for block in PLACES for place in PLACES[block]])
_layers = st.integers(0, 9999)
sites = st.one_of(
    st.builds(lambda layer, kind: Site(layer, *kind), _layers, _inner),
    st.just(Site.parse("final_resid")),
)
site_nodes = st.builds(Node, sites, st.integers(0, 10**9 - 1))

WIDTHS = dict.fromkeys(transformer_sites(2), 4)
"""A small universe, so that sets drawn from it meet."""

small_nodes = st.builds(Node, st.sampled_from(list(WIDTHS)), st.integers(0, 3))
plain_sets = st.frozensets(small_nodes)


@st.composite
def edges(draw: Any, kept: list[Node]) -> tuple[Edge, ...]:
    """Distinct edges between some of the nodes, with any finite nonzero weight."""
    if not kept:
        return ()
    ends = st.tuples(st.sampled_from(kept), st.sampled_from(kept))
    chosen = draw(st.lists(ends, unique=True, max_size=8))
    weights = [draw(finite.filter(bool)) for _ in chosen]
    return tuple(Edge(*pair, w) for pair, w in zip(chosen, weights, strict=True))


def scores() -> st.SearchStrategy[Scores]:
    return st.builds(Scores, model=finite, circuit=finite, complement=finite, empty=finite)


@st.composite
def circuits(draw: Any) -> Circuit:
    """Any circuit the format can hold, with the optional parts present or absent."""
    nodes = NodeSet.of(draw(st.lists(site_nodes, max_size=12)))
    kept = draw(edges(list(nodes)))
    granularity = draw(st.sampled_from(["node", "edge"]))
    return empty_circuit(around={}).model_copy(
        update={
            "task": Named(name=draw(text), sha256=draw(text)),
            "means_sha256": draw(st.none() | text),
            "ablation": draw(st.sampled_from(["mean", "zero"])),
            "target_loss_nats": draw(finite),
            "requested_target_loss_nats": draw(st.none() | finite),
            "granularity": granularity,
            "seed": draw(st.integers(0, 2**31)),
            "outcome": draw(st.sampled_from(["target_met", "target_missed", "collapsed"])),
            "nodes": nodes,
            "edges": kept,
            "n_nodes": len(nodes),
            "n_edges": len(kept),
            "n_edges_induced": len(kept) + draw(st.integers(0, 5)),
            "loss_nats": draw(scores()),
            "accuracy": draw(scores()),
            "n_pairs": draw(st.integers(1, 10**6)),
            "minimality": Minimality(
                nodes_1_minimal=draw(st.booleans()),
                edges_1_minimal=draw(st.booleans()),
                split=draw(text),
                n_pairs=draw(st.integers(1, 10**6)),
            ),
            "calibration": draw(st.none() | st.builds(Calibration, scale=positive, shift=finite)),
            "surroundings": draw(st.sampled_from([None, empty_circuit().surroundings])),
        }
    )


@st.composite
def validations(draw: Any) -> Validation:
    """Any set of findings, in the order of the suite."""
    claims = draw(st.sets(st.sampled_from(list(Claim)), min_size=1))
    found = tuple(
        Finding(
            claim=claim,
            outcome=draw(st.sampled_from(["pass", "fail", "inconclusive", "not_run"])),
            note=draw(text),
            effect=draw(st.none() | finite),
            low=draw(st.none() | finite),
            seeds=tuple(draw(st.lists(st.integers(0, 99), max_size=3))),
            n_pairs=draw(st.integers(0, 10**6)),
        )
        for claim in Claim
        if claim in claims
    )
    return Validation(
        grade=draw(st.sampled_from(["A", "B", "C", "C-redundant", "F"])),
        weakest=draw(st.sampled_from(sorted(claims))),
        circuit_sha256=draw(text),
        findings=found,
    )
