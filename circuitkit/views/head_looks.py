"""Where heads look along the paths of an example, and how their frames are labelled."""

from __future__ import annotations

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import Example, Look
from circuitkit.nodes import Node
from circuitkit.views.safe_text import prose, token_text

HEAD = ("q", "k", "v")


def part_of(circuit: Circuit, node: Node) -> str:
    """The part of the model that a node belongs to, as paths name it; nothing for channels."""
    if node.site.place in HEAD:
        around = circuit.surroundings
        return f"head {node.site.layer}.{node.channel // (around.d_head if around else 1)}"
    return f"neurons {node.site.layer}" if node.site.place == "post_act" else ""


def decides(node: Node, d_head: int | None) -> str:
    """What a query or a key does, in words; nothing for other nodes."""
    if node.site.place not in ("q", "k"):
        return ""
    head = f" {node.site.layer}.{node.channel // d_head}" if d_head else ""
    return f"decides where head{head} looks"


def looks(example: Example) -> dict[str, Look]:
    """Where each head looks on the strongest path through it, in its stronger prompt."""
    found: dict[str, Look] = {}
    for path in example.paths:
        for hop in path.hops:
            if hop.looks:
                found.setdefault(hop.part, hop.looks[0])
    return found


def token_at(example: Example, prompt: str, position: int) -> str:
    """The token at a position of a prompt, as a literal."""
    tokens = (example.a if prompt == "a" else example.b).tokens
    return token_text(tokens[position]) if position < len(tokens) else f"position {position}"


def frame_label(example: Example, part: str) -> str:
    """The name of a part, and for a head from where it looks at what, with its attention weight."""
    if not (look := looks(example).get(part)):
        return prose(part, 30)
    at, looks_at = (token_at(example, look.prompt, i) for i in (look.at, look.looks_at))
    return f"{prose(part, 30)}\n{at} looks\nat {looks_at}\n{look.attention:.2f} in {look.prompt}"
