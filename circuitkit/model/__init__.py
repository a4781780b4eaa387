"""The engine: one transformer for every architecture circuitkit reads.

Axes, the same names everywhere: ``batch seq d_model head d_head d_mlp vocab
width``, where ``width`` is the number of channels of a site (and ``d_in`` is
d_model plus the concatenated position channels, the width of ``act_in``).

In: an ``Architecture`` and tokens. Out: logits, and at each site whatever a
``Tap`` makes of the activations there.
"""

from circuitkit.model.architecture import Architecture
from circuitkit.model.encode import encode_pairs
from circuitkit.model.encoded_pairs import (
    LN2,
    EncodedPairs,
    agreement,
    hits,
    logit_differences,
    pair_losses,
)
from circuitkit.model.taps import Tap, chain, gate_tap, gates_of, record_tap
from circuitkit.model.transformer import Transformer

__all__ = [
    "LN2",
    "Architecture",
    "EncodedPairs",
    "Tap",
    "Transformer",
    "agreement",
    "chain",
    "encode_pairs",
    "gate_tap",
    "gates_of",
    "hits",
    "logit_differences",
    "pair_losses",
    "record_tap",
]
