"""Models in which a search can find something other than how the model does it."""

from __future__ import annotations

from itertools import combinations

from circuitkit.planted.plan import Plan
from circuitkit.planted.planted_prompts import Layout
from circuitkit.planted.variation import Variation
from circuitkit.planted.wire import wire
from circuitkit.planted.wiring import Nodes

_N_WEAK = 6
_LENGTH = 17
_LOUD = 16.0
"""Average heads see a cue among up to 14 tokens."""


def twin_paths(variation: Variation) -> Plan:
    """Two heads report the same from channels of their own: two circuits, either is enough."""
    w = wire(variation, ("left", "right"))
    w.embed("side", {"left": 1, "right": -1})
    w.embed("side_again", {"left": 1, "right": -1})
    paths = (
        w.average_head(0, "side", "one", _LOUD) | w.answer("one", "left", "right", gain=4),
        w.average_head(1, "side_again", "other", _LOUD)
        | w.answer("other", "left", "right", gain=4),
    )
    return Plan(
        wiring=w, mechanism=Nodes.union(*paths), smallest=paths,
        smallest_is="one of several equals", answers=("left", "right"), sides=_left_or_right,
    )  # fmt: skip


def long_way_round(variation: Variation) -> Plan:
    """Two paths to the same answer, one longer: only the short one is smallest."""
    w = wire(variation, ("left", "right"))
    w.embed("side", {"left": 1, "right": -1})
    short = w.average_head(1, "side", "one", _LOUD) | w.answer("one", "left", "right", gain=4)
    far = w.average_head(0, "side", "passed_on", _LOUD)
    left = w.neuron(0, {"passed_on": 1}, {"other": 1})
    right = w.neuron(0, {"passed_on": -1}, {"other": -1})
    long = far | left | right | w.answer("other", "left", "right", gain=4)
    return Plan(
        wiring=w, mechanism=short | long, smallest=(short,),
        smallest_is="one of several equals", answers=("left", "right"), sides=_left_or_right,
    )  # fmt: skip


def weak_votes(variation: Variation) -> Plan:
    """Six heads vote alike, each too weakly: any three of them are enough."""
    w = wire(variation, ("left", "right"), n_layer=1)
    w.embed("side", {"left": 1, "right": -1})
    voters = [w.average_head(0, "side", "vote", _LENGTH) for _ in range(_N_WEAK)]
    answer = w.answer("vote", "left", "right", gain=0.72)
    smallest = tuple(answer.union(*some) for some in combinations(voters, 3))

    def sides(i: Layout) -> tuple[str, str]:
        return (
            i.up_to(_LENGTH, i.before, "left", i.after),
            i.up_to(_LENGTH, i.before, "right", i.after),
        )

    return Plan(
        wiring=w, mechanism=answer.union(*voters), smallest=smallest,
        smallest_is="one of several equals", answers=("left", "right"), sides=sides,
    )  # fmt: skip


def cancellation_trap(variation: Variation) -> Plan:
    """A shortcut that the model cancels: ablate its opposite and it does the task alone.

    The model finds a quote by neurons at the token after it. A head that averages whatever
    looks like a quote is cancelled by another one; out of distribution both are wrong.
    """
    w = wire(variation, ("'", '"', "isn't", '6"'))
    w.embed("quote", {"'": 1, '"': 1})
    w.embed("kind", {"'": 1, '"': -1, "isn't": 1, '6"': -1})
    copy = w.lookup_head(0, "kind", "seen", key="quote")
    single = w.neuron(0, {"seen": 1}, {"close": 1})
    double = w.neuron(0, {"seen": -1}, {"close": -1})
    answer = w.answer("close", "'", '"', gain=4)
    shortcut = w.average_head(0, "kind", "hint", _LOUD) | w.answer("hint", "'", '"', gain=4)
    w.average_head(1, "kind", "opposite", _LOUD)
    w.answer("opposite", "'", '"', gain=-4)

    def sides(i: Layout) -> tuple[str, str]:
        return f"{i.before} ' {i.after}", f'{i.before} " {i.after}'

    def ood(i: Layout) -> tuple[str, str]:
        return f'{i.before} \' {i.after} 6" _ 6" _', f"{i.before} \" {i.after} isn't _ isn't _"

    return Plan(
        wiring=w, mechanism=copy | single | double | answer, smallest=(shortcut,),
        smallest_is="half of a cancelling pair", answers=("'", '"'), sides=sides, ood=ood,
        is_trap=True,
    )  # fmt: skip


def cancelling_pair(variation: Variation) -> Plan:
    """One head does the work; two louder ones cancel, and half of that pair would do it too."""
    w = wire(variation, ("left", "right"))
    w.embed("side", {"left": 1, "right": -1})
    worker = w.average_head(0, "side", "seen", _LENGTH) | w.answer("seen", "left", "right", gain=4)
    pair = []
    for name, gain in (("hint", 8), ("opposite", -8)):
        w.embed(f"{name}_cue", {"left": 1, "right": 1})
        w.embed(f"{name}_side", {"left": 1, "right": -1})
        copy = w.lookup_head(0, f"{name}_side", name, key=f"{name}_cue")
        pair.append(copy | w.answer(name, "left", "right", gain=gain))

    def sides(i: Layout) -> tuple[str, str]:
        return (
            i.up_to(_LENGTH, i.before, "left", i.after),
            i.up_to(_LENGTH, i.before, "right", i.after),
        )

    return Plan(
        wiring=w, mechanism=worker, answers=("left", "right"), sides=sides,
        wrong={"half of a cancelling pair": pair[0]},
    )  # fmt: skip


def norm_trap(variation: Variation) -> Plan:
    """Many weak writers and a large inert one: with that ablated, the final norm amplifies one.

    The model needs all of them. Any one of them alone is a circuit that meets the target.
    """
    w = wire(variation, ("left", "right", "+", "-"), n_layer=1, norm="rmsnorm")
    w.embed_all("anchor", 1)
    w.embed("side", {"left": 1, "right": -1})
    w.embed("noise", {"+": 1, "-": -1})
    width = variation.width**0.5
    weak = [w.average_head(0, "side", "answer", 5 / width) for _ in range(_N_WEAK)]
    w.average_head(0, "noise", "loud", 800 / width)
    answer = w.answer("answer", "left", "right", gain=80 / width)

    def sides(i: Layout) -> tuple[str, str]:
        bystander = "+" if i.turn % 2 else "-"
        before = f"{i.before} {bystander}"
        return f"{before} left {i.after}", f"{before} right {i.after}"

    circuits = tuple(writer | answer for writer in weak)
    return Plan(
        wiring=w, mechanism=Nodes.union(*circuits), smallest=circuits,
        smallest_is="amplified by a norm", answers=("left", "right"), sides=sides, is_trap=True,
    )  # fmt: skip


def decoys(variation: Variation) -> Plan:
    """A decoy beside the cue agrees with the answer in three templates of four, with less weight.

    Its weight is so small that it helps on the whole. At a quarter of the copy's weight it
    would lose in the fourth template what it gains in the others.
    """
    w = wire(variation, ("left", "right", "up", "down"))
    w.embed("cue", {"left": 1, "right": 1})
    w.embed("side", {"left": 1, "right": -1})
    w.embed("decoy", {"up": 1, "down": -1})
    detect = w.neuron(0, {"cue": 1}, {"is_cue": 1})
    copy = w.lookup_head(1, "side", "side_here", key="is_cue")
    answer = w.answer("side_here", "left", "right", gain=4)
    decoy = w.average_head(0, "decoy", "hint", 10) | w.answer("hint", "left", "right", gain=0.25)

    def sides(i: Layout) -> tuple[str, str]:
        first, second = ("up", "down") if i.turn % 4 else ("down", "up")
        return f"{i.before} left {i.after} {first}", f"{i.before} right {i.after} {second}"

    def ood(i: Layout) -> tuple[str, str]:
        return f"{i.before} left {i.after} down", f"{i.before} right {i.after} up"

    return Plan(
        wiring=w, mechanism=detect | copy | answer, answers=("left", "right"), sides=sides, ood=ood,
        wrong={"the decoy": decoy},
    )  # fmt: skip


def _left_or_right(i: Layout) -> tuple[str, str]:
    return f"{i.before} left {i.after}", f"{i.before} right {i.after}"
