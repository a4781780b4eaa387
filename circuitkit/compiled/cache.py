"""A small cache of recent results, so that similar circuits share them and memory is bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor

N_REMEMBERED = 256

LARGE = 2**18
"""Results with more numbers than this are not cached; a megabyte."""


class Recent:
    """The most recent results, by key.

    Consecutive circuits of a search differ in a few nodes, so most of their parts are the same.
    """

    def __init__(self, n: int = N_REMEMBERED) -> None:
        self.n = n
        self.made: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The result of ``make``, or the cached one of the same key."""
        if key in self.made:
            self.made.move_to_end(key)
        else:
            made = make()
            if _n_numbers(made) > LARGE:
                return made
            self.made[key] = made
            if len(self.made) > self.n:
                self.made.popitem(last=False)
        return self.made[key]


def _n_numbers(made: Any) -> int:
    return made.numel() if isinstance(made, Tensor) else getattr(made, "n_weights", 0)
