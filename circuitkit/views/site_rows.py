"""The body of the diagram: a row for every site, frames for heads, lines for the residual stream.

In: a circuit. Out: lines of DOT. Each node is written once, with its id in ``circuit.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise

from circuitkit.circuit import Circuit, head_pairs
from circuitkit.nodes import Node, NodeSet, Site
from circuitkit.views import dot
from circuitkit.views.palette import FILLS, kind_of

MAX_LABELLED = 150
"""Larger circuits are drawn without names and with thinner lines."""

MIN_BIAS = 0.1
"""Biases at least this large are written under the node's name."""


def _row_of(site: Site) -> str:
    return f"{site.layer}.attn.q k v" if site.place in ("q", "k", "v") else str(site)


def fill_by_kind(node: Node) -> str:
    """What a node does, as a tint."""
    return FILLS[kind_of(node.site)]


def rows(
    circuit: Circuit, below: Sequence[str], above: Sequence[str] = (),
    fill: Callable[[Node], str] = fill_by_kind,
) -> Iterator[str]:  # fmt: skip
    """State every node once, row by row, each row named in the margin.

    ``below`` and ``above`` are the names of rows that are stated elsewhere. A fill of several
    colours is a list with colons.
    """
    names = [*below]
    for name, row in groupby(circuit.nodes, key=lambda node: _row_of(node.site)):
        nodes = list(row)
        names.append(f"row {name}")
        yield dot.margin(names[-1], name)
        yield from (_node(node, circuit, fill(node)) for node in nodes)
        yield dot.same_row([names[-1], *map(str, nodes)])
    names += above
    yield from (dot.unseen(lower, upper, weight=100) for lower, upper in pairwise(names))


def _node(node: Node, circuit: Circuit, fill: str) -> str:
    around = circuit.surroundings
    d_head = around.d_head if around else None
    bias = (around.biases if around else {}).get(str(node), 0.0)
    tip = node.label(d_head) + (f", bias {bias:+.3g}" if bias else "")
    striped = {"style": "striped"} if ":" in fill else {}
    if len(circuit.nodes) > MAX_LABELLED:
        return dot.box(str(node), "", fill, tip, width="0.1", height="0.1", **striped)
    return dot.box(str(node), _short(node, d_head) + _bias(bias), fill, tip, **striped)


def _short(node: Node, d_head: int | None) -> str:
    """Shorten the label by its site, which the row names: ``17``, or ``q h5.c3`` in a head."""
    _, _, channel = node.label(d_head).replace(":", " ").partition(" ")
    return f"{node.site.place} {channel}" if node.site.place in ("q", "k", "v") else channel


def _bias(bias: float) -> str:
    return f"\nb {bias:+.2f}" if abs(bias) >= MIN_BIAS else ""


def heads(circuit: Circuit) -> Iterator[str]:
    """Draw a frame around the channels of each head."""
    if not (around := circuit.surroundings):
        return
    inside = [node for node in circuit.nodes if node.site.place in ("q", "k", "v")]
    pairs = head_pairs(circuit.nodes)

    def head(node: Node) -> tuple[int, int]:
        return (node.site.layer, node.channel // around.d_head)

    for key, nodes in groupby(sorted(inside, key=head), key=head):
        names = [str(node) for node in nodes]
        paired = [(str(query), str(keyed)) for query, keyed in pairs if head(query) == key]
        yield dot.head(f"{key[0]}.h{key[1]}", paired, names)


def lanes(nodes: NodeSet) -> Iterator[str]:
    """Draw one grey line for each residual channel, through all that read and write it."""
    places = ("act_in", "resid_delta", "final_resid")
    stream = [node for node in nodes if node.site.place in places]
    by_channel = sorted(stream, key=lambda node: (node.channel, node.site))
    for _, lane in groupby(by_channel, key=lambda node: node.channel):
        yield from (dot.stream(str(below), str(above)) for below, above in pairwise(lane))
