"""Laws of the studies that were run: each is the one that ships, and its page shows its numbers."""

import json
import re
import runpy
from pathlib import Path

import pytest

import circuitkit as ck
from circuitkit.studies.result_columns import row_of
from circuitkit.studies.results import frame_of
from circuitkit.studies.study_toml import shipped_studies

ROOT = Path(__file__).parents[1]
KEPT = sorted((ROOT / "reports" / "studies").iterdir())
study_tables = runpy.run_path(str(ROOT / "reports" / "study_tables.py"))

every_study = pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)


@every_study
def test_the_results_are_of_the_study_that_ships(folder):
    """The same file, with all its checkpoints or some: rows for every cell, none that failed."""
    about = json.loads((folder / "study.json").read_text())["study"]
    shipped = ck.load_study(folder.name)
    left_out = set(shipped.checkpoints) - set(about["checkpoints"])
    page = (ROOT / "docs" / f"study-{folder.name}.md").read_text(encoding="utf-8")
    assert bool(left_out) == ("has not been run to its end" in page)
    about["checkpoints"] = list(shipped.checkpoints)
    assert about == json.loads(shipped.model_dump_json(by_alias=True))
    results = ck.load_results(folder)
    assert results.n_errors == 0
    tasks = ck.builtin_tasks() if shipped.tasks == "all" else shipped.tasks
    assert set(results.frame["task"].dropna()) == set(tasks)


@every_study
def test_the_page_of_a_study_shows_its_table_its_plot_and_its_commands(folder):
    """To the byte."""
    page = (ROOT / "docs" / f"study-{folder.name}.md").read_text(encoding="utf-8")
    frame = ck.load_results(folder).frame
    printed = [*study_tables["TABLES"][folder.name](frame), study_tables["about"](frame)]
    assert [line for line in "".join(printed).splitlines() if line not in page.splitlines()] == []
    assert f"circuitkit study {folder.name} --out " in page
    assert f"python reports/study_tables.py {folder.name}\n" in page
    for plot in folder.glob("*.svg"):
        assert re.search(rf"!\[.+\]\(\.\./reports/studies/{folder.name}/{plot.name}\)", page)


def made(task, n_edges, **more):
    """A circuit on target, of the sparse model."""
    known = {"checkpoint": "tinypython-sparse", "outcome": "target_met", "rung": "smallest",
             "method": "pruning", "target_loss_nats": 0.15, "n_nodes": 9, "grade": "C"}  # fmt: skip
    return row_of(**known | {"task": task, "n_edges": n_edges} | more)


DENSE = {"checkpoint": "tinypython-dense", "grade": "F"}
SHOWN = {
    "trust": (
        [made("a", 10), made("a", 40, rung="trusted", grade="B", f_interchange=0.8)],
        ["| a | 9 / 10 | – | C | 9 / 40 | 0.80 | B | 4.0 × |",
         "Price of trust, in edges: 4.0 × [4.0, 4.0], 1 task."],
    ),
    "methods": (
        [made("a", 10), made("a", 20, method="random"), made("b", 5)],
        ["| a | 10 | 20 |", "| b | 5 | – |",
         "random against pruning, in edges: 2.0 × [2.0, 2.0], 1 task; grades C 1.",
         "pruning: grades C 2."],
    ),
    "targets": (
        [made("a", 1200, target_loss_nats=0.05), made("a", 400)],
        ["| tinypython-sparse | a | 1,200 | 400 |",
         "tinypython-sparse, edges at 0.05 against 0.15 nats: 3.0 × [3.0, 3.0], 1 task."],
    ),
    "sparse-against-dense": (
        [made("a", 10), made("a", 80, **DENSE), made("b", 10)],
        ["| a | 10 | C | 80 | F | 8 × |", "Ratio of edges, smallest: 8.0 × [8.0, 8.0], 1 task."],
    ),
    "frontier": (
        [made(None, None, kind="training", outcome="trained", d_model=64, n_parameters=1000,
              n_nonzero=100, validation_loss_nats=1.39),
         made("a", 10), made("b", 40)],
        ["| 64 | 1,000 | 100 | 1.390 | 2 | 20.0 | yes |",
         "Edges: geometric mean over 2 tasks: a, b."],
    ),
    "families": (
        [made("a", None, mechanisms="one", n_families=6, overlap_min=0.5, f_transfer_min=0.75),
         made("a", None, outcome="task_not_done", **DENSE)],
        ["| a | one | 6 | 0.50 | 0.75 | task not done | – | – | – |", "tinypython-sparse: 1 one."],
    ),
}  # fmt: skip
"""Rows of a study, and lines of its table."""


@pytest.mark.parametrize("name", shipped_studies())
def test_every_study_that_ships_has_a_table(name):
    """A row a task or model, and ratios with their intervals; a dash where there is no circuit."""
    rows, lines = SHOWN[name]
    printed = "".join(study_tables["TABLES"][name](frame_of(rows))).splitlines()
    assert [line for line in lines if line not in printed] == []


def test_what_is_kept_is_copied_from_a_run(tmp_path, monkeypatch):
    """The record, the table and the plots; a second copy replaces the first."""
    monkeypatch.setitem(study_tables["keep"].__globals__, "STUDIES", tmp_path / "studies")
    source = KEPT[0]
    run = tmp_path / "run"
    (run / "plots").mkdir(parents=True)
    for path in source.iterdir():
        to = run / "plots" if path.suffix == ".svg" else run
        (to / path.name).write_bytes(path.read_bytes())
    (run / "index.html").write_text("left out")
    for _ in range(2):
        folder = study_tables["keep"](run)
        assert folder == tmp_path / "studies" / source.name
        assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in source.iterdir())
