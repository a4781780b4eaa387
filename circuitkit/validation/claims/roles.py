"""Roles: each node does in the circuit what it does in the model.

Three comparisons, on the same prompts:

- how the activation of a kept node in C correlates with that in M, over positions;
- how far the attention patterns of heads with a kept q or k differ (total variation);
- how the answer changes when one node takes its activation from the other prompt of the pair,
  in C and in M: how much of the effects in M those in C explain.

C's attention patterns are also patched into M, to see whether they are enough (reported only).

Source: interchange interventions after Geiger et al. 2021; docs/validation.md#roles. Prompts of
different length are aligned at their last tokens. The pass region is ours.

What can fool it: nodes that do the same in both, for another reason than one assumes. A
constant node has no role to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.extraction.masked_model import gates_of
from circuitkit.findings import Claim, Finding
from circuitkit.model import (
    EncodedPairs,
    Tap,
    Transformer,
    chain,
    gate_tap,
    logit_differences,
    record_tap,
)
from circuitkit.nodes import Node, Site
from circuitkit.statistics.intervals import all_of
from circuitkit.statistics.jackknife import jackknife
from circuitkit.validation.attention_patterns import distance_of_patterns
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.search_trial import SearchTrial

CLAIM = Declared(
    id=Claim.ROLES,
    suite="thorough",
    fooled_by="nodes that do the same in both, for another reason than one reads into them",
)

EXPLAINED, CORRELATION = 0.7, 0.8
MOST_NODES = 60
_PAIRS = 48
_FLAT = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A run in which nodes are observed: the model or, under a tap, the circuit."""

    model: Transformer
    tap: Tap | None
    seen: Mapping[Site, Tensor]
    differences: Float[Tensor, " rows"]


def check_roles(trial: SearchTrial) -> Finding:
    """Interchange effects in C explain those in M, and activations correlate."""
    pairs = trial.few[:_PAIRS]
    tap = gate_tap(gates_of(trial.nodes, trial.model.arch.widths), trial.values)
    model = _run(trial, trial.model, pairs, None)
    circuit = _run(trial, trial.circuit_model, pairs, tap)
    every, n = list(trial.nodes), min(MOST_NODES, len(trial.nodes))
    nodes = [every[i * len(every) // n] for i in range(n)]
    effects = _effects(trial, pairs, nodes, (model, circuit))
    explained = jackknife(lambda chosen: _explained(effects[:, :, chosen]), pairs.templates)
    together = _correlations(pairs, nodes, model, circuit)
    typical = float(np.median(together)) if together else 1.0
    return Finding(
        claim=CLAIM.id,
        outcome=all_of(
            explained.within(low=EXPLAINED), "pass" if typical >= CORRELATION else "fail"
        ),
        note=f"{_alike(effects)}; activations: median correlation {typical:.3f}, lowest "
        f"{min(together, default=1):.3f} ({len(together)} of {len(nodes)} nodes vary); "
        f"{distance_of_patterns(trial, pairs)}",
        **explained.fields(),
        unit="of single nodes' interchange effects in the model explained by the circuit's",
        threshold=f"lower bound ≥ {EXPLAINED}, median correlation ≥ {CORRELATION}",
        threshold_source="ours",
        n_pairs=len(pairs),
        n_clusters=len(set(pairs.templates)),
        n_draws=len(nodes),
        fooled_by=CLAIM.fooled_by,
    )


@torch.no_grad()
def _run(trial: SearchTrial, model: Transformer, pairs: EncodedPairs, tap: Tap | None) -> _Run:
    seen: dict[Site, Tensor] = {}
    record = record_tap(seen)
    logits = model(pairs.tokens, record if tap is None else chain(tap, record))
    trial.passes += 1
    rows = torch.arange(len(pairs.tokens))
    d = logit_differences(logits[rows, pairs.last], pairs).cpu()
    return _Run(model=model, tap=tap, seen=seen, differences=d)


def _effects(
    trial: SearchTrial, pairs: EncodedPairs, nodes: list[Node], runs: tuple[_Run, _Run]
) -> NDArray[np.float64]:
    """How far the cue moves when each node is swapped: (model or circuit, node, pair)."""
    partner = _beside(pairs)
    moved = np.zeros((2, len(nodes), len(pairs)))
    for i, run in enumerate(runs):
        for j, node in enumerate(nodes):
            swap = _swap(node, run.seen[node.site][..., node.channel], partner)
            tap = swap if run.tap is None else chain(run.tap, swap)
            change = _run(trial, run.model, pairs, tap).differences - run.differences
            moved[i, j] = change.view(2, -1).mean(0).double().numpy()
            trial.progress("interchange", i * len(nodes) + j + 1, 2 * len(nodes))
    return moved


def _beside(pairs: EncodedPairs) -> Callable[[Tensor], Tensor]:
    """The values of the other prompt of each pair, aligned at the last tokens."""
    n = len(pairs)
    other = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    shift = pairs.last[other] - pairs.last
    place: Int[Tensor, "rows seq"] = torch.arange(pairs.tokens.shape[1]) + shift[:, None]
    place = place.clamp(0, pairs.tokens.shape[1] - 1)
    return lambda values: values[other[:, None], place]


def _swap(node: Node, values: Tensor, beside: Callable[[Tensor], Tensor]) -> Tap:
    """Give one node the activations that it has in the other prompt of the pair."""
    there = beside(values)

    def tap(site: Site, x: Tensor) -> Tensor:
        if site != node.site:
            return x
        x = x.clone()
        x[..., node.channel] = there
        return x

    return tap


def _explained(effects: NDArray[np.float64]) -> float:
    """1 - |e_C - e_M|² / |e_M|²: 1 when the effects are equal, 0 for no effects in C."""
    model, circuit = effects
    total = float(np.square(model).sum())
    if total <= _FLAT**2 * model.size:
        return 0.0
    return 1 - float(np.square(circuit - model).sum()) / total


def _alike(effects: NDArray[np.float64]) -> str:
    """Direction and size of the effects: their cosine, and how much larger C's are."""
    model, circuit = (float(np.sqrt(np.square(e).sum())) for e in effects)
    if min(model, circuit) <= _FLAT:
        return "no node has an effect"
    cosine = float((effects[0] * effects[1]).sum()) / (model * circuit)
    return f"effects: cosine {cosine:.3f}, {circuit / model:.2f} times as large in the circuit"


def _correlations(
    pairs: EncodedPairs, nodes: list[Node], model: _Run, circuit: _Run
) -> list[float]:
    """Of every node that varies in the model, over all positions that are read."""
    read = torch.arange(pairs.tokens.shape[1]) <= pairs.last[:, None]
    found = []
    for node in nodes:
        m, c = (
            run.seen[node.site][..., node.channel][read].cpu().numpy() for run in (model, circuit)
        )
        if m.std() > _FLAT:
            found.append(float(np.corrcoef(m, c)[0, 1]) if c.std() > _FLAT else 0.0)
    return found
