"""The options of a planted model, checked."""

from __future__ import annotations

from dataclasses import dataclass

from circuitkit.errors import UsageError
from circuitkit.provenance import check_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """What may vary around a mechanism that stays the same.

    ``topk`` is the fraction kept at every site with activation top-k, None for none.
    ``noise`` is the density of the inert weights.

    Raises:
        UsageError: if a value is out of range.
    """

    seed: int = 0
    width: int = 16
    topk: float | None = None
    sink: bool = False
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.width < 16 or self.width > 256 or self.width % 2:
            raise UsageError(f"width {self.width}: expected an even number from 16 to 256.")
        if self.topk is not None and not 0.5 <= self.topk <= 1:
            raise UsageError(f"topk {self.topk}: expected a fraction from 0.5 to 1, or none.")
        if not 0 <= self.noise <= 1:
            raise UsageError(f"noise {self.noise}: expected a density from 0 to 1.")
