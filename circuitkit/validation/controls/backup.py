"""The backup: a circuit that does the task without any node of the circuit under test.

In: a trial whose complement still does the task. Out: a small circuit within the
complement, ranked by attribution in the model without the circuit, then reduced until no
single node can be removed. With the wrong answers as the target, the same search finds the
nodes that oppose the circuit. Source: docs/validation.md#necessary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.discretise import ranked_nodes, smallest_prefix
from circuitkit.extraction.elimination import eliminate
from circuitkit.extraction.mask_learning import Scores
from circuitkit.extraction.masked_model import gate_gradients
from circuitkit.model import LN2, EncodedPairs
from circuitkit.nodes import NodeSet
from circuitkit.validation.trial import Trial

ROOM_NATS = 0.05
_CHANCE_NATS = LN2 - 2 * ROOM_NATS
_PAIRS = 48
_SHOWN = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What was found in the complement; ``nodes`` None where its loss is too high to search."""

    nodes: NodeSet | None
    loss_nats: float

    def __str__(self) -> str:
        if self.nodes is None:
            return f"too unsurely to find by which nodes ({self.loss_nats:.3f} nats)"
        named = ", ".join(map(str, list(self.nodes)[:_SHOWN]))
        more = f" and {len(self.nodes) - _SHOWN} more" if len(self.nodes) > _SHOWN else ""
        return f"by {len(self.nodes)} nodes, {self.loss_nats:.3f} nats: {named}{more}"


def find_backup(trial: Trial, *, against: bool = False) -> Backup:
    """Search the complement for a circuit that does as well as it, within 0.05 nats.

    Args:
        trial: the circuit and its model.
        against: look for nodes that prefer the wrong answer.
    """
    rest = ~trial.nodes
    pairs = trial.split("select", _PAIRS)
    pairs = swapped(pairs) if against else pairs
    criterion = Criterion(
        model=trial.model, values=trial.values, pairs=pairs,
        target_loss_nats=min(trial.circuit.target_loss_nats, _CHANCE_NATS),
    )  # fmt: skip
    own = criterion.bound(rest)
    if own > _CHANCE_NATS:
        return Backup(nodes=None, loss_nats=own)
    criterion.target_loss_nats = max(criterion.target_loss_nats, own + ROOM_NATS)
    scores = _ranked_within(trial, rest, pairs)
    found = smallest_prefix(scores, criterion)
    found = rest if found is None else found & rest
    found = eliminate(found, criterion, ranked_nodes(scores), trial.progress)
    trial.passes += criterion.n_asked
    return Backup(nodes=found, loss_nats=float(criterion.losses(found).mean()))


def swapped(pairs: EncodedPairs) -> EncodedPairs:
    """The same prompts, with answer and foil exchanged."""
    return replace(pairs, answers=pairs.foils, foils=pairs.answers)


def _ranked_within(trial: Trial, rest: NodeSet, pairs: EncodedPairs) -> Scores:
    """Nodes by how much their gates move the complement's logit difference, the circuit last.

    The scan of sizes starts from that of the circuit.
    """
    moved = gate_gradients(trial.model, pairs, rest, trial.values, objective=lambda d: d)
    trial.passes += 1
    ranks = {site: gradient.abs() for site, gradient in moved.items()}
    for site, channels in trial.nodes.channels.items():
        ranks[site][list(channels)] = -1.0
    return Scores(ranks=ranks, learned=trial.nodes, history=())
