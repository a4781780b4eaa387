"""What a written program says of itself: what it computes, of which circuit, and how exact."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from circuitkit.circuit import Circuit
from circuitkit.circuit.folded_circuit import FoldedCircuit
from circuitkit.views.safe_text import prose

WITHIN = 1e-5
"""How near a program has to be to the circuit, in nats."""

NAMES = (
    "Names: q1_83 is the node 1.attn.q:83, and so with k and v; a1_5 is what attention reads from "
    "channel 5 of the residual stream, aw1_5 what it writes there; m1_5, n1_5 and mw1_5 are what "
    "the MLP reads, its neurons, and what it writes; x5 is the channel itself, f5 how the answers "
    "read it. look1_2 is where head 2 of layer 1 looks: from each row, at each column."
)


def about(circuit: Circuit, folded: FoldedCircuit) -> str:
    """The docstring, quotes included."""
    paragraphs = [textwrap.fill(text, 98) for text in _paragraphs(circuit, folded)]
    body = "\n\n".join(paragraphs).replace("\\", "\\\\").replace('"', "'")
    return f'"""{body}\n"""\n'


def _paragraphs(circuit: Circuit, folded: FoldedCircuit) -> Iterator[str]:
    around = circuit.surroundings
    task, model = prose(circuit.task.name, 80), prose(circuit.checkpoint.name, 80)
    yield prose(around.question) if around else f"The circuit of {task}."
    yield (
        f"Task {task} on {model}: a circuit of {circuit.n_nodes} nodes and {circuit.n_edges} "
        f"edges, sha256 {circuit.sha256[:12]}. logit_difference(tokens, answer, foil) is how much "
        "it prefers one token to another after a prompt, in nats. Tokens are ids; the tables show "
        "their texts. All other nodes of the model are at their "
        f"{'mean' if circuit.ablation == 'mean' else 'ablation value, zero'}, which is part of "
        "the numbers. Change a number and run the file: it prints what becomes of an example."
    )
    prompts = {tried.tokens for tried in folded.tried}
    yield (
        f"Exact to {WITHIN:g} nats on the {len(prompts):,} prompts of the task that were "
        "tried, compared with the circuit in float64. Run in float32, the circuit itself is up to "
        f"{_rounded_up(folded.float32_error)} away from that.{_start(folded)}"
    )
    if folded.observed or folded.compared:
        yield _top_k(folded)
    if folded.constant:
        yield f"Nodes that never move, and are numbers here: {', '.join(folded.constant)}."
    yield NAMES


def _rounded_up(x: float) -> str:
    """A small number to one digit, no smaller than it is."""
    shown = f"{x:.0e}"
    power = 10.0 ** int(shown.partition("e")[2])
    return shown if float(shown) >= x else f"{x + power / 2:.0e}"


def _start(folded: FoldedCircuit) -> str:
    """That prompts begin with a start token, which is one of the tokens to give."""
    first = {tried.tokens[0] for tried in folded.tried}
    if len(first) != 1:
        return ""
    (token,) = first
    return f" Every one of them begins with token {token}, {prose(folded.texts[token], 40)}."


def _top_k(folded: FoldedCircuit) -> str:
    observed, compared = len(folded.observed), len(folded.compared)
    return (
        "Activation top-k sets a channel to 0 unless it is among the largest of its site. Of the "
        f"nodes here, {compared} are compared with every channel that competes, which is exact. "
        f"For {observed} a fixed limit is enough, or none: that holds on the prompts tried, and "
        "may not on others."
    )
