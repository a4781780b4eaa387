"""Values: strings in both quotes, numbers, lists flat and nested, dicts, files, conditions."""

from __future__ import annotations

from circuitkit.corpora.scope import Scope
from circuitkit.task.words import ASIDES, DIGITS, EXTENSIONS, QUOTES, READ_FILES, WORDS, WRITE_FILES

EMPTY = ("''", '""')


def phrase(scope: Scope, most: int = 4) -> str:
    """One to ``most`` words; in the middle there may be something that looks like code."""
    words = [scope.pick(WORDS) for _ in range(scope.between(1, most))]
    if len(words) > 1 and scope.chance(0.2):
        words.insert(scope.between(1, len(words) - 1), scope.pick(ASIDES))
    return " ".join(words)


def string(scope: Scope, most: int = 4) -> str:
    """A string in either quote; what it says does not depend on the quote.

    One in thirty holds a word in the other quotes.
    """
    quote = scope.pick(QUOTES)
    text = phrase(scope, most)
    if scope.chance(0.03):
        other = QUOTES[quote == QUOTES[0]]
        text = f"{scope.pick(WORDS)} {other}{scope.pick(WORDS)}{other} {text}"
    return f"{quote}{text}{quote}"


def fstring(scope: Scope, name: str) -> str:
    """``f'red {count} blue'``: one brace, after one to four words; no other string holds any."""
    quote = scope.pick(QUOTES)
    after = f" {phrase(scope, 2)}" if scope.chance(0.4) else ""
    return f"f{quote}{phrase(scope)} {{{name}}}{after}{quote}"


def numbers(scope: Scope, n: int) -> str:
    """``n`` digits and the commas between them."""
    return ", ".join([scope.pick(DIGITS) for _ in range(n)])


def flat_list(scope: Scope) -> str:
    """One to eight numbers: as many as a nested list may hold."""
    return f"[{numbers(scope, scope.between(1, 8))}]"


def nested_list(scope: Scope) -> str:
    """Always two rows, of equal length: the second row closes the list as well."""
    width = scope.between(1, 4)
    return f"[[{numbers(scope, width)}], [{numbers(scope, width)}]]"


def keys(scope: Scope) -> list[str]:
    """One to three different words in one kind of quote, or digits."""
    n = scope.between(1, 3)
    if scope.chance(0.3):
        return list(dict.fromkeys(scope.pick(DIGITS) for _ in range(n)))
    quote = scope.pick(QUOTES)
    return [f"{quote}{key}{quote}" for key in dict.fromkeys(scope.pick(WORDS) for _ in range(n))]


def dict_of(scope: Scope, items: list[str]) -> str:
    """A flat dict, or one in seven with a list behind each key."""
    listed = scope.chance(0.15)
    values = [f"[{numbers(scope, 2)}]" if listed else scope.pick(DIGITS) for _ in items]
    return "{" + ", ".join(f"{k}: {v}" for k, v in zip(items, values, strict=True)) + "}"


def list_of(items: list[str]) -> str:
    """The list of the same items."""
    return f"[{', '.join(items)}]"


def operand(scope: Scope) -> str:
    """A number, or a name that holds one."""
    name = scope.known("int") if scope.chance(0.4) else None
    return name or scope.pick(DIGITS)


def opened(scope: Scope) -> tuple[str, str]:
    """``open('input.txt', 'r')`` and what it gives: the file's name decides r or w: with_open."""
    reads = scope.chance(0.5)
    quote = scope.pick(QUOTES)
    number = scope.pick(DIGITS) if scope.chance(0.3) else ""
    name = f"{scope.pick(READ_FILES if reads else WRITE_FILES)}{number}{scope.pick(EXTENSIONS)}"
    mode = "r" if reads else "w"
    call = f"open({quote}{name}{quote}, {quote}{mode}{quote})"
    return call, "reader" if reads else "writer"


def given(scope: Scope, kind: str) -> str:
    """A name of a type: one already known, else one bound on a line of its own."""
    name = scope.known(kind)
    if name is None:
        value = scope.pick(DIGITS) if kind == "int" else scope.pick(("True", "False"))
        name = scope.bind(kind)
        scope.write(f"{name} = {value}")
    return name


def condition(scope: Scope) -> str:
    """``count == 3``, ``ready`` or ``ready == True``: if_equals and var_if."""
    draw = scope.random()
    if draw < 0.5:
        return f"{given(scope, 'int')} == {scope.pick(DIGITS)}"
    flag = given(scope, "bool")
    return flag if draw < 0.75 else f"{flag} == {scope.pick(('True', 'True', 'False'))}"
