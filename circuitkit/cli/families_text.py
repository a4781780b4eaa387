"""Families and transfer as lines of text: what ``families`` and ``extract --by-family`` print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from circuitkit.circuit.transfer import WHOLE, Transfer
from circuitkit.views.safe_text import shorten, told_apart

if TYPE_CHECKING:
    from circuitkit.families.find_families import FoundFamilies

_NAME = 20


def families_lines(found: FoundFamilies, title: str) -> Iterator[str]:
    """The families in a table, what they go with, and how stable their number is."""
    families = found.families.families
    n = len(families)
    yield f"{title}: {n} {'family' if n == 1 else 'families'} by {found.families.by}"
    names = told_apart((family.name for family in families), _NAME, shorten)
    width = max(_NAME, *map(len, names.values()))
    yield f"{'family':<{width}}  templates (train, select, test)  pairs  loss    accuracy"
    for family in families:
        counts = [len(family.templates(split)) for split in ("train", "select", "test")]
        yield (
            f"{names[family.name]:<{width}}  {counts[0]:>9} {counts[1]:>7} {counts[2]:>5}"
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
    names = told_apart(transfer.names, _NAME, shorten)
    width = max(9, *map(len, names.values()))
    heads = "  ".join(f"{names[name]:>{width}}" for name in transfer.names)
    rows = {f.name: f"{names[f.name]}, {f.n_nodes} nodes" for f in transfer.families}
    rows[WHOLE] = "the whole task"
    left = max(_NAME, *map(len, rows.values()))
    yield f"{'F of the circuit of':<{left}}  on {heads}"
    for row in transfer.rows:
        cells = (transfer.cell(row, name).f.effect for name in transfer.names)
        shown = "  ".join(f"{f:>{width}.2f}" for f in cells)
        yield f"{rows[row]:<{left}}     {shown}"
