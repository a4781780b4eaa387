"""Task templates: Jinja2 that a stranger may have written, rendered from one seeded draw.

A template's source goes in, text comes out. Jinja2's sandbox guards the
attributes of objects; here templates are held to less still: text and numbers
only (a list within a list can grow without end), no attribute but ``loop``'s,
no call but the functions below, no loop within a loop, no macro, a short list
of filters, and every value bounded on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from random import Random
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from circuitkit.errors import TaskError
from circuitkit.task.words import CLASSES, DIGITS, FIELDS, FUNCTIONS, NAMES, QUOTES, WORDS

MAX_CHARACTERS = 20_000
MAX_ITEMS = 1_000
MAX_NUMBER = 10**12

FILTERS = ("abs", "capitalize", "first", "int", "last", "length", "lower", "upper")

_ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Keyword),
    *(nodes.Call, nodes.Filter, nodes.Test, nodes.If, nodes.CondExpr, nodes.For, nodes.Assign),
    *(nodes.Getitem, nodes.Slice, nodes.Getattr),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.FloorDiv, nodes.Mod, nodes.Neg),
)

KINDS = {None: NAMES, "function": FUNCTIONS, "class": CLASSES, "field": FIELDS}


class Draw:
    """What the templates of one pair may ask for, in the vocabulary of tinypython.

    A drawn identifier does not come again within the pair.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._used: set[str] = set()

    def functions(self) -> dict[str, Any]:
        """What templates can call, by name."""
        return {name: getattr(self, name) for name in FUNCTION_NAMES}

    def fork(self, random: Random) -> Draw:
        """Another draw that also avoids the identifiers used here."""
        other = Draw(random)
        other._used = set(self._used)
        return other

    def identifier(self, kind: str | None = None) -> str:
        """A variable, or a ``function``, ``class`` or ``field`` name."""
        if kind not in KINDS:
            raise ValueError(f"identifier({kind!r}): expected function, class, field or nothing")
        free = [name for name in KINDS[kind] if name not in self._used]
        if not free:
            raise ValueError(f"identifier({kind or ''}): all {len(KINDS[kind])} names are used")
        self._used.add(name := self._random.choice(free))
        return name

    def integer(self, low: Any = 0, high: Any = 9) -> str:
        """A whole number from ``low`` to ``high``, both included."""
        return str(self._between("integer", low, high, MAX_NUMBER))

    def ints(self, low: Any, high: Any) -> str:
        """From ``low`` to ``high`` digits, with commas."""
        count = self._between("ints", low, high, MAX_ITEMS)
        return ", ".join(self._random.choice(DIGITS) for _ in range(count))

    def words(self, low: Any, high: Any) -> str:
        """From ``low`` to ``high`` plain words, with spaces."""
        count = self._between("words", low, high, MAX_ITEMS)
        return " ".join(self._random.choice(WORDS) for _ in range(count))

    def string(self, low: Any, high: Any) -> str:
        """The same in either quote."""
        quote = self._random.choice(QUOTES)
        return f"{quote}{self.words(low, high)}{quote}"

    def pick(self, *options: Any) -> Any:
        """One of the options."""
        if not options:
            raise ValueError("pick(): expected at least one option")
        return self._random.choice(options)

    def _between(self, function: str, low: Any, high: Any, limit: int) -> int:
        low, high = int(low), int(high)
        if not 0 <= low <= high <= limit:
            got = f"{function}({low}, {high})"
            raise ValueError(f"{got}: expected 0 <= first <= second <= {limit}")
        return self._random.randint(low, high)


FUNCTION_NAMES = ("identifier", "integer", "ints", "words", "string", "pick")


class _Sandbox(ImmutableSandboxedEnvironment):
    """No operator makes more than it was given leave to; no subscript reaches an attribute."""

    intercepted_binops = frozenset({"+", "-", "*", "//", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True, finalize=_only_text)
        self.globals = {"range": _bounded_range}
        self.filters = {name: self.filters[name] for name in FILTERS}

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sized = [len(side) for side in (left, right) if isinstance(side, str)]
        if operator == "%" and sized:
            raise SecurityError("% formats nothing here; write the text around {{ }}")
        if sized:
            factor = max((n for n in (left, right) if isinstance(n, int)), default=1)
            if sum(sized) * max(factor, 1) > MAX_CHARACTERS:
                raise SecurityError(f"{operator} would make more than {MAX_CHARACTERS} characters")
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and abs(result) > MAX_NUMBER:
            raise SecurityError(f"{operator} would make a number past {MAX_NUMBER}")
        return result

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, str):
            raise SecurityError(f"access to [{argument!r}]: subscripts are whole numbers")
        return obj[argument]


def _bounded_range(*bounds: int) -> range:
    items = range(*bounds)
    if len(items) > MAX_ITEMS:
        raise SecurityError(f"range of {len(items)} items; at most {MAX_ITEMS}")
    return items


def _only_text(value: Any) -> Any:
    if isinstance(value, str | int | Undefined):
        return value
    raise ValueError(f"prints a {type(value).__name__}; expected text or a whole number")


_SANDBOX = _Sandbox()


class CheckedTemplate:
    """A template that compiled and uses only what templates may; ``where`` names it in errors."""

    __slots__ = ("_template", "source", "where")

    def __init__(self, source: str, where: str) -> None:
        self.source: str = source
        self.where: str = where
        self._template = self._compile()

    def _compile(self) -> Template:
        if len(self.source) > MAX_CHARACTERS:
            raise self._error(f"{len(self.source)} characters; at most {MAX_CHARACTERS}")
        try:
            return _compiled(self.source)
        except TemplateSyntaxError as error:
            raise self._error(f"bad Jinja2 on line {error.lineno}: {error.message}") from None
        except SecurityError as error:
            raise self._error(f"not allowed in a template: {error}") from None
        except (RecursionError, SyntaxError):
            raise self._error("nested too deeply; make it simpler") from None
        except ValueError as error:  # a number of thousands of digits
            raise self._error(f"{error}; numbers go up to {MAX_NUMBER}") from None

    def render(self, values: Mapping[str, Any]) -> str:
        """The text, with these values and functions known.

        Raises:
            TaskError: if a variable is unknown, a call fails or the text runs away.
        """
        try:
            return "".join(_bounded(self._template.generate(values)))
        except SecurityError as error:
            raise self._error(f"not allowed in a template: {error}") from None
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            known = ", ".join(values)
            raise self._error(f"{error}; known here: {known}") from None

    def _error(self, problem: str) -> TaskError:
        got = self.source if len(self.source) <= 80 else self.source[:77] + "..."
        return TaskError(f"{self.where}: {problem}\n  in {got!r}")


@lru_cache(maxsize=1024)
def _compiled(source: str) -> Template:
    """Compiled once: all tasks share their frames."""
    _refuse_foreign(_SANDBOX.parse(source))
    return _SANDBOX.from_string(source)


def _bounded(chunks: Iterator[str]) -> Iterator[str]:
    room = MAX_CHARACTERS
    for chunk in chunks:
        room -= len(chunk)
        if room < 0:
            raise SecurityError(f"text over {MAX_CHARACTERS} characters; make it shorter")
        yield chunk


def _refuse_foreign(tree: nodes.Node, *, looped: bool = False) -> None:
    for node in tree.iter_child_nodes():
        problem = _foreign(node, looped=looped) or _unbounded(node)
        if problem:
            raise SecurityError(problem)
        _refuse_foreign(node, looped=looped or isinstance(node, nodes.For))


def _foreign(node: nodes.Node, *, looped: bool) -> str | None:
    kind = type(node).__name__
    if not isinstance(node, _ALLOWED):
        return f"{kind}; expected text, {{{{ values }}}}, if, one for and the task functions"
    if isinstance(node, nodes.Getattr) and not _is_name(node.node, "loop"):
        return f"access to .{node.attr}; templates have no attributes"
    if isinstance(node, nodes.Call) and not isinstance(node.node, nodes.Name):
        return f"a call of something else than {', '.join(FUNCTION_NAMES)}"
    if isinstance(node, nodes.For) and (looped or node.recursive):
        return "a loop within a loop"
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        return f"the filter {node.name!r}; there are {', '.join(FILTERS)}"
    return None


def _unbounded(node: nodes.Node) -> str | None:
    """A number as written: ``1e999`` is infinity, which has no name in a template."""
    number = node.value if isinstance(node, nodes.Const) else 0
    if isinstance(number, int | float) and not abs(number) <= MAX_NUMBER:
        return f"a number past {MAX_NUMBER}; write a smaller one"
    return None


def _is_name(node: nodes.Node, name: str) -> bool:
    return isinstance(node, nodes.Name) and node.name == name
