"""What was made not long ago, so that neighbouring circuits share it and memory is bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor

N_REMEMBERED = 256

LARGE = 2**18
"""Numbers in a part too large to be remembered; a megabyte."""


class Recent:
    """The last things made, by key.

    Circuits tried one after the other differ in a few nodes, so most of their parts are
    the same.
    """

    def __init__(self, n: int = N_REMEMBERED) -> None:
        self.n = n
        self.made: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, or gave for the same key not long ago."""
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
