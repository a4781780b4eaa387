"""What a file of bridges says of itself: which models they join, and how well they do.

No torch. It is the metadata of ``bridges.safetensors``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, FiniteFloat, PositiveInt

from circuitkit.model.architecture import Size
from circuitkit.provenance import STRICT, Named

FORMAT = "circuitkit.bridges/1"


class CrossingQuality(BaseModel):
    """The bridge at one crossing, on held-out text.

    ``nmse_…`` are squared errors over the variance of their target; ``loss_…`` is the loss of the
    hybrid pass that crosses here, ``kl_…`` its divergence from the dense model's output, both in
    nats a token. ``to_sparse``: the dense model up to here, then the sparse one.
    """

    model_config = STRICT
    crossing: str
    nmse_to_sparse: FiniteFloat
    nmse_to_dense: FiniteFloat
    loss_to_sparse_nats: FiniteFloat
    loss_to_dense_nats: FiniteFloat
    kl_to_sparse_nats: FiniteFloat
    kl_to_dense_nats: FiniteFloat


class BridgeQuality(BaseModel):
    """Every crossing on the same held-out text, beside the losses of the two models alone."""

    model_config = STRICT
    n_tokens: PositiveInt
    dense_loss_nats: FiniteFloat
    sparse_loss_nats: FiniteFloat
    crossings: tuple[CrossingQuality, ...]


class BridgeRecord(BaseModel):
    """The models that bridges join, the encoders' sparsity, and what was measured.

    ``dense`` is the dense checkpoint by name and hash; ``sparse_weights_sha256`` is the hash of
    the ``model.safetensors`` beside the file.
    """

    model_config = STRICT
    format: Literal["circuitkit.bridges/1"] = FORMAT
    dense: Named
    sparse_weights_sha256: str
    d_dense: Size
    topk: Annotated[float, Field(gt=0, le=1)]
    quality: BridgeQuality
