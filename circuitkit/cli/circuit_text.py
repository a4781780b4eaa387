"""Circuits as lines of text: what ``extract`` and ``compare`` print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from circuitkit.circuit import Circuit
from circuitkit.cli.console import coloured
from circuitkit.extraction.target_loss import RAISED_BY_NATS
from circuitkit.model import LN2
from circuitkit.statistics.intervals import FEWEST
from circuitkit.validation.claims.sufficient import ABOVE_TARGET_NATS

_NAMED_NODES = 8
"""An alternative that changes more nodes is counted, and not spelt out."""


def summary(circuit: Circuit) -> dict[str, Any]:
    """The headline numbers."""
    return {
        "task": circuit.task.name,
        "checkpoint": circuit.checkpoint.name,
        "outcome": circuit.outcome,
        "target_loss_nats": circuit.target_loss_nats,
        "rung": circuit.rung,
        "n_nodes": circuit.n_nodes,
        "n_edges": circuit.n_edges,
        "loss_nats": circuit.loss_nats.model_dump(),
        "accuracy": circuit.accuracy.model_dump(),
        "nodes_1_minimal": circuit.minimality.nodes_1_minimal,
        "edges_1_minimal": circuit.minimality.edges_1_minimal,
        "n_alternatives": len(circuit.alternatives),
    }


def in_words(circuit: Circuit, folder: Path, price: str = "") -> str:
    """What ``extract`` prints."""
    loss, accuracy = circuit.loss_nats, circuit.accuracy
    about = ""
    if circuit.requested_target_loss_nats is not None:
        own = circuit.target_loss_nats - RAISED_BY_NATS
        about = (
            f" (raised from {circuit.requested_target_loss_nats:.3f}: the model's own loss is "
            f"{own:.3f} on the selection pairs)"
        )
    elif circuit.target_loss_nats >= LN2:
        about = f" (loose: a circuit that cannot tell the two prompts apart has {LN2:.3f})"
    calibrated = ""
    if circuit.calibration is not None and circuit.calibration.loss_nats is not None:
        calibrated = f", {circuit.calibration.loss_nats:.3f} calibrated"
    return (
        f"{circuit.task.name} on {circuit.checkpoint.name}: {_outcome(circuit)}, "
        f"{f'{circuit.rung} circuit, ' if circuit.rung else ''}"
        f"{_size_in_words(circuit)}\n"
        f"  target     {circuit.target_loss_nats:.3f} nats{about}\n"
        f"  model      {loss.model:.3f} nats, accuracy {accuracy.model:.3f}\n"
        f"  circuit    {loss.circuit:.3f} nats, accuracy {accuracy.circuit:.3f}{calibrated}\n"
        f"  complement {loss.complement:.3f} nats, accuracy {accuracy.complement:.3f}\n"
        f"  on {circuit.n_pairs} test pairs\n"
        f"{_line(price)}"
        f"{''.join(_reservations(circuit))}"
        f"{_alternatives_in_words(circuit)}"
        f"{folder}\n"
        f"next: circuitkit validate {quote(str(folder))}"
    )


def _line(text: str) -> str:
    return f"  {text}\n" if text else ""


def _outcome(circuit: Circuit) -> str:
    return coloured(circuit.outcome, circuit.outcome.replace("_", " "))


def _size_in_words(circuit: Circuit) -> str:
    induced = circuit.n_edges_induced
    of = f" of {induced}" if circuit.granularity == "edge" else ""
    minimal = ", 1-minimal" if circuit.minimality.nodes_1_minimal else ""
    also = " edge by edge too" if circuit.minimality.edges_1_minimal else ""
    most = circuit.minimality.max_drift_nats
    kept_for = ""
    if minimal and circuit.asks:
        kept_for = f" (by the asks {', '.join(circuit.asked_names)})"
    elif minimal and most:
        kept_for = f" (by the target, and by a drift of at most {most} nats)"
    return f"{circuit.n_nodes} nodes, {circuit.n_edges}{of} edges{minimal}{also}{kept_for}"


def _reservations(circuit: Circuit) -> Iterator[str]:
    """What the headline does not say: how little the target being met may mean."""
    tried, test = circuit.minimality, circuit.loss_nats.circuit
    few = tried.n_templates is not None and tried.n_templates < FEWEST
    if circuit.outcome == "target_met" and test > circuit.target_loss_nats + ABOVE_TARGET_NATS:
        yield f"  note: the target is met on the {tried.split} pairs, not on the test pairs\n"
    if few:
        yield f"  note: {tried.n_templates} {tried.split} templates only: add some, for a bound\n"
    strict = not (circuit.method or "").startswith("paper")
    if circuit.ablation == "mean" and strict and tried.n_templates and not tried.max_drift_nats:
        yield (
            "  note: the two halves of the reference hold the same text: how far the circuit "
            "hangs on it is not known; give a longer --reference\n"
        )


def _alternatives_in_words(circuit: Circuit) -> str:
    """A warning that this circuit is not the only one of its size, or nothing."""
    others = circuit.alternatives
    if not others:
        return ""
    n_shared = min(len(circuit.nodes & other) for other in others)
    return (
        f"  not the only one: {len(others)} more of no more nodes; the least alike shares "
        f"{n_shared} of these {circuit.n_nodes} nodes\n{_nearest_in_words(circuit)}"
    )


def _nearest_in_words(circuit: Circuit) -> str:
    """What the alternative that is most alike has in place of a few nodes, or nothing."""
    nearest = max(circuit.alternatives, key=lambda other: len(circuit.nodes & other))
    gone, come = (list(x) for x in (circuit.nodes - nearest, nearest - circuit.nodes))
    if not come or max(len(gone), len(come)) > _NAMED_NODES:
        return ""
    own, others = (", ".join(map(str, nodes)) for nodes in (gone, come))
    return f"  as good as {own}: {others}\n"
