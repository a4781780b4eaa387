"""What the page's script needs: which edges are drawn, and the numbers of every example.

In: a circuit, its explanation, its picture. Out: JSON that may stand inside a ``script`` element.
Tokens are literals here too: the script sets them as text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from circuitkit.circuit import Circuit, Side, Surroundings
from circuitkit.circuit.explanation import Adds, Example, Explanation
from circuitkit.nodes import Node
from circuitkit.views.example_pair import cues
from circuitkit.views.page_svg import DrawnEdge, Picture, joins
from circuitkit.views.palette import kind_of
from circuitkit.views.safe_text import token_texts

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def script_json(data: object) -> str:
    r"""JSON in ASCII without ``<``, ``>`` or ``&``: no element can begin or end in it.

    >>> print(script_json(["</script>"]))
    ["\u003c/script\u003e"]
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def circuit_data(
    circuit: Circuit, explanation: Explanation | None, drawn: Picture
) -> dict[str, Any]:
    """The data of one circuit; without an explanation, its example pair alone.

    Of ``edges`` the drawn ones come first, in the order of their numbers in the picture.
    """
    around = circuit.surroundings
    edges = [*drawn.edges, *_undrawn(circuit, drawn)]
    if explanation:
        examples = [_example(example, edges, circuit) for example in explanation.examples]
    else:
        examples = [_runs(around.a, around.b, circuit)] if around else []
    return {
        "checkpoint": circuit.checkpoint.sha256,
        "nodes": {str(node): _node(node, around) for node in circuit.nodes},
        "labels": drawn.labels,
        "edges": [_edge(edge, i < len(drawn.edges)) for i, edge in enumerate(edges)],
        "examples": examples,
    }


def _node(node: Node, around: Surroundings | None) -> dict[str, Any]:
    mean = around.means.get(str(node), 0.0) if around else 0.0
    label = node.label(around.d_head if around else None)
    return {"label": label, "kind": kind_of(node.site), "mean": _rounded(mean)}


def _edge(edge: DrawnEdge, is_drawn: bool) -> dict[str, Any]:
    named = {"source": edge.source, "target": edge.target, "kind": edge.kind}
    return {**named, "weight": edge.weight, "isDrawn": is_drawn}


def _undrawn(circuit: Circuit, drawn: Picture) -> list[DrawnEdge]:
    """What a path can go along although no single line shows it.

    A write and a later read, past other reads of that channel; a head's queries and keys, which
    decide what its values are multiplied with.
    """
    shown = {(edge.source, edge.target) for edge in drawn.edges}
    found = [
        DrawnEdge(source=source, target=target, kind=kind, key=f"{source}>{target}")
        for (source, target), (kind, _) in joins(circuit).items()
        if kind == "residual" and (source, target) not in shown
    ]
    if around := circuit.surroundings:
        gates = _gates(circuit.nodes, around.d_head)
        found += [DrawnEdge(source=gate, target=v, kind="drawn") for gate, v in gates]
    return found


def _gates(nodes: Iterable[Node], d_head: int) -> list[tuple[str, str]]:
    heads: dict[tuple[int, int], dict[str, list[str]]] = {}
    for node in nodes:
        if node.site.place in ("q", "k", "v"):
            head = heads.setdefault((node.site.layer, node.channel // d_head), {})
            head.setdefault(node.site.place, []).append(str(node))
    return [
        (source, value)
        for head in heads.values()
        for place in ("q", "k")
        for source in head.get(place, [])
        for value in head.get("v", [])
    ]


def _example(example: Example, edges: Sequence[DrawnEdge], circuit: Circuit) -> dict[str, Any]:
    names = list(map(str, circuit.nodes))
    return {
        **_runs(example.a, example.b, circuit),
        "adds": {name: _pair(example.nodes[name]) for name in names if name in example.nodes},
        "links": [_link(example, edge) for edge in edges],
        "ablated": [name for name in names if name in example.by_ablation],
    }


def _link(example: Example, edge: DrawnEdge) -> tuple[float, float] | None:
    """What it adds; nothing where it leads to a node that is known by its ablation."""
    adds = None if edge.target in example.by_ablation else example.links.get(edge.key)
    return None if adds is None else _pair(adds)


def _pair(adds: Adds) -> tuple[float, float]:
    return _rounded(adds.a), _rounded(adds.b)


def _runs(a: Side, b: Side, circuit: Circuit) -> dict[str, Any]:
    return {"a": _run(a, b, circuit), "b": _run(b, a, circuit)}


def _run(side: Side, other: Side, circuit: Circuit) -> dict[str, Any]:
    literals = token_texts((*side.tokens, *other.tokens), 24)
    found = {str(node): side.activations.get(str(node), ()) for node in circuit.nodes}
    return {
        "tokens": [literals[token] for token in side.tokens],
        "cue": cues(side, other),
        "activations": {node: list(map(_rounded, each)) for node, each in found.items()},
    }


def _rounded(value: float) -> float:
    """Four digits: more cannot be seen, and the page stays small."""
    return float(f"{value:.4g}")
