"""The six kinds of ablation: what the ablated nodes are replaced by.

In: where values come from, a batch of pairs. Out: for every site a value that broadcasts against
``(rows, seq, width)``. Definitions: docs/validation.md#ablations.

``mean``: over the reference. ``zero``. ``mean_task``: over the task's training prompts.
``resample_joint``: the nodes of a site take their values at one reference token, drawn for
each prompt. ``resample_independent``: each node at a token of its own. ``resample_pair``:
the node's value on the other prompt of the pair, aligned at the start as far as the prompts
agree and at the end from there (interchange).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Literal, Protocol, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.extraction.masked_model import PAIRS_A_BATCH, gates_of
from circuitkit.model import EncodedPairs, Transformer, gate_tap, logit_differences, record_tap
from circuitkit.model.other_prompt import swapped
from circuitkit.nodes import NodeSet, Site

Kind = Literal[
    "mean", "zero", "mean_task", "resample_joint", "resample_independent", "resample_pair"
]
KINDS: tuple[Kind, ...] = get_args(Kind)

Values = Mapping[Site, Tensor]


class AblationSource(Protocol):
    """What the values of ablated nodes are taken from; a trial is one.

    ``pool`` holds activations at reference tokens; ``passes`` counts forward passes.
    """

    model: Transformer
    seed: int
    passes: int

    @cached_property
    def pool(self) -> dict[Site, Float[Tensor, "token width"]]: ...
    @cached_property
    def reference_means(self) -> Values: ...
    @cached_property
    def task_means(self) -> Values: ...


@torch.no_grad()
def ablated_differences(
    source: AblationSource,
    kind: Kind,
    nodes: NodeSet,
    pairs: EncodedPairs,
    circuit_model: Transformer | None = None,
    shared: torch.Generator | None = None,
) -> Float[Tensor, " rows"]:
    """The logit difference of every prompt with all but ``nodes`` ablated in one of these ways.

    ``circuit_model`` is what is run, where edges are cut. The values that ablated nodes take
    are those of the trial's model. Random values are drawn for each prompt, from the source's
    seed; given a generator in ``shared``, from that, and alike for both prompts of a pair.
    """
    generator = shared or torch.Generator().manual_seed(source.seed)
    gates = gates_of(nodes, source.model.arch.widths)
    model = circuit_model or source.model

    def run(batch: EncodedPairs) -> Tensor:
        source.passes += 1
        values = STILL[kind](source) if kind in STILL else DRAWN[kind](source, batch, generator)
        if shared is not None:
            values = {site: x[: len(batch)].repeat(2, 1, 1) for site, x in values.items()}
        tap = gate_tap(gates, values)
        return logit_differences(model(batch.tokens, tap, batch.last)[:, 0], batch)

    return pairs.to(model.device).each(PAIRS_A_BATCH, run)


def _zeros(source: AblationSource) -> Values:
    return {site: torch.zeros(width) for site, width in source.model.arch.widths.items()}


def _resample_joint(
    source: AblationSource, batch: EncodedPairs, generator: torch.Generator
) -> Values:
    return {
        site: x[_drawn(len(x), (len(batch.tokens), 1), generator, x.device)]
        for site, x in source.pool.items()
    }


def _resample_independent(
    source: AblationSource, batch: EncodedPairs, generator: torch.Generator
) -> Values:
    return {
        site: x.gather(0, _drawn(len(x), (len(batch.tokens), x.shape[1]), generator, x.device))[
            :, None
        ]
        for site, x in source.pool.items()
    }


def _drawn(
    n: int, shape: tuple[int, int], generator: torch.Generator, device: torch.device
) -> Int[Tensor, "rows some"]:
    """Numbers below ``n``, drawn on the CPU and moved: every device gets the same."""
    return torch.randint(n, shape, generator=generator).to(device)


def other_prompt_values(source: AblationSource, batch: EncodedPairs) -> Values:
    """For every prompt, the activations on the other prompt of its pair at aligned positions."""
    seen: dict[Site, Tensor] = {}
    source.model(batch.tokens, record_tap(seen), batch.last)
    source.passes += 1
    return swapped(batch, seen)


STILL: Mapping[Kind, Callable[[AblationSource], Values]] = {
    "mean": lambda source: source.reference_means,
    "zero": _zeros,
    "mean_task": lambda source: source.task_means,
}
"""The kinds whose values are the same for every prompt: a circuit under one can be compiled."""

DRAWN: Mapping[Kind, Callable[[AblationSource, EncodedPairs, torch.Generator], Values]] = {
    "resample_joint": _resample_joint,
    "resample_independent": _resample_independent,
    "resample_pair": lambda source, batch, _: other_prompt_values(source, batch),
}


@torch.no_grad()
def means_over(model: Transformer, pairs: EncodedPairs) -> dict[Site, Float[Tensor, " width"]]:
    """The mean of every node over all positions of some prompts, summed in float64."""
    pairs, places = pairs.to(model.device), torch.arange(model.arch.n_ctx, device=model.device)
    sums = {
        site: torch.zeros(width, dtype=torch.float64, device=model.device)
        for site, width in model.arch.widths.items()
    }
    for some in pairs.by_length().split(PAIRS_A_BATCH):
        batch = pairs[some]
        is_read = (places[: batch.tokens.shape[1]] <= batch.last[:, None])[..., None]

        def tap(site: Site, x: Tensor, is_read: Tensor = is_read) -> Tensor:
            sums[site] += (x * is_read).sum((0, 1), dtype=torch.float64)
            return x

        model.stream(batch.tokens, tap)
    n_tokens = int((pairs.last + 1).sum())
    return {site: (total / n_tokens).float() for site, total in sums.items()}
