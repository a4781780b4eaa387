"""The four pictures of ``docs/concepts.md``: ``python docs/site/draw_pictures.py``.

In: folders of ``reports/gallery``. Out: ``docs/pictures/NAME.svg``, the same bytes for the same
folders. Every number in them is of a file there.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitkit import Circuit, Validation

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "reports" / "gallery"
EXAMPLE = GALLERY / "tinypython-sparse" / "final_kwarg"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#B8B8B8"
SMALLEST = "smallest.validation.json"
PLAIN = {
    "svg.hashsalt": "circuitkit",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(out: Path) -> list[Path]:
    """All four."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = {
        "extraction": extraction,
        "ablation": ablation,
        "interchange": interchange,
        "proof": proof,
    }
    made = []
    with mpl.rc_context(PLAIN):
        for name, picture in pictures.items():
            figure = picture()
            made.append(out / f"{name}.svg")
            figure.savefig(made[-1], metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    return made


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def extraction() -> Figure:
    """Every node of the model as a place on a line, those of the circuit marked."""
    circuit = Circuit.load(EXAMPLE)
    widths = {str(site): width for site, width in _widths(circuit).items()}
    figure, ax = _figure(6.4, 4.6)
    kept = {(str(node.site), node.channel) for node in circuit.nodes}
    for y, (site, width) in enumerate(widths.items()):
        ax.plot([0, width], [y, y], color=GREY, linewidth=0.8, zorder=1)
        channels = sorted(channel for name, channel in kept if name == site)
        ax.plot(channels, [y] * len(channels), "o", color=BLUE, markersize=4, zorder=2)
    ax.set_yticks(range(len(widths)), widths, fontsize=6)
    ax.set_xlabel("channel")
    ax.set_title(
        f"{circuit.n_nodes} of {sum(widths.values()):,} nodes: the circuit of final_kwarg",
        fontsize=10,
    )
    return figure


def _widths(circuit: Circuit) -> dict:
    """The number of channels of every site of the model."""
    from circuitkit import load_checkpoint

    return load_checkpoint(circuit.checkpoint.name).architecture.widths


def ablation() -> Figure:
    """F under the six kinds of ablation, for both rungs."""
    figure, ax = _figure(5.6, 2.6)
    for file, colour, label in (
        ("validation.json", BLUE, "trusted"),
        (SMALLEST, ORANGE, "smallest"),
    ):
        values = by_ablation(Validation.load(EXAMPLE, file)["robust_to_ablation"].note)
        ax.plot(list(values.values()), range(len(values)), "o", color=colour, label=label)
    ax.set_yticks(range(len(values)), values)
    ax.invert_yaxis()
    for at, what, side in ((0, "chance", "right"), (1, "the model", "left")):
        ax.axvline(at, color=GREY, linewidth=0.8, zorder=0)
        ax.annotate(what, (at, 1.02), xycoords=("data", "axes fraction"), ha=side, fontsize=7)
    ax.set_xlabel("F: how well the circuit does the task")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def by_ablation(note: str) -> dict[str, float]:
    """The numbers in the note of a finding, by kind of ablation."""
    values = re.findall(r"(\w+) (-?\d+\.\d+)", note.partition("pairs: ")[2])
    return {kind: float(value) for kind, value in values}


def interchange() -> Figure:
    """How often the answer follows the circuit, task by task, for both rungs."""
    rows = sorted(follows(), key=lambda row: row[2])
    figure, ax = _figure(6.4, 5.6)
    for y, (_, smallest, trusted) in enumerate(rows):
        ax.plot([smallest, trusted], [y, y], color=GREY, linewidth=0.8, zorder=1)
        ax.plot(smallest, y, "o", color=ORANGE, markersize=4, label="smallest" if not y else None)
        ax.plot(trusted, y, "o", color=BLUE, markersize=4, label="trusted" if not y else None)
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=5.5)
    ax.set_xlabel("share of prompts on which the answer follows the circuit")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def follows() -> Iterator[tuple[str, float, float]]:
    """A row a task of which both rungs were measured."""
    for path in sorted(GALLERY.glob("*/*/ladder.csv")):
        with path.open(encoding="utf-8") as file:
            rungs = {row["rung"]: row["follows"] for row in csv.DictReader(file)}
        if rungs.get("smallest") and rungs.get("trusted"):
            name = f"{path.parent.parent.name.removeprefix('tinypython-')} {path.parent.name}"
            yield name, float(rungs["smallest"]), float(rungs["trusted"])


def proof() -> Figure:
    """Every finding of a circuit with its interval, as ``Validation.plot`` draws it."""
    figure = Figure(figsize=(6.4, 4.2))
    ax = figure.add_subplot()
    Validation.load(EXAMPLE).plot(ax)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the pictures of docs/concepts.md.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    draw(parser.parse_args().out)
