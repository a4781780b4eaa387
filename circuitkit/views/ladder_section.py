"""What trust costs: the smallest circuit beside the trusted one, from ``ladder.csv``."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from circuitkit.circuit.folder import LADDER
from circuitkit.errors import CircuitError
from circuitkit.files import read_text
from circuitkit.views.safe_text import prose

_ROWS = {
    "outcome": "outcome",
    "n_nodes": "nodes",
    "n_edges": "edges",
    "f_mean": "F, the rest at its mean",
    "f_interchange": "F, the rest from the other prompt of the pair",
    "follows": "share of prompts whose answer follows the circuit then",
    "f_norms": "F with the model's norms",
    "gain": "what the final norm amplifies by",
    "cue_kept": "share of pairs whose cue survives a random background",
    "failed": "asked for and not met",
}
"""The columns of the file, as rows of the report."""

Rungs = tuple[dict[str, str], ...]


def read_rungs(folder: Path) -> Rungs:
    """The rows of a folder's ``ladder.csv``; none if it is not there.

    Raises:
        CircuitError: if it has no column for the rung.
    """
    path = folder / LADDER
    if not path.exists():
        return ()
    text = read_text(path, CircuitError, "a table made by 'circuitkit extract'")
    rows = tuple(csv.DictReader(io.StringIO(text)))
    if any("rung" not in row or None in row for row in rows):
        raise CircuitError(f"{path} is not a ladder: expected a column 'rung' and as many cells in "
                           "every row. Extract the circuit again.")  # fmt: skip
    return rows


def ladder(rungs: Rungs) -> dict[str, Any] | None:
    """Measures as rows, rungs as columns; None for a search of one rung."""
    if len(rungs) < 2:
        return None
    rows = [
        [said, *(_cell(rung.get(name) or "") for rung in rungs)] for name, said in _ROWS.items()
    ]
    return {
        "columns": [prose(rung["rung"], 30) for rung in rungs],
        "rows": [row for row in rows if any(cell != "–" for cell in row[1:])],
    }


def _cell(text: str) -> str:
    is_number = text.lstrip("-").replace(".", "", 1).isdigit()
    shown = text.replace("-", "\N{MINUS SIGN}") if is_number else text.replace("_", " ")
    return prose(shown, 80) or "–"
