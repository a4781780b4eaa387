"""The plots of a study, as SVG: the same table, the same bytes.

In: the results. Out: SVG text. A size is the median over seeds of the edges of circuits that
meet their target; a mean over tasks is geometric, and what it leaves out is counted. Nothing else
is brought together: where a plot does not show a column of the grid that varies, there is a panel
for each of its values.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from circuitkit.circuit.transfer import MECHANISMS
from circuitkit.studies.study_sizes import (
    NothingToDrawError,
    geometric_mean,
    in_brackets,
    n_tasks,
    sizes,
)
from circuitkit.studies.study_toml import PlotName

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
"""Colours that colour-blind readers tell apart (Okabe and Ito)."""

_MARKERS = "osD^vPX*"
_GREY = "#888888"
_OF_MECHANISMS = dict(zip(MECHANISMS, (*COLOURS[:4], "#CCCCCC"), strict=True))


def draw(name: PlotName, frame: pd.DataFrame) -> str | None:
    """One plot of the results; None if they hold nothing to draw."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    def has_something(panel: _Panel) -> bool:
        try:
            _PLOTS[name].draw(panel.frame, Figure().subplots())
        except NothingToDrawError:
            return False
        return True

    options: Any = {
        "svg.hashsalt": name, "svg.fonttype": "path", "font.family": "DejaVu Sans",
        "text.parse_math": False,
    }  # fmt: skip
    with rc_context(options):
        panels = [panel for panel in _panels(name, frame) if has_something(panel)]
        if not panels:
            return None
        figure = Figure(figsize=(7.5, 4.8 * len(panels)), layout="constrained")
        parts: Any = [figure] if len(panels) == 1 else figure.subfigures(len(panels), 1)
        for part, panel in zip(parts, panels, strict=True):
            ax = part.subplots()
            _PLOTS[name].draw(panel.frame, ax)
            if panel.title:
                part.suptitle(panel.title, fontsize=9, weight="bold")
            _finish(part, ax)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


class _Panel(NamedTuple):
    """Rows that a plot may bring together, and what they alone have in common."""

    title: str
    frame: pd.DataFrame


def _panels(name: PlotName, frame: pd.DataFrame) -> list[_Panel]:
    """All rows, if they differ in nothing but what the plot shows and brings together."""
    rows: Any = frame[frame["method"].notna()]
    apart = [column for column in _PLOTS[name].apart if rows[column].nunique() > 1]
    if not apart:
        return [_Panel("", frame)]
    return [
        _Panel(", ".join(map(_in_words, apart, values)), group)
        for values, group in rows.groupby(apart, sort=True)
    ]


def _in_words(column: str, value: Any) -> str:
    return f"{value:g} nats" if column == "target_loss_nats" else f"{column} {value}"


def _finish(figure: FigureBase, ax: Axes) -> None:
    """Legend below the axes; numbers on logarithmic axes as a person writes them."""
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", fontsize=8, ncols=2)
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "25" else "")


def _pair(names: Any) -> tuple[Any, Any]:
    """The two values that a group of rows shares."""
    return names[0], names[1]


def _size_by_target(frame: pd.DataFrame, ax: Axes) -> None:
    found = sizes(frame, ["checkpoint", "rung", "task", "target_loss_nats"])
    asked = sorted(frame["target_loss_nats"].dropna().unique())
    groups = found.groupby(["checkpoint", "rung"], sort=True)
    for i, (names, group) in enumerate(groups):
        checkpoint, rung = _pair(names)
        table = group.pivot_table(index="target_loss_nats", columns="task", values="n_edges")
        whole = table.reindex(asked).dropna(axis="columns")
        kept = whole.loc[:, (whole > 0).all()]
        colour = COLOURS[i % len(COLOURS)]
        ax.plot(table.index, table.where(table > 0).to_numpy(), color=colour, lw=0.6, alpha=0.4)
        mean = [geometric_mean(line) for line in kept.to_numpy() if len(line)]
        label = f"{checkpoint}, {rung} ({n_tasks(kept.shape[1], whole.shape[1])})"
        ax.plot(asked[: len(mean)], mean, color=colour, marker=_MARKERS[i % 8], lw=2, label=label)
    ax.set(xlabel="target loss (nats)", ylabel="edges", yscale="log")
    ax.set_title("Edges by target loss; thick: geometric mean of tasks found at every target",
                 fontsize=9)  # fmt: skip


def _sparse_by_dense(frame: pd.DataFrame, ax: Axes) -> None:
    shares: Any = frame.assign(share=frame["n_nonzero"] / frame["n_parameters"])
    shares = shares.groupby("checkpoint")["share"].first().dropna().sort_values()
    if len(set(shares)) < 2:
        raise NothingToDrawError("no checkpoint is sparser than another")
    sparse, dense = shares.index[0], shares.index[-1]
    found = sizes(frame, ["rung", "target_loss_nats", "task", "checkpoint"])
    wide = found.pivot_table(
        index=["rung", "target_loss_nats", "task"], columns="checkpoint", values="n_edges"
    )
    wide: Any = wide.reindex(columns=[sparse, dense]).dropna()
    with_edges = (wide > 0).all(axis="columns")
    if not with_edges.any():
        raise NothingToDrawError("no task that both do")
    for i, (names, group) in enumerate(wide.groupby(level=[0, 1], sort=True)):
        rung, target = _pair(names)
        kept = group[with_edges[group.index]]
        ratio = np.asarray(kept[dense] / kept[sparse], float)
        mean = f"×{geometric_mean(ratio):.1f}{in_brackets(ratio)}, " if len(ratio) else ""
        label = f"{rung}, {target:g} nats: {mean}{n_tasks(len(kept), len(group))}"
        ax.plot(kept[dense], kept[sparse], _MARKERS[i % 8], color=COLOURS[i % 8], label=label)
    line = [float(wide[with_edges].min().min()), float(wide[with_edges].max().max())]
    ax.plot(line, line, color=_GREY, lw=0.8)
    ax.set(xscale="log", yscale="log", xlabel=f"edges, {dense}", ylabel=f"edges, {sparse}")
    without = sorted(set(frame["checkpoint"].dropna()) - {sparse, dense})
    but = f"\n(but not {', '.join(without)}: the sparsest and the densest are drawn)"
    ax.set_title("Edges at matched loss, a point a task; below the line the sparse is smaller"
                 f"{but if without else ''}", fontsize=9)  # fmt: skip


def _by_task(frame: Any, ax: Axes, column: str, title: str) -> None:
    """A row a task, a marker for every value of a column; its geometric mean in the legend."""
    found = sizes(frame, ["task", column])
    tasks = sorted(set(found["task"]), reverse=True)
    for task, line in found[found["n_edges"] > 0].groupby("task", sort=True):
        span = [line["n_edges"].min(), line["n_edges"].max()]
        ax.plot(span, [tasks.index(task)] * 2, color=_GREY, lw=0.8, zorder=0)
    for i, (value, group) in enumerate(found.groupby(column, sort=True)):
        kept: Any = group[group["n_edges"] > 0]
        mean = f"geometric mean {geometric_mean(kept['n_edges']):.0f} edges, " if len(kept) else ""
        label = f"{value}: {mean}{n_tasks(len(kept), len(group))}"
        y = [tasks.index(task) for task in kept["task"]]
        ax.plot(kept["n_edges"], y, _MARKERS[i % 8], color=COLOURS[i % 8], label=label)
    ax.set_yticks(range(len(tasks)), tasks)
    ax.tick_params(axis="y", labelsize=7)
    ax.set(xlabel="edges", xscale="log")
    ax.set_title(title, fontsize=9)


def _size_by_method(frame: pd.DataFrame, ax: Axes) -> None:
    smallest = frame.loc[frame["rung"] == "smallest"]
    _by_task(smallest, ax, "method", "Edges of the smallest circuit that meets the target")


def _size_by_rung(frame: pd.DataFrame, ax: Axes) -> None:
    _by_task(frame, ax, "rung", "Edges at each rung, task by task")


def _frontier(frame: pd.DataFrame, ax: Axes) -> None:
    found = sizes(frame, ["checkpoint", "task"])
    table = found.pivot_table(index="checkpoint", columns="task", values="n_edges")
    every = table.dropna(axis="columns")
    common = every.loc[:, (every > 0).all()]
    if common.empty:
        raise NothingToDrawError("no task that every model does")
    about = frame.groupby("checkpoint", sort=True)[
        ["n_parameters", "n_nonzero", "validation_loss_nats"]
    ].first()
    points = about.loc[common.index].assign(edges=common.apply(geometric_mean, axis="columns"))
    points = points.dropna().sort_values(["n_parameters", "n_nonzero"])
    if len(points) < 2:
        raise NothingToDrawError("fewer than two models whose validation loss is recorded")
    for i, (n_parameters, line) in enumerate(points.groupby("n_parameters", sort=True)):
        label = f"{n_parameters:,} weights"
        ax.plot(line["validation_loss_nats"], line["edges"], "-", marker=_MARKERS[i % 8],
                color=COLOURS[i % 8], markerfacecolor="white", label=label)  # fmt: skip
    best = points[on_frontier(points)]
    ax.plot(best["validation_loss_nats"], best["edges"], "k.", label="on the frontier")
    for _, row in points.iterrows():
        ax.annotate(f" {int(row['n_nonzero']):,}", (row["validation_loss_nats"], row["edges"]),
                    fontsize=6)  # fmt: skip
    ax.set(xlabel="validation loss (nats a token)", ylabel="edges", yscale="log")
    without = sorted(set(frame["checkpoint"].dropna()) - set(points.index))
    but = f"\n(but not {', '.join(without)}, which have no point)" if without else ""
    over = n_tasks(common.shape[1], every.shape[1])
    ax.set_title("Geometric mean of edges over tasks that every model does "
                 f"({over}); numbers: weights that are not zero{but}", fontsize=9)  # fmt: skip


def on_frontier(points: pd.DataFrame) -> list[bool]:
    """Whether no other model has both a lower loss and fewer edges."""
    pairs = points[["validation_loss_nats", "edges"]].to_numpy(float)
    return [not ((pairs <= p).all(axis=1) & (pairs < p).any(axis=1)).any() for p in pairs]


def _mechanisms(frame: pd.DataFrame, ax: Axes) -> None:
    """A row a task, a column a checkpoint and rung: the outcome, and the least overlap."""
    found: Any = frame[frame["mechanisms"].notna()]
    if found.empty:
        raise NothingToDrawError("no task whose families were compared")
    columns = [*dict.fromkeys(zip(found["checkpoint"], found["rung"], strict=True))]
    tasks = sorted(set(found["task"]), reverse=True)
    for name, colour in _OF_MECHANISMS.items():
        group = found[found["mechanisms"] == name]
        x = [columns.index(at) for at in zip(group["checkpoint"], group["rung"], strict=True)]
        y = [tasks.index(task) for task in group["task"]]
        if x:
            ax.scatter(x, y, s=120, marker="s", color=colour, label=f"{name}: {len(x)}")
    for row in found[found["overlap_min"].notna()].to_dict("records"):
        at = columns.index((row["checkpoint"], row["rung"])), tasks.index(row["task"])
        ax.annotate(f"{row['overlap_min']:.2f}", at, xytext=(9, -3), textcoords="offset points",
                    fontsize=7)  # fmt: skip
    ax.set_xticks(range(len(columns)), [f"{name},\n{rung}" for name, rung in columns], fontsize=7)
    ax.set_yticks(range(len(tasks)), tasks, fontsize=7)
    ax.set(xlim=(-0.5, len(columns) - 0.3), ylim=(-0.7, len(tasks) - 0.3))
    ax.set_title("Mechanisms of every task; numbers: nodes that the two least alike circuits share",
                 fontsize=9)  # fmt: skip


class _Plot(NamedTuple):
    """How a plot is drawn, and the columns that it does not show, which are panels."""

    draw: Callable[[pd.DataFrame, Axes], None]
    apart: tuple[str, ...]


_PLOTS: Mapping[PlotName, _Plot] = {
    "size_by_target": _Plot(_size_by_target, ("method",)),
    "sparse_by_dense": _Plot(_sparse_by_dense, ("method",)),
    "size_by_method": _Plot(_size_by_method, ("checkpoint", "target_loss_nats")),
    "size_by_rung": _Plot(_size_by_rung, ("checkpoint", "method", "target_loss_nats")),
    "frontier": _Plot(_frontier, ("method", "rung", "target_loss_nats")),
    "mechanisms": _Plot(_mechanisms, ("method", "target_loss_nats", "seed")),
}
