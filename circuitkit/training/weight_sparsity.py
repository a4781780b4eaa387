"""Weight sparsity: after each step, only the largest magnitudes of each matrix stay.

Source: Gao et al. 2025, section A.2. Biases and embeddings are sparsified too.
A neuron or attention channel keeps at least ``min_nonzeros`` (the paper's j)
weights: rows of ``c_fc`` and ``c_attn``, which it reads through, and columns of
both ``c_proj``, which it writes through. Norm gains, sink logits, the bigram table and
position embeddings, which are fixed, stay dense.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

_DENSE = (".ln_", ".wpe.", "sink_logit", "bigram_table")
_NEURON_AXIS = {"c_fc.weight": 0, "c_attn.weight": 0, "c_proj.weight": 1}


def sparse_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that are made sparse, by name."""
    for name, parameter in model.named_parameters():
        if not any(part in name for part in _DENSE):
            yield name, parameter


@torch.no_grad()
def project(model: nn.Module, l0_fraction: float, min_nonzeros: int) -> None:
    """Zero all but the largest magnitudes of every sparse parameter, in place."""
    if l0_fraction >= 1:
        return
    for name, parameter in sparse_parameters(model):
        axis = next((a for suffix, a in _NEURON_AXIS.items() if name.endswith(suffix)), None)
        protect = 0 if axis is None else min_nonzeros
        parameter.mul_(keep_mask(parameter, l0_fraction, protect, axis or 0))


def keep_mask(weight: Tensor, l0_fraction: float, min_nonzeros: int, neuron_axis: int) -> Tensor:
    """True for the weights that stay.

    The largest ``min_nonzeros`` of every slice along ``neuron_axis`` stay in any
    case; what is left of the budget goes to the largest of the rest.
    """
    magnitude = weight.abs()
    budget = max(1, round(l0_fraction * weight.numel()))
    keep = torch.zeros_like(weight, dtype=torch.bool)
    rest = budget
    if min_nonzeros:
        across = 1 - neuron_axis
        most = min(min_nonzeros, weight.shape[across])
        keep.scatter_(across, magnitude.topk(most, dim=across).indices, True)
        rest -= most * weight.shape[neuron_axis]
    if rest > 0:
        others = magnitude.masked_fill(keep, -1.0).flatten()
        keep.view(-1).index_fill_(0, others.topk(rest).indices, True)
    return keep


def l0_fraction(model: nn.Module) -> float:
    """The fraction of nonzeros among the sparse parameters."""
    parameters = [parameter for _, parameter in sparse_parameters(model)]
    nonzeros = sum(int(parameter.count_nonzero()) for parameter in parameters)
    return nonzeros / sum(parameter.numel() for parameter in parameters)
