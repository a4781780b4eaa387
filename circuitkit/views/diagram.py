"""The circuit as a picture, from the tokens it reads (bottom) to its answers (top).

In: a ``Circuit``. Out: DOT source and, by Graphviz as WebAssembly, an SVG; the
same circuit gives the same bytes. Every site is a row. A grey line is one
channel of the residual stream; it connects all nodes that read and write it.
So a residual link is a path along one grey line. Every read of a channel sees
its embedding entry, which is drawn into the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import graphviz

from circuitkit.circuit import Circuit, head_pairs
from circuitkit.files import write_whole
from circuitkit.nodes import Edge
from circuitkit.views import dot
from circuitkit.views.legend import FILL_ROW, LINE_ROW, legend
from circuitkit.views.safe_text import prose
from circuitkit.views.site_rows import MAX_LABELLED, heads, lanes, rows
from circuitkit.views.svg import render
from circuitkit.views.tokens_and_answers import answers, tokens

MAX_NODES = 800
"""Above this there is only a placeholder."""

MAX_EDGES = 1500
"""Of more edges the largest are drawn, and the caption says so."""


def diagram(circuit: Circuit) -> graphviz.Digraph:
    """Draw the circuit as DOT source."""
    picture = dot.canvas("circuit", caption(circuit))
    picture.body.extend(_parts(circuit) if drawable(circuit) else placeholder(circuit))
    return picture


def write_diagram(circuit: Circuit, folder: str | Path) -> None:
    """Write ``circuit.dot`` and ``circuit.svg`` into a folder."""
    picture = diagram(circuit)
    write_whole(Path(folder) / "circuit.dot", picture.source)
    write_whole(Path(folder) / "circuit.svg", render(picture))


def caption(circuit: Circuit) -> str:
    """Compose the line under the picture."""
    most = f" (the {MAX_EDGES:,} largest drawn)" if circuit.n_edges > MAX_EDGES else ""
    return (
        f"{prose(circuit.task.name, 60)}: {circuit.n_nodes} nodes, {circuit.n_edges} edges{most}, "
        f"loss {circuit.loss_nats.circuit:.3f} nats, "
        f"complement accuracy {circuit.accuracy.complement:.3f}"
    )


def drawable(circuit: Circuit) -> bool:
    """Say whether there is something to draw, and not too much."""
    return 0 < circuit.n_nodes <= MAX_NODES


def placeholder(circuit: Circuit) -> Iterator[str]:
    """Say why there is nothing to see."""
    reason = "no nodes are kept" if not circuit.n_nodes else "too many nodes to draw"
    label = f"{reason}\noutcome: {circuit.outcome}"
    yield dot.box("placeholder", label, "#F5F5F5", style="filled,dashed", margin="0.5,0.3")


def _parts(circuit: Circuit) -> Iterator[str]:
    ends = circuit.surroundings is not None
    below = [LINE_ROW, FILL_ROW, *(["row tokens"] if ends else [])]
    yield from rows(circuit, below, ["row answers"] if ends else [])
    yield from legend(circuit)
    yield from heads(circuit)
    yield from lanes(circuit.nodes)
    yield from edges(circuit)
    if circuit.surroundings:
        yield from tokens(circuit.surroundings, circuit.nodes)
        yield from answers(circuit.surroundings, circuit.nodes)


def edges(circuit: Circuit) -> Iterator[str]:
    """Draw the counted edges, past ``MAX_EDGES`` the largest, and the query-key pairs."""
    largest: dict[tuple[str, str], float] = {}
    for edge in circuit.edges:
        largest[_kind(edge)] = max(largest.get(_kind(edge), 0.0), abs(edge.weight))
    thin = 0.3 if circuit.n_nodes > MAX_LABELLED else 1.0
    for edge in sorted(circuit.edges, key=lambda edge: -abs(edge.weight))[:MAX_EDGES]:
        relative = thin * abs(edge.weight) / largest[_kind(edge)]
        yield dot.arrow(str(edge.source), str(edge.target), edge.weight, relative)
    yield from (dot.pairing(str(query), str(key)) for query, key in head_pairs(circuit.nodes))


def _kind(edge: Edge) -> tuple[str, str]:
    return (edge.source.site.kind, edge.target.site.kind)
