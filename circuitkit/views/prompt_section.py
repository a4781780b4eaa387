"""Prompts for the report: tokens with the cue marked, answers and logit differences."""

from __future__ import annotations

from typing import Any

from circuitkit.circuit import Side, Surroundings
from circuitkit.circuit.explanation import Example, ExampleKind, Explanation
from circuitkit.views.example_pair import cues
from circuitkit.views.heatmap import shown_positions
from circuitkit.views.safe_text import number, prose, token_text, token_texts

KINDS: dict[ExampleKind, str] = {
    "shown": "The pair shown first",
    "typical": "A typical pair",
    "distractor": "With a distractor",
    "out_of_distribution": "Out of distribution",
    "worst": "The worst pair",
}
ON_PAGE_ONE = 24
"""Tokens of a prompt on page one; longer prompts keep those near the cue and the last."""


def both_ways(pair: Surroundings | Example) -> tuple[tuple[str, Side, Side], ...]:
    """Each prompt of a pair, with its name and the other."""
    return ("a", pair.a, pair.b), ("b", pair.b, pair.a)


def title(example: Example) -> str:
    """What a pair is shown for."""
    if not example.distractors:
        return KINDS[example.kind]
    tokens = " and ".join(map(token_text, example.distractors[:3]))
    cue = "is the cue" if len(example.distractors) == 1 else "are cues"
    return f"{KINDS[example.kind]}: {tokens} {cue} of other pairs"


def prompt(name: str, side: Side, other: Side, limit: int = 200, width: int = 32) -> dict[str, Any]:
    """One prompt of a pair; of a long one the tokens near the cue and the last ones."""
    cue = set(cues(side, other))
    places = shown_positions(side, other, limit)
    literals = token_texts((*side.tokens, *other.tokens, side.answer, other.answer), width)
    tokens = [
        {"text": literals[side.tokens[i]], "cue": i in cue, "gap": i - 1 not in places and i > 0}
        for i in places
    ]
    return {
        "name": name,
        "tokens": tokens,
        "n_hidden": len(side.tokens) - len(places),
        "answer": literals[side.answer],
        "foil": literals[other.answer],
        "difference": number(side.logit_difference, 2),
        "model_difference": number(getattr(side, "model_logit_difference", None), 2),
        "right": side.logit_difference > 0,
    }


def examples(explanation: Explanation) -> list[dict[str, Any]]:
    """Every example after the first, in words and prompts."""
    return [
        {
            "title": title(example),
            "template": prose(example.template, 60),
            "prompts": [prompt(*way) for way in both_ways(example)],
        }
        for example in explanation.examples[1:]
    ]
