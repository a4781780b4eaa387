"""The circuit, its folder, and the context a report shows around it; no torch."""

from circuitkit.circuit.circuit_json import (
    FILE,
    Ablation,
    Asked,
    Calibration,
    Circuit,
    Granularity,
    Minimality,
    Outcome,
    Reference,
    Rung,
    Scores,
    SearchSettings,
)
from circuitkit.circuit.explanation import Explanation
from circuitkit.circuit.folder import CircuitFolder, Origin
from circuitkit.circuit.links import head_pairs, residual_links
from circuitkit.circuit.perturbation import Perturbation
from circuitkit.circuit.surroundings import Side, Surroundings

__all__ = [
    "FILE",
    "Ablation",
    "Asked",
    "Calibration",
    "Circuit",
    "CircuitFolder",
    "Explanation",
    "Granularity",
    "Minimality",
    "Origin",
    "Outcome",
    "Perturbation",
    "Reference",
    "Rung",
    "Scores",
    "SearchSettings",
    "Side",
    "Surroundings",
    "head_pairs",
    "residual_links",
]
