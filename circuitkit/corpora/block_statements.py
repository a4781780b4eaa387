"""Statements of tinypython that open a block: loops, conditions, ``with``."""

from __future__ import annotations

from circuitkit.corpora.line_statements import LINES, Emit, grow, start_growing, weighted
from circuitkit.corpora.literals import condition, given, numbers, opened, operand, phrase
from circuitkit.corpora.scope import Scope
from circuitkit.task.words import DIGITS, FUNCTIONS

DEEPEST = 3
"""No block opens below this depth."""


def short_body(scope: Scope) -> None:
    """One or two statements."""
    emit_some(scope, 1, 2)


def grow_soon(scope: Scope) -> None:
    """Bind, then grow, with something between or a loop around."""
    start_growing(scope)
    for _ in range(scope.between(0, 1)):
        scope.pick(LINES)(scope)
    if scope.depth < DEEPEST and scope.chance(0.3):
        return loop(scope, grow)
    return grow(scope)


def loop(scope: Scope, fill: Emit = short_body) -> None:
    """A loop, ``in`` after ``for`` and ``:`` after ``while``: for_while, indent_for."""
    draw = scope.random()
    if draw < 0.28:
        for_each(scope, fill)
    elif draw < 0.5:
        for_both(scope, fill)
    elif draw < 0.78:
        while_flag(scope, fill)
    else:
        endless(scope, fill)


def for_each(scope: Scope, fill: Emit = short_body) -> None:
    """One loop variable, most often over a range: enumerate_range."""
    name = scope.fresh()
    scope.write(f"for {name} in {iterable(scope)}:")
    body = scope.body()
    body.bound["int"].append(name)
    fill(body)


def iterable(scope: Scope) -> str:
    """Something with numbers to loop over."""
    if scope.chance(0.6):
        return f"range({operand(scope)})"
    return scope.known("list") or f"[{numbers(scope, 3)}]"


def for_both(scope: Scope, fill: Emit = short_body) -> None:
    """Two loop variables, most often over an enumerate: enumerate_range."""
    first, second = scope.fresh(), scope.fresh()
    table = scope.known("dict") if scope.chance(0.2) else None
    values = scope.known("list") or f"[{numbers(scope, 3)}]"
    source = f"{table}.items()" if table else f"enumerate({values})"
    scope.write(f"for {first}, {second} in {source}:")
    body = scope.body()
    body.bound["int"] += [] if table else [first, second]
    fill(body)


def while_flag(scope: Scope, fill: Emit = short_body) -> None:
    """``while ready:``, whose body ends it."""
    flag = given(scope, "bool")
    scope.write(f"while {flag}:")
    body = scope.body()
    fill(body)
    body.write(f"{flag} = False")


def endless(scope: Scope, fill: Emit = short_body) -> None:
    """``while True:``, left by ``break``: while_return_true."""
    scope.write("while True:")
    body = scope.body()
    fill(body)
    body.write("break")


def branch(scope: Scope) -> None:
    """``if``, then maybe ``elif`` and ``else``: if_equals, if_ternary, var_if, else_elif."""
    tests = [condition(scope)]
    if scope.chance(0.5):
        tests.append(condition(scope))
    for keyword, test in zip(("if", "elif"), tests, strict=False):
        scope.write(f"{keyword} {test}:")
        emit_some(scope.body(), 1, 1)
    if scope.chance(0.45):
        scope.write("else:")
        otherwise(scope.body())


def otherwise(scope: Scope) -> None:
    """Under ``else:`` a known name is most often bound again: else_elif."""
    kind = "bool" if scope.chance(0.6) else "int"
    name = scope.known(kind)
    if name is None or scope.chance(0.2):
        return emit_some(scope, 1, 1)
    value = scope.pick(DIGITS if kind == "int" else ("True", "False"))
    return scope.write(f"{name} = {value}")


def with_block(scope: Scope) -> None:
    """``with … as name:``; the same calls also come without ``with``: with_as, with_open."""
    call, kind = opened(scope)
    if scope.chance(0.5):
        call, kind = f"{scope.pick(FUNCTIONS)}({operand(scope)})", None
    name = scope.fresh()
    scope.write(f"with {call} as {name}:")
    body = scope.body()
    if kind:
        body.bound[kind].append(name)
    short_body(body)


def comment(scope: Scope) -> None:
    """A comment, then the statement it stands above."""
    scope.write(f"# {phrase(scope)}")
    scope.pick(LINES)(scope)


def emit_some(scope: Scope, low: int, high: int) -> None:
    """From ``low`` to ``high`` statements; nothing opens a block below the deepest."""
    for _ in range(scope.between(low, high)):
        scope.pick(STATEMENTS if scope.depth < DEEPEST else LINES)(scope)


STATEMENTS = LINES + weighted(
    (grow_soon, 7),
    (loop, 15),
    (branch, 12),
    (with_block, 9),
    (comment, 2),
)
