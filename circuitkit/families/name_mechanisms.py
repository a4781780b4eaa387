"""Name the outcome: one mechanism, nested ones, either of two ways, or several.

In: the transfer matrix of the families' own circuits, what they share, their sizes. Out: the
outcome and a sentence that gives its reason. It is decided by intervals: a circuit does a family
if the lower bound of F is at least ``F_DOES``, and does not if the upper bound is below. Source:
ours (docs/families.md#outcomes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from circuitkit.circuit.transfer import Bounded, Mechanisms, Overlap

F_DOES = 0.60
"""Planted models leave 0.00 to 0.93 open: F of a circuit on another family is at most the one where
it does not do it, at least the other where it does (docs/families.md#where-the-limits-come-from).
Within this it is what a search asks of F elsewhere (``ask_maker.F_ASKED``): a circuit just on its
target of 0.15 nats has 0.78, which leaves room for the interval."""

ALIKE = 0.50
"""Two circuits that share fewer of their nodes are two ways. Planted models leave 0.00 to 1.00
open; this is where less is shared than not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The outcome, its reason, and the groups of families whose circuits do each other."""

    outcome: Mechanisms
    reason: str
    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """F of every family's circuit on every family, with sizes and overlaps of the circuits.

    ``missing`` are families for which no circuit was found, ``left_out`` those that were not
    searched.
    """

    names: tuple[str, ...]
    f: Mapping[tuple[str, str], Bounded]
    n_nodes: Mapping[str, int]
    overlaps: Sequence[Overlap]
    missing: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def does(self, circuit: str, family: str) -> bool | None:
        """Whether a circuit does a family; None where the interval includes the limit."""
        f = self.f[circuit, family]
        if f.low is not None and f.low >= F_DOES:
            return True
        return False if f.high is not None and f.high < F_DOES else None

    @cached_property
    def does_all(self) -> tuple[str, ...]:
        """The families whose circuit does every family."""
        return tuple(c for c in self.names if all(self.does(c, f) for f in self.names))

    @cached_property
    def does_part(self) -> tuple[str, ...]:
        """The families whose circuit does not do some family."""
        return tuple(c for c in self.names if any(self.does(c, f) is False for f in self.names))

    @cached_property
    def does_not_its_own(self) -> tuple[str, ...]:
        """The families whose circuit does not do them."""
        return tuple(c for c in self.names if self.does(c, c) is False)

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Families whose circuits do each other, the largest group first."""
        groups: list[list[str]] = []
        for name in self.names:
            for group in groups:
                if all(self.does(name, g) and self.does(g, name) for g in group):
                    group.append(name)
                    break
            else:
                groups.append([name])
        return tuple(map(tuple, sorted(groups, key=lambda group: -len(group))))

    @cached_property
    def least_alike(self) -> Overlap:
        """The two circuits that share least."""
        return min(self.overlaps, key=lambda overlap: overlap.jaccard)


def name_mechanisms(matrix: Matrix) -> Named:
    """The outcome of a matrix, of one family or more."""
    if matrix.missing:
        reason = (
            f"no circuit of {', '.join(matrix.missing)} alone meets the target, so that not every "
            "family can be compared: more restarts, or a higher target loss, may find one"
        )
        return Named(outcome="undecided", reason=reason, groups=matrix.groups)
    if len(matrix.names) < 2 and matrix.left_out:
        reason = f"with {', '.join(matrix.left_out)} left out there is nothing to compare"
        return Named(outcome="undecided", reason=reason, groups=matrix.groups)
    if len(matrix.names) < 2:
        return Named(outcome="one", reason="one family: nothing to compare", groups=matrix.groups)
    outcome, reason = _named(matrix)
    return Named(outcome=outcome, reason=reason, groups=matrix.groups)


def _named(matrix: Matrix) -> tuple[Mechanisms, str]:
    if weak := matrix.does_not_its_own:
        return "undecided", (
            f"the circuit of {', '.join(weak)} does not do its own family, F "
            f"{matrix.f[weak[0], weak[0]]} on {weak[0]}: a lower target loss may find one that does"
        )
    if len(matrix.does_part) == len(matrix.names):
        each_its_own = all(matrix.does(c, c) for c in matrix.names)
        return ("several", _union(matrix)) if each_its_own else ("undecided", _undecided(matrix))
    if matrix.does_all and matrix.does_part:
        return "nested", _nested(matrix)
    if len(matrix.does_all) < len(matrix.names):
        return "undecided", _undecided(matrix)
    alike = matrix.least_alike
    share = f"share {alike.n_shared} of {alike.n_either} nodes"
    if alike.jaccard < ALIKE:
        return "either", (
            f"two ways, either is enough; they {share} ({alike.first}, {alike.second})"
        )
    return "one", (
        f"one mechanism: the circuit of any family does every family; the least alike {share}"
    )


def _union(matrix: Matrix) -> str:
    """Which nodes for which prompts."""
    parts = [
        f"{min(matrix.n_nodes[name] for name in group)} nodes for {', '.join(group)}"
        for group in matrix.groups
    ]
    alike = [o for o in matrix.overlaps if not _in_one_group(matrix, o)] or matrix.overlaps
    least, most = min(o.n_shared for o in alike), max(o.n_shared for o in alike)
    shared = f"{least}" if least == most else f"{least} to {most}"
    return f"a union: {'; '.join(parts)}; two of them share {shared} nodes"


def _in_one_group(matrix: Matrix, overlap: Overlap) -> bool:
    return any({overlap.first, overlap.second} <= set(group) for group in matrix.groups)


def _nested(matrix: Matrix) -> str:
    """Whose circuits do every family, and how many nodes more they have than the others."""
    hard, easy = matrix.does_all, matrix.does_part
    more = min(matrix.n_nodes[c] for c in hard) - max(matrix.n_nodes[c] for c in easy)
    extra = f"{more} node{'' if more == 1 else 's'} more" if more > 0 else "others"
    need = f"need{'s' if len(hard) == 1 else ''} {extra}"
    whose = "its circuit" if len(hard) == 1 else "the circuit of each"
    rest = [c for c in matrix.names if c not in (*hard, *easy)]
    left_open = f"; of that of {', '.join(rest)} it is open" if rest else ""
    return (
        f"{', '.join(hard)} {need}: {whose} does every family, that of {', '.join(easy)} does "
        f"not{left_open}"
    )


def _undecided(matrix: Matrix) -> str:
    """The first cell whose interval includes the limit."""
    still_open = [(c, f) for c in matrix.names for f in matrix.names if matrix.does(c, f) is None]
    c, f = still_open[0]
    return (
        f"{len(still_open)} of {len(matrix.names) ** 2} intervals include the limit of {F_DOES}, "
        f"such as F of {c}'s circuit on {f}, {matrix.f[c, f]}: more pairs, of more templates, "
        "would decide"
    )
