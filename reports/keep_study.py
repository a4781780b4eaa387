"""Keep the cells of a study that was run in reports/studies, beside those that are there.

In: a folder that ``circuitkit study`` has written. Out: ``study.json``, ``results.parquet`` and the
plots.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from circuitkit import load_results, load_study
from circuitkit.studies.cells import cells_of
from circuitkit.studies.results import RESULTS, STUDY, StudyFolder, frame_of, to_parquet
from circuitkit.studies.study_plots import draw

STUDIES = Path(__file__).resolve().parent / "studies"


def keep(out: Path) -> Path:
    """Keep the cells of a shipped study that are in this folder, beside those kept, and plot all.

    Rows of another version of circuitkit go.
    """
    study = load_study(json.loads((out / STUDY).read_text(encoding="utf-8"))["study"]["name"])
    folder = STUDIES / study.name
    new = StudyFolder(out)
    cells = [cell.sha256 for cell in cells_of(study)]
    rows = {cell: new.rows(cell) for cell in cells if new.is_done(cell)}
    if (folder / RESULTS).exists():
        kept = load_results(folder).frame.astype(object)
        kept = kept.where(kept.notna(), None)
        rows = {cell: of_cell.to_dict("records") for cell, of_cell in kept.groupby("cell")} | rows
    frame = frame_of(row for cell in cells for row in rows.get(cell) or ())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    StudyFolder.claim(folder, study, resume=False)
    (folder / RESULTS).write_bytes(to_parquet(frame))
    for name in study.plots:
        if (svg := draw(name, frame)) is not None:
            (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    return folder
