"""How a circuit was made: the last part of the report."""

from __future__ import annotations

from collections.abc import Sequence

from circuitkit.circuit import Circuit
from circuitkit.circuit.published_losses import METHOD as RELEASED
from circuitkit.findings import Validation
from circuitkit.provenance import Named
from circuitkit.views.findings_section import words
from circuitkit.views.safe_text import number, prose


def target(circuit: Circuit) -> str:
    """The target loss, and the one asked for if it was raised."""
    asked = circuit.requested_target_loss_nats
    raised = "" if asked is None else f", raised from {number(asked)}"
    return number(circuit.target_loss_nats) + raised


_WORDS = {
    "attribution": "nodes ranked by attribution",
    "random": "nodes ranked at random",
    "paper": "masks learned on the schedule of the paper",
    "unrefined": "not made 1-minimal",
    RELEASED: "released by others and imported, not searched for",
}


def method(circuit: Circuit) -> str:
    """How the circuit was found, if not by the default method."""
    return ", ".join(_WORDS.get(word, prose(word, 40)) for word in (circuit.method or "").split())


def made(
    circuit: Circuit, validation: Validation | None, remarks: Sequence[str] = ()
) -> list[list[str]]:
    """List what went into the circuit, a name and a value a row."""
    by = circuit.provenance
    rows = {
        "checkpoint": _named(circuit.checkpoint),
        "task": _named(circuit.task),
        "pairs": prose("; ".join(remarks), 2000),
        "circuit": circuit.sha256,
        "means": prose(circuit.means_sha256 or "", 64),
        "reference": _reference(circuit),
        "method": method(circuit),
        "search": _search(circuit),
        "target loss": f"{target(circuit)} nats",
        "ablation": f"{circuit.ablation}, granularity {circuit.granularity}, seed {circuit.seed}",
        "1-minimal": _minimality(circuit),
        "calibration": _calibration(circuit),
        "made with": f"{prose(by.created_with, 50)}, circuitkit "
        f"{prose(by.circuitkit_version, 30)}, torch {prose(by.torch_version, 30)}",
        "configuration": prose(by.config_sha256, 80),
        "validation": _cost(validation),
    }
    return [[name, value] for name, value in rows.items() if value]


def _named(source: Named) -> str:
    return f"{prose(source.name, 40)}  {prose(source.sha256, 64)}"


def _reference(circuit: Circuit) -> str:
    if (sample := circuit.reference) is None:
        return ""
    whose = "the checkpoint's own" if sample.is_own else "given"
    return f"{whose}, {sample.n_tokens:,} tokens  {prose(sample.sha256, 64)}"


def _search(circuit: Circuit) -> str:
    settings = circuit.search.model_dump() if circuit.search else {}
    settings |= settings.pop("pruning", {})
    return ", ".join(f"{prose(words(name), 40)} {value}" for name, value in settings.items())


def _minimality(circuit: Circuit) -> str:
    tried = circuit.minimality
    kept = {"nodes": tried.nodes_1_minimal, "edges": tried.edges_1_minimal}
    held = " and ".join(name for name, holds in kept.items() if holds) or "neither nodes nor edges"
    drift = tried.max_drift_nats
    also = "" if drift is None else f" and to a drift of at most {drift:g} nats"
    to = f"the asks {', '.join(circuit.asked_names)}" if circuit.asks else f"the target{also}"
    return f"{held}, held to {to} on the {tried.split} split, {tried.n_pairs:,} pairs"


def _calibration(circuit: Circuit) -> str:
    fitted = circuit.calibration
    return f"{fitted.scale:.3f} d {fitted.shift:+.3f}" if fitted else ""


def _cost(validation: Validation | None) -> str:
    if validation is None:
        return ""
    passes = sum(finding.forward_passes for finding in validation.findings)
    seconds = sum(finding.seconds for finding in validation.findings)
    return f"grade {validation.grade}, {passes:,} forward passes, {seconds:,.1f} seconds"
