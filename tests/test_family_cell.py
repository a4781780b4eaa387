"""Laws of a study by family: a cell says what ``extract --by-family`` says."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from circuitkit.checkpoints import save_checkpoint
from circuitkit.circuit.transfer import Transfer
from circuitkit.extraction import ExtractConfig
from circuitkit.families import extract_by_family
from circuitkit.planted import plant
from circuitkit.progress import silent
from circuitkit.studies import run_study as run_study_module
from circuitkit.studies.family_cell import circuits_at
from circuitkit.studies.run_study import run_study
from circuitkit.studies.study_plots import draw
from circuitkit.studies.time_guess import guess_study

TEXT = """
format = "circuitkit.study/1"
name = "forms"
question = "One mechanism?"
checkpoints = ["model"]
tasks = ["model/task.jsonl", "if_equals"]
by_family = true
methods = ["attribution"]
rungs = ["smallest"]
validate = "none"
extract = { restarts = 1, n_train = 64, n_select = 32, n_test = 48, reference_tokens = 2048 }
plots = ["mechanisms"]
"""
CONFIG = ExtractConfig(
    method="attribution", target_loss_nats=0.15, restarts=1, rung="smallest", n_train=64,
    n_select=32, n_test=48,
)  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A study of a model with a mechanism a form, run here; its folder and results."""
    folder = tmp_path_factory.mktemp("forms")
    planted = plant("two_mechanisms")
    save_checkpoint(
        folder / "model", planted.model, name="forms", tokenizer=planted.tokenizer,
        reference=planted.reference,
    )  # fmt: skip
    (folder / "model" / "task.jsonl").write_text(planted.task_lines)
    (folder / "forms.toml").write_text(TEXT)

    def engine(function, items, done):
        for work in items:
            done(work, function(work))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_study_module, "engine_of", lambda *_: engine)
        return folder, run_study(folder / "forms.toml", folder / "out")


def kept(results, row):
    """The transfer that a cell kept for a rung."""
    path = Path(results.path) / "cells" / row["cell"] / f"{row['rung']}.transfer.json"
    return Transfer.model_validate_json(path.read_text())


def test_a_cell_by_family_names_the_planted_outcome(ran):
    """A task that the checkpoint cannot do is a row that says so."""
    _, results = ran
    rows = results.frame.to_dict("records")
    assert [row["outcome"] for row in rows] == ["compared", "task_not_done"]
    assert {row["kind"] for row in rows} == {"families"}
    smallest = kept(results, rows[0])
    others = [c for c in smallest.cells if c.circuit != c.family]
    assert rows[0]["mechanisms"] == smallest.outcome == "several"
    assert rows[0]["n_families"] == len(smallest.names) == 2
    assert rows[0]["f_transfer_min"] == min(c.f.effect for c in others)
    assert rows[0]["f_x_transfer_min"] == min(c.f_x.effect for c in others)
    assert rows[0]["overlap_min"] == smallest.overlaps[0].jaccard


def test_a_cell_names_no_folder_of_a_family(ran):
    """It keeps their transfer alone."""
    _, results = ran
    transfer = kept(results, results.frame.to_dict("records")[0])
    assert [family.folder for family in transfer.families] == [None, None]


@pytest.mark.slow
def test_a_cell_says_what_extract_by_family_says(ran):
    """The same circuits and matrix, but for the row of the whole task, which no cell searches."""
    folder, results = ran
    row = results.frame.to_dict("records")[0]
    found = extract_by_family(
        folder / "model", folder / "model" / "task.jsonl", CONFIG, reference_tokens=2048,
        progress=silent,
    ).transfer  # fmt: skip
    cell = kept(results, row)
    assert cell.cells == tuple(c for c in found.cells if c.circuit != "whole")
    assert (cell.rung, cell.outcome, cell.reason) == ("smallest", found.outcome, found.reason)


def test_the_smallest_rung_is_compared_by_the_smallest_circuits():
    """Of a search that climbed; where it did not, both rungs are compared by what it found."""
    climbed = SimpleNamespace(circuit="trusted", smallest="smallest")
    stayed = SimpleNamespace(circuit="smallest", smallest=None)
    parts = {"a": climbed, "b": stayed}
    assert circuits_at("smallest", parts) == {"a": "smallest", "b": "smallest"}
    assert circuits_at("trusted", parts) == {"a": "trusted", "b": "smallest"}


def test_the_plot_has_a_mark_a_task_and_rung(ran):
    """And none where nothing was compared."""
    _, results = ran
    assert "</svg>" in (draw("mechanisms", results.frame) or "")
    assert (results.path / "plots" / "mechanisms.svg").exists()
    assert draw("mechanisms", results.frame[results.frame["outcome"] != "compared"]) is None


def test_a_cell_by_family_is_another_cell_and_takes_longer(ran):
    """Its guess, and its hash."""
    folder, _ = ran
    plain = folder / "plain.toml"
    plain.write_text(TEXT.replace("by_family = true", ""))
    by_family, whole = guess_study(folder / "forms.toml"), guess_study(plain)
    assert by_family.core_seconds > whole.core_seconds
    assert not {c.sha256 for c in by_family.cells} & {c.sha256 for c in whole.cells}
    assert "task.jsonl by family" in by_family.cells[0].label
