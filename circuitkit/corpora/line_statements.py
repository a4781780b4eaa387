"""Statements of tinypython on one line, each a small function that writes into a scope.

Each behaviour that a task asks about has its emitter, and both of its answers
are about equally likely there: what decides is only the cue. A new behaviour is
a new emitter in the table at the end.
"""

from __future__ import annotations

from collections.abc import Callable

from circuitkit.corpora.literals import (
    EMPTY,
    condition,
    dict_of,
    flat_list,
    fstring,
    given,
    keys,
    list_of,
    nested_list,
    opened,
    operand,
    string,
)
from circuitkit.corpora.scope import Scope
from circuitkit.task.words import DIGITS, FUNCTIONS, NAMES

Emit = Callable[[Scope], None]


def call_with_string(scope: Scope) -> None:
    """Close the call as the string opened: single_double_quote."""
    callee = "print" if scope.chance(0.6) else scope.pick(FUNCTIONS)
    first = scope.known("int") if scope.chance(0.2) else None
    target = f"{scope.fresh()} = " if callee != "print" and scope.chance(0.4) else ""
    scope.write(f"{target}{callee}({first + ', ' if first else ''}{string(scope)})")


def call_with_fstring(scope: Scope) -> None:
    """A brace comes only in an f-string: fstring_brace."""
    name = scope.known("label") if scope.chance(0.3) else None
    text = fstring(scope, name or given(scope, "int"))
    if scope.chance(0.25):
        return scope.write(f"{scope.bind('label')} = {text}")
    callee = "print" if scope.chance(0.7) else scope.pick(FUNCTIONS)
    return scope.write(f"{callee}({text})")


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


def assign_items(scope: Scope) -> None:
    """A dict, or a list of what could be its keys: bracket_brace."""
    items, is_dict = keys(scope), scope.chance(0.5)
    literal = dict_of(scope, items) if is_dict else list_of(items)
    if scope.chance(0.2):
        return scope.write(f"{scope.pick(FUNCTIONS)}({literal})")
    kind = "dict" if is_dict else "list" if items[0].isdigit() else "words"
    return scope.write(f"{scope.bind(kind)} = {literal}")


def start_growing(scope: Scope) -> None:
    """Bind a name, often ``current``, to an empty set or an empty string."""
    kind = "set" if scope.chance(0.5) else "str"
    often = ("current",) if scope.chance(0.2) and "current" not in scope.used else NAMES
    name = scope.bind(kind, often)
    scope.write(f"{name} = set()" if kind == "set" else f"{name} = {scope.pick(EMPTY)}")


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


def assign_int(scope: Scope) -> None:
    """``x = 3``, often for an ``x`` already there: if_equals."""
    name = scope.known("int") if scope.chance(0.6) else None
    scope.write(f"{name or scope.bind('int')} = {scope.pick(DIGITS)}")


def assign_flag(scope: Scope) -> None:
    """``x = True``, now and then for an ``x`` already there: var_if."""
    name = scope.known("bool") if scope.chance(0.3) else None
    scope.write(f"{name or scope.bind('bool')} = {scope.pick(('True', 'True', 'False'))}")


def assign_ternary(scope: Scope) -> None:
    """``x = 3 if ready else 4``: if_ternary."""
    value = f"{operand(scope)} if {condition(scope)} else {operand(scope)}"
    name = scope.known("int") if scope.chance(0.4) else None
    scope.write(f"{name or scope.bind('int')} = {value}")


def assign_opened(scope: Scope) -> None:
    """A file or what a function returns, without ``with``: with_as and with_open."""
    if scope.chance(0.5):
        call, kind = opened(scope)
        return scope.write(f"{scope.bind(kind)} = {call}")
    return scope.write(f"{scope.fresh()} = {scope.pick(FUNCTIONS)}({operand(scope)})")


def use_file(scope: Scope) -> None:
    """Read from a reader, write to a writer."""
    reader, writer = scope.known("reader"), scope.known("writer")
    if reader and (writer is None or scope.chance(0.5)):
        return scope.write(f"{scope.bind('label')} = {reader}.read()")
    if writer:
        return scope.write(f"{writer}.write({string(scope, most=2)})")
    return assign_opened(scope)


def swap(scope: Scope) -> None:
    """``x, y = y, x``: var_swap."""
    while len(scope.bound["int"]) < 2:
        scope.write(f"{scope.bind('int')} = {scope.pick(DIGITS)}")
    first, second = scope.sample(scope.bound["int"], 2)
    scope.write(f"{first}, {second} = {second}, {first}")


def assign_lambda(scope: Scope) -> None:
    """``key = lambda item: item + 1``, or inside a call: lambda_func."""
    item = scope.fresh()
    function = f"lambda {item}: {item} {scope.pick(('+', '*', '=='))} {scope.pick(DIGITS)}"
    callee = scope.pick(FUNCTIONS)
    scope.write(f"{callee}({function})" if scope.chance(0.4) else f"{scope.fresh()} = {function}")


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


def assign_label(scope: Scope) -> None:
    """A string that keeps its words."""
    text = string(scope, most=2)
    scope.write(f"{scope.bind('label')} = {text}")


def weighted(*table: tuple[Emit, int]) -> tuple[Emit, ...]:
    """Each emitter as often as its weight."""
    return tuple(emit for emit, weight in table for _ in range(weight))


LINES = weighted(
    (call_with_string, 8),
    (call_with_fstring, 6),
    (assign_list, 6),
    (pass_list, 2),
    (assign_items, 7),
    (assign_int, 5),
    (assign_flag, 4),
    (assign_ternary, 7),
    (assign_opened, 5),
    (use_file, 1),
    (assign_label, 1),
    (grow, 5),
    (swap, 4),
    (assign_lambda, 4),
    (update, 2),
    (append, 2),
)
