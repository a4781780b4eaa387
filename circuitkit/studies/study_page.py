"""The page of a study: its question, its plots and its table in one folder, without a server.

In: a study and its results. Out: ``index.html`` and ``plots/NAME.svg``. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from circuitkit.files import write_whole
from circuitkit.studies.results import RESULTS, StudyResults
from circuitkit.studies.study_plots import draw
from circuitkit.studies.study_toml import Study

PAGE = "index.html"
_SHOWN = (
    "kind", "checkpoint", "task", "method", "rung", "target_loss_nats", "seed", "outcome",
    "n_nodes", "n_edges", "loss_circuit_nats", "f_interchange", "grade", "seconds", "error",
)  # fmt: skip
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-size: 13px }
td, th { padding: .2rem .6rem; text-align: left }
tr:nth-child(even) { background: #f3f3f3 } th { border-bottom: 2px solid #444 }
img { max-width: 100% } .scroll { overflow-x: auto }
"""


def write_page(study: Study, results: StudyResults) -> None:
    """Draw every plot that the study names, and write the page that holds them all.

    Raises:
        UsageError: if a file cannot be written.
    """
    drawn = {name: draw(name, results.frame) for name in study.plots}
    for name, svg in drawn.items():
        path = results.path / "plots" / f"{name}.svg"
        path.unlink(missing_ok=True)
        if svg is not None:
            write_whole(path, svg)
    write_whole(results.path / PAGE, _page(study, results.frame, drawn))


def _page(study: Study, frame: pd.DataFrame, drawn: Mapping[Any, str | None]) -> str:
    counts = frame["outcome"].value_counts().sort_index()
    outcomes = ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
    return "\n".join([
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(study.name)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(study.name)}</h1><p>{escape(study.question)}</p>",
        f"<p>{len(frame)} rows: {escape(outcomes)}. "
        f'The whole table: <a href="{RESULTS}">{RESULTS}</a>.</p>',
        *(_figure(name, svg) for name, svg in drawn.items()),
        _table(frame), "</body></html>\n",
    ])  # fmt: skip


def _figure(name: str, svg: str | None) -> str:
    title = f"<h2>{name.replace('_', ' ').capitalize()}</h2>"
    if svg is None:
        return f"{title}<p>No row holds what this plot shows.</p>"
    return f'{title}<img src="plots/{name}.svg" alt="{name.replace("_", " ")}">'


def _table(frame: pd.DataFrame) -> str:
    """The rows with a link to each cell's folder; columns without any value are left out."""
    shown = [name for name in _SHOWN if not all(frame[name].isna())]
    head = "".join(f"<th>{name}</th>" for name in ("cell", *shown))
    rows = [
        f'<tr><td><a href="cells/{row["cell"]}/">{row["cell"][:8]}</a></td>'
        + "".join(f"<td>{_text(row[name])}</td>" for name in shown)
        + "</tr>"
        for row in frame.to_dict("records")
    ]
    body = "\n".join(rows)
    return f'<h2>Cells</h2><div class="scroll"><table><tr>{head}</tr>\n{body}</table></div>'


def _text(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
