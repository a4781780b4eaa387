"""Minimal: the circuit has no unnecessary nodes.

Each node is left out alone; the rise of the loss under each thing that the search asked is
tested over templates, all together by Benjamini-Hochberg. At least 80 % of the nodes must
matter to one of these. Leaving out all the others at once must break a rule that the search
kept them for: the target, another ask, or, where ``circuit.json`` has a limit, how far the loss
moves as the means are pushed.
Fewer than five templates decide nothing. Source: ours, after the minimality test of Shi
et al. 2024 (docs/validation.md#minimal).

What can fool it: two nodes that replace one another look unnecessary alone, which is why the
others are also removed together.
"""

from __future__ import annotations

from typing import NamedTuple

from circuitkit.findings import Claim, Finding, Outcome
from circuitkit.nodes import Node, NodeSet
from circuitkit.statistics.decision import TOO_FEW_NOTE, joined
from circuitkit.statistics.intervals import FEWEST
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.MINIMAL,
    suite="default",
    fooled_by="nodes that replace one another",
    needs=("reference",),
)

SHARE = 0.8


def check_minimal(trial: Trial) -> Finding:
    """At least 80 % of nodes matter, and without the rest a rule of the search is broken."""
    found = _found(trial) if len(set(trial.few.templates)) >= FEWEST else _TOO_FEW
    whole = "" if len(~trial.nodes) else "the circuit keeps every node: it is the whole model"
    return Finding(
        claim=CLAIM.id,
        outcome=found.outcome,
        note=joined(whole, found.note),
        effect=found.share,
        unit="of nodes matter alone",
        threshold=f"≥ {SHARE} at a false discovery rate of 0.05, the others needed together",
        threshold_source="docs/validation.md#minimal",
        n_pairs=len(trial.few),
        n_clusters=len(set(trial.few.templates)),
        fooled_by=CLAIM.fooled_by,
    )


class _Found(NamedTuple):
    """The share of nodes that matter alone, with its outcome and note."""

    outcome: Outcome
    note: str
    share: float | None = None


_TOO_FEW = _Found("inconclusive", TOO_FEW_NOTE)


def _found(trial: Trial) -> _Found:
    matters = trial.left_out.matters
    unnecessary = [node for node, yes in matters.items() if not yes]
    share = 1 - len(unnecessary) / len(matters) if matters else 0.0
    without = _without(trial, unnecessary) if unnecessary else None
    passes = share >= SHARE and (without is None or without.breaks)
    note = _note(matters, unnecessary, without) + _untried(trial, len(matters))
    return _Found("pass" if passes else "fail", note, share)


class _Without(NamedTuple):
    """The circuit without some nodes: its loss, and its drift if that was a rule; in nats."""

    loss_nats: float
    drift_nats: float | None
    broken: tuple[str, ...]
    breaks: bool

    def __str__(self) -> str:
        drifts = "" if self.drift_nats is None else f", which move by {self.drift_nats:.3f}"
        broken = f", and what is broken is {', '.join(self.broken)}" if self.broken else ""
        return f"{self.loss_nats:.3f} nats{drifts}{broken}"


def _without(trial: Trial, gone: list[Node]) -> _Without:
    left, most = trial.nodes - NodeSet.of(gone), trial.circuit.minimality.max_drift_nats
    loss = float(trial.circuit_losses(left, trial.few).mean())
    drift = None if most is None else trial.drift(left, trial.few)
    broken = [ask.name for ask in trial.asks if ask.excess(left) > 1]
    drifts = drift is not None and most is not None and drift > most
    breaks = loss > trial.circuit.target_loss_nats or drifts or bool(broken)
    return _Without(loss, drift, tuple(broken), breaks)


def _note(matters: dict[Node, bool], unnecessary: list[Node], without: _Without | None) -> str:
    if not matters:
        return "the circuit is empty"
    if without is None:
        return f"all {len(matters)} nodes matter"
    named = ", ".join(map(str, unnecessary[:5])) + (" …" if len(unnecessary) > 5 else "")
    return (
        f"{len(unnecessary)} of {len(matters)} do not matter alone ({named}); "
        f"without them {without}"
    )


def _untried(trial: Trial, n_tried: int) -> str:
    rest = len(trial.nodes) - n_tried
    return f"; {rest} further nodes were not tried, {n_tried} drawn at random were" if rest else ""
