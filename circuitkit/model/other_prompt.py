"""The other prompt of a pair: which row it is, and which of its positions matches which.

In: encoded pairs. Out: for every place of a prompt the place of the other prompt that its
values are taken from, when one is patched into the other. Source: docs/validation.md#ablations.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor

from circuitkit.model.encoded_pairs import EncodedPairs
from circuitkit.nodes import Site


def other_rows(pairs: EncodedPairs) -> Int[Tensor, " rows"]:
    """For each row the other prompt of its pair: a-sides and b-sides change places."""
    rows = torch.arange(len(pairs.tokens), device=pairs.tokens.device)
    return torch.cat([*reversed(rows.chunk(2))])


def shared_prefix(pairs: EncodedPairs) -> Int[Tensor, " rows"]:
    """How many tokens the two prompts of each row's pair have in common at the start.

    The last token of neither counts, so that the two ends are aligned with each other.
    """
    other = other_rows(pairs)
    agree = pairs.tokens == pairs.tokens[other]
    shorter = pairs.last.minimum(pairs.last[other])
    return agree.long().cumprod(1).sum(1).minimum(shorter)


def aligned_positions(pairs: EncodedPairs) -> Int[Tensor, "rows seq"]:
    """For every position of a prompt, the aligned position in the other prompt of its pair.

    Aligned at the start as far as the prompts agree, and at the end from there: their last
    positions are always aligned, for there the answer is read.
    """
    last = pairs.last[other_rows(pairs)][:, None]
    positions = torch.arange(pairs.tokens.shape[1], device=pairs.tokens.device)
    from_end = positions + last - pairs.last[:, None]
    aligned = torch.where(positions < shared_prefix(pairs)[:, None], positions, from_end)
    return aligned.clamp(min=0).minimum(last)


def swapped(
    pairs: EncodedPairs, seen: Mapping[Site, Tensor], at: Int[Tensor, "rows seq"] | None = None
) -> dict[Site, Tensor]:
    """Activations recorded on both prompts of each pair, each prompt with those of the other.

    ``at`` holds the position to take for every position; None for the aligned ones.
    """
    other = other_rows(pairs)
    at = aligned_positions(pairs) if at is None else at
    return {
        site: x[other] if x.shape[1] == 1 else x[other[:, None], at] for site, x in seen.items()
    }
