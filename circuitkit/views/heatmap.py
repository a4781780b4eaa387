"""What each node does over the example pair: its activations as shares of its widest swing.

In: a circuit with its surroundings. Out: plain rows for the report to draw. Zero
is the node's mean, the value it takes when it is ablated, so what is blank says
nothing that the ablated model does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from circuitkit.circuit import Circuit, Side, Surroundings
from circuitkit.nodes import Node
from circuitkit.views.example_pair import cues
from circuitkit.views.palette import kind_of
from circuitkit.views.safe_text import number, token_texts

MAX_COLUMNS = 24
MAX_ROWS = 60


def heatmap(circuit: Circuit) -> dict[str, Any] | None:
    """Columns and rows of the map; None without surroundings or nodes."""
    around = circuit.surroundings
    if around is None or not circuit.nodes:
        return None
    places = [shown_positions(*pair) for pair in _twins(around)]
    nodes = list(circuit.nodes)
    return {
        "sides": [_columns(*pair, p) for pair, p in zip(_twins(around), places, strict=True)],
        "rows": [_row(node, around, places) for node in nodes[:MAX_ROWS]],
        "n_hidden": max(0, len(nodes) - MAX_ROWS),
    }


def shown_positions(side: Side, twin: Side, limit: int = MAX_COLUMNS) -> tuple[int, ...]:
    """The positions worth a column when the prompt is long: the cue first, then from the end."""
    n = len(side.tokens)
    if n <= limit:
        return tuple(range(n))
    cue = cues(side, twin)[: limit // 2]
    near = {j for i in cue for j in (i - 1, i, i + 1) if 0 <= j < n}
    chosen = set(sorted(near)[: limit // 2])
    for position in reversed(range(n)):
        if len(chosen) == limit:
            break
        chosen.add(position)
    return tuple(sorted(chosen))


def _twins(around: Surroundings) -> tuple[tuple[Side, Side], tuple[Side, Side]]:
    return (around.a, around.b), (around.b, around.a)


def _columns(side: Side, twin: Side, places: Sequence[int]) -> list[dict[str, Any]]:
    cue = set(cues(side, twin))
    literals = token_texts(side.tokens + twin.tokens, limit=12)
    return [
        {
            "text": literals[side.tokens[i]],
            "cue": i in cue,
            "gap": i > 0 and i - 1 not in places,
        }
        for i in places
    ]


def _row(node: Node, around: Surroundings, places: Sequence[Sequence[int]]) -> dict[str, Any]:
    name = str(node)
    mean = around.means.get(name, 0.0)
    swings = [
        [value - mean for value in side.activations.get(name, ())] for side in (around.a, around.b)
    ]
    widest = max((abs(swing) for side in swings for swing in side), default=0.0)
    return {
        "label": node.label(around.d_head),
        "kind": kind_of(node.site),
        "mean": number(around.means.get(name)),
        "widest": number(widest),
        "cells": [
            [round(side[i] / widest, 3) if widest and i < len(side) else 0.0 for i in chosen]
            for side, chosen in zip(swings, places, strict=True)
        ],
    }
