"""A small cache of recent results, so that similar circuits share them and memory is bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor

N_REMEMBERED = 256

MOST = 2**24
"""Numbers in all results of a cache together; 64 MiB."""

LARGE = 2**21
"""Results with more numbers than this are not cached."""


class Recent:
    """The most recent results, by key.

    Consecutive circuits of a search differ in a few nodes, so most of their parts are the same.
    """

    def __init__(self, n: int = N_REMEMBERED) -> None:
        self.n, self.n_numbers = n, 0
        self.made: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The result of ``make``, or the cached one of the same key."""
        if key in self.made:
            self.made.move_to_end(key)
            return self.made[key]
        made = make()
        if _n_numbers(made) <= LARGE:
            self.made[key] = made
            self.n_numbers += _n_numbers(made)
        while len(self.made) > self.n or self.n_numbers > MOST:
            _, oldest = self.made.popitem(last=False)
            self.n_numbers -= _n_numbers(oldest)
        return made


def _n_numbers(made: Any) -> int:
    return made.numel() if isinstance(made, Tensor) else getattr(made, "n_weights", 0)
