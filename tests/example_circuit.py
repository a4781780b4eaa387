"""Circuits and validations made by hand, for the tests of the views: no model behind them."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from circuitkit.circuit import Circuit, Minimality, Scores, Side, Surroundings
from circuitkit.findings import DEFAULT_CLAIMS, Claim, Finding, Validation
from circuitkit.nodes import Edge, Node, NodeSet
from circuitkit.provenance import Named, Provenance

QUESTION = "Is this list flat or nested: close it with ] or with ]]?"

NODES = (
    *("0.attn.act_in:17", "0.attn.act_in:54", "0.attn.act_in:90"),
    *("0.attn.v:33", "0.attn.v:37", "0.attn.resid_delta:61", "0.attn.resid_delta:88"),
    *("0.mlp.act_in:61", "0.mlp.act_in:88", "0.mlp.post_act:212", "0.mlp.post_act:340"),
    *("0.mlp.resid_delta:61", "0.mlp.resid_delta:103"),
    *("1.attn.act_in:17", "1.attn.act_in:61", "1.attn.act_in:103"),
    *("1.attn.q:83", "1.attn.k:83", "1.attn.v:82", "1.attn.v:87"),
    *("1.attn.resid_delta:12", "1.attn.resid_delta:40"),
    *("1.mlp.act_in:12", "1.mlp.act_in:103", "1.mlp.post_act:77", "1.mlp.resid_delta:9"),
    *("final_resid:9", "final_resid:12", "final_resid:40"),
)

EDGES = (
    *(("0.attn.act_in:17", "0.attn.v:33", 1.42), ("0.attn.act_in:54", "0.attn.v:33", -0.61)),
    *(("0.attn.act_in:90", "0.attn.v:37", 0.88), ("0.attn.v:33", "0.attn.resid_delta:61", 1.9)),
    *(("0.attn.v:33", "0.attn.resid_delta:88", -0.7), ("0.attn.v:37", "0.attn.resid_delta:88", 1)),
    *(("0.mlp.act_in:61", "0.mlp.post_act:212", 2.1), ("0.mlp.act_in:88", "0.mlp.post_act:340", 1)),
    *(("0.mlp.act_in:61", "0.mlp.post_act:340", -1.3),),
    *(("0.mlp.post_act:212", "0.mlp.resid_delta:103", 1.1),),
    *(("0.mlp.post_act:340", "0.mlp.resid_delta:61", -0.4),),
    *(("1.attn.act_in:17", "1.attn.k:83", 0.9), ("1.attn.act_in:103", "1.attn.q:83", 1.2)),
    *(("1.attn.act_in:61", "1.attn.v:82", 1.7), ("1.attn.act_in:61", "1.attn.v:87", -0.5)),
    *(("1.attn.v:82", "1.attn.resid_delta:12", 1.3), ("1.attn.v:87", "1.attn.resid_delta:40", 0.6)),
    *(("1.mlp.act_in:12", "1.mlp.post_act:77", 0.9), ("1.mlp.act_in:103", "1.mlp.post_act:77", -1)),
    *(("1.mlp.post_act:77", "1.mlp.resid_delta:9", 2.4),),
)

TOKENS_A = ("rows", " =", " [[", "3", ",", " 1", "],", " [", "7", ",", " 2")
TOKENS_B = ("rows", " =", " [", "3", ",", " 1", ",", " 7", ",", " 2")


def parse_edges(edges: Any) -> tuple[Edge, ...]:
    return tuple(Edge(Node.parse(a), Node.parse(b), float(w)) for a, b, w in edges)


def side(nodes: Any, tokens: tuple[str, ...], answer: str, sign: float) -> Side:
    random = Random(len(tokens))
    activations = {
        str(node): tuple(
            round(sign * i * 0.1 + random.gauss(0, 0.4), 4) if i > 1 else 0.0
            for i, _ in enumerate(tokens)
        )
        for node in nodes
    }
    return Side(tokens=tokens, answer=answer, logit_difference=2.1, activations=activations)


def surroundings(nodes: NodeSet, **changes: Any) -> Surroundings:
    reads = [str(n) for n in nodes if n.site.place == "act_in"]
    finals = [str(n) for n in nodes if n.site.place == "final_resid"]
    inside = [str(n) for n in nodes if n.site.place in ("q", "k", "v", "post_act")]
    a = changes.pop("tokens_a", TOKENS_A)
    b = changes.pop("tokens_b", TOKENS_B)
    answers = changes.pop("answers", ("]]", "]"))
    weights = [0.8, -0.35, 0.5, 1.1]
    fields: dict[str, Any] = {
        "question": QUESTION,
        "source": "Gao et al. 2025, Table 1",
        "d_head": 16,
        "n_nodes_model": 5248,
        "n_edges_model": 19034,
        "a": side(nodes, a, answers[0], 1.0),
        "b": side(nodes, b, answers[1], -0.4),
        "embedding": tuple(
            (token, read, weights[(i + j) % 4])
            for i, token in enumerate(dict.fromkeys((*a[2:3], *b[2:3], a[-1])))
            for j, read in enumerate(reads[:4])
            if (i + j) % 3 != 2
        ),
        "unembedding": tuple(
            (final, answer, 1.5 - 2.6 * ((i + j) % 2))
            for i, final in enumerate(finals)
            for j, answer in enumerate(dict.fromkeys(answers))
        ),
        "biases": {name: (-1.25, 0.02, 0.0)[i % 3] for i, name in enumerate(inside)},
        "means": {str(node): round(0.3 - 0.05 * i, 3) for i, node in enumerate(nodes)},
    }
    return Surroundings(**{**fields, **changes})


def example_circuit(
    names: Any = NODES, edges: Any = EDGES, around: dict[str, Any] | None = None, **changes: Any
) -> Circuit:
    """A circuit of 29 nodes with an example pair; ``around=None`` fills it in, fields override."""
    nodes = NodeSet.of(Node.parse(name) for name in names)
    kept = parse_edges(edges)
    fields: dict[str, Any] = {
        "task": Named(name="bracket_counting", sha256="1f" * 32),
        "checkpoint": Named(name="tinypython-sparse", sha256="c0" * 32),
        "ablation": "mean",
        "target_loss_nats": 0.15,
        "granularity": "node",
        "seed": 0,
        "outcome": "target_met",
        "nodes": nodes,
        "edges": kept,
        "n_nodes": len(nodes),
        "n_edges": len(kept),
        "n_edges_induced": len(kept),
        "loss_nats": Scores(model=0.021, circuit=0.143, complement=0.744, empty=math.log(2)),
        "accuracy": Scores(model=0.998, circuit=0.967, complement=0.512, empty=0.5),
        "n_pairs": 512,
        "minimality": Minimality(
            nodes_1_minimal=True, edges_1_minimal=False, split="select", n_pairs=512
        ),
        "surroundings": surroundings(nodes, **(around or {})),
        "provenance": Provenance(
            circuitkit_version="0.1.0",
            created_with="extract",
            torch_version="2.13.0",
            seed=0,
            config_sha256="ab" * 32,
        ),
    }
    return Circuit(**{**fields, **changes})


def tiny_circuit(**changes: Any) -> Circuit:
    """One neuron that reads one channel and writes one: 3 nodes, 2 edges, and the final read."""
    names = ("0.mlp.act_in:1", "0.mlp.post_act:5", "0.mlp.resid_delta:2", "final_resid:2")
    edges = (
        ("0.mlp.act_in:1", "0.mlp.post_act:5", 0.5),
        ("0.mlp.post_act:5", "0.mlp.resid_delta:2", -1.0),
    )
    around = {"tokens_a": ("x", "(", "y"), "tokens_b": ("x", "[", "y"), "answers": (")", "]")}
    return example_circuit(names, edges, around, **changes)


def empty_circuit(**changes: Any) -> Circuit:
    """A collapsed extraction: nothing kept."""
    return example_circuit((), (), outcome="collapsed", **changes)


def random_circuit(n_nodes: int, seed: int = 0, n_layer: int = 4, **changes: Any) -> Circuit:
    """A circuit of about ``n_nodes`` nodes with plausible edges between them."""
    random = Random(seed)
    kinds = ("attn.act_in", "attn.q", "attn.k", "attn.v", "attn.resid_delta")
    kinds = (*kinds, "mlp.act_in", "mlp.post_act", "mlp.resid_delta")
    sites = [f"{layer}.{kind}" for layer in range(n_layer) for kind in kinds]
    names = {f"final_resid:{random.randrange(n_nodes)}" for _ in range(3)}
    while len(names) < n_nodes:
        site = random.choice(sites)
        width = n_nodes if "act_in" in site or "resid" in site else 64 * max(1, n_nodes // 60)
        names.add(f"{site}:{random.randrange(width)}")
    nodes = sorted(map(Node.parse, names))
    flows = {"act_in": ("q", "k", "v", "post_act"), "v": ("resid_delta",)}
    flows["post_act"] = ("resid_delta",)
    pairs = [
        (str(s), str(t), random.choice([-1, 1]) * (0.05 + random.random()))
        for s in nodes
        for t in nodes
        if (s.site.layer, s.site.block) == (t.site.layer, t.site.block)
        and t.site.place in flows.get(s.site.place, ())
    ]
    edges = random.sample(pairs, min(len(pairs), max(1, int(1.1 * n_nodes))))
    return example_circuit([str(n) for n in nodes], edges, **changes)


def example_validation(circuit: Circuit, grade: str = "C", thorough: bool = False) -> Validation:
    """Findings of every outcome, worded as the validator words them."""
    found = {
        Claim.SUFFICIENT: ("pass", 0.143, 0.131, 0.158, "nats", "l_C ≤ target + 0.05; F ≥ 0.70"),
        Claim.FAITHFUL: ("pass", 0.962, 0.941, 0.978, "agreement", "≥ 0.90"),
        Claim.NECESSARY: ("pass", 0.512, 0.471, 0.553, "accuracy", "in [0.35, 0.65]; Nec ≥ 0.8"),
        Claim.GENERALISES: ("inconclusive", 0.061, -0.012, 0.134, "nats", "test − train ≤ 0.10"),
        Claim.FOLLOWS_OOD: ("not_run", None, None, None, "", "agreement ≥ 0.80"),
        Claim.MINIMAL: ("fail", 0.71, 0.66, 0.76, "fraction", "≥ 0.80 of nodes significant"),
    }
    default = ("pass", 0.97, 0.95, 0.99, "fraction", "lower bound ≥ 0.90")
    return Validation(
        grade=grade,  # pyright: ignore[reportArgumentType]
        weakest=Claim.MINIMAL,
        circuit_sha256=circuit.sha256,
        findings=tuple(
            finding(claim, found.get(claim, default))
            for claim in (tuple(Claim) if thorough else DEFAULT_CLAIMS)
        ),
    )


def finding(claim: Claim, found: Any) -> Finding:
    outcome, effect, low, high, unit, threshold = found
    notes = {
        "inconclusive": "about 1,900 pairs would settle it",
        "not_run": "the task file has no ood forms",
        "fail": "7 of 24 nodes are passengers: 0.attn.act_in:54, 0.attn.v:37 and 5 more",
    }
    return Finding(
        claim=claim,
        outcome=outcome,
        effect=effect,
        low=low,
        high=high,
        unit=unit,
        threshold=threshold,
        threshold_source="docs/validation.md",
        interval_method=None if effect is None else "cluster bootstrap-t, 4,000 resamples",
        note=notes.get(outcome, ""),
        n_pairs=0 if effect is None else 512,
        n_clusters=0 if effect is None else 41,
        fooled_by="a circuit tuned to the labels; read it together with faithful and necessary",
        forward_passes=24,
        seconds=1.25,
    )
