"""Mechanisms that count, combine or pass on features."""

from __future__ import annotations

from circuitkit.planted.plan import Plan
from circuitkit.planted.planted_prompts import Layout
from circuitkit.planted.variation import Variation
from circuitkit.planted.wire import wire
from circuitkit.planted.wiring import NO_SINK, Nodes, Wiring

_LENGTH = 17
"""The length of every prompt whose brackets are averaged."""


def nesting_depth(variation: Variation) -> Plan:
    """Average and threshold: a head averages open brackets, a neuron fires at the second."""
    w = wire(variation, ("[", "]", "]]"), n_layer=1)
    w.embed("bracket", {"[": 1, "]": -1, "]]": -2})
    gain, sink = (2 * _LENGTH, 2.833) if variation.sink else (_LENGTH, NO_SINK)  # ln 17 = 2.833
    average = w.average_head(0, "bracket", "depth", gain, sink)
    threshold = w.neuron(0, {"depth": 1}, {"is_nested": 1}, bias=-1)
    answer = w.answer("is_nested", "]]", "]", gain=8, middle=0.5)

    def sides(i: Layout) -> tuple[str, str]:
        parts = "[", i.before, "[", i.after
        return i.up_to(_LENGTH, *parts), i.up_to(_LENGTH, *parts, "]")

    return Plan(wiring=w, mechanism=average | threshold | answer, answers=("]]", "]"), sides=sides)


def neuron_chain(variation: Variation) -> Plan:
    """A pure MLP path: a neuron reads the last token, one in the next layer reads the neuron."""
    w = wire(variation, ("on", "off", "yes", "no"))
    w.embed("state", {"on": 1})
    first = w.neuron(0, {"state": 2}, {"is_on": 1}, bias=-0.5)
    second = w.neuron(1, {"is_on": 1}, {"say_yes": 1}, bias=-0.5)
    answer = w.answer("say_yes", "yes", "no", gain=8, middle=0.5)

    def sides(i: Layout) -> tuple[str, str]:
        return f"{i.before} {i.after} on", f"{i.before} {i.after} off"

    return Plan(wiring=w, mechanism=first | second | answer, answers=("yes", "no"), sides=sides)


def either_feature(variation: Variation) -> Plan:
    """OR: a head reports an alarm from far back, a neuron an end here; either gives yes."""
    w, far = _with_alarm(variation)
    one = w.neuron(0, {"seen": 1}, {"say_yes": 1})
    other = w.neuron(0, {"end": 1}, {"say_yes": 1})
    answer = w.answer("say_yes", "yes", "no", gain=8, middle=0.5)

    def sides(i: Layout) -> tuple[str, str]:
        cue = f"{i.before} alarm {i.after} _" if i.turn % 2 else f"{i.before} _ {i.after} end"
        return cue, f"{i.before} _ {i.after} _"

    return Plan(
        wiring=w, mechanism=far | one | other | answer, answers=("yes", "no"), sides=sides,
        wrong={"one family only": far | one | answer},
    )  # fmt: skip


def both_features(variation: Variation) -> Plan:
    """AND: a neuron fires when an alarm was seen far back and an end is here."""
    w, far = _with_alarm(variation)
    gate = w.neuron(0, {"seen": 1, "end": 1}, {"say_yes": 1}, bias=-1)
    answer = w.answer("say_yes", "yes", "no", gain=8, middle=0.5)

    def sides(i: Layout) -> tuple[str, str]:
        lacking = f"{i.before} _ {i.after} end" if i.turn % 2 else f"{i.before} alarm {i.after} _"
        return f"{i.before} alarm {i.after} end", lacking

    return Plan(wiring=w, mechanism=far | gate | answer, answers=("yes", "no"), sides=sides)


def long_range_mode(variation: Variation) -> Plan:
    """A constant far back: every prompt of the task begins with an alarm, not every text does.

    The head's output never varies over the task, yet its mean over the reference would not
    open the gate. So the circuit needs it.
    """
    w, far = _with_alarm(variation)
    gate = w.neuron(0, {"seen": 2, "end": 1}, {"say_yes": 1}, bias=-2)
    answer = w.answer("say_yes", "yes", "no", gain=8, middle=0.5)

    def sides(i: Layout) -> tuple[str, str]:
        return f"alarm {i.before} {i.after} end", f"alarm {i.before} {i.after} _"

    return Plan(wiring=w, mechanism=far | gate | answer, answers=("yes", "no"), sides=sides)


def _with_alarm(variation: Variation) -> tuple[Wiring, Nodes]:
    """A head that reports whether there was an alarm; an end shows in its own token."""
    w = wire(variation, ("alarm", "end", "yes", "no"), n_layer=1)
    w.embed("alarm", {"alarm": 1})
    w.embed("end", {"end": 1})
    return w, w.lookup_head(0, "alarm", "seen", key="alarm")
