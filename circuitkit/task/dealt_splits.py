"""Splits of a file that names none: whole templates are dealt to train, select and test.

In: how many pairs each template has. Out: its split. The largest come first, each to the split
that lacks most for 4 : 3 : 3; among equals the hash of their name decides. So the splits are a
function of the pairs: not of their order, not of the name of the file.
"""

from __future__ import annotations

from collections.abc import Mapping

from circuitkit.files import sha256
from circuitkit.task.pairs import Split

SHARES: dict[Split, int] = {"train": 4, "select": 3, "test": 3}


def deal(sizes: Mapping[str, int]) -> dict[str, Split]:
    """The split of every template; each split has one as soon as there are three."""
    dealt: dict[str, Split] = {}
    counts: dict[Split, int] = dict.fromkeys(SHARES, 0)
    for template in sorted(sizes, key=lambda name: (-sizes[name], sha256(name.encode()))):
        split = min(SHARES, key=lambda split: counts[split] / SHARES[split])
        dealt[template] = split
        counts[split] += sizes[template]
    return dealt
