"""The stripped diagram part by part: one box a head, one for the neurons of a layer.

For circuits too large to be shown node by node. What flows between parts is the sum of the paths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import Example, Explanation, TokenPath
from circuitkit.views.answer_colours import size
from circuitkit.views.flows import ANSWER, least_shown
from circuitkit.views.head_looks import frame_label
from circuitkit.views.safe_text import number, prose
from circuitkit.views.sketch import Box, Link, Sketch, Start, begin, merged, starts


def part_sketch(circuit: Circuit, explanation: Explanation, share: float) -> Sketch:
    """Sketch the paths of the shown pair that add at least ``share`` of the logit difference."""
    example = explanation.examples[0]
    least = least_shown(example, share)
    shown = [path for path in example.paths if size(path.adds) >= least]
    parts = list(dict.fromkeys(hop.part for path in shown for hop in path.hops))
    names = {part: f"part {i}" for i, part in enumerate(parts)}
    tokens, first = begin(example, [start for path in shown for start in _starts(path, names)])
    inner = merged(link for path in shown for link in _inner(path, names))
    boxes = _boxes(example, shown, names)
    return Sketch(
        tokens=tokens,
        frames={"": boxes},
        links=[*first, *inner],
        caption=_hidden(circuit, example, shown, least, boxes),
    )


def _starts(path: TokenPath, names: dict[str, str]) -> Iterator[Start]:
    first = path.hops[0] if path.hops else None
    head = names[first.part] if first else ANSWER
    yield from starts(path.source, Link(tail="", head=head, adds=path.adds))


def _inner(path: TokenPath, names: dict[str, str]) -> Iterator[Link]:
    ends = [*(names[hop.part] for hop in path.hops), ANSWER]
    yield from (Link(tail=tail, head=head, adds=path.adds) for tail, head in pairwise(ends))


def _boxes(example: Example, shown: list[TokenPath], names: dict[str, str]) -> list[Box]:
    nodes: dict[str, dict[str, None]] = defaultdict(dict)
    for hop in (hop for path in shown for hop in path.hops):
        nodes[hop.part] |= dict.fromkeys(hop.nodes)
    return [
        Box(
            name=name,
            label=frame_label(example, part),
            kind="v" if part.startswith("head") else "neuron",
            tip=prose(", ".join(nodes[part]), 400),
        )
        for part, name in names.items()
    ]


def _hidden(
    circuit: Circuit, example: Example, shown: list[TokenPath], least: float, boxes: list[Box]
) -> str:
    """Say what the picture leaves out, and that a box holds many nodes."""
    lost = len(example.paths) - len(shown)
    return (
        f"The {circuit.n_nodes} nodes are shown by head and by layer, {len(boxes)} boxes. "
        f"Not drawn: {lost} paths that add less than {number(least, 2)} nats."
    )
