"""The content of the report, as plain data for the Typst template: words, numbers, tables.

In: a circuit and perhaps its validation. Out: dictionaries of strings and numbers
that JSON can hold. Strings from task files go through ``text``, and the template
sets them as data, never as markup.
"""

from __future__ import annotations

import math
import re
from typing import Any

from circuitkit.circuit import Circuit, Origin, Side, Surroundings
from circuitkit.findings import Validation
from circuitkit.views.diagram import diagram, drawable, render
from circuitkit.views.example_pair import cues
from circuitkit.views.findings_section import finding_row, fooled, methods, verdict, words
from circuitkit.views.heatmap import heatmap
from circuitkit.views.palette import FILLS, NEGATIVE, POSITIVE
from circuitkit.views.rerun_command import commands
from circuitkit.views.safe_text import number, prose, token_texts
from circuitkit.views.search_section import made, method, target
from circuitkit.views.tables import nodes_frame

MAX_ROWS = 60

OUTCOMES = {
    "target_met": "",
    "target_missed": "Target missed: this is the best circuit found, and it does not do the task "
    "at the target loss.",
    "collapsed": "Collapsed: the mask learning emptied itself. What is shown is not a circuit "
    "of this task.",
}

ALIKE = (
    "Its file writes both answers with the same text, so different tokens are shown as one. "
    "Extract it again to distinguish them."
)

SCORED = {
    "model": "nothing ablated",
    "circuit": "all but the circuit ablated",
    "complement": "the circuit ablated",
    "empty": "everything ablated",
}


def page(
    circuit: Circuit, validation: Validation | None, origin: Origin | None = None
) -> dict[str, Any]:
    """Everything the report says of one circuit."""
    around = circuit.surroundings
    return {
        "title": prose((around and around.question) or circuit.task.name, 200),
        "source": prose(around.source, 200) if around else "",
        "task": prose(circuit.task.name, 80),
        "checkpoint": prose(circuit.checkpoint.name, 80),
        "method": method(circuit),
        "warning": _warning(circuit),
        "verdict": verdict(validation) if validation else None,
        "facts": _facts(circuit),
        "example": [_side(*pair) for pair in _both_ways(around)] if around else None,
        "figure": _figure(circuit),
        "heat": heatmap(circuit),
        "scores": [_score(circuit, name) for name in SCORED],
        "n_pairs": f"{circuit.n_pairs:,}",
        "findings": [finding_row(each) for each in validation.findings] if validation else [],
        "methods": methods(validation) if validation else "",
        "fooled": fooled(validation) if validation else [],
        "tables": [_nodes_table(circuit), _edges_table(circuit)],
        "made": made(circuit, validation),
        "commands": commands(circuit, validation, origin),
        "version": prose(circuit.provenance.circuitkit_version, 40),
        "palette": {"fills": FILLS, "positive": POSITIVE, "negative": NEGATIVE},
    }


def _warning(circuit: Circuit) -> str:
    """Warnings, shown before anything else."""
    around = circuit.surroundings
    alike = "" if around is None or around.a.answer != around.b.answer else ALIKE
    return " ".join(filter(None, (OUTCOMES[circuit.outcome], alike)))


def summary_row(circuit: Circuit, validation: Validation | None) -> list[str]:
    """One line of the table in front of several reports."""
    return [
        prose(circuit.task.name, 40) + (f" ({method(circuit)})" if circuit.method else ""),
        prose(circuit.checkpoint.name, 40),
        f"{circuit.n_nodes:,}",
        f"{circuit.n_edges:,}",
        number(circuit.loss_nats.circuit),
        number(circuit.target_loss_nats),
        number(circuit.accuracy.complement),
        circuit.outcome.replace("_", " "),
        validation.grade if validation else "–",
        words(validation.short_of) if validation else "not validated",
    ]


def _facts(circuit: Circuit) -> list[list[str]]:
    around = circuit.surroundings
    of_nodes = f"of {around.n_nodes_model:,} in the model" if around else ""
    of_edges = f"of {around.n_edges_model:,} in the model" if around else ""
    return [
        [f"{circuit.n_nodes:,}", "nodes", of_nodes],
        [f"{circuit.n_edges:,}", "edges", of_edges],
        [number(circuit.loss_nats.circuit), "nats, circuit", f"target {target(circuit)}"],
        [number(circuit.accuracy.complement), "accuracy without it", "chance is 0.500"],
    ]


def _both_ways(around: Surroundings) -> tuple[tuple[str, Side, Side], tuple[str, Side, Side]]:
    return ("a", around.a, around.b), ("b", around.b, around.a)


def _side(name: str, side: Side, other: Side) -> dict[str, Any]:
    cue = set(cues(side, other))
    shown = (*side.tokens, *other.tokens, side.answer, other.answer)
    literals = token_texts(shown, 32)
    tokens = [{"text": literals[t], "cue": i in cue} for i, t in enumerate(side.tokens)]
    return {
        "name": name,
        "tokens": tokens[-200:],
        "cut": max(0, len(tokens) - 200),
        "answer": literals[side.answer],
        "foil": literals[other.answer],
        "difference": number(side.logit_difference, 2),
    }


def _figure(circuit: Circuit) -> dict[str, Any]:
    svg = render(diagram(circuit))
    size = re.search(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    assert size, "Graphviz states the size of every picture"
    return {
        "svg": svg,
        "width": float(size[1]),
        "height": float(size[2]),
        "drawn": drawable(circuit),
    }


def _score(circuit: Circuit, name: str) -> list[str]:
    losses, accuracies = circuit.loss_nats.model_dump(), circuit.accuracy.model_dump()
    return [name, SCORED[name], number(losses[name]), number(accuracies[name])]


def _nodes_table(circuit: Circuit) -> dict[str, Any]:
    frame = nodes_frame(circuit)
    columns = ("label", "kind", "mean", "bias", "n_in", "n_out")
    return _table(
        "Nodes", "nodes.csv", columns, frame[list(columns)].to_numpy(dtype=object).tolist()
    )


def _edges_table(circuit: Circuit) -> dict[str, Any]:
    d_head = circuit.surroundings.d_head if circuit.surroundings else None
    largest = sorted(circuit.edges, key=lambda edge: (-abs(edge.weight), edge.source, edge.target))
    rows = [[e.source.label(d_head), e.target.label(d_head), e.weight] for e in largest]
    return _table("Edges, the largest first", "edges.csv", ("source", "target", "weight"), rows)


def _table(
    title: str, file: str, columns: tuple[str, ...], rows: list[list[Any]]
) -> dict[str, Any]:
    return {
        "title": title,
        "file": file,
        "columns": columns,
        "rows": [[_cell(value) for value in row] for row in rows[:MAX_ROWS]],
        "n_hidden": max(0, len(rows) - MAX_ROWS),
    }


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    return number(value) if isinstance(value, float) and math.isfinite(value) else "–"
