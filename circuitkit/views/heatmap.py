"""Each node over the example pair: its activations, relative to the largest distance to its mean.

In: a circuit with its surroundings. Out: plain rows for the report to draw. Zero
is the node's mean, the value it takes when it is ablated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from circuitkit.circuit import Circuit, Side, Surroundings
from circuitkit.nodes import Node
from circuitkit.views.example_pair import cues
from circuitkit.views.palette import kind_of
from circuitkit.views.safe_text import number, token_texts

MAX_COLUMNS = 24
MAX_ROWS = 60


def heatmap(circuit: Circuit, constant: Collection[str] = ()) -> dict[str, Any] | None:
    """Columns and rows of the map, without constant nodes; None without surroundings or nodes."""
    around = circuit.surroundings
    if around is None or not circuit.nodes:
        return None
    places = [shown_positions(*pair) for pair in _both_ways(around)]
    nodes = [node for node in circuit.nodes if str(node) not in constant]
    return {
        "sides": [columns(*pair, p) for pair, p in zip(_both_ways(around), places, strict=True)],
        "rows": [_row(node, around, places) for node in nodes[:MAX_ROWS]],
        "n_constant": circuit.n_nodes - len(nodes),
        "n_hidden": max(0, len(nodes) - MAX_ROWS),
    }


def shown_positions(side: Side, other: Side, limit: int = MAX_COLUMNS) -> tuple[int, ...]:
    """The positions that get a column in a long prompt: those near the cue, then the last."""
    n = len(side.tokens)
    if n <= limit:
        return tuple(range(n))
    cue = cues(side, other)[: limit // 2]
    near = {j for i in cue for j in (i - 1, i, i + 1) if 0 <= j < n}
    chosen = set(sorted(near)[: limit // 2])
    for position in reversed(range(n)):
        if len(chosen) == limit:
            break
        chosen.add(position)
    return tuple(sorted(chosen))


def _both_ways(around: Surroundings) -> tuple[tuple[Side, Side], tuple[Side, Side]]:
    return (around.a, around.b), (around.b, around.a)


def columns(side: Side, other: Side, places: Sequence[int]) -> list[dict[str, Any]]:
    """The columns of a map: tokens, which of them are the cue, where some are left out."""
    cue = set(cues(side, other))
    literals = token_texts(side.tokens + other.tokens, limit=12)
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
