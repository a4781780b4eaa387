"""Laws of the studies that were run: each is the one that ships, and its page shows its numbers."""

import json
import re
import runpy
from pathlib import Path

import pytest

import circuitkit as ck

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
    assert set(results.frame["task"].dropna()) == set(ck.builtin_tasks()) or shipped.tasks != "all"


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
