"""Templates of pairs whose file names none: prompts alike but for some words are of one template.

In: pairs. Out: for each a label, the words of its prompts with ``…`` for those that vary.

Prompts of the same number of words are compared word by word. If at least half of the places
hold the same word in all of them, they are one template, and the other places are its slots. A
word that comes again in its prompt counts as the place where it came first.
Else they are parted by the place that has the fewest different words, and each part is looked at
in the same way; a prompt that is like no other is a template of its own. Slots that follow each
other are one, so that names of one and of two words make the same label. The order of the pairs,
and which prompt of a pair is the first, have no influence. Source: the partitioning is that of
log parsers (Makanju et al. 2009); the limit of one half is ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import NamedTuple

from circuitkit.files import sha256
from circuitkit.task.pairs import Pair, Prompt

SLOT = "…"
SAME_SHARE = 0.5
"""Of the words of two prompts of one template: those that are the same, at least."""

MOST_WORDS = 128
"""So many words of a prompt are compared, the last ones; all before them is one word."""

_WORD = re.compile(r"\s*\w+|\s*[^\w\s]|\s+\Z")
_LONGEST = 80
_SLASH = "\N{DIVISION SLASH}"

Words = tuple[str, ...]


def infer_templates(pairs: Sequence[Pair]) -> list[str]:
    """The label of each pair's template: that of its prompts, or both where they differ."""
    both = [(_words(pair.a), _words(pair.b)) for pair in pairs]
    labels = _labels({words for sides in both for words in sides})
    whole = [" | ".join(sorted({labels[words] for words in sides})) for sides in both]
    plain = {label: _plain(label) for label in set(whole)}
    often = Counter(plain.values())
    return [_short(label, plain[label], alone=often[plain[label]] == 1) for label in whole]


def each_its_own(pairs: Sequence[Pair]) -> list[str]:
    """A label for each pair, the same either way round."""
    texts = (repr(sorted(repr(side) for side in (pair.a, pair.b))) for pair in pairs)
    return [f"pair {sha256(text.encode())[:12]}" for text in texts]


def _words(prompt: Prompt) -> Words:
    """Words and signs, each with the blanks before it; together they are the prompt."""
    if prompt.text is None:
        found = [f" {token}" for token in prompt.tokens or ()]
    else:
        found = _WORD.findall(prompt.text)
    first, last = found[: 1 - MOST_WORDS], found[1 - MOST_WORDS :]
    return ("".join(first), *last) if first else tuple(last)


def _labels(prompts: Collection[Words]) -> dict[Words, str]:
    by_length: dict[int, list[_Row]] = {}
    for words in prompts:
        by_length.setdefault(len(words), []).append(_Row(words, _compared(words)))
    return {
        row.words: label
        for rows in by_length.values()
        for group, label in _groups(rows)
        for row in group
    }


class _Row(NamedTuple):
    """A prompt's words, and what of them is compared with other prompts."""

    words: Words
    compared: tuple[Hashable, ...]


def _compared(words: Words) -> tuple[Hashable, ...]:
    """A word that came before is the place where it came first: a name used twice is one slot."""
    first: dict[str, int] = {}
    found: list[Hashable] = []
    for i, word in enumerate(words):
        bare = word.strip()
        place = first.setdefault(bare, i)
        found.append(word if place == i else (word.removesuffix(bare), place))
    return tuple(found)


def _groups(rows: list[_Row]) -> Iterator[tuple[list[_Row], str]]:
    """Prompts of one length, parted into templates, each with its label."""
    waiting = [rows]
    while waiting:
        group = waiting.pop()
        seen = [set(place) for place in zip(*(row.compared for row in group), strict=True)]
        varying = [(len(words), i) for i, words in enumerate(seen) if len(words) > 1]
        if len(varying) <= (1 - SAME_SHARE) * len(seen):
            yield group, _label([row.words for row in group])
            continue
        _, place = min(varying)
        parts: dict[Hashable, list[_Row]] = {}
        for row in group:
            parts.setdefault(row.compared[place], []).append(row)
        waiting.extend(parts.values())


def _label(rows: Sequence[Words]) -> str:
    """The words that are the same; a slot after a slot in one line is one with it."""
    parts: list[str] = []
    for words in map(set, zip(*rows, strict=True)):
        blanks = min(word[: len(word) - len(word.lstrip())] for word in words)
        if len(words) == 1:
            parts.append(next(iter(words)))
        elif not parts or not parts[-1].endswith(SLOT) or "\n" in blanks:
            parts.append(f"{blanks}{SLOT}")
    return "".join(parts).strip(" ")


def _plain(label: str) -> str:
    """On one line, and without a slash, which would part a form from a frame."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in label)
    return shown.replace("/", _SLASH)


def _short(label: str, plain: str, *, alone: bool) -> str:
    """Not too long; those that are shortened, or read like another, stay apart by their hash."""
    mark = f" #{sha256(label.encode())[:6]}"
    if len(plain) <= _LONGEST - (0 if alone else len(mark)):
        return plain if alone else f"{plain}{mark}"
    half = (_LONGEST - 12) // 2
    return f"{plain[:half]} … {plain[-half:]}{mark}"
