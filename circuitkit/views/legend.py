"""The legend under a diagram: what the fills, hues and lines of it mean."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from circuitkit.circuit import Circuit, head_pairs
from circuitkit.views import dot
from circuitkit.views.palette import FAINT, FILLS, INK, NEGATIVE, POSITIVE, kind_of

FILL_ROW = "row legend fills"
LINE_ROW = "row legend lines"


def legend(circuit: Circuit) -> Iterator[str]:
    """Two rows: the kinds of node that this circuit has, and the kinds of line."""
    kinds = {kind_of(site) for site in circuit.nodes.channels}
    shown = [kind for kind in FILLS if kind in kinds]
    small = {"fontsize": "8", "height": "0.18"}
    fills = [f"legend {kind}" for kind in shown]
    for name, kind in zip(fills, shown, strict=True):
        yield dot.box(name, kind, FILLS[kind], **small)
    yield from _row(FILL_ROW, "nodes", fills)
    lines = {
        "blue: weight > 0": POSITIVE,
        "vermilion: weight < 0": NEGATIVE,
        "grey: residual stream": FAINT,
        **({"dashed: q·k": INK} if head_pairs(circuit.nodes) else {}),
        **({"b: bias": INK} if circuit.surroundings else {}),
    }
    for label, colour in lines.items():
        yield dot.plain(f"legend {label}", label, fontcolor=colour, **small)
    yield from _row(LINE_ROW, "edges", [f"legend {label}" for label in lines])


def _row(name: str, title: str, members: list[str]) -> Iterator[str]:
    yield dot.margin(name, title)
    yield dot.same_row([name, *members])
    yield from (dot.unseen(left, right) for left, right in pairwise([name, *members]))
