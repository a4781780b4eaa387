"""Explanations made by hand, for the tests of the views: they fit ``example_circuit``."""

from __future__ import annotations

from typing import Any

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import (
    Adds,
    Context,
    Example,
    Explanation,
    Hop,
    Look,
    NodeNote,
    Run,
    TokenPath,
    TokenSource,
)

CONSTANT = ("0.mlp.post_act:340", "1.mlp.act_in:103")


def source(a: str | None, b: str | None, a_at: Any = (2,), b_at: Any = (2,)) -> TokenSource:
    """A token, or one in each prompt."""
    return TokenSource(kind="token", a=a, b=b, a_at=a_at, b_at=b_at)


def adds(a: float, b: float) -> Adds:
    """What something adds in either prompt."""
    return Adds(a=a, b=b)


LOOK = Look(prompt="a", at=10, looks_at=2, attention=0.83)
THROUGH_THE_HEAD = TokenPath(
    source=source(" [[", " ["),
    hops=(Hop(part="head 1.5", nodes=("1.attn.v:82", "1.attn.resid_delta:12"), looks=(LOOK,)),),
    channels=("final_resid:12", "final_resid:40"),
    adds=adds(1.5, 0.1),
)
THROUGH_NEURONS = TokenPath(
    source=source(" [[", " ["),
    hops=(Hop(part="neurons 0", nodes=("0.mlp.post_act:212",)),),
    channels=("final_resid:9",),
    adds=adds(0.2, 1.2),
)
STRAIGHT = TokenPath(
    source=source(" 2", " 2", (10,), (9,)),
    hops=(),
    channels=("final_resid:40",),
    adds=adds(0.5, 0.4),
)
LINKS = {
    "token: [[>0.attn.act_in:17": adds(1.7, 0.0),
    "token: [>0.attn.act_in:17": adds(0.0, 1.3),
    "0.attn.act_in:17>0.attn.v:33": adds(1.7, 1.3),
    "0.attn.v:33>0.attn.resid_delta:61": adds(1.7, 1.3),
    "0.attn.resid_delta:61>1.attn.act_in:61": adds(1.6, 0.1),
    "1.attn.act_in:61>1.attn.v:82": adds(1.5, 0.1),
    "1.attn.v:82>1.attn.resid_delta:12": adds(1.5, 0.1),
    "1.attn.resid_delta:12>final_resid:12": adds(1.5, 0.1),
    "final_resid:12>answer": adds(1.5, 0.1),
    "0.attn.resid_delta:61>0.mlp.act_in:61": adds(0.2, 1.2),
    "0.mlp.act_in:61>0.mlp.post_act:212": adds(0.2, 1.2),
    "0.mlp.post_act:212>0.mlp.resid_delta:103": adds(0.2, 1.2),
    "0.mlp.resid_delta:103>1.mlp.act_in:103": adds(0.0, 0.001),
    "token: 2>final_resid:40": adds(0.5, 0.4),
    "final_resid:40>answer": adds(0.5, 0.4),
    "final_resid:9>answer": adds(0.01, 0.01),
    "token: 2>final_resid:9": adds(0.01, 0.01),
}


def run(side: Any, model: float = 3.0) -> Run:
    """A prompt as the circuit runs it, with one head that looks at its third token."""
    weights = tuple(0.8 if i == 2 else 0.01 for i, _ in enumerate(side.tokens))
    return Run(**side.model_dump(), model_logit_difference=model, attention={"head 1.5": weights})


def example(circuit: Circuit, kind: Any = "shown", **changes: Any) -> Example:
    """A pair whose paths, constant and rest add up to its logit differences."""
    around = circuit.surroundings
    assert around
    fields: dict[str, Any] = {
        "kind": kind,
        "template": "form1/plain",
        "a": run(around.a),
        "b": run(around.b),
        "paths": (THROUGH_THE_HEAD, THROUGH_NEURONS, STRAIGHT),
        "constant": adds(-0.2, 0.3),
        "rest": adds(0.1, 0.1),
        "nodes": {
            **{str(node): adds(0.5, 0.4) for node in circuit.nodes},
            "1.attn.q:83": adds(1.0, 0.0),
            "1.attn.k:83": adds(1.1, 0.0),
        },
        "links": LINKS,
        "by_ablation": ("1.attn.q:83", "1.attn.k:83"),
    }
    return Example(**{**fields, **changes})


def note(role: Any = "cue", **changes: Any) -> NodeNote:
    """What is known of a node."""
    contexts = tuple(
        Context(tokens=("rows", " =", " [", "1", "\n"), at=2, activation=value)
        for value in (2.5, 2.0, 1.5)
    )
    fields = {"highest": contexts, "lowest": contexts[::-1], "random": contexts[:1]}
    return NodeNote(**{"role": role, "adds": adds(0.5, 0.4), **fields, **changes})


def example_explanation(circuit: Circuit, **changes: Any) -> Explanation:
    """An explanation of ``example_circuit``; ``changes`` are fields of its first example."""
    roles = {name: "constant" if name in CONSTANT else "cue" for name in map(str, circuit.nodes)}
    return Explanation(
        circuit_sha256=circuit.sha256,
        n_pairs=64,
        nodes={name: note(role) for name, role in roles.items()},
        examples=(
            example(circuit, **changes),
            example(circuit, "typical"),
            example(circuit, "distractor", distractors=(" [",)),
            example(circuit, "out_of_distribution"),
            example(circuit, "worst"),
        ),
    )
