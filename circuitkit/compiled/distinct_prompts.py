"""The prompts of a batch as a compiled circuit reads them: every distinct place once.

In: encoded pairs. Out: ``Prompts``, whose rows come in three levels. Before any
attention a place is known by what the stream starts with there (its token, and its
position where positions matter): ``inputs``. After it, by the whole prefix that ends
there: ``prefixes``, which the prompts of a task share to a good part. At the end only
the last position of each prompt counts: ``lasts``. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from circuitkit.compiled.cache import Recent
from circuitkit.model import EncodedPairs

_N_WRITTEN = 64
"""Writes of the circuits tried last: a few circuits' worth, each of at most a megabyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Distinct places: the start of the stream there and the position.

    ``grid`` tells which row stands at each position of each prompt, ``lasts`` which
    stands at the end of each; padding is anything.
    """

    start: Int[Tensor, " rows"]
    position: Int[Tensor, " rows"]
    grid: Int[Tensor, "batch seq"]
    lasts: Int[Tensor, " batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """What the residual stream starts with: distinct tokens, with positions if those are added."""

    token: Int[Tensor, " starts"]
    position: Int[Tensor, " starts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Pairs with their distinct rows. ``first`` is a place in the flat grid for each prefix.

    ``recent`` holds what the circuits tried on these prompts have in common, ``written`` what
    their blocks wrote.
    """

    pairs: EncodedPairs
    starts: Starts
    inputs: Rows
    prefixes: Rows
    lasts: Rows
    input_of_prefix: Int[Tensor, " prefixes"]
    first: Int[Tensor, " prefixes"]
    recent: Recent = field(default_factory=Recent)
    written: Recent = field(default_factory=lambda: Recent(_N_WRITTEN))

    def index(self, rows: Rows, out: Rows) -> Int[Tensor, " out"]:
        """Which of ``rows`` stands at each of ``out``, the same level or a later one."""
        if out is self.lasts:
            return rows.lasts
        if rows is self.inputs:
            return self.input_of_prefix
        return torch.arange(len(out.start), device=out.start.device)


def prepare_prompts(pairs: EncodedPairs, positions: str) -> Prompts:
    """Find the distinct starts, inputs and prefixes; ``positions`` as in ``Architecture``."""
    tokens, last = pairs.tokens, pairs.last
    batch, seq = tokens.shape
    place = torch.arange(seq, device=tokens.device).expand(batch, seq)
    stands = (place <= last[:, None]).flatten()
    start_key = tokens * seq + (place if positions == "learned" else 0)
    input_key = tokens * seq + (0 if positions == "none" else place)
    start_keys, start_grid = _distinct(start_key, stands)
    _, input_grid = _distinct(input_key, stands)
    _, prefix_grid = _distinct(_prefixes(tokens), stands)
    inputs = _rows(input_grid, start_grid, place, stands, last)
    prefixes = _rows(prefix_grid, start_grid, place, stands, last)
    first = _first(prefix_grid, stands)
    ends = torch.arange(batch, device=tokens.device)
    return Prompts(
        pairs=pairs,
        starts=Starts(token=start_keys // seq, position=start_keys % seq),
        inputs=inputs,
        prefixes=prefixes,
        lasts=Rows(start=start_grid[ends, last], position=last, grid=prefix_grid, lasts=ends),
        input_of_prefix=input_grid.flatten()[first],
        first=first,
    )


def _prefixes(tokens: Int[Tensor, "batch seq"]) -> Int[Tensor, "batch seq"]:
    """A number for every prefix, equal where the prefixes are."""
    batch, seq = tokens.shape
    ids = torch.zeros_like(tokens)
    known = torch.zeros(batch, dtype=torch.long, device=tokens.device)
    vocab = int(tokens.max()) + 1
    for t in range(seq):
        known = torch.unique(known * vocab + tokens[:, t], return_inverse=True)[1]
        ids[:, t] = known + t * batch
    return ids


def _distinct(key: Tensor, stands: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct keys at places that are no padding, and their index at every place."""
    keys, index = torch.unique(key.flatten()[stands], return_inverse=True)
    grid = torch.zeros(key.numel(), dtype=torch.long, device=key.device)
    grid[stands] = index
    return keys, grid.view_as(key)


def _first(grid: Tensor, stands: Tensor) -> Int[Tensor, " rows"]:
    """A place in the flat grid where each row stands."""
    places = stands.nonzero()[:, 0]
    rows = grid.flatten()[places]
    first = torch.full((int(rows.max()) + 1,), len(stands), device=grid.device)
    return first.scatter_reduce(0, rows, places, "amin")


def _rows(grid: Tensor, start_grid: Tensor, place: Tensor, stands: Tensor, last: Tensor) -> Rows:
    first = _first(grid, stands)
    ends = torch.arange(len(last), device=last.device)
    return Rows(
        start=start_grid.flatten()[first],
        position=place.flatten()[first],
        grid=grid,
        lasts=grid[ends, last],
    )
