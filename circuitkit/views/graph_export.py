"""The circuit as a graph that other tools read: GraphML, and node-link JSON.

In: a circuit. Out: text that networkx reads back to the same graph. Beside the counted edges it has
the tokens of the example with their embedding entries, the answers with their unembedding entries,
each write of the residual stream with its later reads, and each query with the key it multiplies;
``kind`` tells them apart.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from circuitkit.circuit import Circuit, Surroundings, head_pairs
from circuitkit.nodes import Node
from circuitkit.views.safe_text import token_texts

if TYPE_CHECKING:
    import networkx as nx

LINK_KINDS = ("weight", "residual", "product", "embedding", "unembedding")


def graph_of(circuit: Circuit) -> nx.DiGraph:
    """The circuit with all its links, and plain values only.

    A token's or answer's ``text`` is a Python literal in ASCII, whatever the token holds:
    ``ast.literal_eval`` gives it back.
    """
    graph = circuit.graph()
    graph.graph = {name: ascii(value)[1:-1] for name, value in graph.graph.items()}
    graph.graph["circuit_sha256"] = circuit.sha256
    around = circuit.surroundings
    for node in circuit.nodes:
        _describe(graph, node, around)
    for query, key in head_pairs(circuit.nodes):
        graph.add_edge(str(query), str(key), kind="product", weight=1.0)
    if around:
        _add_tokens(graph, around)
        _add_answers(graph, around)
    return graph


def graphml(circuit: Circuit) -> str:
    """The text of a GraphML file."""
    import networkx as nx

    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return head + "\n".join(nx.generate_graphml(graph_of(circuit))) + "\n"


def node_link(circuit: Circuit) -> str:
    """The text of a node-link JSON file, its links under ``edges``."""
    import networkx as nx

    return json.dumps(nx.node_link_data(graph_of(circuit), edges="edges"), indent=1) + "\n"


def _describe(graph: nx.DiGraph, node: Node, around: Surroundings | None) -> None:
    """What is known of a node, as far as it is."""
    name = str(node)
    about = {"kind": "node", "label": node.label(around.d_head if around else None)}
    graph.add_node(name, **about)
    for field, values in (("mean", around.means), ("bias", around.biases)) if around else ():
        if name in values:
            graph.nodes[name][field] = values[name]


def _add_tokens(graph: nx.DiGraph, around: Surroundings) -> None:
    tokens = dict.fromkeys((*around.a.tokens, *around.b.tokens))
    shown = token_texts(tokens)
    ids = {token: f"token {i}" for i, token in enumerate(tokens)}
    for token, name in ids.items():
        graph.add_node(
            name, kind="token", label=shown[token], text=ascii(token),
            in_a=token in around.a.tokens, in_b=token in around.b.tokens,
        )  # fmt: skip
    for token, node, weight in around.embedding:
        if token in ids and node in graph:
            graph.add_edge(ids[token], node, kind="embedding", weight=weight)


def _add_answers(graph: nx.DiGraph, around: Surroundings) -> None:
    answers = {around.a.answer: "answer a", around.b.answer: "answer b"}
    shown = token_texts(answers)
    for token, name in answers.items():
        graph.add_node(name, kind="answer", label=shown[token], text=ascii(token))
    for node, token, weight in around.unembedding:
        if token in answers and node in graph:
            graph.add_edge(node, answers[token], kind="unembedding", weight=weight)
