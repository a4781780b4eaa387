"""Statements of tinypython, each a small function that writes lines into a scope.

Each behaviour that a task asks about has its emitter, and both of its answers
are equally likely there: what decides is only the cue. A new behaviour is a
new emitter in one of the two tables at the end.
"""

from __future__ import annotations

from collections.abc import Callable

from circuitkit.corpora.literals import (
    flat_list,
    nested_list,
    numbers,
    operand,
    pairs,
    phrase,
    string,
)
from circuitkit.corpora.scope import Scope
from circuitkit.words import DIGITS, FUNCTIONS

Emit = Callable[[Scope], None]


def call_with_string(scope: Scope) -> None:
    """Close the call as the string opened: single_double_quote."""
    callee = "print" if scope.chance(0.6) else scope.pick(FUNCTIONS)
    first = scope.known("int") if scope.chance(0.2) else None
    target = f"{scope.fresh()} = " if callee != "print" and scope.chance(0.4) else ""
    scope.write(f"{target}{callee}({first + ', ' if first else ''}{string(scope)})")


def assign_list(scope: Scope) -> None:
    """Close a list by its depth: bracket_counting."""
    if scope.chance(0.5):
        scope.write(f"{scope.bind('list')} = {flat_list(scope)}")
    else:
        scope.write(f"{scope.bind('rows')} = {nested_list(scope)}")


def pass_list(scope: Scope) -> None:
    """The same inside a call."""
    literal = flat_list(scope) if scope.chance(0.5) else nested_list(scope)
    name = scope.known("rows" if literal.startswith("[[") else "list")
    scope.write(f"{name}.append({literal})" if name else f"{scope.pick(FUNCTIONS)}({literal})")


def start_growing(scope: Scope) -> None:
    """Bind a name to an empty set or an empty string."""
    kind = "set" if scope.chance(0.5) else "str"
    name = scope.bind(kind)
    scope.write(f"{name} = set()" if kind == "set" else f"{name} = {scope.pick(EMPTY)}")


EMPTY = ("''", '""')


def grow(scope: Scope) -> None:
    """Grow a set with .add, a string with +=, as it was bound: set_or_string."""
    growing = scope.bound["set"] + scope.bound["str"]
    if not growing:
        start_growing(scope)
        growing = scope.bound["set"] + scope.bound["str"]
    name = scope.pick(growing)
    piece = scope.known("label") if scope.chance(0.4) else None
    piece = piece or string(scope, most=2)
    scope.write(f"{name}.add({piece})" if name in scope.bound["set"] else f"{name} += {piece}")


def grow_soon(scope: Scope) -> None:
    """Bind, then grow, with something between or a loop around."""
    start_growing(scope)
    for _ in range(scope.between(0, 1)):
        scope.pick(SIMPLE)(scope)
    if scope.depth < 3 and scope.chance(0.3):
        return loop(scope, grow)
    return grow(scope)


def loop(scope: Scope, fill: Emit | None = None) -> None:
    """A loop, ``in`` after ``for`` and ``:`` after ``while``: for_while."""
    fill = fill or short_body
    if scope.chance(0.5):
        name = scope.fresh()
        scope.write(f"for {name} in {iterable(scope)}:")
        body = scope.body()
        body.bound["int"].append(name)
        return fill(body)
    name = scope.known("bool")
    if name is None:
        name = scope.bind("bool")
        scope.write(f"{name} = True")
    scope.write(f"while {name}:")
    body = scope.body()
    fill(body)
    return body.write(f"{name} = False")


def short_body(scope: Scope) -> None:
    """One or two statements."""
    emit_some(scope, 1, 2)


def iterable(scope: Scope) -> str:
    """Something with numbers to loop over."""
    known = scope.known("list")
    if known and scope.chance(0.6):
        return known
    return f"range({scope.pick(DIGITS)})" if scope.chance(0.6) else f"[{numbers(scope, 3)}]"


def assign_int(scope: Scope) -> None:
    """``x = 3``, often for an ``x`` already there: if_equals."""
    name = scope.known("int") if scope.chance(0.6) else None
    scope.write(f"{name or scope.bind('int')} = {scope.pick(DIGITS)}")


def condition(scope: Scope) -> None:
    """``if x == 3:``, the other side of if_equals."""
    name = scope.known("int")
    if name is None:
        name = scope.bind("int")
        scope.write(f"{name} = {scope.pick(DIGITS)}")
    scope.write(f"if {name} == {scope.pick(DIGITS)}:")
    emit_some(scope.body(), 1, 1)
    if scope.chance(0.15):
        scope.write("else:")
        emit_some(scope.body(), 1, 1)


def flag_condition(scope: Scope) -> None:
    """``if ready:``."""
    name = scope.known("bool")
    if name is None:
        return condition(scope)
    scope.write(f"if {name}:")
    return emit_some(scope.body(), 1, 1)


def update(scope: Scope) -> None:
    """``x += 1`` for a number already there."""
    name = scope.known("int")
    if name is None:
        return assign_int(scope)
    return scope.write(f"{name} += {operand(scope)}")


def append(scope: Scope) -> None:
    """``x.append(3)`` for a list already there."""
    name = scope.known("list")
    if name is None:
        return assign_list(scope)
    return scope.write(f"{name}.append({operand(scope)})")


def assign_other(scope: Scope) -> None:
    """A flag, a label, a dict or what a function returns."""
    choice = scope.between(0, 3)
    if choice == 0:
        scope.write(f"{scope.bind('bool')} = {'True' if scope.chance(0.5) else 'False'}")
    elif choice == 1:
        text = string(scope, most=2)
        scope.write(f"{scope.bind('label')} = {text}")
    elif choice == 2:
        scope.write(f"{scope.bind('dict')} = {pairs(scope)}")
    else:
        scope.write(f"{scope.fresh()} = {scope.pick(FUNCTIONS)}({operand(scope)})")


def comment(scope: Scope) -> None:
    """A comment, then the statement it stands above."""
    scope.write(f"# {phrase(scope)}")
    scope.pick(SIMPLE)(scope)


def emit_some(scope: Scope, low: int, high: int) -> None:
    """From ``low`` to ``high`` statements; nothing opens a block below depth 3."""
    for _ in range(scope.between(low, high)):
        scope.pick(STATEMENTS if scope.depth < 3 else SIMPLE)(scope)


def _weighted(*table: tuple[Emit, int]) -> tuple[Emit, ...]:
    return tuple(emit for emit, weight in table for _ in range(weight))


SIMPLE = _weighted(
    (call_with_string, 5),
    (assign_list, 4),
    (pass_list, 1),
    (assign_int, 3),
    (assign_other, 2),
    (grow, 3),
    (update, 1),
    (append, 1),
)
STATEMENTS = SIMPLE + _weighted(
    (grow_soon, 4), (loop, 5), (condition, 6), (flag_condition, 1), (comment, 1)
)
