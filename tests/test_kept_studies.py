"""Laws of the studies that were run: each is the one that ships, and its page shows its numbers."""

import json
import re
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest

import circuitkit as ck
from circuitkit.studies.cells import cells_of
from circuitkit.studies.result_columns import row_of
from circuitkit.studies.results import RESULTS, StudyFolder, frame_of, to_parquet
from circuitkit.studies.study_toml import shipped_studies

ROOT = Path(__file__).parents[1]
KEPT = sorted((ROOT / "reports" / "studies").iterdir())
sys.path.append(str(ROOT / "reports"))
study_tables = runpy.run_path(str(ROOT / "reports" / "study_tables.py"))

every_study = pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)


@every_study
def test_the_results_are_of_the_study_that_ships(folder):
    """The same file, rows for every cell or the page says so, none that failed."""
    about = json.loads((folder / "study.json").read_text())["study"]
    shipped = ck.load_study(folder.name)
    assert about == json.loads(shipped.model_dump_json(by_alias=True))
    results = ck.load_results(folder)
    assert results.n_errors == 0
    page = (ROOT / "docs" / f"study-{folder.name}.md").read_text(encoding="utf-8")
    n_cells, n_kept = len(cells_of(shipped)), results.frame["cell"].nunique()
    assert (f"**{n_kept} of {n_cells} cells**" in page) == (n_kept < n_cells)
    tasks = ck.builtin_tasks() if shipped.tasks == "all" else shipped.tasks
    assert set(results.frame["task"].dropna()) <= set(tasks)


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
         "Price of trust, in edges: 4.0 ×, 1 task."],
    ),
    "methods": (
        [made("a", 10), made("a", 20, method="random"), made("b", 5),
         made("c", 9, outcome="target_missed", grade="F")],
        ["| a | 10 | 20 |", "| b | 5 | – |",
         "random against pruning, in edges: 2.0 ×, 1 task; grades C 1.",
         "pruning: grades C 2."],
    ),
    "targets": (
        [made("a", 1200, target_loss_nats=0.05), made("a", 400)],
        ["| tinypython-sparse | a | 1,200 | 400 |",
         "tinypython-sparse, edges at 0.05 against 0.15 nats: 3.0 ×, 1 task."],
    ),
    "sparse-against-dense": (
        [made("a", 10), made("a", 80, **DENSE), made("b", 10)],
        ["| a | 10 | C | 80 | F | 8 × |", "Ratio of edges, smallest: 8.0 ×, 1 task."],
    ),
    "frontier": (
        [made(None, None, kind="training", outcome="trained", d_model=64, n_parameters=1000,
              n_nonzero=100, validation_loss_nats=1.39),
         made("a", 10), made("b", 40)],
        ["| 64 | 1,000 | 100 | 1.390 | 2 | 20.0 | yes |",
         "Edges: geometric mean over a, b: 2 tasks."],
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


EMPTY = {
    "trust": [made("z", 0), made("z", 9, rung="trusted")],
    "methods": [made("z", 0), made("z", 9, method="random")],
    "targets": [made("z", 0), made("z", 9, target_loss_nats=0.05)],
    "sparse-against-dense": [made("z", 0), made("z", 9, **DENSE)],
    "frontier": [made("z", 0)],
}
"""Rows of one more task, with a circuit of 0 edges."""


@pytest.mark.parametrize("name", EMPTY)
def test_a_task_with_a_circuit_without_edges_is_in_no_ratio(name):
    """The others are as they were, and it is said how many are left out."""
    rows, lines = SHOWN[name]
    printed = "".join(study_tables["TABLES"][name](frame_of([*rows, *EMPTY[name]])))
    means = [line.rstrip(".").partition(";")[0] for line in lines]
    assert any(f"{mean}; left out: 1 with a circuit of 0 edges" in printed for mean in means)
    assert "inf" not in printed


def test_a_ratio_over_five_tasks_or_more_has_an_interval():
    """Fewer bound nothing."""
    rows = [made(task, n, rung=rung)
            for task in "abcde" for rung, n in (("smallest", 10), ("trusted", 40))]  # fmt: skip
    for some, said in ((rows, "4.0 × [4.0, 4.0], 5 tasks."), (rows[:-2], "4.0 ×, 4 tasks.")):
        assert said in "".join(study_tables["TABLES"]["trust"](frame_of(some)))


def kept_in(folder):
    """The table and the file names that the repository keeps of a study."""
    return ck.load_results(folder).frame, sorted(path.name for path in folder.iterdir())


def cells_in(run, study, frame):
    """A study's folder with the cells of these rows, as a run that was stopped leaves it."""
    folder = StudyFolder.claim(run, study, resume=False)
    plain = frame.astype(object).where(frame.notna(), None)
    for cell, rows in plain.groupby("cell"):
        folder.keep(cell, rows.to_dict("records"), {})
    return run


@pytest.mark.slow
@every_study
def test_a_study_may_be_kept_in_parts(folder, tmp_path, monkeypatch):
    """Cells in any order, in any parts, of runs that ended or not: the same table and plots."""
    monkeypatch.setitem(study_tables["keep"].__globals__, "STUDIES", tmp_path / "studies")
    study = ck.load_study(folder.name)
    frame, names = kept_in(folder)
    cells = [*dict.fromkeys(frame["cell"])]
    for i, part in enumerate((cells[1::2], cells[::2], cells[:1], [])):
        run = cells_in(tmp_path / f"run-{i}", study, frame[frame["cell"].isin(part)])
        kept = study_tables["keep"](run)
    assert kept == tmp_path / "studies" / folder.name
    found, found_names = kept_in(kept)
    pd.testing.assert_frame_equal(found, frame)
    assert found_names == names


def test_a_new_run_of_a_cell_replaces_what_was_kept_and_one_that_failed_does_not(
    tmp_path, monkeypatch
):
    """What is kept of a cell is its last good run."""
    monkeypatch.setitem(study_tables["keep"].__globals__, "STUDIES", tmp_path / "studies")
    study = ck.load_study(KEPT[0].name)
    frame, _ = kept_in(KEPT[0])
    one = frame[frame["cell"] == frame["cell"][0]]
    study_tables["keep"](cells_in(tmp_path / "a", study, one))
    study_tables["keep"](cells_in(tmp_path / "b", study, one.assign(seconds=7.0)))
    kept = study_tables["keep"](cells_in(tmp_path / "c", study, one.assign(outcome="error")))
    found, _ = kept_in(kept)
    assert list(found["seconds"]) == [7.0] * len(one)
    assert list(found["outcome"]) == list(one["outcome"])


def renamed(folder, names):
    """Give kept cells other names, as those of another version have."""
    frame = ck.load_results(folder).frame
    (folder / RESULTS).write_bytes(to_parquet(frame.assign(cell=frame["cell"].replace(names))))


def test_cells_of_another_version_are_dropped_aloud_and_never_all(tmp_path, monkeypatch, capsys):
    """Their names hold the versions of circuitkit and torch, so none is in the study any more."""
    monkeypatch.setitem(study_tables["keep"].__globals__, "STUDIES", tmp_path / "studies")
    study = ck.load_study(KEPT[0].name)
    frame, _ = kept_in(KEPT[0])
    first, second = frame["cell"].unique()[:2]
    two = frame[frame["cell"].isin([first, second])]
    folder = study_tables["keep"](cells_in(tmp_path / "a", study, two))
    nothing = cells_in(tmp_path / "b", study, two[:0])
    assert capsys.readouterr().err == ""
    renamed(folder, {first: "0" * 64})
    study_tables["keep"](nothing)
    assert "1 kept row dropped" in capsys.readouterr().err
    assert list(kept_in(folder)[0]["cell"].unique()) == [second]
    renamed(folder, {second: "0" * 64})
    with pytest.raises(SystemExit, match="no kept cell is in the study"):
        study_tables["keep"](nothing)
    assert len(kept_in(folder)[0]) == 1


def test_what_is_not_taken_is_said(tmp_path, monkeypatch, capsys):
    """Cells of a GPU, or of another version, are none of the study."""
    monkeypatch.setitem(study_tables["keep"].__globals__, "STUDIES", tmp_path / "studies")
    study = ck.load_study(KEPT[0].name)
    frame, _ = kept_in(KEPT[0])
    first, second = frame["cell"].unique()[:2]
    two = frame[frame["cell"].isin([first, second])]
    study_tables["keep"](cells_in(tmp_path / "a", study, two.replace({second: "0" * 64})))
    assert "1 cell of" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no finished cell is one of the study"):
        study_tables["keep"](cells_in(tmp_path / "b", study, two.assign(cell="0" * 64)))


def test_kept_cells_have_the_names_of_now(tmp_path, monkeypatch):
    """A task is one task, whatever it was called when its cell ran."""
    monkeypatch.setitem(study_tables["keep"].__globals__, "STUDIES", tmp_path / "studies")
    study = ck.load_study(KEPT[0].name)
    frame, _ = kept_in(KEPT[0])
    one = frame[frame["cell"] == frame["cell"][0]]
    kept = study_tables["keep"](cells_in(tmp_path / "a", study, one.assign(task="earlier")))
    assert list(kept_in(kept)[0]["task"]) == list(one["task"])
