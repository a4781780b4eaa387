"""Mechanisms that copy something from earlier in the prompt."""

from __future__ import annotations

from circuitkit.planted.plan import Plan
from circuitkit.planted.planted_prompts import Layout
from circuitkit.planted.variation import Variation
from circuitkit.planted.wire import wire


def closing_quote(variation: Variation) -> Plan:
    """Detect and copy: neurons find a quote and its kind, a head copies the kind to the end."""
    w = wire(variation, ("'", '"'))
    w.embed("quote", {"'": 1, '"': 1})
    w.embed("single", {"'": 1})
    detect = w.neuron(0, {"quote": 1}, {"is_quote": 1})
    classify = w.neuron(0, {"single": 1}, {"is_single": 1})
    copy = w.lookup_head(1, "is_single", "close_single", key="is_quote")
    answer = w.answer("close_single", "'", '"', gain=8, middle=0.5)

    def sides(i: Layout) -> tuple[str, str]:
        return f"{i.before} ' {i.after}", f'{i.before} " {i.after}'

    return Plan(
        wiring=w, mechanism=detect | classify | copy | answer, answers=("'", '"'), sides=sides
    )


def variable_binding(variation: Variation) -> Plan:
    """Two hops: a name takes the type of the value before it, its later use the name's type."""
    w = wire(variation, ("set()", "str()", "x", "y", ".add", "+="))
    w.embed("value", {"set()": 1, "str()": 1})
    w.embed("set", {"set()": 1})
    w.embed("name", {"x": 1})
    bind = w.lookup_head(0, "set", "bound_to_set", key="value")
    use = w.lookup_head(1, "bound_to_set", "is_set", key="name")
    answer = w.answer("is_set", ".add", "+=", gain=16, middle=0.5)

    def sides(i: Layout) -> tuple[str, str]:
        first, second = (f"{i.before} {a} x {b} y {i.after} x" for a, b in _both("set()", "str()"))
        return first, second

    return Plan(wiring=w, mechanism=bind | use | answer, answers=(".add", "+="), sides=sides)


def induction(variation: Variation) -> Plan:
    """One head records the name before; a later one finds that name and copies what followed it."""
    w = wire(variation, ("x", "y", "red", "blue"), positions=True)
    w.embed("name", {"x": 1, "y": -1})
    w.embed("colour", {"red": 1, "blue": -1})
    note = w.previous_token_head(0, "name", "name_before")
    copy = w.lookup_head(1, "colour", "colour_here", key="name_before", query="name")
    answer = w.answer("colour_here", "red", "blue", gain=4)

    def sides(i: Layout) -> tuple[str, str]:
        asked, other = ("x", "y") if i.turn % 2 else ("y", "x")
        first, second = (
            f"{i.before} {asked} {a} _ {other} {b} {i.after} {asked}"
            for a, b in _both("red", "blue")
        )
        return first, second

    return Plan(wiring=w, mechanism=note | copy | answer, answers=("red", "blue"), sides=sides)


def selected_slot(variation: Variation) -> Plan:
    """A gated copy: what the last token asks for chooses which of two slots is copied."""
    w = wire(variation, ("red1", "blue1", "red2", "blue2", "?1", "?2", "red", "blue"))
    w.embed("slot", {"red1": 1, "blue1": 1, "red2": -1, "blue2": -1})
    w.embed("colour", {"red1": 1, "blue1": -1, "red2": 1, "blue2": -1})
    w.embed("asked", {"?1": 1, "?2": -1})
    copy = w.lookup_head(0, "colour", "colour_here", key="slot", query="asked")
    answer = w.answer("colour_here", "red", "blue", gain=4)

    def sides(i: Layout) -> tuple[str, str]:
        asked, other = (1, 2) if i.turn % 2 else (2, 1)
        first, second = (
            f"{i.before} {a}{asked} _ {b}{other} {i.after} ?{asked}"
            for a, b in _both("red", "blue")
        )
        return first, second

    return Plan(wiring=w, mechanism=copy | answer, answers=("red", "blue"), sides=sides)


def _both(first: str, second: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (first, second), (second, first)
