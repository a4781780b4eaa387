"""Models of which the smallest circuit is a part, and not the part that decides.

The rest of the mechanism shares its entry and its exit, so that knocking out the part leaves
chance, as if there were nothing else.
"""

from __future__ import annotations

from circuitkit.planted.plan import Plan
from circuitkit.planted.planted_prompts import Layout
from circuitkit.planted.variation import Variation
from circuitkit.planted.wire import wire
from circuitkit.planted.wiring import FILLERS, Nodes

_LENGTH = 17
"""The length of every prompt over which a head averages."""


def outweighed(variation: Variation) -> Plan:
    """One head is enough; by another way, four heads that are stronger together outvote it."""
    w = wire(variation, ("left", "right"))
    w.embed("side", {"left": 1, "right": -1})
    weak = w.average_head(0, "side", "answer", _LENGTH)
    strong = w.average_head(0, "side", "passed_on", _LENGTH)
    strong = strong.union(*(w.average_head(1, "passed_on", "answer", 0.4) for _ in range(4)))
    answer = w.answer("answer", "left", "right", gain=3)
    return Plan(
        wiring=w, mechanism=weak | strong | answer, smallest=(weak | answer,),
        smallest_is="outweighed",
        answers=("left", "right"), sides=_left_or_right,
    )  # fmt: skip


def twin_heads(variation: Variation) -> Plan:
    """Two heads read and write the same channels: either is enough, the model adds both up."""
    w = wire(variation, ("left", "right"))
    w.embed("cue", {"left": 1, "right": 1})
    w.embed("side", {"left": 1, "right": -1})
    twins = [w.lookup_head(0, "side", "answer", key="cue") for _ in range(2)]
    answer = w.answer("answer", "left", "right", gain=4)
    return Plan(
        wiring=w, mechanism=answer.union(*twins), smallest=tuple(t | answer for t in twins),
        smallest_is="one of several equals",
        answers=("left", "right"), sides=_left_or_right,
    )  # fmt: skip


def twin_neurons(variation: Variation) -> Plan:
    """A head finds the cue, two neurons pass it on from one channel to one: either is enough."""
    w = wire(variation, ("left", "right"))
    w.embed("cue", {"left": 1, "right": 1})
    w.embed("side", {"left": 1, "right": -1})
    copy = w.lookup_head(0, "side", "seen", key="cue")
    twins = [w.neuron(0, {"seen": 1}, {"answer": 1}, bias=1) for _ in range(2)]
    answer = w.answer("answer", "left", "right", gain=4, middle=2)
    shared = copy | answer
    return Plan(
        wiring=w, mechanism=shared.union(*twins), smallest=tuple(shared | t for t in twins),
        smallest_is="one of several equals",
        answers=("left", "right"), sides=_left_or_right,
    )  # fmt: skip


def borrowed_constant(variation: Variation) -> Plan:
    """A gate that the last word opens and most words close: its mean over all words opens it too.

    So the smallest circuit leaves out what opens the gate. It works on its ablation value,
    and not on that of most tokens.
    """
    w = wire(variation, ("left", "right", "open", "wide"))
    w.embed("side", {"left": 1, "right": -1})
    closed = dict.fromkeys((*FILLERS, "left", "right"), 2.0)
    w.embed("closed", {**closed, "open": -0.5, "wide": 0.5 - sum(closed.values())})  # sum 0
    copy = w.average_head(0, "side", "seen", _LENGTH)
    gate = w.neuron(0, {"seen": 1, "closed": -1}, {"answer": 1})
    gate |= w.neuron(0, {"seen": -1, "closed": -1}, {"answer": -1})
    answer = w.answer("answer", "left", "right", gain=4)
    mechanism = copy | gate | answer
    opens = Nodes(node for node in mechanism if node.channel == w.channel("closed"))

    def sides(i: Layout) -> tuple[str, str]:
        a, b = (i.up_to(_LENGTH - 1, i.before, side, i.after) for side in ("left", "right"))
        return f"{a} open", f"{b} open"

    return Plan(
        wiring=w, mechanism=mechanism, smallest=(mechanism - opens,),
        smallest_is="lives on an ablation value",
        answers=("left", "right"), sides=sides,
    )  # fmt: skip


def _left_or_right(i: Layout) -> tuple[str, str]:
    return (
        i.up_to(_LENGTH, i.before, "left", i.after),
        i.up_to(_LENGTH, i.before, "right", i.after),
    )
