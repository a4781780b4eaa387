"""Measures of logit differences, one a pair, as float64 arrays for statistics."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.model.encoded_pairs import agreement, hits, pair_losses


def losses_of(differences: Float[Tensor, " rows"]) -> NDArray[np.float64]:
    """Pair losses in nats as an array, one a pair."""
    return pair_losses(differences).double().numpy()


def hits_of(differences: Float[Tensor, " rows"]) -> NDArray[np.float64]:
    """The share of a pair's two prompts answered rightly, one a pair; a tie is half an answer."""
    return hits(differences).double().view(2, -1).mean(0).numpy()


def agreement_of(
    differences: Float[Tensor, " rows"], others: Float[Tensor, " rows"]
) -> NDArray[np.float64]:
    """The share of a pair's two prompts on which both prefer the same answer, one a pair."""
    return agreement(differences, others).double().view(2, -1).mean(0).numpy()
