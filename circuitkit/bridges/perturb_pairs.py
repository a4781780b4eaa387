"""Perturb both models on pairs of prompts: nodes moved, carried over, and the controls.

In: a bridged pair, test pairs, training pairs for the difference of means, nodes. Out: logit
differences, one a prompt, at every strength and under every control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.bridges.bridge_file import BridgedPair
from circuitkit.bridges.carry import (
    carry,
    changed_differences,
    end_differences,
    move,
    node_values,
    norms,
)
from circuitkit.bridges.crossings import crossing_of, streams
from circuitkit.bridges.same_norm import along_means, mean_differences, rotated, rotations
from circuitkit.model import EncodedPairs
from circuitkit.nodes import NodeSet
from circuitkit.progress import Progress, silent

_PAIRS_A_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbed:
    """Logit differences of every prompt; ``norm`` is the size of the change at strength 1.

    ``by_means`` and ``random`` are the dense model under changes of that size.
    """

    dense: Float[Tensor, "strengths rows"]
    sparse: Float[Tensor, "strengths rows"]
    norm: Float[Tensor, " rows"]
    by_means: Float[Tensor, " rows"]
    random: Float[Tensor, "draws rows"]


@torch.no_grad()
def perturb_pairs(
    pair: BridgedPair,
    pairs: EncodedPairs,
    train: EncodedPairs,
    nodes: NodeSet,
    *,
    strengths: Sequence[float],
    n_random: int,
    seed: int,
    progress: Progress = silent,
) -> Perturbed:
    """Move nodes by the strengths, the last of which is 1, and carry the change over."""
    n_layer, n = pair.sparse.arch.n_layer, len(strengths)
    where = sorted({crossing_of(site, n_layer) for site in nodes.channels})
    turns = list(rotations(where, pair.dense.arch.d_model, n_random, seed))
    directions, done = mean_differences(pair.dense, train), 0

    def run(batch: EncodedPairs) -> Tensor:
        nonlocal done
        own, values = streams(pair.dense, batch.tokens), node_values(pair.sparse, batch, nodes)
        moves = [move(pair.sparse, batch, nodes, values, strength) for strength in strengths]
        carried = [carry(pair, moved.changes) for moved in moves]
        last = carried[-1]
        controls = [along_means(last, directions), *(rotated(last, turn) for turn in turns)]
        found = [
            *(changed_differences(pair.dense, batch, own, changes) for changes in carried),
            *(end_differences(pair.sparse, batch, moved.end) for moved in moves),
            norms(last, batch.last),
            *(changed_differences(pair.dense, batch, own, changes) for changes in controls),
        ]
        done += len(batch)
        progress("pairs", done, len(pairs))
        return torch.stack(found)

    found = pairs.to(pair.dense.device).each(_PAIRS_A_BATCH, run)
    return Perturbed(
        dense=found[:n], sparse=found[n : 2 * n], norm=found[2 * n],
        by_means=found[2 * n + 1], random=found[2 * n + 2 :],
    )  # fmt: skip
