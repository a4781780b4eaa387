"""Everything a page says of one circuit, in its order: strings and numbers for the template.

In: a circuit, its validation, its explanation. Out: dictionaries that the template sets as text.
"""

from __future__ import annotations

import sys
from typing import Any

from circuitkit.circuit import Circuit, Surroundings
from circuitkit.circuit.explanation import Example
from circuitkit.views.dense_section import dense_section
from circuitkit.views.findings_section import fooled, methods
from circuitkit.views.forms_section import forms_section
from circuitkit.views.ladder_section import ladder
from circuitkit.views.page_evidence import asked, evidence, trust
from circuitkit.views.page_mechanism import mechanism
from circuitkit.views.page_nodes import node_cards
from circuitkit.views.prompt_section import KINDS, both_ways, prompt, title
from circuitkit.views.report_data import too_large, warning
from circuitkit.views.reported import Reported
from circuitkit.views.safe_text import number, prose, token_texts
from circuitkit.views.search_section import made, method, target
from circuitkit.views.transfer_section import transfer_section

REPORT_COMMAND = "circuitkit report DIR --format html"
WHOLE = sys.maxsize
"""A page shows every token of a prompt."""


def circuit_text(reported: Reported) -> dict[str, Any]:
    """The sections of one circuit."""
    circuit, validation, explanation = reported.circuit, reported.validation, reported.explanation
    around = circuit.surroundings
    return {
        "title": prose((around and around.question) or circuit.task.name, 200),
        "source": prose(around.source, 200) if around else "",
        "task": prose(circuit.task.name, 80),
        "checkpoint": prose(circuit.checkpoint.name, 80),
        "method": method(circuit),
        "size": _size(circuit),
        "warning": warning(circuit),
        "examples": _examples(reported),
        "explained": explanation is not None,
        "too_large": too_large(circuit),
        "trust": trust(validation),
        "nodes": node_cards(circuit, explanation),
        "n_pairs": f"{explanation.n_pairs:,}" if explanation else "",
        "findings": evidence(validation),
        "methods": methods(validation) if validation else "",
        "fooled": fooled(validation) if validation else [],
        "forms": forms_section(validation),
        "transfer": transfer_section(reported.transfer, reported.parts),
        "dense": dense_section(reported.perturbation),
        "ladder": ladder(reported.rungs),
        "asked": asked(circuit),
        "made": made(circuit, validation, reported.remarks),
        "commands": [*reported.commands[:-1], REPORT_COMMAND],
    }


def _size(circuit: Circuit) -> str:
    around = circuit.surroundings
    of_nodes = f" of {around.n_nodes_model:,}" if around else ""
    of_edges = f" of {around.n_edges_model:,}" if around else ""
    return (
        f"{circuit.n_nodes:,}{of_nodes} nodes, {circuit.n_edges:,}{of_edges} edges, loss "
        f"{number(circuit.loss_nats.circuit)} nats (target {target(circuit)})"
    )


def _examples(reported: Reported) -> list[dict[str, Any]]:
    if reported.explanation:
        n_constant = len(reported.constant)
        return [_explained(example, n_constant) for example in reported.explanation.examples]
    if not (around := reported.circuit.surroundings):
        return []
    only = {"title": KINDS["shown"], "template": "", "sides": _sides(around)}
    return [{**only, "how": None, "heads": []}]


def _explained(example: Example, n_constant: int) -> dict[str, Any]:
    a, b = example.a, example.b
    literals = token_texts((*a.tokens, *b.tokens, a.answer, b.answer), 24)
    return {
        "title": title(example),
        "template": prose(example.template, 80),
        "sides": _sides(example),
        "how": mechanism(example, n_constant, literals),
        "heads": _heads(example),
    }


def _sides(pair: Surroundings | Example) -> list[dict[str, Any]]:
    return [prompt(*way, limit=WHOLE, width=24) for way in both_ways(pair)]


def _heads(example: Example) -> list[dict[str, Any]]:
    """For each head and prompt, the share of its last token's attention that each token gets."""
    return [
        {"head": prose(head, 40), "rows": [_row(example.a, head), _row(example.b, head)]}
        for head in dict.fromkeys((*example.a.attention, *example.b.attention))
    ]


def _row(run: Any, head: str) -> dict[str, Any]:
    weights = run.attention.get(head, ())
    return {
        "weights": [{"text": f"{weight:.2f}", "step": round(10 * weight)} for weight in weights],
        "sink": f"{max(0.0, 1 - sum(weights)):.2f}" if weights else "–",
    }
