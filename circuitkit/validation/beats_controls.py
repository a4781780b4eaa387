"""Beats controls: random circuits with as many nodes at each site do not do as well.

Two one-sided Monte-Carlo tests; the larger p counts. No control's loss is as low,
and no control's knockout leaves as little of the cue: |d_a + d_b| / 2, which is 0
for a model that cannot tell the two prompts apart, whichever way it leans. (The
loss would not do: a knockout that makes the model sure and wrong is no better.)
Source: VALIDATION section 3; the null is location-matched.

What can fool it: location-matched controls alone are a straw man, since most
nodes never carry the task; a wrong circuit also beats them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

from circuitkit.evidence import Claim, Finding, Outcome
from circuitkit.extraction.masked import masked_differences
from circuitkit.nodes import NodeSet
from circuitkit.validation.statistics import monte_carlo_p
from circuitkit.validation.trial import Trial

P = 0.01
N_DRAWS = 119
_PAIRS = 32


def check_beats_controls(trial: Trial) -> Finding:
    """Both p-values are at most 0.01."""
    pairs = trial.few[:_PAIRS]
    kept = _count(trial, pairs, knockout=False)
    knocked = _count(trial, pairs, knockout=True)
    p = max(monte_carlo_p(*kept), monte_carlo_p(*knocked))
    outcome: Outcome = "pass" if p <= P else "inconclusive" if p <= 5 * P else "fail"
    return Finding(
        claim=Claim.BEATS_CONTROLS,
        outcome=outcome,
        note=f"as sufficient: {kept[0]} of {kept[1]} controls; "
        f"knockout as harmful: {knocked[0]} of {knocked[1]}",
        effect=p,
        unit="larger of two p-values",
        p_value=p,
        threshold=f"p ≤ {P}",
        threshold_source="VALIDATION section 3",
        null="random circuits with the same number of nodes at each site",
        n_pairs=len(pairs),
        n_clusters=len(set(pairs.templates)),
        n_draws=kept[1] + knocked[1],
        seeds=(trial.seed,),
        fooled_by="a straw man: most nodes never carry the task, so wrong circuits beat them too",
    )


def _count(trial: Trial, pairs, *, knockout: bool) -> tuple[int, int]:
    """Controls as extreme as the circuit, and controls drawn; stops once p must exceed 0.05."""

    def score(nodes: NodeSet) -> float:
        if not knockout:
            return float(trial.circuit_losses(nodes, pairs).mean())
        trial.passes += 1
        return cue_effect(masked_differences(trial.model, pairs, ~nodes, trial.values))

    own, extreme, draws = score(trial.nodes), 0, 0
    for control in location_matched(trial.nodes, N_DRAWS, trial.seed):
        extreme += score(control) <= own
        draws += 1
        stage = "controls, knocked out" if knockout else "controls"
        trial.progress(stage, draws, N_DRAWS)
        if monte_carlo_p(extreme, N_DRAWS) > 5 * P:
            break
    return extreme, draws


def cue_effect(differences: Float[Tensor, " rows"]) -> float:
    """How far apart a model puts the two prompts of a pair, in logits: mean |d_a + d_b| / 2."""
    return float(differences.view(2, -1).mean(0).abs().mean())


def location_matched(nodes: NodeSet, n: int, seed: int) -> Iterator[NodeSet]:
    """Random circuits with as many nodes at each site as ``nodes``, which knows its widths."""
    draw = random.Random(seed)
    widths = nodes.widths or {}
    for _ in range(n):
        yield NodeSet(
            {s: draw.sample(range(widths[s]), len(nodes[s])) for s in nodes.channels}, widths
        )
