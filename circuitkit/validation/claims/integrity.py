"""Integrity: what is stored is what runs here, and the program does what it says.

With all nodes kept the result is the model's, bit for bit; with none kept it depends on the
last token only; compiled equals masked; the stored losses and edges reproduce; under the means
of either half of the reference the circuit's loss is that under the whole; no template is in
two splits. Where the halves hold the same text, the dependence on the sample is unknown.

What can fool it: a mistake shared by the masked and the compiled model.
"""

from __future__ import annotations

from itertools import combinations
from math import isclose

import torch
from torch import Tensor

from circuitkit.compiled import compile_circuit
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.masked_model import masked_differences, tapped_differences
from circuitkit.extraction.means import halves_differ
from circuitkit.findings import Claim, Finding
from circuitkit.model import EncodedPairs
from circuitkit.model.per_pair import losses_of
from circuitkit.nodes import NodeSet
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.INTEGRITY,
    suite="default",
    fooled_by="a mistake shared by the masked and the compiled model",
    needs=("reference",),
)

COMPILED_LOGITS = 1e-4
STORED_NATS = 1e-3
STORED_SHARE = 1e-3
"""Processors round differently: with activation top-k, a large loss may change by this share."""
HALVES_NATS = 0.005

_UNDER = "under the means of half the reference"
_BLIND = (
    "the two halves of the reference hold the same text, so how far the means can be trusted is "
    "not known: extract with a reference of more sequences"
)


def check_integrity(trial: Trial) -> Finding:
    """Run every check; the note names those that fail."""
    halves = _halves_differ(trial)
    blind = trial.circuit.ablation == "mean" and not halves_differ(trial.reference)
    problems = [
        *([] if _all_kept_is_model(trial) else ["keeping every node is not the model bitwise"]),
        *(
            []
            if _empty_is_blind(trial)
            else ["keeping nothing depends on more than the last token"]
        ),
        *_compiled_differs(trial),
        *_stored_differs(trial),
        *_edges_differ(trial),
        *([] if halves <= HALVES_NATS else [f"the loss moves by {halves:.4f} nats {_UNDER}"]),
        *_shared_templates(trial),
    ]
    return Finding(
        claim=CLAIM.id,
        outcome="fail" if problems else "inconclusive" if blind else "pass",
        note="; ".join([*problems, *([_BLIND] if blind else [])]),
        effect=halves,
        unit="nats that the circuit's loss moves by under the means of half the reference",
        threshold=f"≤ {HALVES_NATS} nats, and every identity exact",
        threshold_source="docs/validation.md#integrity",
        n_pairs=len(trial.few),
        n_clusters=trial.n_clusters,
        fooled_by=CLAIM.fooled_by,
    )


@torch.no_grad()
def _all_kept_is_model(trial: Trial) -> bool:
    trial.passes += 2
    pairs = trial.few[:16]
    kept = masked_differences(
        trial.model, pairs, NodeSet.full(trial.model.arch.widths), trial.values
    )
    return torch.equal(kept, tapped_differences(trial.model, pairs, None))


def _empty_is_blind(trial: Trial) -> bool:
    """Replace all but the last token by others: the empty circuit must give the same."""
    pairs = trial.few[:16]
    nothing = NodeSet(widths=trial.model.arch.widths)
    scrambled = EncodedPairs(
        tokens=_scramble(pairs.tokens, pairs.last, trial.model.arch.vocab_size),
        last=pairs.last,
        answers=pairs.answers,
        foils=pairs.foils,
        templates=pairs.templates,
    )
    trial.passes += 2
    before, after = (
        masked_differences(trial.model, p, nothing, trial.values) for p in (pairs, scrambled)
    )
    return torch.equal(before, after)


def _scramble(tokens: Tensor, last: Tensor, vocab_size: int) -> Tensor:
    others = (tokens + 1) % vocab_size
    rows = torch.arange(len(tokens))
    others[rows, last] = tokens[rows, last]
    return others


def _compiled_differs(trial: Trial) -> list[str]:
    pairs = trial.few
    trial.passes += 2
    masked = masked_differences(trial.circuit_model, pairs, trial.nodes, trial.values)
    compiled = compile_circuit(trial.circuit_model, trial.nodes, trial.values).differences(pairs)
    worst = float((masked - compiled).abs().max())
    return [] if worst <= COMPILED_LOGITS else [f"compiled and masked logits differ by {worst:.2g}"]


def _stored_differs(trial: Trial) -> list[str]:
    """Compare with ``circuit.json`` where the pairs are the same."""
    stored = trial.circuit
    if len(trial.pairs) != stored.n_pairs or trial.seed != stored.seed:
        return []
    found, was = trial.scored.losses(), stored.loss_nats
    return [
        f"the stored {name} loss {getattr(was, name):.4f} is {getattr(found, name):.4f} here"
        for name in ("model", "circuit", "complement", "empty")
        if not isclose(
            getattr(found, name), getattr(was, name), rel_tol=STORED_SHARE, abs_tol=STORED_NATS
        )
    ]


def _edges_differ(trial: Trial) -> list[str]:
    """Edges of the circuit file that are not the model's weights between kept nodes."""
    found = {(e.source, e.target): e.weight for e in edges_between(trial.model, trial.nodes)}
    wrong = [
        edge
        for edge in trial.circuit.edges
        if not isclose(found.get((edge.source, edge.target), 0.0), edge.weight, rel_tol=1e-5)
    ]
    return [f"{len(wrong)} stored edges are not the model's: {wrong[0]}, …"] if wrong else []


def _halves_differ(trial: Trial) -> float:
    """The spread of the circuit's losses under the means of the reference and of its halves."""
    whole = losses_of(trial.scored.circuit)[: len(trial.few)].mean()
    halves = [
        trial.circuit_losses(trial.nodes, trial.few, values).mean()
        for values in (trial.means.even, trial.means.pushed(-1.0))
    ]
    return float(max(whole, *halves) - min(whole, *halves))


def _shared_templates(trial: Trial) -> list[str]:
    splits = {split: set(trial.task.templates(split)) for split in ("train", "select", "test")}
    return [
        f"splits {one} and {other} share {len(splits[one] & splits[other])} templates"
        for one, other in combinations(splits, 2)
        if splits[one] & splits[other]
    ]
