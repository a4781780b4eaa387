"""Crossings: the places where the residual streams of two models meet.

In: a model and tokens. Out: the residual stream at every crossing, or the logits of the rest of
the pass from one on. There are 2·n_layer + 1: before each attention and each MLP, and after the
last MLP. Each is named after what reads the stream there: ``0.attn``, ``0.mlp``, …,
``final_resid``. Source: Gao et al. 2025, sections 2.3 and A.3.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.model import Tap, Transformer
from circuitkit.model.transformer import Layer
from circuitkit.nodes import FINAL_RESID, Site

Sublayer = Callable[[Tensor, Tap | None], Tensor]
"""From the stream before an attention or an MLP to the stream after it."""


def crossing_names(n_layer: int) -> tuple[str, ...]:
    """The name of every crossing, in the order of the forward pass."""
    blocks = [f"{layer}.{block}" for layer in range(n_layer) for block in ("attn", "mlp")]
    return (*blocks, str(FINAL_RESID))


def sublayers(model: Transformer, positions: Tensor | None) -> list[Sublayer]:
    """The 2·n_layer steps between crossings; ``positions`` as ``model.embed`` gives them."""
    steps = [(layer, block) for layer in model.layers for block in (_attention, _mlp)]
    return [block(layer, positions) for layer, block in steps]


def _attention(layer: Layer, positions: Tensor | None) -> Sublayer:
    return lambda x, tap: x + layer.attn(layer.read_attention(x, positions), tap)


def _mlp(layer: Layer, positions: Tensor | None) -> Sublayer:
    return lambda x, tap: x + layer.mlp(layer.read_mlp(x, positions), tap)


def streams(
    model: Transformer, tokens: Int[Tensor, "batch seq"], tap: Tap | None = None
) -> list[Float[Tensor, "batch seq d_model"]]:
    """The residual stream at every crossing."""
    x, positions = model.embed(tokens)
    found = [x]
    for step in sublayers(model, positions):
        found.append(step(found[-1], tap))
    if tap is not None:
        found[-1] = tap(FINAL_RESID, found[-1])
    return found


def logits_from(
    model: Transformer,
    x: Float[Tensor, "batch seq d_model"],
    tokens: Int[Tensor, "batch seq"],
    crossing: int,
) -> Float[Tensor, "batch seq vocab"]:
    """The logits of the rest of the pass, from the stream at a crossing on."""
    _, positions = model.embed(tokens)
    for step in sublayers(model, positions)[crossing:]:
        x = step(x, None)
    return model.unembed(x, tokens)


def reads_stream(site: Site) -> bool:
    """Whether a site is the stream as a sublayer or the unembedding reads it."""
    return site.place in ("act_in", str(FINAL_RESID))


def sublayer_of(site: Site, n_layer: int) -> int:
    """Which of the 2·n_layer sublayers a site is in; the unembedding counts as one more."""
    return 2 * n_layer if site == FINAL_RESID else 2 * site.layer + (site.block == "mlp")


def crossing_of(site: Site, n_layer: int) -> int:
    """Where the move of a node is carried over.

    For a site that reads the stream, the crossing that it reads; for any other, the one that its
    sublayer writes, which is the next.
    """
    return sublayer_of(site, n_layer) + (not reads_stream(site))
