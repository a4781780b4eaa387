"""Faithful: the circuit answers as the model does, prompt by prompt.

The claim is tested on how often both prefer the same answer. Also reported: slope and R² of
the circuit's logit difference on the model's within each answer, and quantiles of the
divergence between their preferences. Source: docs/validation.md#faithful.

What can fool it: where the model is always right, so is anything that does the task. Agreement
then shows nothing about how the task is done; slope and R² do.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from circuitkit.findings import Claim, Finding
from circuitkit.model.per_pair import agreement_of
from circuitkit.statistics.decision import Requirement, decide, joined
from circuitkit.statistics.intervals import proportion
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.FAITHFUL,
    suite="default",
    fooled_by="a model that is always right, which anything that does the task agrees with",
)

AGREEMENT = 0.90
_QUANTILES = (0.5, 0.9, 0.99)


def check_faithful(trial: Trial) -> Finding:
    """The lower bound of the sign agreement of d_C and d_M is at least 0.90."""
    circuit, model = trial.scored.circuit, trial.scored.model
    agreement = proportion(agreement_of(circuit, model), trial.clusters, trial.seed)
    decision = decide(len(trial.pairs), Requirement(estimate=agreement, low=AGREEMENT))
    return Finding(
        claim=CLAIM.id,
        outcome=decision.outcome,
        note=joined(
            _line(circuit, model, trial.pairs.answers), _divergence(circuit, model), decision.note
        ),
        **agreement.fields(),
        unit="of prompts answered as the model does",
        threshold=f"lower bound ≥ {AGREEMENT:.2f}",
        threshold_source="docs/validation.md#faithful",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        fooled_by=CLAIM.fooled_by,
    )


def _line(circuit: Tensor, model: Tensor, answers: Tensor) -> str:
    """Slope and R² of one logit difference on the other, each less its mean by answer."""
    x, y = (_within(d.double(), answers) for d in (model, circuit))
    spread, own = float(x.square().sum()), float(y.square().sum())
    if min(spread, own) < 1e-9 * len(answers):
        return "within an answer one of them does not vary"
    shared = float((x * y).sum())
    return f"within an answer slope {shared / spread:.2f}, R² {shared**2 / (spread * own):.2f}"


def _within(values: Float[Tensor, " rows"], answers: Tensor) -> Float[Tensor, " rows"]:
    """Each value less the mean of those with the same right answer."""
    _, group = answers.unique(return_inverse=True)
    sums = torch.zeros(int(group.max()) + 1, dtype=values.dtype).index_add(0, group, values)
    return values - (sums / group.bincount())[group]


def _divergence(circuit: Tensor, model: Tensor) -> str:
    """KL from the model's preference between the two answers to the circuit's, in nats."""
    p = torch.sigmoid(model)
    kl = p * (logsigmoid(model) - logsigmoid(circuit))
    kl = kl + (1 - p) * (logsigmoid(-model) - logsigmoid(-circuit))
    levels = kl.double().quantile(torch.tensor(_QUANTILES, dtype=torch.float64)).tolist()
    shown = ", ".join(f"{x:.3f}" for x in levels)
    return f"KL between the two answers {shown} nats at the quantiles {_QUANTILES}"
