"""tinypython: an endless stream of small idiomatic Python modules.

Source: the simple component of the corpus of Gao et al. 2025, section A.6, as
far as it is described. A seed goes in, documents of 40 to 160 tokens come out;
``ast.parse`` accepts each, names keep their type within their scope. Held-out
data is another seed: those from 1,000,000 on are for validation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from circuitkit.corpora.scope import Scope
from circuitkit.corpora.statements import EMPTY, emit_some
from circuitkit.words import CLASSES, DIGITS, FIELDS, FUNCTIONS

VALIDATION_SEED = 1_000_000
"""Seeds from here on are held out: no training run may use them."""

RETURNABLE = ("int", "list", "rows", "set", "str", "bool")


def tinypython(seed: int) -> Iterator[str]:
    """Modules without end, the same for the same seed everywhere.

    >>> next(tinypython(0)) == next(tinypython(0))
    True
    """
    random = Random(seed).random
    while True:
        yield module(random)


def module(random: Callable[[], float]) -> str:
    """One document: functions, classes and plain blocks until it is long enough."""
    scope = Scope(random, [], set())
    enough = scope.between(5, 11)
    while True:
        scope.pick(UNITS)(scope)
        if len(scope.lines) >= enough:
            return "\n".join(scope.lines) + "\n"
        scope.lines.append("")


def block(scope: Scope) -> None:
    """Statements at the top level."""
    emit_some(scope, 2, 4)


def function(scope: Scope) -> None:
    """A function, most often one that returns something."""
    inside = scope.function(scope.depth + 1)
    scope.write(f"def {scope.fresh(FUNCTIONS)}({parameters(inside)}):")
    finish(inside)


def parameters(inside: Scope) -> str:
    """None to two parameters: numbers, lists or flags."""
    kinds = [inside.pick(("int", "list", "bool")) for _ in range(inside.between(0, 2))]
    return ", ".join([inside.bind(kind) for kind in kinds])


def finish(inside: Scope) -> None:
    """The statements of a function and its return."""
    emit_some(inside, 1, 3)
    if inside.chance(0.6):
        name = inside.known(inside.pick(RETURNABLE))
        inside.write(f"return {name or inside.pick(DIGITS)}")


def class_(scope: Scope) -> None:
    """A class: what it is made with, something that grows, a method that uses it."""
    scope.write(f"class {scope.fresh(CLASSES)}:")
    inside = scope.function(scope.depth + 2)
    fields = [inside.fresh(FIELDS) for _ in range(inside.between(1, 2))]
    scope.lines.append(f"    def __init__({', '.join(['self', *fields])}):")
    for field in fields:
        inside.write(f"self.{field} = {field}")
    store = inside.fresh(FIELDS)
    growing = inside.chance(0.5)
    inside.write(f"self.{store} = {'set()' if growing else inside.pick(EMPTY)}")
    scope.lines.append("")
    method(scope, store, growing=growing)


def method(scope: Scope, store: str, *, growing: bool) -> None:
    """A method that grows the set or string that ``__init__`` made."""
    inside = scope.function(scope.depth + 2)
    given = inside.bind("label")
    scope.lines.append(f"    def {scope.fresh(FUNCTIONS)}(self, {given}):")
    emit_some(inside, 0, 2)
    inside.write(f"self.{store}.add({given})" if growing else f"self.{store} += {given}")


UNITS = (block, block, block, function, function, function, class_)
