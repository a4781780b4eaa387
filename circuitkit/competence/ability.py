"""How well a whole model does the task of some pairs, with intervals over templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.model import EncodedPairs, Transformer, hits
from circuitkit.model.per_pair import hits_of, losses_of
from circuitkit.statistics.intervals import Estimate, mean_loss, proportion


class Ability(NamedTuple):
    """A model's loss in nats and its accuracy on some pairs, with intervals over templates."""

    loss_nats: Estimate
    accuracy: Estimate


def measure_ability(model: Transformer, pairs: EncodedPairs) -> Ability:
    """How well the whole model does the task that these pairs ask."""
    return ability_of(differences_of(model, pairs), pairs.templates)


def differences_of(model: Transformer, pairs: EncodedPairs) -> Float[Tensor, " rows"]:
    """The whole model's logit difference at every prompt."""
    return tapped_differences(model, pairs, None)


def ability_of(differences: Float[Tensor, " rows"], templates: Sequence[str]) -> Ability:
    """Loss and accuracy of these logit differences, with the template as the unit."""
    return Ability(
        loss_nats=mean_loss(losses_of(differences), templates, seed=0),
        accuracy=proportion(hits_of(differences), templates, seed=0),
    )


def accuracy_of_sides(differences: Float[Tensor, " rows"]) -> tuple[float, float]:
    """The share of first prompts after which the right answer is preferred, and of second ones."""
    first, second = hits(differences).view(2, -1).mean(1).tolist()
    return first, second
