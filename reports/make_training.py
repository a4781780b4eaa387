"""Draw docs/training-curves.svg and print two tables of docs/results.md, from what training left.

In: the folders of the bundled checkpoints, ``docs/sweeps.csv``.
Usage: python reports/make_training.py
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitkit import load_checkpoint
from circuitkit.checkpoints import bundled_checkpoints
from circuitkit.checkpoints.competence_json import Competence
from circuitkit.checkpoints.inspection import summarise_checkpoint

DOCS = Path(__file__).parents[1] / "docs"
CURVES, SWEEPS = DOCS / "training-curves.svg", DOCS / "sweeps.csv"
STYLE = {"svg.hashsalt": "circuitkit", "svg.fonttype": "none", "font.size": 9}


def competence_table() -> Iterator[str]:
    """A row a task; loss, accuracy and its lower bound for every bundled checkpoint."""
    found = {name: Competence.load(folder) for name, folder in bundled_checkpoints().items()}
    columns = {
        name: {row.task: row for row in table.tasks} for name, table in found.items() if table
    }
    yield "| task | " + " | ".join(f"{name}: loss (nats) | accuracy" for name in columns) + " |"
    yield "|---" * (1 + 2 * len(columns)) + "|"
    for task in next(iter(columns.values())):
        cells = [cell for rows in columns.values() for cell in _cells(rows[task])]
        yield f"| {task} | " + " | ".join(cells) + " |"
    done = [f"does {sum(row.does for row in rows.values())} | " for rows in columns.values()]
    yield f"| of {len(next(iter(columns.values())))} | " + " | ".join(done) + "|"


def cost_table() -> Iterator[str]:
    """A row a checkpoint: its weights, what it was trained on, and what that took."""
    titles = ("checkpoint", "channels × layers", "weights", "not zero", "million tokens",
              "validation loss (nats a token)", "seconds", "threads")  # fmt: skip
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for name, folder in bundled_checkpoints().items():
        trained = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        about = summarise_checkpoint(load_checkpoint(name))
        threads = trained["machine"].split(", ")[-1].partition(" ")[0]
        row = (
            name, f"{about['d_model']} × {about['n_layer']}", f"{about['n_parameters']:,}",
            f"{about['n_nonzero']:,}", f"{about['n_tokens'] / 1e6:.1f}",
            f"{about['validation_loss_nats']:.4f}", f"{trained['seconds']:,.0f}", threads,
        )  # fmt: skip
        yield f"| {' | '.join(row)} |"


def _cells(row) -> tuple[str, str]:
    accuracy = f"{row.accuracy.mean:.3f} (≥ {row.accuracy.low:.3f})"
    return f"{row.loss_nats.mean:.3f}", accuracy if row.does else f"*{accuracy}*"


def curves() -> str:
    """Validation loss against tokens: the bundled checkpoints, and the short runs before."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for name, folder in bundled_checkpoints().items():
            lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            _draw(left, name, pd.DataFrame([json.loads(line) for line in lines]))
        for name, rows in pd.read_csv(SWEEPS).groupby("run", sort=False):
            _draw(right, str(name), rows)
        left.set_title("bundled checkpoints")
        right.set_title("short runs before them")
        left.set_ylabel("validation loss (nats)")
        left.set_ylim(1.2, 3.2)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _draw(axes: Axes, name: str, rows: pd.DataFrame) -> None:
    axes.plot(rows["n_tokens"] / 1e6, rows["validation_loss_nats"], label=name, linewidth=1.4)
    axes.set_xlabel("million tokens")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def main() -> None:
    """Write the curves, print the tables."""
    CURVES.write_text(curves(), encoding="utf-8")
    sys.stdout.write("\n".join([*cost_table(), "", *competence_table()]) + "\n")


if __name__ == "__main__":
    main()
