"""Inert noise: weights that compute something and never reach the answer.

In: a wiring and the density. Out: the same model with sparse random weights: free neurons
and heads read any channel and write free channels, which the unembedding shows to fillers
only. Under a norm a write would reach the answer through the denominator, so there nothing
is written. In GPT-2's format every write has its opposite in another channel, so that the mean
that LayerNorm takes away stays as it is, and the denominator is held by constants.
Amplitudes are small, so that activation top-k keeps the mechanism.
"""

from __future__ import annotations

import torch
from torch import Tensor

from circuitkit.planted.gpt2_wiring import GPT2Wiring
from circuitkit.planted.wiring import FILLERS, Wiring

_AMPLITUDE = 0.05


def lay_noise(wiring: Wiring) -> None:
    """Fill what is free with inert weights, in place."""
    variation, model = wiring.variation, wiring.model
    if not variation.noise:
        return
    generator = torch.Generator().manual_seed(variation.seed)
    density = variation.noise
    read_only = wiring.arch.norm == "rmsnorm"
    paired = isinstance(wiring, GPT2Wiring)
    free = torch.tensor(wiring.free_channels, dtype=torch.long)
    free, opposite = (free[::2][: len(free) // 2], free[1::2]) if paired else (free, None)
    readable = _readable(wiring) if paired else None
    for layer, (attn, mlp) in enumerate((block.attn, block.mlp) for block in model.layers):
        heads = torch.tensor(wiring.free_heads[layer], dtype=torch.long)
        channels = _channels_of(heads, wiring.arch.d_head)
        neurons = torch.tensor(wiring.free_neurons[layer], dtype=torch.long)
        for part in range(3):
            rows = part * wiring.arch.d_attn + channels
            _fill(attn.c_attn.weight, rows, readable, density, generator)
        _fill(mlp.c_fc.weight, neurons, readable, density, generator)
        if not read_only:
            _fill(attn.c_proj.weight, free, channels, density, generator)
            _fill(mlp.c_proj.weight, free, neurons, density, generator)
            if opposite is not None:
                attn.c_proj.weight[opposite] = -attn.c_proj.weight[free]
                mlp.c_proj.weight[opposite] = -mlp.c_proj.weight[free]
    if read_only:
        return
    embedding = model.transformer.wte.weight
    _fill(embedding, _unanswering(wiring) if paired else None, free, density, generator)
    if opposite is None:
        _fill(model.lm_head.weight, torch.arange(len(FILLERS)), free, density, generator)
    else:
        embedding[:, opposite] = -embedding[:, free]


def _channels_of(heads: Tensor, d_head: int) -> Tensor:
    return (d_head * heads[:, None] + torch.arange(d_head)).flatten()


def _readable(wiring: GPT2Wiring) -> Tensor:
    """All but what holds the constants, which would drown noise, and the answers."""
    shut = wiring.reserved | wiring.answers.keys()
    return torch.tensor([c for c in range(wiring.arch.d_model) if c not in shut])


def _unanswering(wiring: GPT2Wiring) -> Tensor:
    """The tokens that are no answer: to show noise to one answer would vote."""
    return (wiring.model.transformer.wte.weight[:, [*wiring.answers]] == 0).all(1).nonzero()[:, 0]


def _fill(
    weight: Tensor,
    rows: Tensor | None,
    columns: Tensor | None,
    density: float,
    generator: torch.Generator,
) -> None:
    """Draw a block of a matrix: each weight is there with probability ``density``."""
    rows = torch.arange(weight.shape[0]) if rows is None else rows
    columns = torch.arange(weight.shape[1]) if columns is None else columns
    shape = len(rows), len(columns)
    drawn = _AMPLITUDE * torch.randn(shape, generator=generator)
    weight[rows[:, None], columns] = drawn * (torch.rand(shape, generator=generator) < density)
