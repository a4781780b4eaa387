"""What a page says of each node, in the order of flow: what it reads, fires on and writes.

In: a circuit and perhaps its explanation. Out: strings for the page's template.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from circuitkit.circuit import Circuit, Surroundings
from circuitkit.circuit.explanation import Context, Explanation, NodeNote
from circuitkit.nodes import Node
from circuitkit.views.head_looks import decides
from circuitkit.views.page_mechanism import adds_text
from circuitkit.views.page_svg import joins
from circuitkit.views.palette import kind_of
from circuitkit.views.safe_text import number, signed, token_text

MAX_NAMED = 4
"""Of more nodes or tokens that one is joined to, the strongest are named."""

BEFORE, AFTER = 9, 4
"""Tokens of a context that are shown around its own."""

Link = tuple[str, float]


def node_cards(circuit: Circuit, explanation: Explanation | None) -> list[dict[str, Any]]:
    """A card for each node of the circuit."""
    into, out = _links(circuit)
    notes = explanation.nodes if explanation else {}
    d_head = circuit.surroundings.d_head if circuit.surroundings else None
    return [
        {
            "id": str(node),
            "label": node.label(d_head),
            "kind": kind_of(node.site),
            "reads": _named(into[str(node)]) or "no kept node and none of the example's tokens",
            "fires": _fires(str(node), circuit.surroundings),
            "writes": decides(node, d_head) or _named(out[str(node)]) or "to no kept node",
            **_note(notes.get(str(node))),
        }
        for node in circuit.nodes
    ]


def _note(note: NodeNote | None) -> dict[str, Any]:
    if note is None:
        return {"role": "", "adds": "", "contexts": []}
    kinds = {"highest": note.highest, "lowest": note.lowest, "random": note.random}
    shown = [(name, [_context(one) for one in found]) for name, found in kinds.items() if found]
    return {"role": note.role, "adds": adds_text(note.adds), "contexts": shown}


def _context(context: Context) -> dict[str, str]:
    at, texts = context.at, [token_text(token, 24)[1:-1] for token in context.tokens]
    return {
        "before": "".join(texts[max(0, at - BEFORE) : at]),
        "token": "".join(texts[at : at + 1]),
        "after": "".join(texts[at + 1 : at + 1 + AFTER]),
        "activation": number(context.activation),
    }


def _links(circuit: Circuit) -> tuple[defaultdict[str, list[Link]], defaultdict[str, list[Link]]]:
    """What flows into each node and out of it, by name, with its weight."""
    into: defaultdict[str, list[Link]] = defaultdict(list)
    out: defaultdict[str, list[Link]] = defaultdict(list)
    d_head = circuit.surroundings.d_head if circuit.surroundings else None
    for (source, target), (kind, weight) in joins(circuit).items():
        if kind != "query and key":
            into[target].append((_name(source, d_head), 1.0 if weight is None else weight))
            out[source].append((_name(target, d_head), 1.0 if weight is None else weight))
    if around := circuit.surroundings:
        for token, node, weight in around.embedding:
            into[node].append((token_text(token), weight))
        for node, token, weight in around.unembedding:
            out[node].append((token_text(token), weight))
    return into, out


def _name(node: str, d_head: int | None) -> str:
    return Node.parse(node).label(d_head)


def _named(links: Iterable[Link]) -> str:
    ranked = sorted(links, key=lambda link: (-abs(link[1]), link[0]))
    named = [f"{name} ({signed(weight)})" for name, weight in ranked[:MAX_NAMED]]
    more = len(ranked) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _fires(node: str, around: Surroundings | None) -> str:
    """Where in the example pair the node is farthest from its mean."""
    if around is None:
        return "not known: the circuit has no example"
    mean = around.means.get(node, 0.0)
    found = [
        (abs(value - mean), name, token, value)
        for name, side in (("a", around.a), ("b", around.b))
        for token, value in zip(side.tokens, side.activations.get(node, ()), strict=False)
    ]
    if not found:
        return "not known: the file has no activations of it"
    _, name, token, value = max(found, key=lambda row: row[0])
    return f"{token_text(token)} in {name}: {number(value)}, its mean is {number(mean)}"
