"""The files of a circuit's folder, so that it never holds parts of two circuits."""

from __future__ import annotations

from pathlib import Path

from circuitkit.circuit import FILE, Circuit
from circuitkit.errors import CircuitError

MEANS = "means.safetensors"
BESIDE = (
    *("pruning.json", "sources.json", "task.toml", "task.jsonl", "nodes.csv", "edges.csv"),
    *("circuit.dot", "circuit.svg", "validation.json", "findings.csv", "thorough.json"),
    "report.pdf",
)
"""What is made from a circuit, or says what it was made from."""


def forget_circuit(folder: Path) -> None:
    """Remove a circuit, then all that stands beside it but its ablation values."""
    for name in (FILE, *BESIDE):
        (folder / name).unlink(missing_ok=True)


def forget_other(folder: Path, circuit: Circuit) -> None:
    """Remove all that a folder holds of another circuit than this one."""
    if not (folder / FILE).exists():
        return
    try:
        is_same = Circuit.load(folder) == circuit
    except CircuitError:
        is_same = False
    if not is_same:
        forget_circuit(folder)
        (folder / MEANS).unlink(missing_ok=True)
