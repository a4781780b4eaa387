"""The stripped diagram node by node: those that carry enough, framed by head and by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import Example, Explanation
from circuitkit.nodes import Node
from circuitkit.views.answer_colours import size
from circuitkit.views.attention_links import (
    attending,
    deciding,
    deciding_tokens,
    pairings,
    source_of,
)
from circuitkit.views.flows import ANSWER, POSITIONS, Flow, flows, least_shown
from circuitkit.views.head_looks import HEAD, frame_label, part_of
from circuitkit.views.palette import kind_of
from circuitkit.views.safe_text import number
from circuitkit.views.sketch import Box, Link, Sketch, Start, begin, starts


def node_sketch(circuit: Circuit, explanation: Explanation, share: float) -> Sketch:
    """Sketch the links of the shown pair that add at least ``share`` of the logit difference."""
    example = explanation.examples[0]
    constant = {name for name, note in explanation.nodes.items() if note.role == "constant"}
    whole = [f for f in flows(circuit, example) if not {f.source, f.target} & constant]
    least = least_shown(example, share)
    shown = _connected(whole, [flow for flow in whole if size(flow.adds) >= least])
    drawn = _fused(shown)
    names = {end for flow in drawn for end in (flow.source, flow.target)}
    ends = attending(circuit, example, names, least) - constant
    looking = deciding(circuit, example, ends, least)
    names |= ends | {link.tail for link in looking}
    carrying = {end for flow in shown for end in (flow.source, flow.target)} | names | constant
    first = [*_starts(example, drawn), *deciding_tokens(circuit, example, ends, looking)]
    tokens, begun = begin(example, first)
    between = [_link(flow) for flow in drawn if flow.token is None]
    return Sketch(
        tokens=tokens,
        frames=_frames(circuit, example, names),
        links=[*begun, *between, *looking],
        pairings=pairings(circuit, names),
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
        inner = (heads | tails) - {ANSWER, POSITIONS}
        into = {f.target: f for f in reversed(whole) if f.target in inner - heads}
        out = {f.source: f for f in reversed(whole) if f.source in inner - tails}
        new = [by_end[end] for by_end in (into, out) for end in sorted(by_end)]
        if not new:
            return list(chosen)
        chosen |= dict.fromkeys(new)


def _fused(shown: list[Flow]) -> list[Flow]:
    """Links in which a write and the only read that it reaches are one box, with the write's id."""
    into, out = Counter(f.target for f in shown), Counter(f.source for f in shown)
    one = {
        flow.target: flow.source
        for flow in shown
        if ".resid_delta:" in flow.source
        and flow.target != ANSWER
        and into[flow.target] == out[flow.source] == 1
    }
    return [replace(f, source=one.get(f.source, f.source)) for f in shown if f.target not in one]


def _starts(example: Example, shown: list[Flow]) -> Iterator[Start]:
    """Links from tokens, each from the place where its text stands in either prompt."""
    for flow in shown:
        if flow.token is not None:
            for start in starts(source_of(example, "a", flow.token), _link(flow)):
                source = source_of(example, start.prompt, flow.token)
                yield Start(source=source, prompt=start.prompt, link=start.link)


def _frames(circuit: Circuit, example: Example, names: set[str]) -> dict[str, list[Box]]:
    frames: dict[str, list[Box]] = {}
    if POSITIONS in names:
        frames[""] = [Box(name=POSITIONS, label=POSITIONS, kind="read")]
    for node in circuit.nodes:
        if str(node) in names:
            part = part_of(circuit, node)
            label = frame_label(example, part) if part else ""
            frames.setdefault(label, []).append(_box(circuit, node))
    return frames


def _box(circuit: Circuit, node: Node) -> Box:
    around = circuit.surroundings
    tip = node.label(around.d_head if around else None)
    kind = kind_of(node.site)
    channel = node.channel % around.d_head if around and kind in HEAD else node.channel
    named = {"read": "ch", "write": "ch", "neuron": "n"}.get(kind, kind)
    return Box(name=str(node), label=f"{named} {channel}", kind=kind, tip=tip)


def _hidden(n_links: int, least: float, n_nodes: int) -> str:
    """Say what the picture leaves out."""
    if not n_links and not n_nodes:
        return "Everything but constant nodes is drawn."
    left = [
        f"{n} {name}{'s' * (n != 1)}" for n, name in ((n_links, "line"), (n_nodes, "node")) if n
    ]
    return f"Not drawn: {' and '.join(left)} that add less than {number(least, 2)} nats."
