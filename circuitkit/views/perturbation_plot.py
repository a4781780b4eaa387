"""The picture of a perturbation: how the dense model's answer goes with the strength, as SVG.

In: a ``Perturbation``. Out: SVG text; the same numbers give the same bytes.
Source: after Gao et al. 2025, Figure 9.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from circuitkit.circuit.perturbation import Perturbation
from circuitkit.circuit.transfer import Bounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OTHER, _FOLLOWS, _GREY = "#0072B2", "#D55E00", "#777777"


def draw_perturbation(made: Perturbation) -> str:
    """The share of answers that follow and the probability of the other answer, by strength."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    options: Any = {
        "svg.hashsalt": "perturbation", "svg.fonttype": "path", "font.family": "DejaVu Sans",
    }  # fmt: skip
    with rc_context(options):
        figure = Figure(figsize=(6.6, 4.0), layout="constrained")
        plot_perturbation(made, figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def plot_perturbation(made: Perturbation, ax: Axes) -> Axes:
    """Draw the curve on axes, with the controls at strength 1."""
    x = [point.strength for point in made.curve]
    lines = (
        (
            "the other answer's probability",
            _OTHER,
            [p.dense_other_answer for p in made.curve],
            "o-",
        ),
        ("share of answers that follow", _FOLLOWS, [p.dense_follows for p in made.curve], "s--"),
    )
    for name, colour, values, style in lines:
        ax.plot(x, [v.effect for v in values], style, color=colour, ms=3, lw=1.5, label=name)
        ax.fill_between(x, *_band(values), color=colour, alpha=0.15, lw=0)
    ax.plot([1], [made.by_means_follows.effect], "D", color=_FOLLOWS, mfc="white", ms=6,
            label="follow the difference of means, same size")  # fmt: skip
    ax.plot([1], [made.random.follows], "x", color=_GREY, ms=7, mew=2,
            label=f"follow a random direction, same size ({made.random.n_draws})")  # fmt: skip
    ax.set(xlim=(-0.03, 1.05), ylim=(-0.03, 1.03),
           xlabel="strength: from the prompt's own value to the other prompt's")  # fmt: skip
    ax.set_ylabel(f"in {made.dense.name}", parse_math=False)
    ax.axhline(0.5, color=_GREY, lw=0.5, ls=":")
    ax.legend(loc="upper left", fontsize=7.5, frameon=False)
    ax.set_title(f"{made.task.name}: {_named(made.nodes)}", fontsize=9, parse_math=False)
    return ax


def _band(values: list[Bounded]) -> tuple[list[float], list[float]]:
    low = [v.effect if v.low is None else v.low for v in values]
    return low, [v.effect if v.high is None else v.high for v in values]


def _named(nodes: tuple[str, ...]) -> str:
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return ", ".join(nodes[:3]) + more
