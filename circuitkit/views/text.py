"""Strings from strangers made fit to show: escaped, shortened, and never markup.

In: tokens, questions and notes as their files hold them. Out: text that Courier
and Typst's own fonts can set, in which everything invisible can be seen.
"""

from __future__ import annotations

import math
import unicodedata

SPACE = "␣"
SETTABLE = (
    *(
        (0x20, 0x7E),
        (0xA1, 0xAC),
        (0xAE, 0x17F),
        (0x391, 0x3C9),
        (0x2010, 0x2027),
        (0x2030, 0x203A),
    ),
    *((0x2070, 0x209C), (0x2190, 0x2199), (0x2200, 0x2265)),
)
"""Ranges of code points that Typst's own fonts have."""


def token_text(token: str, limit: int = 16) -> str:
    r"""A token as a Python-like literal in ASCII, but for ``␣``, which stands for a space.

    >>> token_text(" ]]\n")
    "'␣]]\\n'"
    """
    body = token.encode("unicode_escape").decode("ascii")
    body = body.replace("'", "\\'").replace(" ", SPACE)
    return f"'{shorten(body, limit)}'"


def prose(text: str, limit: int = 400) -> str:
    r"""A line of words that the fonts can set; anything else as an escape.

    >>> print(prose("flat or 🙂?"))
    flat or \U0001f642?
    """
    line = " ".join(text.split())
    return shorten("".join(map(_settable, line)), limit)


def shorten(text: str, limit: int) -> str:
    """Text of at most ``limit`` characters, its cut marked by an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _settable(character: str) -> str:
    inside = any(low <= ord(character) <= high for low, high in SETTABLE)
    if inside and not unicodedata.combining(character):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def number(value: float | None, digits: int = 3) -> str:
    """A number as a paper prints it: a true minus sign, three digits after the point.

    >>> number(-0.5)
    '−0.500'
    """
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:z,.{digits}f}" if abs(value) < 1e5 else f"{value:.2e}"
    return text.replace("-", "\N{MINUS SIGN}")
