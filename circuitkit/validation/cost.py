"""What a finding cost: a check and a trial in, the finding with its seconds and passes out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from circuitkit.evidence import Finding
from circuitkit.validation.trial import Trial

AnyTrial = TypeVar("AnyTrial", bound=Trial)


def timed(check: Callable[[AnyTrial], Finding], trial: AnyTrial) -> Finding:
    """The finding of a check, with the time it took and the forward passes."""
    began, passes = time.monotonic(), trial.passes
    finding = check(trial)
    cost = {"seconds": round(time.monotonic() - began, 2), "forward_passes": trial.passes - passes}
    return finding.model_copy(update=cost)
