"""The stripped diagram node by node: those that carry enough, framed by head and by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from circuitkit.circuit import Circuit, head_pairs
from circuitkit.circuit.explanation import Example, Explanation, TokenSource
from circuitkit.nodes import Node
from circuitkit.views.answer_colours import Prompt, size
from circuitkit.views.flows import ANSWER, Flow, flows, least_shown
from circuitkit.views.head_looks import frame_label
from circuitkit.views.palette import kind_of
from circuitkit.views.safe_text import number
from circuitkit.views.sketch import Box, Link, Sketch, Start, begin, starts

_HEAD = ("q", "k", "v")


def node_sketch(circuit: Circuit, explanation: Explanation, share: float) -> Sketch:
    """Sketch the links of the shown pair that add at least ``share`` of the logit difference."""
    example = explanation.examples[0]
    constant = {name for name, note in explanation.nodes.items() if note.role == "constant"}
    whole = [f for f in flows(circuit, example) if not {f.source, f.target} & constant]
    least = least_shown(example, share)
    shown = _connected(whole, [flow for flow in whole if size(flow.adds) >= least])
    drawn = _fused(shown)
    names = {end for flow in drawn for end in (flow.source, flow.target)}
    attending = _queries_and_keys(circuit, example, names, least) - constant
    names |= attending
    carrying = {end for flow in shown for end in (flow.source, flow.target)} | attending | constant
    nodes = [node for node in circuit.nodes if str(node) in names]
    tokens, first = begin(example, list(_starts(example, drawn)))
    inner = [_link(flow) for flow in drawn if flow.token is None]
    return Sketch(
        tokens=tokens,
        frames=_frames(circuit, example, nodes),
        links=[*first, *inner],
        pairings=_pairings(circuit, names),
        caption=_hidden(
            len(whole) - len(shown), least, sum(str(n) not in carrying for n in circuit.nodes)
        ),
    )


def _link(flow: Flow) -> Link:
    return Link(tail=flow.source, head=flow.target, adds=flow.adds)


def _connected(whole: list[Flow], shown: list[Flow]) -> list[Flow]:
    """Give every node without a link in, or out, the largest that it has."""
    chosen = dict.fromkeys(shown)
    while True:
        heads = {flow.target for flow in chosen}
        tails = {flow.source for flow in chosen if flow.token is None}
        inner = (heads | tails) - {ANSWER}
        into = _largest({f.target: f for f in reversed(whole) if f.target in inner - heads})
        out = _largest({f.source: f for f in reversed(whole) if f.source in inner - tails})
        if not (new := [flow for flow in (*into, *out) if flow not in chosen]):
            return list(chosen)
        chosen |= dict.fromkeys(new)


def _largest(by_end: dict[str, Flow]) -> Iterable[Flow]:
    """One flow for each end, in a fixed order."""
    return (by_end[end] for end in sorted(by_end))


def _queries_and_keys(
    circuit: Circuit, example: Example, names: set[str], least: float
) -> set[str]:
    """The queries and keys that enough is lost without, of heads with a value in the picture."""
    inside = [node for node in circuit.nodes if node.site.place in _HEAD]
    heads = {_part(circuit, node) for node in inside if str(node) in names}
    carried = {name for name, adds in example.nodes.items() if size(adds) >= least}
    return {
        name for node in inside if _part(circuit, node) in heads and (name := str(node)) in carried
    }


def _part(circuit: Circuit, node: Node) -> str:
    """The part of the model that a node belongs to, as paths name it; nothing for channels."""
    if node.site.place in _HEAD:
        around = circuit.surroundings
        return f"head {node.site.layer}.{node.channel // (around.d_head if around else 1)}"
    return f"neurons {node.site.layer}" if node.site.place == "post_act" else ""


def _starts(example: Example, shown: list[Flow]) -> Iterable[Start]:
    for flow in shown:
        if flow.token is not None:
            for start in starts(_source(example, "a", flow.token), _link(flow)):
                source = _source(example, start.prompt, flow.token)
                yield Start(source=source, prompt=start.prompt, link=start.link)


def _source(example: Example, prompt: Prompt, text: str) -> TokenSource:
    """Where a text stands in a prompt: the place with the strongest path from it."""
    for path in example.paths:
        if path.source.kind == "token" and getattr(path.source, prompt) == text:
            return path.source
    at = {
        name: tuple(i for i, token in enumerate(run.tokens) if token == text)
        for name, run in (("a", example.a), ("b", example.b))
    }
    return TokenSource(
        kind="token",
        a=text if at["a"] else None,
        b=text if at["b"] else None,
        a_at=at["a"],
        b_at=at["b"],
    )


def _fused(flows: list[Flow]) -> list[Flow]:
    """Links in which a write and the only read that it reaches are one box, with the write's id."""
    into, out = Counter(f.target for f in flows), Counter(f.source for f in flows)
    one = {
        f.target: f.source
        for f in flows
        if f.token is None and f.target != ANSWER and into[f.target] == out[f.source] == 1
        and ".resid_delta:" in f.source
    }  # fmt: skip
    return [
        replace(f, source=one.get(f.source, f.source)) for f in flows if f.target not in one
    ]


def _frames(circuit: Circuit, example: Example, nodes: list[Node]) -> dict[str, list[Box]]:
    frames: dict[str, list[Box]] = {}
    for node in nodes:
        part = _part(circuit, node)
        frames.setdefault(frame_label(example, part) if part else "", []).append(_box(circuit, node))
    return frames


def _box(circuit: Circuit, node: Node) -> Box:
    around = circuit.surroundings
    tip = node.label(around.d_head if around else None)
    kind = kind_of(node.site)
    channel = node.channel % around.d_head if around and kind in _HEAD else node.channel
    named = {"read": "ch", "write": "ch", "neuron": "n"}.get(kind, kind)
    return Box(name=str(node), label=f"{named} {channel}", kind=kind, tip=tip)


def _pairings(circuit: Circuit, names: set[str]) -> tuple[tuple[str, str], ...]:
    pairs = [(str(query), str(key)) for query, key in head_pairs(circuit.nodes)]
    return tuple(pair for pair in pairs if set(pair) <= names)


def _hidden(n_links: int, least: float, n_nodes: int) -> str:
    """Say what the picture leaves out."""
    if not n_links and not n_nodes:
        return "Everything but constant nodes is drawn."
    also = f", and {n_nodes} nodes that have no others" if n_nodes else ""
    return f"Not drawn: {n_links} links that add less than {number(least, 2)} nats{also}."
