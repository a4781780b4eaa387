"""The forms of a task: the circuit's loss on each, and which nodes matter on which.

In: a validation. Out: plain rows for the report and the page to draw.
"""

from __future__ import annotations

from typing import Any

from circuitkit.findings import FormLoss, Validation
from circuitkit.views.safe_text import number, prose

MAX_GROUPS = 8
_NAMED = 6


def forms_section(validation: Validation | None) -> dict[str, Any] | None:
    """Loss by form, and the nodes that matter on some forms only; None where there are no forms."""
    if validation is None or len(validation.forms) < 2:
        return None
    used = _used(validation)
    groups: dict[tuple[str, ...], list[str]] = {}
    for use in validation.uses:
        if use.forms and len(use.forms) < len(used):
            groups.setdefault(use.forms, []).append(use.node)
    largest = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return {
        "rows": [_row(form, validation, used) for form in validation.forms],
        "n_everywhere": sum(len(use.forms) == len(used) > 0 for use in validation.uses),
        "n_tried": len(validation.uses),
        "groups": [(prose(", ".join(forms), 200), _listed(nodes)) for forms, nodes in largest]
        [:MAX_GROUPS],
        "n_more": max(0, len(largest) - MAX_GROUPS),
    }  # fmt: skip


def _used(validation: Validation) -> set[str]:
    """The forms on which some node matters.

    On another none does, or it was not tested: too few of the pairs that nodes were tried on are
    of it.
    """
    return {form for use in validation.uses for form in use.forms}


def _row(form: FormLoss, validation: Validation, used: set[str]) -> dict[str, Any]:
    n_nodes = sum(form.form in use.forms for use in validation.uses)
    interval = "" if form.low is None else f" [{number(form.low)}, {number(form.high)}]"
    return {
        "name": prose(form.form, 40),
        "loss": f"{number(form.loss_nats)}{interval}",
        "counts": f"{form.n_pairs:,} / {form.n_templates:,}",
        "n_nodes": str(n_nodes) if form.form in used else "–",
    }


def _listed(nodes: list[str]) -> str:
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return prose(", ".join(nodes[:_NAMED]) + more, 400)
