"""The bottom and top rows of the diagram: the tokens of the example pair, and its answers.

In: a circuit's surroundings. Out: lines of DOT. Neither is counted in the circuit's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from circuitkit.circuit import Surroundings
from circuitkit.nodes import Node, NodeSet
from circuitkit.views import dot
from circuitkit.views.example_pair import shown_tokens
from circuitkit.views.safe_text import token_texts


def tokens(around: Surroundings, nodes: NodeSet) -> Iterator[str]:
    """Draw the bottom row: the cue and the last token, with their embedding entries."""
    shown = shown_tokens(around)
    ids = {token.text: f"token {i}" for i, token in enumerate(shown)}
    literals = token_texts(ids)
    for token in shown:
        label = f"{literals[token.text]}\n{token.where}"
        yield dot.plain(ids[token.text], label)
    yield dot.margin("row tokens", "tokens")
    yield dot.same_row(["row tokens", *ids.values()])
    first = {str(node) for node in _first_reads(nodes)}
    entries = [(t, n, w) for t, n, w in around.embedding if t in ids and n in first]
    top = max((abs(w) for _, _, w in entries), default=1.0) or 1.0
    for token, node, weight in entries:
        yield dot.arrow(ids[token], node, weight, abs(weight) / top)


def _first_reads(nodes: NodeSet) -> list[Node]:
    """Find the lowest read of each residual channel."""
    lowest: dict[int, Node] = {}
    for node in nodes:
        if node.site.place in ("act_in", "final_resid"):
            lowest.setdefault(node.channel, node)
    return list(lowest.values())


def answers(around: Surroundings, nodes: NodeSet) -> Iterator[str]:
    """Draw the top row: the two answers, with the unembedding entries that reach them."""
    sides = {around.a.answer: "to a", around.b.answer: "to b"}
    ids, literals = {token: f"answer {i}" for i, token in enumerate(sides)}, token_texts(sides)
    for token, name in sides.items():
        yield dot.plain(ids[token], f"{literals[token]}\n{name}")
    yield dot.margin("row answers", "answers")
    yield dot.same_row(["row answers", *ids.values()])
    yield from (dot.unseen(left, right) for left, right in pairwise(ids.values()))
    kept = {str(node) for node in nodes if node.site.place == "final_resid"}
    entries = [(n, t, w) for n, t, w in around.unembedding if n in kept and t in ids]
    top = max((abs(w) for _, _, w in entries), default=1.0) or 1.0
    for node, token, weight in entries:
        yield dot.arrow(node, ids[token], weight, abs(weight) / top)
