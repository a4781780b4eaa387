"""Loss by form: a mean over all prompts can hide a form on which the circuit fails.

In: the losses of the circuit, one a pair, and the template of each. Out: the mean loss of each
form (a way of asking) with its interval over the form's own templates. A template is named
``FORM/FRAME``; where one is not, there are no forms to compare. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from circuitkit.findings import FormLoss
from circuitkit.statistics.intervals import mean_loss


def loss_by_form(
    losses: NDArray[np.float64], templates: Sequence[str], seed: int
) -> tuple[FormLoss, ...]:
    """The mean loss of every form, in nats, in the order of their names."""
    if not all("/" in template for template in templates):
        return ()
    forms = np.array([template.partition("/")[0] for template in templates])
    return tuple(_of(form, losses, forms, templates, seed) for form in np.unique(forms))


def _of(
    form: str, losses: NDArray[np.float64], forms: NDArray, templates: Sequence[str], seed: int
) -> FormLoss:
    here = [i for i, other in enumerate(forms) if other == form]
    names = [templates[i] for i in here]
    estimate = mean_loss(losses[here], names, seed)
    low, high = estimate.bounds
    return FormLoss(
        form=str(form), n_pairs=len(here), n_templates=len(set(names)),
        loss_nats=estimate.effect, low=low, high=high,
    )  # fmt: skip


def that_miss(forms: Sequence[FormLoss], target_loss_nats: float) -> Iterator[str]:
    """The forms above the target by more than their interval, in words."""
    for form in forms:
        if form.low is not None and form.low > target_loss_nats:
            yield (
                f"{form.form} alone misses the target: {form.loss_nats:.3f} "
                f"[{form.low:.3f}, {form.high:.3f}] nats"
            )
