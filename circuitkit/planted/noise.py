"""Inert noise: weights that compute something and never reach the answer.

In: a wiring and the density. Out: the same model with sparse random weights: free neurons
and heads read any channel and write free channels, which the unembedding shows to fillers
only. Under a norm a write would reach the answer through the denominator, so there nothing
is written. Amplitudes are small, so that activation top-k keeps the mechanism.
"""

from __future__ import annotations

import torch
from torch import Tensor

from circuitkit.planted.wiring import D_HEAD, FILLERS, Wiring

_AMPLITUDE = 0.05


def lay_noise(wiring: Wiring) -> None:
    """Fill what is free with inert weights, in place."""
    variation, model = wiring.variation, wiring.model
    if not variation.noise:
        return
    generator = torch.Generator().manual_seed(variation.seed)
    density = variation.noise
    read_only = wiring.arch.norm != "none"
    free = torch.tensor(wiring.free_channels, dtype=torch.long)
    for layer, (attn, mlp) in enumerate((block.attn, block.mlp) for block in model.layers):
        heads = torch.tensor(wiring.free_heads[layer], dtype=torch.long)
        channels = (D_HEAD * heads[:, None] + torch.arange(D_HEAD)).flatten()
        neurons = torch.tensor(wiring.free_neurons[layer], dtype=torch.long)
        for part in range(3):
            rows = part * wiring.arch.d_attn + channels
            _fill(attn.c_attn.weight, rows, None, density, generator)
        _fill(mlp.c_fc.weight, neurons, None, density, generator)
        if not read_only:
            _fill(attn.c_proj.weight, free, channels, density, generator)
            _fill(mlp.c_proj.weight, free, neurons, density, generator)
    if not read_only:
        _fill(model.transformer.wte.weight, None, free, density, generator)
        _fill(model.lm_head.weight, torch.arange(len(FILLERS)), free, density, generator)


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
