"""Values: strings in both quotes, small numbers, lists flat and nested, dicts."""

from __future__ import annotations

from circuitkit.corpora.scope import Scope
from circuitkit.words import ASIDES, DIGITS, QUOTES, WORDS


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


def pairs(scope: Scope) -> str:
    """A small dict from words to numbers, in one kind of quote."""
    quote = scope.pick(QUOTES)
    keys = dict.fromkeys(scope.pick(WORDS) for _ in range(scope.between(1, 3)))
    return "{" + ", ".join(f"{quote}{key}{quote}: {scope.pick(DIGITS)}" for key in keys) + "}"


def operand(scope: Scope) -> str:
    """A number, or a name that holds one."""
    name = scope.known("int") if scope.chance(0.4) else None
    return name or scope.pick(DIGITS)
