"""The content of the report, as plain data for the Typst template: words, numbers, tables.

In: a circuit, perhaps with its validation and its explanation. Out: dictionaries of strings and
numbers that JSON can hold. Strings from task files go through ``safe_text``, and the template sets
them as data, never as markup.
"""

from __future__ import annotations

import math
from typing import Any

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import MOST_NODES, Explanation
from circuitkit.findings import Validation
from circuitkit.views.attention_section import attention
from circuitkit.views.dense_section import dense_section
from circuitkit.views.diagram import diagram, drawable
from circuitkit.views.findings_section import finding_row, fooled, methods, words
from circuitkit.views.flow_section import node_cards
from circuitkit.views.forms_section import forms_section
from circuitkit.views.heatmap import heatmap
from circuitkit.views.intervals_section import intervals
from circuitkit.views.ladder_section import ladder
from circuitkit.views.mechanism_section import mechanism
from circuitkit.views.palette import FILLS, NEGATIVE, POSITIVE
from circuitkit.views.paths_diagram import paths_diagram
from circuitkit.views.prompt_section import ON_PAGE_ONE, both_ways, examples, prompt
from circuitkit.views.reported import Reported
from circuitkit.views.safe_text import number, prose
from circuitkit.views.search_section import made, method, target
from circuitkit.views.svg import render, sized
from circuitkit.views.tables import nodes_frame
from circuitkit.views.transfer_section import transfer_section
from circuitkit.views.trust_section import trust

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


def page(reported: Reported) -> dict[str, Any]:
    """Everything the report says of one circuit."""
    circuit, validation = reported.circuit, reported.validation
    around = circuit.surroundings
    return {
        "title": prose((around and around.question) or circuit.task.name, 200),
        "source": prose(around.source, 200) if around else "",
        "task": prose(circuit.task.name, 80),
        "checkpoint": prose(circuit.checkpoint.name, 80),
        "method": method(circuit),
        "warning": warning(circuit),
        "trust": trust(validation) if validation else None,
        "facts": _facts(circuit),
        "pair": _pair(reported),
        "explained": _explained(circuit, reported.explanation),
        "too_large": too_large(circuit),
        "figure": _figure(circuit),
        "heat": heatmap(circuit, reported.constant),
        "scores": [_score(circuit, name) for name in SCORED],
        "n_pairs": f"{circuit.n_pairs:,}",
        "intervals": intervals(validation) if validation else [],
        "findings": [finding_row(each) for each in validation.findings] if validation else [],
        "methods": methods(validation) if validation else "",
        "fooled": fooled(validation) if validation else [],
        "forms": forms_section(validation),
        "ladder": ladder(reported.rungs),
        "transfer": transfer_section(reported.transfer, reported.parts),
        "dense": dense_section(reported.perturbation),
        "tables": [_nodes_table(circuit), _edges_table(circuit)],
        "made": made(circuit, validation, reported.remarks),
        "commands": reported.commands,
        "version": prose(circuit.provenance.circuitkit_version, 40),
        "palette": {"fills": FILLS, "positive": POSITIVE, "negative": NEGATIVE},
    }


def _pair(reported: Reported) -> list[dict[str, Any]] | None:
    """The pair of page one: the explanation's first example, else that of the circuit."""
    shown = reported.explanation.examples[:1] if reported.explanation else ()
    pair = shown[0] if shown else reported.circuit.surroundings
    return [prompt(*way, limit=ON_PAGE_ONE, width=16) for way in both_ways(pair)] if pair else None


def _explained(circuit: Circuit, explanation: Explanation | None) -> dict[str, Any] | None:
    """What only an explanation knows."""
    if explanation is None or not circuit.nodes or not explanation.examples:
        return None
    drawing = paths_diagram(circuit, explanation)
    return {
        "mechanism": mechanism(explanation),
        "figure": {"svg": drawing.svg, "width": drawing.width, "height": drawing.height},
        "legend": drawing.caption,
        "nodes": node_cards(circuit, explanation),
        "attention": attention(explanation),
        "examples": examples(explanation),
        "n_pairs": f"{explanation.n_pairs:,}",
    }


def warning(circuit: Circuit) -> str:
    """Warnings, shown before anything else."""
    around = circuit.surroundings
    alike = "" if around is None or around.a.answer != around.b.answer else ALIKE
    return " ".join(filter(None, (OUTCOMES[circuit.outcome], alike)))


def too_large(circuit: Circuit) -> str:
    """That a circuit has no explanation because of its size."""
    is_so = circuit.n_nodes > MOST_NODES
    return f"Circuits of more than {MOST_NODES} nodes are not explained." if is_so else ""


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


def _facts(circuit: Circuit) -> list[str]:
    """The size of a circuit and how well it does, in a line."""
    around = circuit.surroundings
    of_nodes = f" of {around.n_nodes_model:,}" if around else ""
    of_edges = f" of {around.n_edges_model:,}" if around else ""
    return [
        f"{circuit.n_nodes:,}{of_nodes} nodes",
        f"{circuit.n_edges:,}{of_edges} edges",
        f"loss {number(circuit.loss_nats.circuit)} nats (target {target(circuit)})",
        f"accuracy without it {number(circuit.accuracy.complement)} (chance 0.500)",
    ]


def _figure(circuit: Circuit) -> dict[str, Any]:
    return {**sized(render(diagram(circuit))), "drawn": drawable(circuit)}


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
