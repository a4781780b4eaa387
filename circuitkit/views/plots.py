"""Plots in matplotlib, to put beside others: a circuit by its sites, the findings on it.

In: a noun, and axes to draw on or None for new ones. Out: the axes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from circuitkit.circuit import Circuit
from circuitkit.errors import ReportError
from circuitkit.findings import Finding, Validation
from circuitkit.nodes import Node

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POSITIVE, NEGATIVE, PLAIN = "#0072B2", "#D55E00", "#555555"
OUTCOMES = {"pass": ("#009E73", "o"), "fail": ("#D55E00", "X"), "inconclusive": ("#E69F00", "s")}
"""A colour and a marker each, which colour-blind readers and grey paper tell apart."""


def plot_circuit(circuit: Circuit, ax: Axes | None = None) -> Axes:
    """Draw every site as a row, from the first read up; a weight is a line, blue where positive.

    Raises:
        ReportError: if matplotlib is not installed.
    """
    sites = list(circuit.nodes.channels)
    ax = ax or _axes(8.0, max(2.0, 0.45 * len(sites)))
    places = {
        node: ((i + 0.5) / len(circuit.nodes[node.site]), sites.index(node.site))
        for site in sites
        for i, node in enumerate(Node(site, c) for c in circuit.nodes[site])
    }
    top = max((abs(edge.weight) for edge in circuit.edges), default=1.0) or 1.0
    for edge in circuit.edges:
        (x0, y0), (x1, y1) = places[edge.source], places[edge.target]
        colour = POSITIVE if edge.weight > 0 else NEGATIVE
        ax.plot([x0, x1], [y0, y1], color=colour, lw=0.4 + 2.6 * abs(edge.weight) / top, zorder=1)
    for node, (x, y) in places.items():
        ax.text(
            x, y, str(node.channel), ha="center", va="center", fontsize=7,
            bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": PLAIN},
        )  # fmt: skip
    ax.set_yticks(range(len(sites)), list(map(str, sites)))
    ax.set(xlim=(0, 1), ylim=(-0.7, max(len(sites), 1) - 0.3), xticks=[])
    ax.set_title(f"{circuit.n_nodes} nodes, {circuit.n_edges} edges", fontsize=9)
    return ax


def plot_validation(validation: Validation, ax: Axes | None = None) -> Axes:
    """Draw the effect of every claim that was measured, with its interval, each in its unit.

    Raises:
        ReportError: if matplotlib is not installed.
    """
    shown = [finding for finding in validation.findings if finding.effect is not None][::-1]
    ax = ax or _axes(7.0, max(2.0, 0.35 * len(shown)))
    for y, finding in enumerate(shown):
        _plot_finding(ax, finding, y)
    ax.axvline(0, color=PLAIN, lw=0.6)
    ax.set_yticks(range(len(shown)), [f"{f.claim} ({f.unit or 'no unit'})" for f in shown])
    ax.set_xlabel("effect and interval, in the unit of each claim")
    ax.set_title(f"grade {validation.grade}", fontsize=9)
    return ax


def _plot_finding(ax: Axes, finding: Finding, y: int) -> None:
    colour, marker = OUTCOMES.get(finding.outcome, (PLAIN, "."))
    effect = finding.effect or 0.0
    if finding.low is not None and finding.high is not None:
        ax.plot([finding.low, finding.high], [y, y], color=colour, lw=1.5)
    ax.plot([effect], [y], color=colour, marker=marker, ls="none", gid=finding.outcome)


def _axes(width: float, height: float) -> Axes:
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        raise ReportError(
            "a plot needs matplotlib, which is not installed: "
            "pip install 'sparse-circuitkit[notebook]'."
        ) from None
    _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    return ax
