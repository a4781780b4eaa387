"""Inert noise: weights that compute something and never reach the answer.

In: a wiring and the density. Out: the same model with sparse random weights: free neurons
and heads read any channel and write free channels, which the unembedding shows to fillers
only. Under a norm a write would reach the answer through the denominator, so there nothing
is written. In GPT-2's format mean and denominator are held (``gpt2_wiring``), and noise is louder.
Amplitudes are small, so that activation top-k keeps the mechanism.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from circuitkit.planted.gpt2_wiring import GPT2Wiring
from circuitkit.planted.wiring import FILLERS, Wiring

_AMPLITUDE, _LOUDER = 0.05, 0.2


def lay_noise(wiring: Wiring) -> None:
    """Fill what is free with inert weights, in place."""
    variation, model = wiring.variation, wiring.model
    if not variation.noise:
        return
    for_gpt2 = isinstance(wiring, GPT2Wiring)
    draw = _Draw(
        torch.Generator().manual_seed(variation.seed), variation.noise,
        _LOUDER if for_gpt2 else _AMPLITUDE,
    )  # fmt: skip
    read_only = wiring.arch.norm == "rmsnorm"
    free = torch.tensor(wiring.free_channels, dtype=torch.long)
    readable = _readable(wiring) if for_gpt2 else None
    for layer, (attn, mlp) in enumerate((block.attn, block.mlp) for block in model.layers):
        heads = torch.tensor(wiring.free_heads[layer], dtype=torch.long)
        channels = (
            wiring.arch.d_head * heads[:, None] + torch.arange(wiring.arch.d_head)
        ).flatten()
        neurons = torch.tensor(wiring.free_neurons[layer], dtype=torch.long)
        for part in range(3):
            draw.fill(attn.c_attn.weight, part * wiring.arch.d_attn + channels, readable)
        draw.fill(mlp.c_fc.weight, neurons, readable)
        if not read_only:
            draw.fill(attn.c_proj.weight, free, channels)
            draw.fill(mlp.c_proj.weight, free, neurons)
    if for_gpt2:
        draw.fill(model.transformer.wte.weight, _unanswering(wiring), free)
    elif not read_only:
        draw.fill(model.transformer.wte.weight, None, free)
        draw.fill(model.lm_head.weight, torch.arange(len(FILLERS)), free)


def _readable(wiring: GPT2Wiring) -> Tensor:
    """All but what holds the constants, which would drown noise, and the answers."""
    shut = wiring.reserved | wiring.answers.keys()
    return torch.tensor([c for c in range(wiring.arch.d_model) if c not in shut])


def _unanswering(wiring: GPT2Wiring) -> Tensor:
    """The tokens that are no answer: to show noise to one answer would vote."""
    return (wiring.model.transformer.wte.weight[:, [*wiring.answers]] == 0).all(1).nonzero()[:, 0]


class _Draw(NamedTuple):
    """Draws blocks of matrices: each weight is there with probability ``density``."""

    generator: torch.Generator
    density: float
    amplitude: float

    def fill(self, weight: Tensor, rows: Tensor | None, columns: Tensor | None) -> None:
        """Draw the weights of these rows and columns; None for all."""
        rows = torch.arange(weight.shape[0]) if rows is None else rows
        columns = torch.arange(weight.shape[1]) if columns is None else columns
        shape = len(rows), len(columns)
        drawn = self.amplitude * torch.randn(shape, generator=self.generator)
        weight[rows[:, None], columns] = drawn * (
            torch.rand(shape, generator=self.generator) < self.density
        )
