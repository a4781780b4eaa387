"""Everything a page says of one circuit, in its order: strings and numbers for the template.

In: a circuit, its validation, its explanation. Out: dictionaries that the template sets as text.
"""

from __future__ import annotations

from typing import Any

from circuitkit.circuit import Circuit, Side
from circuitkit.circuit.explanation import Example
from circuitkit.views.example_pair import cues
from circuitkit.views.findings_section import fooled, methods
from circuitkit.views.ladder_section import ladder
from circuitkit.views.page_evidence import asked, evidence, trust
from circuitkit.views.page_mechanism import mechanism
from circuitkit.views.page_nodes import node_cards
from circuitkit.views.report_data import OUTCOMES
from circuitkit.views.reported import Reported
from circuitkit.views.rerun_command import commands
from circuitkit.views.safe_text import number, prose, token_texts
from circuitkit.views.search_section import made, method, target

REPORT_COMMAND = "circuitkit report DIR --format html"

KINDS = {
    "shown": "the pair shown",
    "typical": "typical",
    "out_of_distribution": "out of distribution",
    "worst": "the worst answer",
}


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
        "warning": OUTCOMES[circuit.outcome],
        "examples": _examples(reported),
        "explained": explanation is not None,
        "trust": trust(validation),
        "nodes": node_cards(circuit, explanation),
        "n_pairs": f"{explanation.n_pairs:,}" if explanation else "",
        "findings": evidence(validation),
        "methods": methods(validation) if validation else "",
        "fooled": fooled(validation) if validation else [],
        "ladder": ladder(reported.rungs),
        "asked": asked(circuit),
        "made": made(circuit, validation),
        "commands": [*commands(circuit, validation, reported.origin)[:-1], REPORT_COMMAND],
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
    sides = _sides(around.a, around.b, {})
    return [{"kind": KINDS["shown"], "template": "", "sides": sides, "how": None, "heads": []}]


def _explained(example: Example, n_constant: int) -> dict[str, Any]:
    a, b = example.a, example.b
    literals = token_texts((*a.tokens, *b.tokens, a.answer, b.answer), 24)
    of_model = {"a": a.model_logit_difference, "b": b.model_logit_difference}
    return {
        "kind": KINDS[example.kind],
        "template": prose(example.template, 80),
        "sides": _sides(a, b, of_model),
        "how": mechanism(example, n_constant, literals),
        "heads": _heads(example),
    }


def _sides(a: Side, b: Side, of_model: dict[str, float]) -> list[dict[str, Any]]:
    literals = token_texts((*a.tokens, *b.tokens, a.answer, b.answer), 24)
    return [
        {
            "name": name,
            "tokens": _tokens(side, other, literals),
            "answer": literals[side.answer],
            "foil": literals[other.answer],
            "difference": number(side.logit_difference, 2),
            "right": side.logit_difference > 0,
            "model": number(of_model.get(name), 2),
        }
        for name, side, other in (("a", a, b), ("b", b, a))
    ]


def _tokens(side: Side, other: Side, literals: dict[str, str]) -> list[dict[str, Any]]:
    cue = set(cues(side, other))
    return [{"text": literals[token], "cue": i in cue} for i, token in enumerate(side.tokens)]


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
