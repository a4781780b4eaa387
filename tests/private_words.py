"""Words that only those who wrote circuitkit would know: none of them may stand where others read.

One list for every test of prose: what is read by people says the field's word instead.
"""

import re
from collections.abc import Mapping

PRIVATE_WORDS = {
    "the judge": r"\b(?:the|its|a|our|whose) judge\b",
    "told": r"\btold\b",
    "the court": r"\b(?:before the|the|a|in) court\b",
    "what stands in": r"\bwhat(?:ever)? stands in\b",
    "ends (for source and target)": (
        r"\b(?:its|their|own|whose|circuit's) ends\b"
        r"|\bends of (?:the|an|each|every|this|a) (?:edge|circuit|wire)s?\b"
    ),
    "shaken": r"\bshaken\b",
}
"""The word as a reader would see it, and the pattern that finds it."""

IN_CODE = PRIVATE_WORDS | {
    "judged": r"\bjudg(?:ed|ing)\b",
    "on trial": r"\bon trial\b",
    "contest": r"\bcontests?\b",
    "passengers": r"\bpassengers?\b",
    "taken up": r"\btaken up\b",
    "twin": r"\btwins?\b",
    "tell (for say or show)": r"\btell(?:s|ing)?\b(?!(?:\s\S+){0,5}?\sapart\b)",
}
"""Those of pages, and more that docstrings and messages once had."""


def private_words_in(text: str, words: Mapping[str, str] = PRIVATE_WORDS) -> list[str]:
    """Each private word of a text, with what stands around it."""
    flat = " ".join(text.split())
    return [
        f"{name}: …{flat[max(0, found.start() - 40) : found.end() + 40]}…"
        for name, pattern in words.items()
        for found in re.finditer(pattern, flat, re.IGNORECASE)
    ]
