"""Explanations made by hand, for the tests of the views: numbers that fit a circuit, no model."""

from __future__ import annotations

from random import Random
from typing import Any

from circuitkit.circuit import Circuit, Side, head_pairs, residual_links
from circuitkit.circuit.explanation import (
    Adds,
    Context,
    Example,
    ExampleKind,
    Explanation,
    Hop,
    Look,
    NodeNote,
    Run,
    TokenPath,
    TokenSource,
)


def random_explanation(circuit: Circuit, seed: int = 0, **changes: Any) -> Explanation:
    """An explanation of a circuit with surroundings: every link and node has a number."""
    random = Random(seed)
    kinds: tuple[ExampleKind, ...] = (
        "shown", "typical", "distractor", "out_of_distribution", "worst",
    )  # fmt: skip
    fields: dict[str, Any] = {
        "circuit_sha256": circuit.sha256,
        "n_pairs": 512,
        "nodes": {str(node): _note(circuit, random) for node in circuit.nodes},
        "examples": tuple(_example(circuit, kind, random) for kind in kinds),
    }
    return Explanation(**{**fields, **changes})


def _adds(random: Random, size: float = 1.0) -> Adds:
    a = round(random.gauss(0, size), 3)
    return Adds(a=a, b=round(a + random.gauss(0, 0.1), 3))


def _note(circuit: Circuit, random: Random) -> NodeNote:
    assert circuit.surroundings
    tokens = circuit.surroundings.a.tokens

    def contexts(sign: float) -> tuple[Context, ...]:
        return tuple(
            Context(tokens=tokens, at=random.randrange(len(tokens)), activation=sign * (2 - i / 4))
            for i in range(3)
        )

    return NodeNote(
        role=random.choice(("cue", "offset", "constant")), adds=_adds(random),
        highest=contexts(1.0), lowest=contexts(-1.0), random=contexts(0.1),
    )  # fmt: skip


def _run(side: Side, heads: list[str], random: Random) -> Run:
    attention = {head: tuple(_attention(len(side.tokens), random)) for head in heads}
    return Run(**dict(side), model_logit_difference=3.25, attention=attention)


def _attention(n: int, random: Random) -> list[float]:
    weights = [random.random() ** 4 for _ in range(n + 1)]
    return [round(weight / sum(weights), 4) for weight in weights[:n]]


def _example(circuit: Circuit, kind: ExampleKind, random: Random) -> Example:
    around = circuit.surroundings
    assert around
    heads = sorted(
        {f"{n.site.layer}.{n.channel // around.d_head}" for n in circuit.nodes
         if n.site.place in ("k", "v")}
    )  # fmt: skip
    a, b = (_run(side, heads, random) for side in (around.a, around.b))
    names = [str(node) for node in circuit.nodes]
    return Example(
        kind=kind, template=f"form {len(kind)}", a=a, b=b,
        paths=tuple(_path(circuit, a, b, 3.0 / 2**i, random) for i in range(7)),
        constant=Adds(a=0.25, b=-0.25), rest=Adds(a=-0.5, b=-0.25),
        nodes={name: _adds(random) for name in names},
        links=_links(circuit, random),
        by_ablation=tuple(n for n in names if ".q:" in n or ".k:" in n),
    )  # fmt: skip


def _links(circuit: Circuit, random: Random) -> dict[str, Adds]:
    around = circuit.surroundings
    assert around
    keys = [f"{edge.source}>{edge.target}" for edge in circuit.edges]
    keys += [f"{write}>{read}" for write, read in residual_links(circuit.nodes)]
    keys += [f"token:{token}>{node}" for token, node, _ in around.embedding]
    keys += [f"{node}>answer" for node in circuit.nodes if node.site.place == "final_resid"]
    paired = {f"{query}>{key}" for query, key in head_pairs(circuit.nodes)}
    return {key: _adds(random, 0.5) for key in keys if key not in paired}


def _path(circuit: Circuit, a: Run, b: Run, size: float, random: Random) -> TokenPath:
    at, names = random.randrange(min(len(a.tokens), len(b.tokens))), list(map(str, circuit.nodes))
    inside = [name for name in names if ".v:" in name or ".post_act:" in name]
    ends = [name for name in names if name.startswith("final_resid")]
    hops = (
        Hop(part="head 0.2", nodes=tuple(random.sample(inside, min(2, len(inside)))),
            looks=(Look(prompt="a", at=len(a.tokens) - 1, looks_at=at, attention=0.83),)),
        Hop(part="neurons 1", nodes=tuple(random.sample(inside, min(1, len(inside))))),
    )  # fmt: skip
    return TokenPath(
        source=TokenSource(kind="token", a=a.tokens[at], b=b.tokens[at], a_at=(at,), b_at=(at,)),
        hops=hops[: random.randrange(3)], channels=tuple(ends[:2]),
        adds=Adds(a=size, b=round(0.9 * size, 3)),
    )  # fmt: skip
