"""Answers: which sets of nodes a restart has tried, so that a stopped one goes on where it was.

In: a set of nodes, and what decides whether it meets the target. Out: the decision, made once for
each set and saved once a minute: the restart of a large model takes hours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from circuitkit.files import sha256
from circuitkit.nodes import NodeSet

SECONDS = 60.0
"""How long after one save the next is made: what a kill can cost."""


@dataclass(slots=True)
class Answers:
    """Whether each set that was tried met the target, by a hash of the set."""

    known: dict[str, bool]
    save: Callable[[Mapping[str, bool]], None]
    _saved_at: float = field(default_factory=monotonic, init=False)

    def of(self, nodes: NodeSet, decide: Callable[[NodeSet], bool]) -> bool:
        """The known answer, or what ``decide`` says."""
        name = _hash(nodes)
        if name not in self.known:
            self.known[name] = decide(nodes)
            if monotonic() - self._saved_at >= SECONDS:
                self.save(dict(self.known))
                self._saved_at = monotonic()
        return self.known[name]


def _hash(nodes: NodeSet) -> str:
    names = [f"{site} {channels}" for site, channels in nodes.channels.items()]
    return sha256("\n".join(names).encode())[:32]
