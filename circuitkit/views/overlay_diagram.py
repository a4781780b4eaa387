"""Several circuits in one picture: each node has the colours of the circuits that it is in.

In: circuits by name, such as those of a task's families. Out: DOT source and an SVG. Nodes that
all have are grey, so that what only some need stands out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import graphviz

from circuitkit.circuit import Circuit
from circuitkit.errors import UsageError
from circuitkit.files import write_whole
from circuitkit.nodes import Edge, Node, NodeSet
from circuitkit.views import dot
from circuitkit.views.diagram import drawable, edges, placeholder
from circuitkit.views.palette import FILLS, HUES
from circuitkit.views.safe_text import prose, told_apart
from circuitkit.views.site_rows import heads, lanes, rows
from circuitkit.views.svg import render

_ALL = FILLS["read"]
_KEY_ROW = "row legend circuits"
_CAPTION_WIDTH = 70


def overlay_diagram(circuits: Mapping[str, Circuit]) -> graphviz.Digraph:
    """Draw the nodes and edges of all as DOT source.

    Raises:
        UsageError: if they are none, or more than there are colours.
    """
    if not 0 < len(circuits) <= len(HUES):
        raise UsageError(
            f"a picture of {len(circuits)} circuits: expected 1 to {len(HUES)}, as many as there "
            "are colours to tell apart."
        )
    union = _union(list(circuits.values()))
    picture = dot.canvas("overlay", _caption(circuits, union.nodes), _CAPTION_WIDTH)
    picture.body.extend(_parts(circuits, union) if drawable(union) else placeholder(union))
    return picture


def write_overlay(circuits: Mapping[str, Circuit], path: str | Path) -> None:
    """Write the picture as an SVG.

    Raises:
        UsageError: if they are none, or more than there are colours.
    """
    write_whole(Path(path), render(overlay_diagram(circuits)))


def _union(circuits: list[Circuit]) -> Circuit:
    """A circuit that has what any has."""
    nodes = NodeSet.of(node for circuit in circuits for node in circuit.nodes)
    found: dict[tuple[Node, Node], Edge] = {}
    for circuit in circuits:
        found |= {(edge.source, edge.target): edge for edge in circuit.edges}
    kept = tuple(found[ends] for ends in sorted(found))
    counts = {"n_nodes": len(nodes), "n_edges": len(kept), "n_edges_induced": len(kept)}
    return circuits[0].model_copy(update={"nodes": nodes, "edges": kept, **counts})


def _caption(circuits: Mapping[str, Circuit], union: NodeSet) -> str:
    n_all = sum(all(node in circuit.nodes for circuit in circuits.values()) for node in union)
    return (
        f"{len(circuits)} circuits, {len(union)} nodes, {n_all} of them in all. "
        "A node has the colours of the circuits that it is in."
    )


def _parts(circuits: Mapping[str, Circuit], union: Circuit) -> Iterator[str]:
    colours = dict(zip(circuits, HUES, strict=False))

    def fill(node: Node) -> str:
        owners = [colours[name] for name, circuit in circuits.items() if node in circuit.nodes]
        return _ALL if len(owners) == len(circuits) else ":".join(owners)

    yield from rows(union, below=[_KEY_ROW], fill=fill)
    yield from _legend(colours)
    yield from heads(union)
    yield from lanes(union.nodes)
    yield from edges(union)


def _legend(colours: Mapping[str, str]) -> Iterator[str]:
    labels = told_apart(colours, 30, prose)
    shown = [*((labels[name], colour) for name, colour in colours.items()), ("all", _ALL)]
    boxes = [f"legend {i}" for i in range(len(shown))]
    for box, (label, colour) in zip(boxes, shown, strict=True):
        yield dot.box(box, label, colour, fontsize="8", height="0.18")
    yield dot.margin(_KEY_ROW, "circuits")
    yield dot.same_row([_KEY_ROW, *boxes])
    yield from (dot.unseen(left, right) for left, right in pairwise([_KEY_ROW, *boxes]))
