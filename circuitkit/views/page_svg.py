"""The diagram inside a page: Graphviz's SVG, made safe to stand beside others and open to a script.

In: the SVG of a circuit, and the circuit. Out: markup whose nodes and edges can be found by the
page's script, and what they are, as data. It relies on titles alone: a node's is its id, an
edge's ``SOURCE->TARGET``. What has another title is drawn and linked, but is no node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from circuitkit.circuit import Circuit, head_pairs, residual_links
from circuitkit.views.safe_text import token_text, token_texts

_SVG = "{http://www.w3.org/2000/svg}"
_PIXELS = 96 / 72
"""Pixels of a page in a point of Graphviz."""

Element = ElementTree.Element
Titled = tuple[Element, str]
Kind = Literal["weight", "residual", "query and key", "token", "answer", "stream", "drawn"]
Joined = dict[tuple[str, str], tuple[Kind, float | None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnEdge:
    """An edge of the picture: where it runs, and its key in ``Example.links`` if it can have one.

    A ``stream`` is a stretch of a channel between two places that do not feed each other.
    """

    source: str
    target: str
    kind: Kind
    key: str = ""
    weight: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """The markup of a diagram, its width in pixels, and what it shows.

    ``labels`` has the text of what is drawn and is no node of the circuit.
    """

    markup: str
    width: int
    edges: tuple[DrawnEdge, ...]
    labels: dict[str, str]


def picture(svg: str, circuit: Circuit, prefix: str) -> Picture:
    """Take a diagram apart; ``prefix`` keeps its ids from those of other diagrams in the page."""
    root = ElementTree.fromstring(svg)
    _drop_links_and_name_spaces(root)
    groups = [(group, _take_title(group)) for group in root.iter("g")]
    for group, _ in groups:
        group.set("id", f"{prefix}-{group.get('id')}")
    labels = _mark_nodes(groups)
    edges = tuple(_mark_edges(groups, labels, circuit))
    width, known = _fit(root), set(map(str, circuit.nodes))
    others = {name: " ".join(lines) for name, lines in labels.items() if name not in known}
    markup = ElementTree.tostring(root, encoding="unicode")
    return Picture(markup=markup, width=width, edges=edges, labels=others)


def _mark_nodes(groups: Iterable[Titled]) -> dict[str, list[str]]:
    """Write each node's name on it, and return the lines of its label."""
    nodes = [(group, title) for group, title in groups if group.get("class") == "node"]
    for group, title in nodes:
        group.set("data-node", title)
    return {title: [text.text or "" for text in group.iter("text")] for group, title in nodes}


def _mark_edges(
    groups: Iterable[Titled], labels: dict[str, list[str]], circuit: Circuit
) -> Iterator[DrawnEdge]:
    """Number the edges as they are drawn; a token is known by the first line of its label."""
    tokens, joined = _token_of(circuit), joins(circuit)
    edges = ((group, title) for group, title in groups if group.get("class") == "edge")
    for i, (group, title) in enumerate(edges):
        group.set("data-edge", str(i))
        source, _, target = title.partition("->")
        literal = next(iter(labels.get(source, [])), "")
        yield _edge(source, target, joined, tokens.get(literal, ""))


def joins(circuit: Circuit) -> Joined:
    """What joins two nodes: a weight, the residual stream, or the product of query and key."""
    pairs = ((str(query), str(key)) for query, key in head_pairs(circuit.nodes))
    links = ((str(write), str(read)) for write, read in residual_links(circuit.nodes))
    return {
        **dict.fromkeys(pairs, ("query and key", None)),
        **dict.fromkeys(links, ("residual", None)),
        **{(str(e.source), str(e.target)): ("weight", e.weight) for e in circuit.edges},
    }


def _edge(source: str, target: str, joined: Joined, token: str) -> DrawnEdge:
    kind, weight = joined.get((source, target), (_kind_of_other(source, target), None))
    ways = {"token": f"token:{token}>{target}", "answer": f"{source}>answer", "stream": ""}
    key = ways.get(kind, f"{source}>{target}")
    return DrawnEdge(source=source, target=target, kind=kind, key=key, weight=weight)


def _kind_of_other(source: str, target: str) -> Kind:
    if source.startswith("token"):
        return "token"
    if target.startswith("answer"):
        return "answer"
    return "stream" if ":" in source and ":" in target else "drawn"


def _token_of(circuit: Circuit) -> dict[str, str]:
    """The token behind each literal that a diagram can show."""
    if not (around := circuit.surroundings):
        return {}
    tokens = dict.fromkeys((*around.a.tokens, *around.b.tokens))
    short = {token_text(token): token for token in tokens}
    return short | {literal: token for token, literal in token_texts(tokens).items()}


def _drop_links_and_name_spaces(root: Element) -> None:
    """HTML does without name spaces; the links only carry tool tips."""
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        for name in [name for name in element.attrib if name.startswith("{")]:
            del element.attrib[name]
    for parent in list(root.iter()):
        for place, child in enumerate(list(parent)):
            if child.tag == "g" and len(child) == 1 and child[0].tag == "a":
                parent.remove(child)
                for offset, inner in enumerate(child[0]):
                    parent.insert(place + offset, inner)


def _take_title(group: Element) -> str:
    title = group.find("title")
    if title is None:
        return ""
    group.remove(title)
    return title.text or ""


def _fit(root: Element) -> int:
    """Size the picture in pixels, and name it for those who do not see it."""
    sizes = {side: float(root.get(side, "0").removesuffix("pt")) for side in ("width", "height")}
    for side, points in sizes.items():
        root.set(side, f"{points * _PIXELS:.0f}")
    root.set("role", "img")
    root.set("aria-label", "diagram of the circuit, from its tokens at the bottom to its answers")
    return round(sizes["width"] * _PIXELS)
