"""What flows through the links of a circuit: an explanation's ``links``, read and sorted out.

In: an example. Out: the links between nodes of the circuit, from tokens and to the answer. Names
that the circuit does not know are left out: the file may come from a stranger.
"""

from __future__ import annotations

from dataclasses import dataclass

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import Adds, Example
from circuitkit.views.answer_colours import size

ANSWER = "answer"
POSITIONS = "positions"
_TOKEN = "token:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """What flows through one link. ``token`` is the text where it begins at one."""

    source: str
    target: str
    adds: Adds
    token: str | None = None


def flows(circuit: Circuit, example: Example) -> list[Flow]:
    """All links that add something and have a place in the circuit, the largest first.

    What leads to a node that is known by its ablation is no part of the sum.
    """
    known = {POSITIONS, *map(str, circuit.nodes)}
    found = []
    for name, adds in example.links.items():
        source, _, target = name.rpartition(">")  # a token's text may hold the sign itself
        token = source.removeprefix(_TOKEN) if source.startswith(_TOKEN) else None
        if target in example.by_ablation:
            continue
        if (token is not None or source in known) and (target in known or target == ANSWER):
            found.append(Flow(source=source, target=target, adds=adds, token=token))
    return sorted(found, key=lambda flow: (-size(flow.adds), flow.source, flow.target))


def least_shown(example: Example, share: float) -> float:
    """The least contribution shown: this share of the larger logit difference, in nats."""
    return share * max(abs(example.a.logit_difference), abs(example.b.logit_difference))
