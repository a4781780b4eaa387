"""What the report says, as plain data for the Typst template: words, numbers, tables.

In: a circuit and perhaps its validation. Out: dictionaries of strings and numbers
that JSON can hold. Strings from task files go through ``text``, and the template
sets them as data, never as markup.
"""

from __future__ import annotations

import math
import re
from shlex import quote
from typing import Any

from circuitkit.circuit import Circuit, Side, Surroundings
from circuitkit.evidence import Finding, Validation
from circuitkit.views.diagram import diagram, render
from circuitkit.views.example import cues
from circuitkit.views.heatmap import heatmap
from circuitkit.views.palette import FILLS, NEGATIVE, POSITIVE
from circuitkit.views.tables import edges_frame, nodes_frame
from circuitkit.views.text import number, prose, token_text

MAX_ROWS = 60

GRADES = {
    "A": "the default and the thorough suite pass",
    "B": "the default suite passes",
    "C": "sufficient and necessary, the level of the source paper",
    "C-redundant": "sufficient, but the model holds a backup",
    "F": "the evidence does not support this circuit",
}

OUTCOMES = {
    "target_met": "",
    "target_missed": "Target missed: this is the best circuit found, and it does not do the task "
    "at the target loss.",
    "collapsed": "Collapsed: the mask learning emptied itself. What is shown is not a circuit "
    "of this task.",
}

SCORED = {
    "model": "nothing ablated",
    "circuit": "all but the circuit ablated",
    "complement": "the circuit ablated",
    "empty": "everything ablated",
}


def page(circuit: Circuit, validation: Validation | None) -> dict[str, Any]:
    """Everything the report says of one circuit."""
    around = circuit.surroundings
    return {
        "title": prose(around.question) if around else prose(circuit.task.name),
        "source": prose(around.source, 200) if around else "",
        "task": prose(circuit.task.name, 80),
        "checkpoint": prose(circuit.checkpoint.name, 80),
        "warning": OUTCOMES[circuit.outcome],
        "verdict": _verdict(validation) if validation else None,
        "facts": _facts(circuit),
        "example": [_side(*pair) for pair in _twins(around)] if around else None,
        "figure": _figure(circuit),
        "heat": heatmap(circuit),
        "scores": [_score(circuit, name) for name in SCORED],
        "n_pairs": f"{circuit.n_pairs:,}",
        "findings": [_finding(each) for each in validation.findings] if validation else [],
        "fooled": _fooled(validation) if validation else [],
        "tables": [_nodes_table(circuit), _edges_table(circuit)],
        "made": _made(circuit, validation),
        "commands": _commands(circuit, validation),
        "version": circuit.provenance.circuitkit_version,
        "palette": {"fills": FILLS, "positive": POSITIVE, "negative": NEGATIVE},
    }


def summary_row(circuit: Circuit, validation: Validation | None) -> list[str]:
    """One line of the table in front of several reports."""
    return [
        prose(circuit.task.name, 40),
        prose(circuit.checkpoint.name, 40),
        f"{circuit.n_nodes:,}",
        f"{circuit.n_edges:,}",
        number(circuit.loss_nats.circuit),
        number(circuit.target_loss_nats),
        number(circuit.accuracy.complement),
        circuit.outcome.replace("_", " "),
        validation.grade if validation else "–",
        _words(validation.weakest) if validation else "not validated",
    ]


def _words(identifier: str) -> str:
    return identifier.replace("_", " ")


def _verdict(validation: Validation) -> dict[str, Any]:
    weakest = validation[validation.weakest]
    effect = f" ({_effect(weakest)})" if weakest.effect is not None else ""
    return {
        "grade": validation.grade,
        "words": GRADES[validation.grade],
        "passes": validation.passes,
        "weakest": f"{_words(weakest.claim)}, {_words(weakest.outcome)}{effect}",
        "note": prose(weakest.note),
    }


def _facts(circuit: Circuit) -> list[list[str]]:
    around = circuit.surroundings
    of_nodes = f"of {around.n_nodes_model:,} in the model" if around else ""
    of_edges = f"of {around.n_edges_model:,} in the model" if around else ""
    return [
        [f"{circuit.n_nodes:,}", "nodes", of_nodes],
        [f"{circuit.n_edges:,}", "edges", of_edges],
        [number(circuit.loss_nats.circuit), "nats, circuit", f"target {_target(circuit)}"],
        [number(circuit.accuracy.complement), "accuracy without it", "chance is 0.500"],
    ]


def _target(circuit: Circuit) -> str:
    asked = circuit.requested_target_loss_nats
    raised = "" if asked is None else f", raised from {number(asked)}"
    return number(circuit.target_loss_nats) + raised


def _twins(around: Surroundings) -> tuple[tuple[str, Side, Side], tuple[str, Side, Side]]:
    return ("a", around.a, around.b), ("b", around.b, around.a)


def _side(name: str, side: Side, twin: Side) -> dict[str, Any]:
    cue = set(cues(side, twin))
    tokens = [{"text": token_text(t, 32), "cue": i in cue} for i, t in enumerate(side.tokens)]
    return {
        "name": name,
        "tokens": tokens[-200:],
        "cut": max(0, len(tokens) - 200),
        "answer": token_text(side.answer, 32),
        "foil": token_text(twin.answer, 32),
        "difference": number(side.logit_difference, 2),
    }


def _figure(circuit: Circuit) -> dict[str, Any]:
    svg = render(diagram(circuit))
    size = re.search(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    assert size, "Graphviz states the size of every picture"
    return {"svg": svg, "width": float(size[1]), "height": float(size[2])}


def _score(circuit: Circuit, name: str) -> list[str]:
    losses, accuracies = circuit.loss_nats.model_dump(), circuit.accuracy.model_dump()
    return [name, SCORED[name], number(losses[name]), number(accuracies[name])]


def _effect(finding: Finding) -> str:
    if finding.effect is None:
        return "–"
    interval = f" [{number(finding.low)}, {number(finding.high)}]"
    unit = f" {prose(finding.unit, 30)}" if finding.unit else ""
    return number(finding.effect) + (interval if finding.low is not None else "") + unit


def _finding(finding: Finding) -> dict[str, str]:
    counts = f"{finding.n_pairs:,} pairs, {finding.n_clusters:,} templates"
    return {
        "claim": _words(finding.claim),
        "outcome": finding.outcome,
        "effect": _effect(finding),
        "threshold": prose(finding.threshold, 200) or "–",
        "p": "" if finding.p_value is None else f"p = {finding.p_value:.3g}",
        "note": prose(finding.note),
        "counts": counts if finding.n_pairs else "",
    }


def _fooled(validation: Validation) -> list[list[str]]:
    found = [each for each in validation.findings if each.fooled_by and each.outcome != "not_run"]
    return [[_words(each.claim), prose(each.fooled_by)] for each in found]


def _nodes_table(circuit: Circuit) -> dict[str, Any]:
    frame = nodes_frame(circuit)
    columns = ("label", "kind", "mean", "bias", "n_in", "n_out")
    return _table("Nodes", "nodes.csv", columns, frame[list(columns)].astype(object))


def _edges_table(circuit: Circuit) -> dict[str, Any]:
    frame = edges_frame(circuit).sort_values("weight", key=lambda weight: -weight.abs())
    columns = ("source", "target", "weight")
    return _table("Edges, the largest first", "edges.csv", columns, frame[list(columns)])


def _table(title: str, file: str, columns: tuple[str, ...], frame: Any) -> dict[str, Any]:
    rows = frame.head(MAX_ROWS).to_numpy(dtype=object).tolist()
    return {
        "title": title,
        "file": file,
        "columns": columns,
        "rows": [[_cell(value) for value in row] for row in rows],
        "n_hidden": max(0, len(frame) - MAX_ROWS),
    }


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    return number(value) if isinstance(value, float) and math.isfinite(value) else "–"


def _made(circuit: Circuit, validation: Validation | None) -> list[list[str]]:
    by = circuit.provenance
    minimal = circuit.minimality
    kept = [w for w, is_so in _minimal(circuit).items() if is_so]
    scale = circuit.calibration
    rows = {
        "checkpoint": f"{prose(circuit.checkpoint.name, 80)}  {circuit.checkpoint.sha256}",
        "task": f"{prose(circuit.task.name, 80)}  {circuit.task.sha256}",
        "circuit": circuit.sha256,
        "target loss": f"{_target(circuit)} nats",
        "ablation": f"{circuit.ablation}, by {circuit.granularity}",
        "1-minimal": f"{' and '.join(kept) or 'no'}, {minimal.split} split, {minimal.n_pairs:,} pairs",
        "calibration": f"{scale.scale:.3f} d {scale.shift:+.3f}" if scale else "none",
        "seed": str(circuit.seed),
        "made with": f"{prose(by.created_with, 80)}, circuitkit {prose(by.circuitkit_version, 40)}, "
        f"torch {prose(by.torch_version, 40)}",
        "configuration": by.config_sha256,
    }
    if validation:
        seconds = sum(finding.seconds for finding in validation.findings)
        passes = sum(finding.forward_passes for finding in validation.findings)
        rows["validation"] = f"{passes:,} forward passes, {seconds:,.1f} seconds"
    return [list(row) for row in rows.items()]


def _minimal(circuit: Circuit) -> dict[str, bool]:
    minimal = circuit.minimality
    return {"nodes": minimal.nodes_1_minimal, "edges": minimal.edges_1_minimal}


def _commands(circuit: Circuit, validation: Validation | None) -> list[str]:
    """What to type to make this report again."""
    raised = circuit.requested_target_loss_nats is not None
    target = [] if raised else ["--target-loss", f"{circuit.target_loss_nats:g}"]
    words = ["circuitkit", "extract", circuit.checkpoint.name, "--task", circuit.task.name, *target]
    words += ["--ablation", circuit.ablation, "--granularity", circuit.granularity]
    words += ["--seed", str(circuit.seed), "--out", "DIR"]
    commands = [" ".join(quote(prose(word, 120)) for word in words)]
    return [*commands, *(["circuitkit validate DIR"] if validation else []), "circuitkit report DIR"]
