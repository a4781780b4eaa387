"""Explains dense: carried into the dense model, the circuit's cue nodes turn its answer.

Tested where the checkpoint is bridged to a dense one (docs/bridges.md). The cue nodes are those of
the circuit whose interchange alone lowers d by a tenth, on training pairs. All are moved to their
values on the pair's other prompt, and what that adds to the residual stream goes through the
bridges into the dense model. The share of the dense model's right answers that turn is bounded
from below, and no random direction of the same sizes may move d as far.

Source: Gao et al. 2025, section 3.3, Figure 9 and A.4. The pass region is ours.

What can fool it: cue nodes that write what the unembedding reads; they turn any model's answer.
The note therefore says what the nodes of each crossing do alone.
"""

from __future__ import annotations

from circuitkit.bridges.bridge_file import BridgedPair, dense_checkpoint, load_pair, read_record
from circuitkit.bridges.crossings import crossing_names, crossing_of
from circuitkit.bridges.cue_nodes import cues_of
from circuitkit.bridges.perturb import N_RANDOM
from circuitkit.bridges.perturb_pairs import perturb_pairs
from circuitkit.bridges.perturbation_numbers import turned
from circuitkit.errors import CheckpointError
from circuitkit.findings import Claim, Finding
from circuitkit.nodes import NodeSet
from circuitkit.statistics.decision import Requirement, decide, joined
from circuitkit.statistics.intervals import monte_carlo_p
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.search_trial import SearchTrial

CLAIM = Declared(
    id=Claim.EXPLAINS_DENSE,
    suite="thorough",
    fooled_by="cue nodes that write what the unembedding reads",
    needs=("train pairs", "bridges"),
)

FOLLOWS, P = 0.50, 0.01
_TRAIN_PAIRS = 128


def check_explains_dense(trial: SearchTrial) -> Finding:
    """The lower bound of the share of dense answers that follow, and p against random directions.

    Not run where the dense checkpoint is not there, or answers no prompt rightly.
    """
    record = read_record(trial.checkpoint)
    try:
        dense = dense_checkpoint(trial.checkpoint, record)
    except CheckpointError as error:
        return Finding(claim=CLAIM.id, outcome="not_run", note=str(error))
    pair = load_pair(trial.checkpoint, dense, trial.model.device)
    cues = cues_of(trial.circuit, pair, trial.split("train", _TRAIN_PAIRS))
    found = _perturbed(trial, pair, cues, N_RANDOM)
    own, moved = found.dense
    if not (own > 0).any():
        note = f"dense checkpoint {dense.name} answers no prompt rightly"
        return Finding(claim=CLAIM.id, outcome="not_run", note=note)
    follows = turned(own, moved, trial.few.templates, trial.seed)
    falls = (own - found.random).double().mean(1)
    p = monte_carlo_p(int((falls >= (own - moved).double().mean()).sum()), N_RANDOM)
    decision = decide(len(trial.few), Requirement(estimate=follows, low=FOLLOWS))
    return Finding(
        claim=CLAIM.id,
        outcome=decision.outcome if p <= P else "fail",
        note=joined(
            f"{len(cues)} cue nodes carried into {dense.name}: d {float(own.mean()):.2f} to "
            f"{float(moved.mean()):.2f}; random directions of the same sizes to "
            f"{float(found.random.mean()):.2f}",
            _by_crossing(trial, pair, cues),
            decision.note,
        ),
        **follows.fields(),
        unit="of the dense model's right answers that turn",
        p_value=p,
        threshold=f"lower bound ≥ {FOLLOWS:.2f}, p ≤ {P} against random directions",
        threshold_source="ours",
        null="random directions of the same sizes",
        n_pairs=len(trial.few),
        n_clusters=len(set(trial.few.templates)),
        n_draws=N_RANDOM,
        seeds=(trial.seed,),
        fooled_by=CLAIM.fooled_by,
    )


def _perturbed(trial: SearchTrial, pair: BridgedPair, nodes: NodeSet, n_random: int):
    trial.passes += 5 + n_random
    train = trial.split("train", _TRAIN_PAIRS)
    return perturb_pairs(
        pair, trial.few, train, nodes, strengths=(0.0, 1.0), n_random=n_random, seed=trial.seed
    )


def _by_crossing(trial: SearchTrial, pair: BridgedPair, cues: NodeSet) -> str:
    """What the cue nodes of each crossing turn by themselves, in words."""
    n_layer, told = pair.sparse.arch.n_layer, []
    for crossing, name in enumerate(crossing_names(n_layer)):
        here = [node for node in cues if crossing_of(node.site, n_layer) == crossing]
        if here:
            own, moved = _perturbed(trial, pair, NodeSet.of(here, cues.widths), 0).dense
            share = turned(own, moved, trial.few.templates, trial.seed).effect
            told.append(f"{name} {share:.2f} ({len(here)})")
    return f"alone, by crossing: {', '.join(told)}"
