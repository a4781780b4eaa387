"""Where the heads of a circuit look from the last token, over the example pair."""

from __future__ import annotations

from typing import Any

from circuitkit.circuit.explanation import Explanation
from circuitkit.views.heatmap import columns, shown_positions
from circuitkit.views.prompt_section import both_ways
from circuitkit.views.safe_text import number, prose

MAX_HEADS = 24


def attention(explanation: Explanation) -> dict[str, Any] | None:
    """Columns of both prompts and a row a head; None without heads."""
    example = explanation.examples[0]
    heads = list(dict.fromkeys((*example.a.attention, *example.b.attention)))
    if not heads:
        return None
    sides = [(side, other) for _, side, other in both_ways(example)]
    places = [shown_positions(*pair) for pair in sides]
    rows = []
    for head in heads[:MAX_HEADS]:
        weights = [run.attention.get(head, ()) for run in (example.a, example.b)]
        rows.append(
            {
                "label": prose(head, 30),
                "cells": [
                    [round(min(1.0, max(0.0, own[i])), 3) if i < len(own) else 0.0 for i in chosen]
                    for own, chosen in zip(weights, places, strict=True)
                ],
                "sink": " / ".join(number(max(0.0, 1 - sum(own)), 2) for own in weights),
            }
        )
    return {
        "sides": [columns(*pair, chosen) for pair, chosen in zip(sides, places, strict=True)],
        "rows": rows,
        "n_hidden": max(0, len(heads) - MAX_HEADS),
    }
