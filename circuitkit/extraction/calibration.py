"""Calibration: read a circuit's logit difference as ``scale * d + shift``.

In: logit differences on selection pairs, and the two answers of each. Out: the scale and the
shift with the smallest mean pair loss. The shift favours one token over another, so it has
the sign of (answer - foil) as token ids. Added with one sign to both prompts of a pair it
would favour the right answer. Source: ours (docs/extraction.md#scoring); Platt 1999.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from circuitkit.circuit import Calibration
from circuitkit.model import EncodedPairs, pair_losses

_MIN_LOG_SCALE, _MAX_LOG_SCALE = -10.0, 10.0
_MAX_SHIFT_NATS = 100.0


def fit_calibration(differences: Float[Tensor, " rows"], pairs: EncodedPairs) -> Calibration:
    """The scale (positive) and the shift with the smallest mean pair loss; deterministic."""
    d = differences.double().numpy()
    sign = np.sign((pairs.answers - pairs.foils).double().numpy())

    def loss(at: np.ndarray) -> float:
        return float(np.logaddexp(0.0, -(np.exp(at[0]) * d + at[1] * sign)).mean())

    bounds = [(_MIN_LOG_SCALE, _MAX_LOG_SCALE), (-_MAX_SHIFT_NATS, _MAX_SHIFT_NATS)]
    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=bounds).x
    return Calibration(scale=float(np.exp(found[0])), shift=float(found[1]))


def calibrated(
    differences: Float[Tensor, " rows"], pairs: EncodedPairs, calibration: Calibration
) -> Float[Tensor, " rows"]:
    """The calibrated logit differences."""
    sign = (pairs.answers - pairs.foils).sign().to(differences.dtype)
    return calibration.scale * differences + calibration.shift * sign


def calibrated_loss(
    differences: Float[Tensor, " rows"], pairs: EncodedPairs, calibration: Calibration
) -> float:
    """The mean pair loss, in nats, after calibration."""
    return float(pair_losses(calibrated(differences, pairs, calibration)).mean())
