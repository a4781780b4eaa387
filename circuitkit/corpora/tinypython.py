"""tinypython: an endless stream of small idiomatic Python modules.

Source: the simple component of the corpus of Gao et al. 2025, section A.6, as
far as it is described. A seed goes in, documents of 35 to 210 tokens come out;
``ast.parse`` accepts each, names keep their type within their scope. Held-out
data is another seed: those from 1,000,000 on are for validation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from circuitkit.corpora.block_statements import emit_some
from circuitkit.corpora.literals import EMPTY, condition
from circuitkit.corpora.scope import Scope
from circuitkit.task.words import CLASSES, DIGITS, FIELDS, FUNCTIONS, NAMES

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
    """A function; any name may be a function's, as it may be a lambda's variable: lambda_func."""
    inside = scope.function(scope.depth + 1)
    name = scope.fresh(FUNCTIONS if scope.chance(0.5) else NAMES)
    defaults = write_def(scope, name, inside, [])
    settle(inside, defaults)
    finish(inside)


def write_def(scope: Scope, name: str, inside: Scope, own: list[str]) -> list[str]:
    """The line with ``def``: all parameters after ``self`` have a default or none: final_kwarg.

    Returns the parameters with a default; the others are bound.
    """
    n = inside.between(1 if own else 0, 3)
    if inside.chance(0.45):
        defaults = [inside.fresh() for _ in range(max(1, n))]
        parameters = [*own, *(f"{name}=None" for name in defaults)]
    else:
        defaults = []
        plain = [inside.bind(inside.pick(("int", "list", "bool"))) for _ in range(n)]
        parameters = [*own, *plain]
    scope.write(f"def {name}({', '.join(parameters)}):")
    return defaults


def settle(inside: Scope, defaults: list[str]) -> None:
    """Give one default parameter a number where it has none; it is known from then on."""
    if defaults and inside.chance(0.4):
        name = inside.pick(defaults)
        inside.write(f"if {name} is None:")
        inside.body().write(f"{name} = {inside.pick(DIGITS)}")
        inside.bound["int"].append(name)


def finish(inside: Scope) -> None:
    """The statements of a function and its return: while_return_true."""
    emit_some(inside, 1, 2)
    draw = inside.random()
    if draw < 0.3:
        return inside.write(f"return {inside.pick(('True', 'True', 'False'))}")
    if draw < 0.4:
        inside.write(f"if {condition(inside)}:")
        inside.body().write("return True")
        return inside.write("return False")
    if draw < 0.7:
        name = inside.known(inside.pick(RETURNABLE))
        return inside.write(f"return {name or inside.pick(DIGITS)}")
    return None


def class_(scope: Scope) -> None:
    """A class: its fields, in any order, something that grows, a method or two: class_init."""
    scope.write(f"class {scope.fresh(CLASSES)}:")
    inside = scope.function(scope.depth + 2)
    fields = inside.sample(FIELDS, inside.between(1, 3))
    scope.lines.append(f"    def __init__({', '.join(['self', *fields])}):")
    for field in inside.sample(fields, len(fields)):
        inside.write(f"self.{field} = {field}")
    if inside.chance(0.5):
        (store,) = inside.sample([field for field in FIELDS if field not in fields], 1)
        growing = inside.chance(0.5)
        inside.write(f"self.{store} = {'set()' if growing else inside.pick(EMPTY)}")
        grower(scope, store, growing=growing)
    if inside.chance(0.5):
        method(scope, fields)


def grower(scope: Scope, store: str, *, growing: bool) -> None:
    """A method that grows the set or string that ``__init__`` made: set_or_string."""
    scope.lines.append("")
    inside = scope.function(scope.depth + 2)
    given = inside.bind("label")
    scope.lines.append(f"    def {scope.fresh(FUNCTIONS)}(self, {given}):")
    emit_some(inside, 0, 1)
    inside.write(f"self.{store}.add({given})" if growing else f"self.{store} += {given}")


def method(scope: Scope, fields: Sequence[str]) -> None:
    """A method of any signature, that may return a field."""
    scope.lines.append("")
    inside = scope.function(scope.depth + 2)
    margin = scope.function(scope.depth + 1)
    settle(inside, write_def(margin, scope.fresh(FUNCTIONS), inside, ["self"]))
    emit_some(inside, 1, 1)
    if inside.chance(0.4):
        inside.write(f"return self.{inside.pick(fields)}")


UNITS = (block, block, block, function, function, function, class_)
