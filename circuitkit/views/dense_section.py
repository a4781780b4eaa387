"""What the circuit's nodes do in the dense model that its checkpoint is bridged to.

In: a ``Perturbation``. Out: words, a picture and a small table for the report and the page.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from circuitkit.circuit.perturbation import Perturbation
from circuitkit.views.perturbation_plot import draw_perturbation
from circuitkit.views.safe_text import prose

_WIDTH = 560
_NAMED = 6


def dense_section(made: Perturbation | None) -> dict[str, Any] | None:
    """None where nothing was carried over."""
    if made is None:
        return None
    svg, end, random = draw_perturbation(made), made.end, made.random
    follows = end.dense_follows
    return {
        "summary": prose(f"{made.dense.name} follows on {follows} of the prompts.", 200),
        "how": prose(
            f"{_nodes(made)} moved from the prompt's own value to the other prompt's, and the "
            f"change carried into the dense model at {', '.join(made.crossings)}.", 600,
        ),
        "svg": svg,
        "source": f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}",
        "width": _WIDTH,
        "alt": prose(f"how the answer of {made.dense.name} goes with the strength", 200),
        "rows": [
            ["the circuit's nodes", str(made.d_per_norm), str(follows)],
            ["difference of means", str(made.by_means_d_per_norm), str(made.by_means_follows)],
            [
                f"random directions ({random.n_draws})",
                f"{random.d_per_norm:.2f}, at most {random.highest_d_per_norm:.2f}",
                f"{random.follows:.2f}",
            ],
        ],
        "note": (
            f"{made.n_pairs:,} test pairs of {made.n_templates:,} templates. Follow: of the "
            f"{made.n_right:,} prompts that the dense model answers rightly, the share whose "
            f"answer turns. p = {random.p_value:.4f} against random directions."
        ),
    }  # fmt: skip


def _nodes(made: Perturbation) -> str:
    more = f" and {len(made.nodes) - _NAMED} more" if len(made.nodes) > _NAMED else ""
    return ", ".join(made.nodes[:_NAMED]) + more
