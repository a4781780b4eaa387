"""What a model's activations are like: nonzero shares, silent neurons, heavy tails.

In: a model and a sample of tokens. Out: an ``Activity``, measured through one tap.
Source: Gao et al. 2025, Figure 10 (the kurtosis of the residual stream); the exact
formula is our choice, see ``kurtosis``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.model.architecture import Architecture
from circuitkit.model.transformer import Transformer
from circuitkit.nodes import FINAL_RESID, Site

_TOKENS_A_BATCH = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Statistics of the activations over ``n_tokens`` tokens.

    ``nonzero`` is the share of activations that are not 0, by site kind, after activation
    top-k. ``n_silent`` counts, layer by layer, the neurons whose ``post_act`` is 0 on every
    token. ``residual_kurtosis`` is the mean over tokens, of the stream before each layer and
    then at the end; None where no token has one.
    """

    n_tokens: int
    nonzero: Mapping[str, float]
    n_silent: tuple[int, ...]
    residual_kurtosis: tuple[float | None, ...]


def kurtosis(x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch"]:
    """The kurtosis of each vector over its channels, in float64.

    The fourth central moment over the square of the second, both plain means over the
    channels, nothing subtracted: 3 for a normal distribution, 1 at least, near ``width`` for a
    vector with one channel that stands out. NaN where all channels are equal.
    """
    x = x.double()
    squares = (x - x.mean(-1, keepdim=True)).square()
    return squares.square().mean(-1) / squares.mean(-1).square()


@torch.no_grad()
def measure_activity(model: Transformer, tokens: Int[Tensor, "n length"]) -> Activity:
    """Run the model over every row of ``tokens``, a batch at a time, and count."""
    meter = _Meter(model.arch)
    n, length = tokens.shape
    rows = max(1, _TOKENS_A_BATCH // length)
    for start in range(0, n, rows):
        batch = tokens[start : start + rows].long()
        meter.stream = model.embed(batch)[0]
        model.stream(batch, meter)
    return Activity(
        n_tokens=n * length,
        nonzero=meter.nonzero_shares(n * length),
        n_silent=tuple(int((~fired).sum()) for fired in meter.fired),
        residual_kurtosis=tuple(each.value for each in meter.kurtoses),
    )


class _Mean:
    """A running mean that leaves out what is not finite."""

    def __init__(self) -> None:
        self.total, self.n = 0.0, 0

    def add(self, values: Tensor) -> None:
        finite = values[values.isfinite()]
        self.total += float(finite.sum())
        self.n += finite.numel()

    @property
    def value(self) -> float | None:
        return self.total / self.n if self.n else None


class _Meter:
    """The tap that counts; ``stream`` follows the residual stream through the pass."""

    stream: Tensor

    def __init__(self, arch: Architecture) -> None:
        self.widths = arch.widths
        self.n_nonzero = dict.fromkeys(arch.widths, 0)
        self.fired = [torch.zeros(arch.d_mlp, dtype=torch.bool) for _ in range(arch.n_layer)]
        self.kurtoses = [_Mean() for _ in range(arch.n_layer + 1)]

    def __call__(self, site: Site, x: Tensor) -> Tensor:
        nonzero = x != 0
        self.n_nonzero[site] += int(nonzero.sum())
        if site.kind == "attn.act_in":
            self.kurtoses[site.layer].add(kurtosis(self.stream))
        elif site.kind == "mlp.post_act":
            self.fired[site.layer] |= nonzero.flatten(0, 1).any(0).cpu()
        elif site.place == "resid_delta":
            self.stream = self.stream + x
        elif site == FINAL_RESID:
            self.kurtoses[-1].add(kurtosis(x))
        return x

    def nonzero_shares(self, n_tokens: int) -> dict[str, float]:
        """The share of nonzero activations by site kind, in the order of the pass."""
        counted: dict[str, list[tuple[int, int]]] = {}
        for site, width in self.widths.items():
            counted.setdefault(site.kind, []).append((self.n_nonzero[site], width * n_tokens))
        return {
            kind: sum(some for some, _ in found) / sum(whole for _, whole in found)
            for kind, found in counted.items()
        }
