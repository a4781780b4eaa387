"""The prompts of a batch as a compiled circuit reads them: every distinct place once.

In: encoded pairs. Out: ``Prompts``, whose rows have three levels. Before any attention a
place is determined by the start of the stream there (its token, and its position where
positions matter): ``inputs``. After it, by the whole prefix that ends there: ``prefixes``,
many of which the prompts of a task share. After the last layer only the last position of each
prompt counts: ``lasts``. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from circuitkit.compiled.cache import Recent
from circuitkit.model import EncodedPairs

_N_WRITTEN = 64
"""How many writes of recent circuits are cached: those of a few circuits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Distinct places: the start of the stream there and the position.

    ``grid`` holds the row of each position of each prompt, ``lasts`` the row of each prompt's
    last position; values at padding mean nothing.
    """

    start: Int[Tensor, " rows"]
    position: Int[Tensor, " rows"]
    grid: Int[Tensor, "batch seq"]
    lasts: Int[Tensor, " batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """The start of the residual stream: distinct tokens, with positions if those are added."""

    token: Int[Tensor, " starts"]
    position: Int[Tensor, " starts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Pairs with their distinct rows. ``first`` is a place in the flat grid for each prefix.

    ``recent`` caches parts that circuits run on these prompts share, ``written`` the writes of
    their blocks.
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
        """The index in ``rows`` of each of ``out``, which is of the same level or a later one."""
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
    is_read = (place <= last[:, None]).flatten()
    start_key = tokens * seq + (place if positions == "learned" else 0)
    input_key = tokens * seq + (0 if positions == "none" else place)
    start_keys, start_grid = _distinct(start_key, is_read)
    _, input_grid = _distinct(input_key, is_read)
    _, prefix_grid = _distinct(_prefixes(tokens), is_read)
    inputs = _rows(input_grid, start_grid, place, is_read, last)
    prefixes = _rows(prefix_grid, start_grid, place, is_read, last)
    first = _first(prefix_grid, is_read)
    each = torch.arange(batch, device=tokens.device)
    return Prompts(
        pairs=pairs,
        starts=Starts(token=start_keys // seq, position=start_keys % seq),
        inputs=inputs,
        prefixes=prefixes,
        lasts=Rows(start=start_grid[each, last], position=last, grid=prefix_grid, lasts=each),
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


def _distinct(key: Tensor, is_read: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct keys at places that are no padding, and their index at every place."""
    keys, index = torch.unique(key.flatten()[is_read], return_inverse=True)
    grid = torch.zeros(key.numel(), dtype=torch.long, device=key.device)
    grid[is_read] = index
    return keys, grid.view_as(key)


def _first(grid: Tensor, is_read: Tensor) -> Int[Tensor, " rows"]:
    """A place in the flat grid for each row: the first that has it."""
    places = is_read.nonzero()[:, 0]
    rows = grid.flatten()[places]
    first = torch.full((int(rows.max()) + 1,), len(is_read), device=grid.device)
    return first.scatter_reduce(0, rows, places, "amin")


def _rows(grid: Tensor, start_grid: Tensor, place: Tensor, is_read: Tensor, last: Tensor) -> Rows:
    first = _first(grid, is_read)
    each = torch.arange(len(last), device=last.device)
    return Rows(
        start=start_grid.flatten()[first],
        position=place.flatten()[first],
        grid=grid,
        lasts=grid[each, last],
    )
