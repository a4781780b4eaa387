"""Keep the cells of a study that was run in reports/studies, beside those that are there.

In: a folder that ``circuitkit study`` has written. Out: ``study.json``, ``results.parquet`` and the
plots.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any

from circuitkit import load_results, load_study
from circuitkit.studies.cells import cells_of
from circuitkit.studies.results import RESULTS, ROW, STUDY, StudyFolder, frame_of, to_parquet
from circuitkit.studies.study_plots import draw

STUDIES = Path(__file__).resolve().parent / "studies"


def keep(out: Path) -> Path:
    """Keep the cells of a shipped study that are in this folder, beside those kept, and plot all.

    Rows of another version of circuitkit or torch go, but never all of them.
    """
    study = load_study(json.loads((out / STUDY).read_text(encoding="utf-8"))["study"]["name"])
    folder = STUDIES / study.name
    new = StudyFolder(out)
    cells = {cell.sha256: cell for cell in cells_of(study)}
    rows = {cell: new.rows(cell) for cell in cells if new.is_done(cell)}
    _say_what_is_left(out, new, rows)
    if (folder / RESULTS).exists():
        rows = _kept_rows(folder / RESULTS, cells) | rows
    frame = frame_of(row | cells[cell].names for cell in cells for row in rows.get(cell) or ())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    StudyFolder.claim(folder, study, resume=False)
    (folder / RESULTS).write_bytes(to_parquet(frame))
    for name in study.plots:
        if (svg := draw(name, frame)) is not None:
            (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    return folder


def _say_what_is_left(out: Path, folder: StudyFolder, taken: Container[str]) -> None:
    """Finished cells of the folder that are none of the study here: of other versions or a GPU."""
    finished = [row.parent.name for row in out.glob(f"cells/*/{ROW}")]
    left = [cell for cell in finished if cell not in taken and folder.is_done(cell)]
    if finished and len(left) == len(finished):
        raise SystemExit(
            f"{out}: no finished cell is one of the study, whose cells are named by the device "
            "and the versions of circuitkit and torch too."
        )
    if n := len(left):
        sys.stderr.write(f"{n} cell{'s' * (n != 1)} of {out} not taken: of other versions or none\n")


def _kept_rows(path: Path, cells: Container[str]) -> dict[str, Any]:
    """The rows of each kept cell that is in the study; how many are in none is said."""
    frame = load_results(path).frame.astype(object)
    frame = frame.where(frame.notna(), None)
    rows = {cell: of_cell.to_dict("records") for cell, of_cell in frame.groupby("cell")}
    found = {cell: of_cell for cell, of_cell in rows.items() if cell in cells}
    if rows and not found:
        raise SystemExit(
            f"{path}: no kept cell is in the study, whose cells are named by the versions of "
            "circuitkit and torch too. Take those of the kept rows, or remove the file to lose them."
        )
    if n := len(frame) - sum(map(len, found.values())):
        sys.stderr.write(f"{n} kept row{'s' * (n != 1)} dropped: of other versions or cells\n")
    return found
