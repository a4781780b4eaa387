"""How a circuit was made and how to make it again: the last part of the report."""

from __future__ import annotations

from shlex import quote

from circuitkit.circuit import Circuit
from circuitkit.evidence import Validation
from circuitkit.provenance import Named
from circuitkit.views.text import number, prose


def target(circuit: Circuit) -> str:
    """Say the target loss, and the one asked for when it was raised."""
    asked = circuit.requested_target_loss_nats
    raised = "" if asked is None else f", raised from {number(asked)}"
    return number(circuit.target_loss_nats) + raised


def made(circuit: Circuit, validation: Validation | None) -> list[list[str]]:
    """List what went into the circuit, a name and a value a row."""
    by = circuit.provenance
    rows = {
        "checkpoint": _named(circuit.checkpoint),
        "task": _named(circuit.task),
        "circuit": circuit.sha256,
        "means": prose(circuit.means_sha256 or "", 64),
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


def commands(circuit: Circuit, validation: Validation | None) -> list[str]:
    """Say what to type to make this report again.

    A target that was raised is one that nobody asked for: it is left out.
    """
    asked = circuit.requested_target_loss_nats is None
    words = ["circuitkit", "extract", circuit.checkpoint.name, "--task", circuit.task.name]
    words += ["--target-loss", f"{circuit.target_loss_nats:g}"] if asked else []
    words += ["--ablation", circuit.ablation, "--granularity", circuit.granularity]
    words += ["--seed", str(circuit.seed), "--out", "DIR"]
    extract = " ".join(quote(prose(word, 120)) for word in words)
    validate = ["circuitkit validate DIR"] if validation else []
    return [extract, *validate, "circuitkit report DIR"]


def _named(source: Named) -> str:
    return f"{prose(source.name, 40)}  {prose(source.sha256, 64)}"


def _minimality(circuit: Circuit) -> str:
    tried = circuit.minimality
    kept = {"nodes": tried.nodes_1_minimal, "edges": tried.edges_1_minimal}
    held = " and ".join(name for name, holds in kept.items() if holds) or "neither nodes nor edges"
    drift = tried.max_drift_nats
    also = "" if drift is None else f" and to a drift of at most {drift:g} nats"
    return f"{held}, held to the target{also} on the {tried.split} split, {tried.n_pairs:,} pairs"


def _calibration(circuit: Circuit) -> str:
    fitted = circuit.calibration
    return f"{fitted.scale:.3f} d {fitted.shift:+.3f}" if fitted else ""


def _cost(validation: Validation | None) -> str:
    if validation is None:
        return ""
    passes = sum(finding.forward_passes for finding in validation.findings)
    seconds = sum(finding.seconds for finding in validation.findings)
    return f"grade {validation.grade}, {passes:,} forward passes, {seconds:,.1f} seconds"
