"""Models whose prompts come in forms: one mechanism for all of them, or several.

The forms of a task are its families of prompts. What is true of them is ``several`` (no form's
circuit does every form), ``one`` (each does), ``nested`` (only some do) or ``either`` (each
does, in ways of their own).
"""

from __future__ import annotations

from circuitkit.planted.plan import Plan
from circuitkit.planted.planted_prompts import Layout
from circuitkit.planted.variation import Variation
from circuitkit.planted.wire import wire
from circuitkit.planted.wiring import Nodes

_LENGTH = 17
"""The length of every prompt over which a head averages."""


def two_mechanisms(variation: Variation) -> Plan:
    """Two families, two mechanisms: a head reads a cue far back, a neuron the last word."""
    w = wire(variation, ("left", "right", "on", "off", "yes", "no"))
    w.embed("side", {"left": 1, "right": -1})
    w.embed("state", {"on": 1, "off": -1})
    far = w.average_head(0, "side", "seen", _LENGTH) | w.answer("seen", "yes", "no", gain=4)
    near = w.neuron(0, {"state": 1}, {"is_on": 1}, bias=1)
    near |= w.answer("is_on", "yes", "no", gain=4, middle=1)

    def sides(i: Layout) -> tuple[str, str]:
        if i.turn % 2:
            last = i.up_to(_LENGTH - 1, i.before, i.after)
            return f"{last} on", f"{last} off"
        return _cue(i, "left"), _cue(i, "right")

    return Plan(
        wiring=w, mechanism=far | near, answers=("yes", "no"), sides=sides,
        form=lambda i: "near" if i.turn % 2 else "far", by_form={"far": (far,), "near": (near,)},
        outcome="several",
    )  # fmt: skip


def shared_entry(variation: Variation) -> Plan:
    """Two families, one entry: a head finds the cue, another neuron and exit serve each family."""
    w = wire(variation, ("left", "right", "?1", "?2", "yes", "no"))
    w.embed("cue", {"left": 1, "right": 1})
    w.embed("side", {"left": 1, "right": -1})
    entry = w.lookup_head(0, "side", "seen", key="cue")
    ways: dict[str, Nodes] = {}
    for asked in ("1", "2"):
        w.embed(f"asked{asked}", {f"?{asked}": 1})
        gate = w.neuron(0, {"seen": 1, f"asked{asked}": 2}, {f"exit{asked}": 1}, bias=-2)
        ways[f"asks{asked}"] = (
            entry | gate | w.answer(f"exit{asked}", "yes", "no", gain=8, middle=0.25)
        )

    def sides(i: Layout) -> tuple[str, str]:
        last = f"{i.after} ?{i.turn % 2 + 1}"
        return f"{i.before} left {last}", f"{i.before} right {last}"

    return Plan(
        wiring=w, mechanism=Nodes.union(*ways.values()), answers=("yes", "no"), sides=sides,
        form=lambda i: f"asks{i.turn % 2 + 1}",
        by_form={form: (way,) for form, way in ways.items()}, outcome="several",
    )  # fmt: skip


def shared_exit(variation: Variation) -> Plan:
    """Two families, one exit: another head finds the cue of each, both write one channel."""
    w = wire(variation, ("left", "right", "up", "down", "yes", "no"))
    w.embed("side", {"left": 1, "right": -1})
    w.embed("height", {"up": 1, "down": -1})
    heads = {name: w.average_head(0, name, "answer", _LENGTH) for name in ("side", "height")}
    answer = w.answer("answer", "yes", "no", gain=4)

    def sides(i: Layout) -> tuple[str, str]:
        cues = ("up", "down") if i.turn % 2 else ("left", "right")
        return _cue(i, cues[0]), _cue(i, cues[1])

    return Plan(
        wiring=w, mechanism=answer.union(*heads.values()), answers=("yes", "no"), sides=sides,
        form=lambda i: "height" if i.turn % 2 else "side",
        by_form={name: (head | answer,) for name, head in heads.items()}, outcome="several",
    )  # fmt: skip


def surface_forms(variation: Variation) -> Plan:
    """One mechanism, three surfaces: other words for the cue, or bystanders around it."""
    w = wire(variation, ("left", "right", "LEFT", "RIGHT", "+", "-"))
    w.embed("side", {"left": 1, "LEFT": 1, "right": -1, "RIGHT": -1})
    w.embed("cue", dict.fromkeys(("left", "LEFT", "right", "RIGHT"), 1))
    w.embed("bystander", {"+": 1, "-": -1})
    copy = w.lookup_head(0, "side", "seen", key="cue")
    mechanism = copy | w.answer("seen", "left", "right", gain=4)
    names = ("plain", "capital", "busy")

    def sides(i: Layout) -> tuple[str, str]:
        cues = ("LEFT", "RIGHT") if i.turn % 3 == 1 else ("left", "right")
        before = f"{i.before} + -" if i.turn % 3 == 2 else i.before
        return f"{before} {cues[0]} {i.after}", f"{before} {cues[1]} {i.after}"

    return Plan(
        wiring=w, mechanism=mechanism, answers=("left", "right"), sides=sides,
        form=lambda i: names[i.turn % 3], by_form=dict.fromkeys(names, (mechanism,)),
        outcome="one",
    )  # fmt: skip


def harder_form(variation: Variation) -> Plan:
    """Nested: a decoy outvotes the cue in one form, and a second head takes it out again.

    In three of its templates of four the decoy is against the cue, in one it goes with it: so it
    says nothing by itself.
    """
    w = wire(variation, ("left", "right", "up", "down"))
    w.embed("side", {"left": 1, "right": -1, "up": 1.5, "down": -1.5})
    w.embed("decoy", {"up": 1.5, "down": -1.5})
    copy = w.average_head(0, "side", "answer", _LENGTH)
    without = w.average_head(0, "decoy", "answer", -_LENGTH)
    answer = w.answer("answer", "left", "right", gain=4)

    def sides(i: Layout) -> tuple[str, str]:
        decoys = ("up", "down") if i.turn % 8 == 1 else ("down", "up")
        first, second = (
            i.up_to(_LENGTH, i.before, cue, i.after, decoy if i.turn % 2 else "")
            for cue, decoy in zip(("left", "right"), decoys, strict=True)
        )
        return first, second

    return Plan(
        wiring=w, mechanism=copy | without | answer, answers=("left", "right"), sides=sides,
        form=lambda i: "hard" if i.turn % 2 else "easy",
        by_form={"easy": (copy | answer,), "hard": (copy | without | answer,)}, outcome="nested",
    )  # fmt: skip


def either_way(variation: Variation) -> Plan:
    """Two ways, either is enough for both families: one is the louder in each."""
    w = wire(variation, ("left", "right", "LEFT", "RIGHT"))
    ways = []
    for layer, (lower, upper) in enumerate(((1.5, 1), (1, 1.5))):
        cue, seen = f"side{layer}", f"seen{layer}"
        w.embed(cue, {"left": lower, "right": -lower, "LEFT": upper, "RIGHT": -upper})
        ways.append(
            w.average_head(layer, cue, seen, _LENGTH) | w.answer(seen, "left", "right", gain=3)
        )

    def sides(i: Layout) -> tuple[str, str]:
        cues = ("LEFT", "RIGHT") if i.turn % 2 else ("left", "right")
        return _cue(i, cues[0]), _cue(i, cues[1])

    return Plan(
        wiring=w, mechanism=Nodes.union(*ways), smallest=tuple(ways),
        smallest_is="one of several equals", answers=("left", "right"), sides=sides,
        form=lambda i: "upper" if i.turn % 2 else "lower",
        by_form=dict.fromkeys(("lower", "upper"), tuple(ways)), outcome="either",
    )  # fmt: skip


def _cue(layout: Layout, cue: str, length: int = _LENGTH) -> str:
    """A prompt of a fixed length with a cue between its gaps."""
    return layout.up_to(length, layout.before, cue, layout.after)
