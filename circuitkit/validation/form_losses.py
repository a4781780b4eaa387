"""Loss by form: a mean over all prompts can hide a form on which the circuit fails.

In: the losses of the circuit, one a pair, and the template of each. Out: the mean loss of each
form (a way of asking) with its interval over the form's own templates. A template is named
``FORM/FRAME``; where one is not, there are no forms to compare. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from circuitkit.findings import FormLoss
from circuitkit.statistics.intervals import mean_loss
from circuitkit.task.pairs import forms_in


def by_form(templates: Sequence[str]) -> dict[str, list[int]]:
    """The pairs of every form, in the order of their names; none where a template has no form."""
    forms = np.array(forms_in(templates))
    return {str(form): np.flatnonzero(forms == form).tolist() for form in np.unique(forms)}


def loss_by_form(
    losses: NDArray[np.float64], templates: Sequence[str], seed: int
) -> tuple[FormLoss, ...]:
    """The mean loss of every form, in nats, in the order of their names."""
    return tuple(
        _of(form, losses[here], [templates[i] for i in here], seed)
        for form, here in by_form(templates).items()
    )


def _of(form: str, losses: NDArray[np.float64], names: Sequence[str], seed: int) -> FormLoss:
    estimate = mean_loss(losses, names, seed)
    low, high = estimate.bounds
    return FormLoss(
        form=form, n_pairs=len(names), n_templates=len(set(names)),
        loss_nats=estimate.effect, low=low, high=high,
    )  # fmt: skip


def that_miss(
    forms: Sequence[FormLoss], limits: Mapping[str, float], above_nats: float = 0.0
) -> Iterator[FormLoss]:
    """The forms above their limit by more than their interval, and by more than ``above_nats``."""
    for form in forms:
        if form.low is not None and form.low > limits[form.form] + above_nats:
            yield form


def in_words(form: FormLoss) -> str:
    """That a form misses its limit."""
    return (
        f"{form.form} alone misses the target: {form.loss_nats:.3f} "
        f"[{form.low:.3f}, {form.high:.3f}] nats"
    )
