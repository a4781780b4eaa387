"""Every node in the order of flow: what it reads, where it is active, what it writes.

In: a circuit and its explanation. Out: a card a node, for the template to set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import Context, Explanation
from circuitkit.nodes import Node
from circuitkit.views.head_looks import decides
from circuitkit.views.safe_text import number, signed, token_text

MAX_NODES = 200
CONTEXT_WIDTH = 22
ROLES = {"cue": "turns with the cue", "offset": "favours one answer", "constant": "constant"}


def node_cards(circuit: Circuit, explanation: Explanation) -> dict[str, Any]:
    """One card a node; of very large circuits the first ``MAX_NODES``."""
    neighbours = _Neighbours(circuit)
    return {
        "cards": [_card(node, neighbours, explanation) for node in list(circuit.nodes)[:MAX_NODES]],
        "n_hidden": max(0, circuit.n_nodes - MAX_NODES),
    }


def _card(node: Node, neighbours: _Neighbours, explanation: Explanation) -> dict[str, Any]:
    note = explanation.nodes.get(str(node))
    contexts = _contexts(note.highest, note.lowest) if note else []
    return {
        "label": neighbours.label(node),
        "role": ROLES[note.role] if note else "",
        "adds": f"{signed(note.adds.a)} in a, {signed(note.adds.b)} in b" if note else "",
        "reads": neighbours.reads(node) or "nothing but its bias",
        "contexts": contexts,
        "writes": neighbours.writes(node) or "nothing that is kept",
    }


def _contexts(highest: Iterable[Context], lowest: Iterable[Context]) -> list[dict[str, str]]:
    """Two places where the node is high, and the lowest one."""
    chosen = [*list(highest)[:2], *list(lowest)[:1]]
    return [_context(context) for context in chosen if context.at < len(context.tokens)]


def _context(context: Context) -> dict[str, str]:
    texts = [token_text(token, 10)[1:-1] for token in context.tokens]
    left = CONTEXT_WIDTH - len(texts[context.at])
    before: list[str] = []
    for text in reversed(texts[: context.at]):
        if (left := left - len(text)) < 0:
            break
        before.insert(0, text)
    return {
        "before": "".join(before),
        "token": texts[context.at],
        "activation": number(context.activation, 1),
    }


class _Neighbours:
    """What lies around the nodes of a circuit, in words."""

    def __init__(self, circuit: Circuit) -> None:
        self.graph = circuit.graph()
        self.around = circuit.surroundings
        self.d_head = self.around.d_head if self.around else None

    def label(self, node: Node) -> str:
        return node.label(self.d_head)

    def reads(self, node: Node) -> str:
        """The tokens, writes and weights that go into a node, the largest first."""
        name = str(node)
        tokens = [(token_text(t), w) for t, n, w in self._entries("embedding") if n == name]
        return _listed([*tokens, *((self._named(s), w) for s, w in self._ends(name, "in"))])

    def writes(self, node: Node) -> str:
        """The nodes and answers that a node goes into, or the head that looks by it."""
        if said := decides(node, self.d_head):
            return said
        name = str(node)
        answers = [(token_text(t), w) for n, t, w in self._entries("unembedding") if n == name]
        return _listed([*answers, *((self._named(t), w) for t, w in self._ends(name, "out"))])

    def _entries(self, which: str) -> Iterable[tuple[str, str, float]]:
        return getattr(self.around, which) if self.around else ()

    def _ends(self, name: str, way: str) -> Iterable[tuple[str, float | None]]:
        edges = self.graph.in_edges if way == "in" else self.graph.out_edges
        for source, target, data in edges(name, data=True):
            weight = data["weight"] if data["kind"] == "weight" else None
            yield (source if way == "in" else target), weight

    def _named(self, name: str) -> str:
        return self.label(Node.parse(name))


def _listed(ends: list[tuple[str, float | None]], limit: int = 5) -> str:
    """Names with their weights, largest first; a link along the residual stream has none."""
    ordered = sorted(ends, key=lambda end: -abs(end[1]) if end[1] is not None else float("-inf"))
    shown = [name + ("" if w is None else f" × {number(w, 2)}") for name, w in ordered[:limit]]
    more = [f"{len(ends) - limit} more"] if len(ends) > limit else []
    return ", ".join([*shown, *more])
