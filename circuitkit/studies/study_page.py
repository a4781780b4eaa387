"""The page of a study: its question, its plots and its table, for a browser and as a PDF.

In: a study and its results. Out: ``index.html``, ``plots/NAME.svg`` and ``study.pdf``. No torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any, get_args

import pandas as pd

from circuitkit.distribution import installed_version
from circuitkit.errors import ReportError
from circuitkit.files import remove, shipped_folder, write_whole
from circuitkit.studies.results import PAGE, PDF, RESULTS, StudyResults
from circuitkit.studies.study_plots import draw
from circuitkit.studies.study_toml import PlotName, Study

_SHOWN = (
    "kind", "checkpoint", "task", "method", "rung", "target_loss_nats", "seed", "outcome",
    "n_nodes", "n_edges", "loss_circuit_nats", "f_interchange", "grade", "n_families",
    "mechanisms", "overlap_min", "f_transfer_min", "reason", "seconds", "error",
)  # fmt: skip
_PRINTED = (
    "checkpoint", "task", "method", "rung", "target_loss_nats", "seed", "outcome", "n_nodes",
    "n_edges", "loss_circuit_nats", "grade", "mechanisms", "overlap_min", "f_transfer_min",
)  # fmt: skip
_MOST_PRINTED = 200
"""Rows in the PDF: a table takes memory for each. The page and the Parquet file hold all."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-size: 13px }
td, th { padding: .2rem .6rem; text-align: left }
tr:nth-child(even) { background: #f3f3f3 } th { border-bottom: 2px solid #444 }
img { max-width: 100% } .scroll { overflow-x: auto }
"""

Drawn = Mapping[Any, str | None]


def write_page(study: Study, results: StudyResults) -> None:
    """Draw every plot that the study names, and no other, and write what holds them all.

    Raises:
        UsageError: if a file cannot be written.
        ReportError: if the PDF cannot be typeset.
    """
    drawn = {name: draw(name, results.frame) for name in study.plots}
    for name in get_args(PlotName):
        path = results.path / "plots" / f"{name}.svg"
        remove(path)
        if (svg := drawn.get(name)) is not None:
            write_whole(path, svg)
    write_whole(results.path / PAGE, _page(study, results.frame, drawn))
    write_whole(results.path / PDF, _pdf(study, results.frame, drawn))


def _outcomes(frame: pd.DataFrame) -> str:
    counts = frame["outcome"].value_counts().sort_index()
    return f"{len(frame)} rows: {', '.join(f'{n} {outcome}' for outcome, n in counts.items())}."


def _title(plot: str) -> str:
    return plot.replace("_", " ").capitalize()


def _page(study: Study, frame: pd.DataFrame, drawn: Drawn) -> str:
    return "\n".join([
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(study.name)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(study.name)}</h1><p>{escape(study.question)}</p>",
        f"<p>{escape(_outcomes(frame))} "
        f'The whole table: <a href="{RESULTS}">{RESULTS}</a>; <a href="{PDF}">PDF</a>.</p>',
        *(_figure(name, svg) for name, svg in drawn.items()),
        _table(frame), "</body></html>\n",
    ])  # fmt: skip


def _figure(name: str, svg: str | None) -> str:
    if svg is None:
        return f"<h2>{_title(name)}</h2><p>No row holds what this plot shows.</p>"
    return f'<h2>{_title(name)}</h2><img src="plots/{name}.svg" alt="{_title(name)}">'


def _table(frame: pd.DataFrame) -> str:
    """The rows with a link to each cell's folder; columns without any value are left out."""
    shown = _with_values(frame, _SHOWN)
    head = "".join(f"<th>{name}</th>" for name in ("cell", *shown))
    rows = [
        f'<tr><td><a href="cells/{row["cell"]}/">{row["cell"][:8]}</a></td>'
        + "".join(f"<td>{escape(_text(row[name]))}</td>" for name in shown)
        + "</tr>"
        for row in frame.to_dict("records")
    ]
    body = "\n".join(rows)
    return f'<h2>Cells</h2><div class="scroll"><table><tr>{head}</tr>\n{body}</table></div>'


def _with_values(frame: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if not all(frame[name].isna())]


def _text(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pdf(study: Study, frame: pd.DataFrame, drawn: Drawn) -> bytes:
    import typst

    shown = _with_values(frame, _PRINTED)
    rows = frame.head(_MOST_PRINTED).to_dict("records")
    data = {
        "name": study.name,
        "question": study.question,
        "version": installed_version(),
        "outcomes": _outcomes(frame),
        "more": max(0, len(frame) - _MOST_PRINTED),
        "plots": [{"title": _title(name), "svg": svg} for name, svg in drawn.items()],
        "columns": shown,
        "rows": [[_text(row[name]) for name in shown] for row in rows],
    }
    template = shipped_folder("templates") / "study.typ"
    options: Any = {"root": template.parent, "ignore_system_fonts": True, "timestamp": 0}
    try:
        return typst.compile(
            template, format="pdf", sys_inputs={"study": json.dumps(data)}, **options
        )
    except typst.TypstError as error:
        raise ReportError(f"the study could not be typeset: {error.message}") from error
