"""Strings from files of others, made safe to show: escaped, shortened, never markup.

In: tokens, questions and notes as their files hold them. Out: text that Courier
and Typst's own fonts can set, in which everything invisible can be seen.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate
from shlex import quote

SPACE = "␣"
SETTABLE = (
    *((0x20, 0x7E), (0xA1, 0x4FF), (0x531, 0x58F), (0x10D0, 0x10FF), (0x1E00, 0x1FFE)),
    *((0x2010, 0x2040), (0x2044, 0x2052), (0x2054, 0x209C), (0x20A0, 0x20BF), (0x2100, 0x211E)),
    *((0x2122, 0x2122), (0x2126, 0x2151), (0x2153, 0x2184), (0x2190, 0x23FF), (0x2500, 0x25FF)),
)
"""Ranges whose letters, digits and signs Typst's own fonts have: Latin, Greek, Cyrillic, Armenian,
Georgian, arrows, mathematics. They have Hebrew and Arabic too, but a line that runs both ways shows
numbers and brackets in another order than the file."""

_ATOM = re.compile(r"\\U[0-9a-f]{8}|\\u[0-9a-f]{4}|\\x[0-9a-f]{2}|\\.|.", re.DOTALL)
"""One character as it is shown, or the whole escape that stands for one."""

_LONGEST_ESCAPE = 10


def token_text(token: str, limit: int = 16) -> str:
    r"""A token as a Python-like literal in ASCII, but for ``␣``, which stands for a space.

    >>> token_text(" ]]\n")
    "'␣]]\\n'"
    """
    body = token.encode("unicode_escape").decode("ascii")
    body = body.replace("'", "\\'").replace(" ", SPACE)
    return f"'{shorten(body, limit)}'"


def token_texts(tokens: Iterable[str], limit: int = 16) -> dict[str, str]:
    """Several tokens as literals, no two the same: those that begin alike are cut later."""
    return told_apart(tokens, limit, token_text)


def prose(text: str, limit: int = 400) -> str:
    r"""A line of words that the fonts can set; anything else as an escape.

    >>> print(prose("flat or 🙂?"))
    flat or \U0001f642?
    """
    line = " ".join(text.split())
    return shorten("".join(map(_settable, line)), limit)


def shell_word(word: str) -> str:
    r"""One word of a command line, whole; what the fonts cannot set, as ``$'...'`` has it.

    >>> print(shell_word("my tasks/a.toml"), shell_word("it's 🙂"))
    'my tasks/a.toml' $'it\'s \U0001f642'
    """
    if all(_settable(character) == character for character in word):
        return quote(word)
    return "$'" + "".join(map(_in_quotes, word)) + "'"


def _in_quotes(character: str) -> str:
    code = ord(character)
    if character in "\\'":
        return "\\" + character
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is no text
        return f"\\x{code - 0xDC00:02x}"
    if _settable(character) == character:
        return character
    return f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"


def shorten(text: str, limit: int) -> str:
    """Text of at most ``limit`` characters, an ellipsis where it was cut, never in an escape."""
    if len(text) <= limit:
        return text
    ends = accumulate(len(atom) for atom in _ATOM.findall(text))
    return text[: max((end for end in ends if end < limit), default=0)] + "…"


def told_apart(texts: Iterable[str], limit: int, cut: Callable[[str, int], str]) -> dict[str, str]:
    """Several texts, each cut; those that begin alike are cut later, so that they differ.

    What ``cut`` shows alike even whole, as ``prose`` does spaces, stays alike.
    """
    shown = {text: cut(text, limit) for text in texts}
    times = Counter(shown.values())
    alike = [text for text, words in shown.items() if times[words] > 1]
    if limit > max(map(len, alike), default=0) * _LONGEST_ESCAPE:
        return shown
    return shown | told_apart(alike, 2 * limit, cut)


def _settable(character: str) -> str:
    inside = any(low <= ord(character) <= high for low, high in SETTABLE)
    if inside and (character == " " or unicodedata.category(character)[0] in "LNPS"):
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


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, as a contribution is printed.

    >>> signed(0.5), signed(-0.25)
    ('+0.50', '−0.25')
    """
    return f"{value:+z.{digits}f}".replace("-", "\N{MINUS SIGN}")
