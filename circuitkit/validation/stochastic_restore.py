"""Stochastic restore: nothing in the rest works against the circuit.

Each ablated node is restored with probability p, one pattern for every eight pairs. A
complement that is silent only as a whole, because its parts cancel, shows itself once
some parts are back. The pattern is the unit of the interval. Source: VALIDATION section 3.

What can fool it: pathways of many nodes, of which a random pattern seldom restores a whole
one. A failure lowers the grade, no more: a true circuit may have opponents.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.evidence import Claim, Finding
from circuitkit.extraction.masked import gates_of, tapped_differences
from circuitkit.model import gate_tap
from circuitkit.nodes import Site
from circuitkit.validation.decision import Requirement, decide, joined
from circuitkit.validation.statistics import cluster_mean
from circuitkit.validation.trial import Trial, losses_of

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
ABOVE_TARGET_NATS = 0.15
_PAIRS_A_PATTERN = 8
_PATTERNS_A_BATCH = 8


def check_stochastic_restore(trial: Trial) -> Finding:
    """At every share restored, the upper bound of the mean loss is at most target + 0.15."""
    patterns = [str(i // _PAIRS_A_PATTERN) for i in range(len(trial.few))]
    limit = trial.circuit.target_loss_nats + ABOVE_TARGET_NATS
    losses = {share: _losses(trial, share) for share in SHARES}
    found = {p: cluster_mean(x, patterns, trial.seed) for p, x in losses.items()}
    worst = max(SHARES, key=lambda share: found[share].effect)
    decision = decide(
        len(trial.few), *(Requirement(estimate=e, high=limit) for e in found.values())
    )
    told = ", ".join(f"{e.effect:.3f} at {share}" for share, e in found.items())
    cancels = "the complement holds cancelling pathways" if decision.outcome == "fail" else ""
    return Finding(
        claim=Claim.STOCHASTIC_RESTORE,
        outcome=decision.outcome,
        note=joined(cancels, f"nats by share restored: {told}", decision.note),
        **found[worst].fields(),
        unit="nats, circuit loss at the worst share restored",
        threshold=f"upper bound ≤ {limit:.3f} nats at every share",
        threshold_source="VALIDATION section 3",
        n_pairs=len(trial.few),
        n_clusters=len(set(trial.few.templates)),
        n_draws=len(SHARES) * len(set(patterns)),
        seeds=(trial.seed,),
        fooled_by="opponents of many nodes, which are seldom restored as a whole",
    )


def _losses(trial: Trial, share: float) -> NDArray:
    """The pair losses with a share of the ablated nodes restored, a pattern for eight pairs."""
    generator = torch.Generator().manual_seed(trial.seed)
    step, parts = _PAIRS_A_PATTERN * _PATTERNS_A_BATCH, []
    for start in range(0, len(trial.few), step):
        batch = trial.few[start : start + step]
        tap = gate_tap(_gates(trial, share, len(batch), generator), trial.values)
        parts.append(tapped_differences(trial.model, batch, tap).view(2, -1))
        trial.passes += 1
    trial.progress("restore", SHARES.index(share) + 1, len(SHARES))
    return losses_of(torch.cat(parts, dim=1).flatten())


def _gates(
    trial: Trial, share: float, n_pairs: int, generator: torch.Generator
) -> dict[Site, Float[Tensor, "rows one width"]]:
    """The circuit's gates with others opened at random: the twins of a pair share a pattern."""
    pattern = (torch.arange(n_pairs) // _PAIRS_A_PATTERN).repeat(2)
    opened = {}
    for site, gate in gates_of(trial.nodes, trial.model.arch.widths).items():
        drawn = torch.rand(int(pattern.max()) + 1, len(gate), generator=generator) < share
        opened[site] = torch.maximum(gate, drawn.float())[pattern][:, None]
    return opened
