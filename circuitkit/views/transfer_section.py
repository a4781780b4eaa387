"""Transfer between families of prompts, as a heat map: what each circuit does on every family.

In: a ``Transfer``. Out: plain rows for the report and the page to draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from circuitkit.circuit import Circuit
from circuitkit.circuit.transfer import WHOLE, Cell, Transfer
from circuitkit.views.overlay_diagram import overlay_diagram
from circuitkit.views.safe_text import prose, told_apart
from circuitkit.views.svg import render, sized

N_STEPS = 10
"""Shades of a cell between F = 0 and F = 1."""

TITLES = {
    "one": "One mechanism",
    "nested": "Nested mechanisms",
    "either": "Two ways, either is enough",
    "several": "Several mechanisms",
    "undecided": "Undecided",
}


def transfer_section(
    transfer: Transfer | None, parts: Mapping[str, Circuit]
) -> dict[str, Any] | None:
    """The outcome with its reason, the matrix and the picture; None where nothing was compared."""
    if transfer is None or len(transfer.names) < 2:
        return None
    shown = told_apart(transfer.names, 20, prose)
    nodes = {family.name: f"{family.n_nodes:,} nodes" for family in transfer.families}
    return {
        "title": TITLES[transfer.outcome],
        "reason": prose(transfer.reason, 1000),
        "by": prose(transfer.by, 40),
        "limit": f"{transfer.f_limit:.2f}",
        "columns": [shown[name] for name in transfer.names],
        "rows": [
            {
                "name": "the whole task" if row == WHOLE else shown[row],
                "size": nodes.get(row, ""),
                "cells": [_cell(transfer, transfer.cell(row, name)) for name in transfer.names],
            }
            for row in transfer.rows
        ],
        "notes": [prose(note, 300) for note in transfer.notes],
        "figure": sized(render(overlay_diagram(parts))) if parts else None,
    }


def _cell(transfer: Transfer, cell: Cell) -> dict[str, Any]:
    """F with its shade; what it does not do is marked."""
    fails = cell.f.high is not None and cell.f.high < transfer.f_limit
    return {
        "text": f"{cell.f.effect:z.2f}",
        "interval": str(cell.f),
        "step": round(N_STEPS * min(1.0, max(0.0, cell.f.effect))),
        "fails": fails,
    }
