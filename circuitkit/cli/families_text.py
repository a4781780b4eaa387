"""Families and transfer as lines of text: what ``families`` and ``extract --by-family`` print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from circuitkit.circuit.transfer import WHOLE, Transfer

if TYPE_CHECKING:
    from circuitkit.families.find_families import FoundFamilies

_NAME = 20


def families_lines(found: FoundFamilies, title: str) -> Iterator[str]:
    """The families in a table, what they go with, and how stable their number is."""
    families = found.families.families
    n = len(families)
    yield f"{title}: {n} {'family' if n == 1 else 'families'} by {found.families.by}"
    yield f"{'family':<{_NAME}}  templates (train, select, test)  pairs  loss    accuracy"
    for family in families:
        counts = [len(family.templates(split)) for split in ("train", "select", "test")]
        yield (
            f"{_cut(family.name):<{_NAME}}  {counts[0]:>9} {counts[1]:>7} {counts[2]:>5}"
            f"{'':<9} {sum(map(len, family.pairs.values())):>5}  "
            f"{found.loss_nats[family.name]:.4f}  {found.accuracy[family.name]:.3f}"
        )
    for name, nodes in (found.nodes or {}).items():
        yield f"{name} goes by {', '.join(nodes)}"
    if found.strength:
        shown = ", ".join(f"{k}: {strength:.2f}" for k, strength in found.strength.items())
        yield f"stability by number of clusters (0.80 counts): {shown}"
    yield from (
        f"{each.name:<9} says the family of {each.share:.2f} of the pairs "
        f"(the largest family: {each.by_chance:.2f})"
        for each in found.goes_with
    )


def transfer_lines(transfer: Transfer) -> Iterator[str]:
    """The outcome, then F of every circuit on every family."""
    yield f"mechanisms: {transfer.outcome}: {transfer.reason}"
    if len(transfer.names) < 2:
        return
    width = max(9, *(len(_cut(name)) for name in transfer.names))
    heads = "  ".join(f"{_cut(name):>{width}}" for name in transfer.names)
    yield f"{'F of the circuit of':<{_NAME}}  on {heads}"
    sizes = {family.name: f"{family.n_nodes} nodes" for family in transfer.families}
    for row in transfer.rows:
        cells = (transfer.cell(row, name).f.effect for name in transfer.names)
        shown = "  ".join(f"{f:>{width}.2f}" for f in cells)
        name = "the whole task" if row == WHOLE else f"{_cut(row)}, {sizes[row]}"
        yield f"{name:<{_NAME}}     {shown}"


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
