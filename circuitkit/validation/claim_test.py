"""What a claim's file declares, and one run of its test: a trial in, a finding out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from circuitkit.findings import Finding

Suite = Literal["default", "thorough"]
Need = Literal["train pairs", "select pairs", "ood pairs", "reference", "other circuits", "bridges"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A claim: its id, its suite, what its test needs beyond test pairs, what can fool it.

    ``n_searches`` is how many extractions the test repeats: what it costs.
    """

    id: str
    suite: Suite
    fooled_by: str
    needs: tuple[Need, ...] = ()
    n_searches: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTest:
    """A declared claim with the function that tests it.

    The function takes a ``Trial``; one of the thorough suite takes a ``SearchTrial``.
    """

    declared: Declared
    check: Callable[[Any], Finding]

    def __call__(self, trial: Any) -> Finding:
        """The finding, with the seconds and forward passes that it took."""
        began, passes = time.monotonic(), trial.passes
        finding = self.check(trial)
        seconds = round(time.monotonic() - began, 2)
        return finding.model_copy(
            update={"seconds": seconds, "forward_passes": trial.passes - passes}
        )
