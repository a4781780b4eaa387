"""The target loss: the one given, or a default that the model itself meets.

In: a model and selection pairs. Out: a target in nats. A circuit need not be better than its
model, so the default is raised to the model's own loss. A model that does not do the task is
refused before the search. Source: docs/extraction.md#target.
"""

from __future__ import annotations

from dataclasses import dataclass

from circuitkit.checkpoints.competence_json import MAX_LOSS_NATS, MIN_ACCURACY
from circuitkit.errors import TaskError
from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.model import EncodedPairs, Transformer, hits, pair_losses

DEFAULT_TARGET_NATS = 0.15
RAISED_BY_NATS = 0.05
_ROOM_NATS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The target in force, and the one asked for where it was raised to the model's own loss."""

    loss_nats: float
    requested_nats: float | None = None


def choose_target(
    model: Transformer, select: EncodedPairs, asked_nats: float | None, about: str
) -> Target:
    """The target asked for, else 0.15 nats, raised if the model's own loss is above 0.13.

    Args:
        model: the model.
        select: the selection pairs.
        asked_nats: the target asked for; None for the default.
        about: the task and the checkpoint by name, for the message.

    Raises:
        TaskError: if no target was asked for and the model does not do the task.
    """
    if asked_nats is not None:
        return Target(loss_nats=asked_nats)
    differences = tapped_differences(model, select, None)
    own = float(pair_losses(differences).mean())
    accuracy = float(hits(differences).mean())
    raised = own + RAISED_BY_NATS
    if own > MAX_LOSS_NATS or accuracy < MIN_ACCURACY:
        raise TaskError(
            f"{about}: the model does not do the task. Its loss is {own:.3f} nats and its accuracy "
            f"{accuracy:.3f} on {len(select)} selection pairs; expected at most {MAX_LOSS_NATS} "
            f"and at least {MIN_ACCURACY:.2f}. Choose another task ('circuitkit checkpoints NAME' "
            f"shows which it does), or give --target-loss {raised:.3f} for a circuit that does it "
            "as badly as the model: a large one, and a long search."
        )
    if own <= DEFAULT_TARGET_NATS - _ROOM_NATS:
        return Target(loss_nats=DEFAULT_TARGET_NATS)
    return Target(loss_nats=raised, requested_nats=DEFAULT_TARGET_NATS)
