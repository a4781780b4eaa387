"""What decides where the heads of the stripped diagram look: queries, keys and what they read.

They carry nothing to the answer themselves. An explanation has for them what is lost without
them; those without which enough is lost are drawn, with thin grey links.
"""

from __future__ import annotations

from collections.abc import Iterator

from circuitkit.circuit import Circuit, head_pairs
from circuitkit.circuit.explanation import Example, TokenSource
from circuitkit.nodes import Node
from circuitkit.views.answer_colours import Prompt, size
from circuitkit.views.head_looks import HEAD, looks, part_of
from circuitkit.views.sketch import Link, Start


def attending(circuit: Circuit, example: Example, names: set[str], least: float) -> set[str]:
    """The queries and keys that enough is lost without, of the heads among ``names``."""
    inside = [node for node in circuit.nodes if node.site.place in HEAD]
    heads = {part_of(circuit, node) for node in inside if str(node) in names}
    lost = _lost(example, least)
    return {str(node) for node in inside if part_of(circuit, node) in heads} & lost


def _lost(example: Example, least: float) -> set[str]:
    by_ablation = {
        name: example.nodes[name] for name in example.by_ablation if name in example.nodes
    }
    return {name for name, adds in by_ablation.items() if size(adds) >= least}


def deciding(circuit: Circuit, example: Example, ends: set[str], least: float) -> list[Link]:
    """The links that lead to these queries and keys, from nodes that as much is lost without."""
    graph, lost = circuit.graph(), _lost(example, least)
    found: list[Link] = []
    waiting = sorted(ends)
    for head in waiting:
        tails = sorted(set(graph.predecessors(head)) & lost)
        found += [Link(tail=tail, head=head, adds=None) for tail in tails]
        waiting += [tail for tail in tails if tail not in waiting]
    return found


def deciding_tokens(
    circuit: Circuit, example: Example, ends: set[str], links: list[Link]
) -> Iterator[Start]:
    """From the tokens that heads look from and at, to the first reads of those links."""
    entries = circuit.surroundings.embedding if circuit.surroundings else ()
    fed = {link.head for link in links}
    for link in links:
        if link.tail in fed or link.head not in ends:
            continue
        end = Node.parse(link.head)
        if not (look := looks(example).get(part_of(circuit, end))):
            continue
        at = look.at if end.site.place == "q" else look.looks_at
        tokens = (example.a if look.prompt == "a" else example.b).tokens
        if at < len(tokens) and any((tokens[at], link.tail) == entry[:2] for entry in entries):
            read = Link(tail="", head=link.tail, adds=None)
            yield Start(source=source_at(example, look.prompt, at), prompt=look.prompt, link=read)


def source_at(example: Example, prompt: Prompt, position: int) -> TokenSource:
    """The source that stands at a position: that of a path, else the token by itself."""
    for path in example.paths:
        places = path.source.a_at if prompt == "a" else path.source.b_at
        if path.source.kind == "token" and position in places:
            return path.source
    return source_of(example, prompt, (example.a if prompt == "a" else example.b).tokens[position])


def source_of(example: Example, prompt: Prompt, text: str) -> TokenSource:
    """Where a text stands in a prompt: the source with the strongest path from it."""
    for path in example.paths:
        if path.source.kind == "token" and getattr(path.source, prompt) == text:
            return path.source
    at = [
        tuple(i for i, token in enumerate(run.tokens) if token == text)
        for run in (example.a, example.b)
    ]
    return TokenSource(
        kind="token",
        a=text if at[0] else None,
        b=text if at[1] else None,
        a_at=at[0],
        b_at=at[1],
    )


def pairings(circuit: Circuit, names: set[str]) -> tuple[tuple[str, str], ...]:
    """The queries and keys among ``names`` that are multiplied."""
    pairs = [(str(query), str(key)) for query, key in head_pairs(circuit.nodes)]
    return tuple(pair for pair in pairs if set(pair) <= names)
