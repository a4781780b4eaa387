"""Laws of a study: one table, whatever the order, the kills and the failures on the way."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_cli import TRAINING, cli
from test_local_engine import until_gone
from test_validation import findings
from tiny import tiny_checkpoint
from tiny_study import N_CELLS, TEXT, made_up, tiny_study

import circuitkit as ck
from circuitkit.checkpoints import save_checkpoint
from circuitkit.checkpoints.competence_json import Interval
from circuitkit.circuit import CircuitFolder
from circuitkit.errors import CheckpointError, TaskError, UsageError
from circuitkit.findings import DEFAULT_CLAIMS, suite_order
from circuitkit.planted import plant
from circuitkit.studies import run_study as run_study_module
from circuitkit.studies.cell_rows import about_model, config_of, error_rows, why_not_done
from circuitkit.studies.cells import cells_of
from circuitkit.studies.peak_memory import peak_bytes, start_counting
from circuitkit.studies.result_columns import COLUMNS, FORMAT, MEASURED, OUTCOMES, row_of
from circuitkit.studies.results import StudyFolder, frame_of, load_results, to_parquet
from circuitkit.studies.run_cell import CellResult, Work, _of_validation, _why, run_cell
from circuitkit.studies.run_study import run_study
from circuitkit.studies.study_toml import (
    Study,
    TrainAxis,
    TrainGrid,
    load_study,
    shipped_studies,
)
from circuitkit.validation.verdict import grade_of, weakest_of

PROGRAM = Path(__file__).parent / "tiny_study.py"
ROOT = Path(__file__).parents[1]


class Here:
    """An engine without processes, whose cells are made up; it notes what it ran."""

    def __init__(self):
        self.ran, self.order = [], 1

    def __call__(self, function, items, done):
        for work in list(items)[:: self.order]:
            self.ran.append(work.cell.settings["seed"])
            done(work, function(work))


@pytest.fixture
def here(monkeypatch):
    engine = Here()
    monkeypatch.setattr(run_study_module, "engine_of", lambda *_: engine)
    monkeypatch.setattr(run_study_module, "run_cell", made_up)
    return engine


def fails_at(monkeypatch, seed):
    """One cell ends in an error."""

    def run(work):
        result = made_up(work)
        if work.cell.settings["seed"] == seed:
            row = result.rows[0] | {"outcome": "error", "error": "no luck", "n_edges": None}
            return CellResult(rows=[row], files={})
        return result

    monkeypatch.setattr(run_study_module, "run_cell", run)


def same(one, other):
    pd.testing.assert_frame_equal(one.repeatable, other.repeatable)
    return True


# Cells


def test_a_cell_is_named_by_what_goes_in(tmp_path):
    """Seed, target, method and effort count; the names of files and their folder do not."""
    study = load_study(tiny_study(tmp_path))
    names = [cell.sha256 for cell in cells_of(study)]
    assert len(set(names)) == N_CELLS
    (tmp_path / "model").rename(tmp_path / "renamed")
    moved = study.model_copy(update={"checkpoints": (str(tmp_path / "renamed"),)})
    assert [cell.sha256 for cell in cells_of(moved)] == names
    for change in ({"target_losses": (0.2,)}, {"methods": ("random",)}, {"validate_": "none"},
                   {"rungs": ("smallest", "trusted")}, {"tasks": ("if_equals",)}):  # fmt: skip
        assert not {cell.sha256 for cell in cells_of(moved.model_copy(update=change))} & set(names)


@pytest.mark.parametrize("name", ["reference.safetensors", "training.json"])
def test_what_lies_beside_a_model_goes_in_too(tmp_path, name):
    """Means are measured on its reference, and rows hold its training loss."""
    study = load_study(tiny_study(tmp_path))
    before = cells_of(study)
    shutil.copytree(tmp_path / "model", tmp_path / "other")
    (tmp_path / "model" / name).write_text("{}")
    after = cells_of(study)
    assert not {cell.sha256 for cell in before} & {cell.sha256 for cell in after}
    folders = tuple(str(tmp_path / name) for name in ("other", "model"))
    both = study.model_copy(update={"checkpoints": folders})
    assert [c.sha256 for c in cells_of(both)] == [c.sha256 for c in (*before, *after)]
    assert {row["checkpoint_sha256"] for c in cells_of(both) for row in error_rows(c, "")} == {
        ck.load_checkpoint(tmp_path / "model").sha256
    }


def test_what_lies_beside_a_model_is_a_file(tmp_path):
    """A pipe would be waited for."""
    study = load_study(tiny_study(tmp_path))
    path = tmp_path / "model" / "reference.safetensors"
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="it is a named pipe"):
        cells_of(study)


@pytest.mark.parametrize(
    ("record", "loss", "n_tokens"),
    [
        ({"validation_loss_nats": "1.2", "n_tokens": "8M"}, None, None),
        ({"validation_loss_nats": float("nan"), "n_tokens": 10**400}, None, None),
        ({"validation_loss_nats": 1, "n_tokens": 1.5}, 1.0, 2),
        ({"validation_loss_nats": [1.2]}, None, None),
        ({"validation_loss_nats": 1.25, "n_tokens": 800}, 1.25, 800),
    ],
)
def test_a_training_record_is_anything(tmp_path, record, loss, n_tokens):
    """What is no number is missing; the table of the other cells is not lost to it."""
    tiny_checkpoint(tmp_path / "model")
    checkpoint = replace(ck.load_checkpoint(tmp_path / "model"), training=record)
    (row,) = frame_of([row_of(cell="x", **about_model(checkpoint))]).to_dict("records")
    found = [row[name] for name in ("validation_loss_nats", "n_tokens")]
    assert [None if pd.isna(x) else x for x in found] == [loss, n_tokens]


def test_a_task_that_is_not_done_or_not_known_to_be_says_by_what_rule(monkeypatch):
    """The rule is on the lower bound of the accuracy, which few templates do not have."""
    study = Study(
        format="circuitkit.study/1", name="s", question="q", checkpoints=("tinypython-nano",),
        tasks=("for_while",), extract={"n_test": 4},
    )  # fmt: skip
    (cell,), nano = cells_of(study), ck.load_checkpoint("tinypython-nano")
    assert "not known: its 4 test pairs are of" in why_not_done(nano, cell)
    low = Interval(mean=0.93, low=0.88, high=0.97)
    rows = [SimpleNamespace(does=False, problem=None, accuracy=low, loss_nats=low)]
    monkeypatch.setattr(
        "circuitkit.studies.cell_rows.measure_competence",
        lambda *_, **__: SimpleNamespace(tasks=rows),
    )
    assert "lower bound of the accuracy 0.880, expected at least 0.90" in why_not_done(nano, cell)


def test_the_same_checkpoint_twice_gives_each_cell_once(tmp_path):
    """By two names."""
    study = load_study(tiny_study(tmp_path))
    (tmp_path / "again").symlink_to(tmp_path / "model")
    twice = study.model_copy(update={"checkpoints": (*study.checkpoints, str(tmp_path / "again"))})
    assert [c.sha256 for c in cells_of(twice)] == [c.sha256 for c in cells_of(study)]


def test_trained_models_come_first_and_are_named_after_what_varies():
    """Nine models of the frontier, each before its circuits; matmul does not follow the machine."""
    cells = cells_of(load_study("frontier"))
    trainings = [cell for cell in cells if cell.kind == "training"]
    assert cells[: len(trainings)] == trainings
    assert len({cell.model.identity for cell in trainings}) == 9
    assert trainings[0].model.label == "tinypython-nano-d_model-64-l0_fraction-0.125"
    assert {cell.settings["run"]["matmul"] for cell in trainings} == {"float32"}


def two_tasks(folder):
    """Two tasks whose files have one name."""
    lines = plant("closing_quote").task_lines.splitlines(keepends=True)
    for n, name in enumerate("ab"):
        (folder / name).mkdir()
        (folder / name / "task.jsonl").write_text("".join(lines[n:]))
    return tuple(str(folder / name / "task.jsonl") for name in "ab")


def test_models_and_tasks_of_one_name_are_told_apart(tmp_path):
    """By their hashes, in the results and the plots."""
    points = [{"architecture.d_model": 64, "sparsity.l0_fraction": x} for x in (0.1, 0.05)]
    axis = TrainAxis(values=tuple(points))
    study = Study(
        format="circuitkit.study/1", name="x", question="?",
        tasks=(*two_tasks(tmp_path), "for_while"),
        train=(TrainGrid(config="tinypython-nano", axis=(axis,)),),
    )  # fmt: skip
    cells = cells_of(study)
    by_label = {cell.model.label: cell.model.identity for cell in cells}
    base = "tinypython-nano-d_model-64"
    assert by_label == {f"{base}-{sha[:8]}": sha for sha in by_label.values()}
    assert len(by_label) == 2
    named = {cell.task_name: cell.task_sha256 for cell in cells if cell.task}
    assert {name for name in named if name != "for_while"} == {
        f"task.jsonl-{sha[:8]}" for name, sha in named.items() if name != "for_while"
    }
    assert len(named) == 3


def test_a_huge_grid_asks_first(tmp_path):
    """Its number is said, and nothing is loaded; --yes goes on."""
    seeds = f"seeds = {list(range(1000))}"
    text = TEXT.replace("seeds = [0, 1, 2, 3, 4, 5, 6, 7]", seeds)
    text = text.replace('["for_while"]', '"all"').replace(
        'rungs = ["smallest"]', f"target_losses = {[0.1 + i / 100 for i in range(50)]}"
    )
    study = load_study(tiny_study(tmp_path, text))
    with pytest.raises(UsageError, match=r"has 1,000,000 cells.*add --yes"):
        cells_of(study)
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        cells_of(study, yes=True)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ('["model"]', '["modle"]', CheckpointError, "no such checkpoint: modle"),
        ('["for_while"]', '["for_whlie"]', TaskError, "for_while"),
    ],
)
def test_what_is_missing_is_one_message_before_anything_runs(
    tmp_path, here, old, new, error, message
):
    """And no folder is made."""
    with pytest.raises(error, match=message):
        run_study(tiny_study(tmp_path, TEXT.replace(old, new)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert here.ran == []


# The table


def test_the_table_does_not_depend_on_the_order(tmp_path, here):
    """Rows stand in the order of the study, by bytes but for what is measured."""
    study = tiny_study(tmp_path)
    one = run_study(study, tmp_path / "one")
    here.order = -1
    other = run_study(study, tmp_path / "other")
    assert same(one, other)
    assert to_parquet(frame_of(one.repeatable.to_dict("records"))) == to_parquet(
        frame_of(other.repeatable.to_dict("records"))
    )
    assert list(one.frame["n_edges"]) == list(range(10, 10 + N_CELLS))


def test_results_are_read_as_they_were_written(tmp_path, here):
    """From the folder or the file; columns carry their units."""
    results = run_study(tiny_study(tmp_path), tmp_path / "out")
    read = load_results(tmp_path / "out")
    pd.testing.assert_frame_equal(read.frame, results.frame)
    schema = pq.read_schema(tmp_path / "out" / "results.parquet")
    assert schema.names == [column.name for column in COLUMNS]
    assert schema.field("loss_circuit_nats").metadata[b"unit"] == b"nats"
    assert set(MEASURED) <= set(schema.names)


def test_results_of_another_version_are_refused(tmp_path):
    """By the format that they carry, or the columns that they lack."""
    path = tmp_path / "results.parquet"
    for schema in ({"format": "circuitkit.results/0"}, {"format": FORMAT}, None):
        table = pa.table({"cell": ["x"]}).replace_schema_metadata(schema)
        pq.write_table(table, path)
        with pytest.raises(UsageError, match="made by another version"):
            load_results(path)
    path.write_bytes(b"PAR1 no")
    with pytest.raises(UsageError, match="is not Parquet"):
        load_results(path)
    with pytest.raises(UsageError, match="no such file"):
        load_results(tmp_path / "nothing")


def test_a_folder_of_another_version_or_study_is_refused(tmp_path, here):
    """Results of two versions are not mixed; a study is not written over without being asked."""
    study, out = tiny_study(tmp_path), tmp_path / "out"
    run_study(study, out)
    with pytest.raises(UsageError, match="add --resume"):
        run_study(study, out)
    about = json.loads((out / "study.json").read_text())
    for change, message in (
        ({"circuitkit_version": "0.0.1"}, r"made by circuitkit 0\.0\.1"),
        ({"format": "circuitkit.results/0"}, "has format 'circuitkit.results/0'"),
        ({"study": {"name": "other"}}, "holds the study 'other'"),
    ):
        (out / "study.json").write_text(json.dumps(about | change))
        with pytest.raises(UsageError, match=message):
            run_study(study, out, resume=True)
    (out / "study.json").write_text("{")
    with pytest.raises(UsageError, match="is not JSON"):
        run_study(study, out, resume=True)
    with pytest.raises(UsageError, match="holds something else"):
        run_study(study, tmp_path / "model")


# Failures and resuming


def test_a_failed_cell_is_a_row_and_is_run_again(tmp_path, here, monkeypatch):
    """The others are there; --resume runs it alone, and ends with the table of a run without it."""
    study = tiny_study(tmp_path)
    fails_at(monkeypatch, 3)
    failed = run_study(study, tmp_path / "out")
    assert failed.n_errors == 1
    assert failed.frame.loc[3, "error"] == "no luck"
    assert list(failed.frame["n_edges"].dropna()) == [10, 11, 12, 14, 15, 16, 17]
    monkeypatch.setattr(run_study_module, "run_cell", made_up)
    here.ran.clear()
    resumed = run_study(study, tmp_path / "out", resume=True)
    assert here.ran == [3]
    assert same(resumed, run_study(study, tmp_path / "straight"))


def test_more_seeds_run_only_what_is_new(tmp_path, here):
    """A study that grew goes on; one that shrank has only its own rows."""
    small = tiny_study(tmp_path, TEXT.replace(", 6, 7]", "]"))
    assert len(run_study(small, tmp_path / "out").frame) == 6
    here.ran.clear()
    assert len(run_study(tiny_study(tmp_path), tmp_path / "out", resume=True).frame) == N_CELLS
    assert here.ran == [6, 7]
    small = tiny_study(tmp_path, TEXT.replace(", 6, 7]", "]"))
    assert len(run_study(small, tmp_path / "out", resume=True).frame) == 6


def test_a_study_that_grew_has_the_table_of_one_run_at_once(tmp_path, here):
    """A task is one task, whatever it was called when its first cells ran."""
    first, second = two_tasks(tmp_path)
    small = tiny_study(tmp_path, TEXT.replace('["for_while"]', f'["{first}"]'))
    assert set(run_study(small, tmp_path / "out").frame["task"]) == {"task.jsonl"}
    large = tiny_study(tmp_path, TEXT.replace('["for_while"]', f'["{first}", "{second}"]'))
    grown = run_study(large, tmp_path / "out", resume=True)
    assert grown.frame["task"].nunique() == 2
    assert same(grown, run_study(large, tmp_path / "straight"))


def test_a_study_that_grew_has_no_table_until_it_has_run(tmp_path, here):
    """That of the study as it was is not taken for its own; one that is the same is left."""
    small = load_study(tiny_study(tmp_path, TEXT.replace(", 6, 7]", "]")))
    out = tmp_path / "out"
    run_study(small, out)
    StudyFolder.claim(out, small, resume=True)
    assert len(load_results(out).frame) == 6
    StudyFolder.claim(out, load_study(tiny_study(tmp_path)), resume=True)
    with pytest.raises(UsageError, match="no such file"):
        load_results(out)
    assert not (out / "index.html").exists()


def test_a_file_that_is_being_written_is_left(tmp_path):
    """By another process; one that nobody has written to for an hour goes."""
    study, out = load_study(tiny_study(tmp_path)), tmp_path / "out"
    StudyFolder.claim(out, study, resume=False)
    parts = [out / "cells" / "x" / f".row.json.{name}.part" for name in ("abcdefgh", "ijklmnop")]
    parts[0].parent.mkdir(parents=True)
    for part in parts:
        part.write_text("{")
    os.utime(parts[0], (0, 0))
    StudyFolder.claim(out, study, resume=True)
    assert [part.exists() for part in parts] == [False, True]


DAMAGED = (
    "", "{}", '{"format": "circuitkit.row/0", "rows": []}',
    '{"format": "circuitkit.row/1", "cell": "CELL"}',
    '{"format": "circuitkit.row/1", "cell": "CELL", "rows": []}',
    '{"format": "circuitkit.row/1", "cell": "CELL", "rows": [{}]}',
    '{"format": "circuitkit.row/1", "cell": "CELL", "rows": [1]}',
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_row_that_does_not_fit_is_run_again(tmp_path, here, damage):
    """One of another format or cell; one that is no JSON is an error, for nothing writes that."""
    study, out = tiny_study(tmp_path), tmp_path / "out"
    cell = run_study(study, out).frame.loc[2, "cell"]
    (out / "cells" / cell / "row.json").write_text(damage.replace("CELL", cell))
    here.ran.clear()
    if not damage:
        with pytest.raises(UsageError, match=r"row\.json is not JSON"):
            run_study(study, out, resume=True)
        return
    run_study(study, out, resume=True)
    assert here.ran == [2]


def test_a_full_disk_is_one_message(tmp_path, here, monkeypatch):
    """What was written stays; --resume goes on from it."""
    study, out, fsync = tiny_study(tmp_path), tmp_path / "out", os.fsync

    def full(handle):
        if len(here.ran) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        run_study(study, out)
    monkeypatch.setattr(os, "fsync", fsync)
    here.ran.clear()
    assert len(run_study(study, out, resume=True).frame) == N_CELLS
    assert here.ran == [3, 4, 5, 6, 7]


def until(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the study ended before it was killed"
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_study_resumes_to_the_same_table(tmp_path, here):
    """With -9, amid its cells: its process ends too, nothing is lost, and nothing is run twice."""
    study, out = tiny_study(tmp_path), tmp_path / "out"
    process = subprocess.Popen([sys.executable, PROGRAM, out, "0.2"])
    until(lambda: len(list(out.glob("cells/*/row.json"))) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    worker = int(Path(f"{out}.pid").read_text())
    with pytest.raises(ProcessLookupError):
        until_gone(worker)
    kept = {json.loads(f.read_text())["cell"] for f in out.glob("cells/*/row.json")}
    assert 2 <= len(kept) < N_CELLS
    assert not (out / "results.parquet").exists()
    resumed = run_study(study, out, resume=True)
    done = set(resumed.frame.loc[resumed.frame["cell"].isin(kept), "seed"])
    assert here.ran == [seed for seed in range(N_CELLS) if seed not in done]
    assert same(resumed, run_study(study, tmp_path / "straight"))
    assert not list(out.rglob("*.part"))


# The page and the command line


def test_the_page_holds_every_row_and_plot(tmp_path, here):
    """What a stranger's name could hold is escaped; a plot without data says so."""
    text = TEXT.replace("Is everything", "<b>Is</b> everything").replace(
        '["size_by_target"]', '["size_by_target", "frontier"]'
    )
    results = run_study(tiny_study(tmp_path, text), tmp_path / "out")
    page = (results.path / "index.html").read_text()
    assert "&lt;b&gt;Is&lt;/b&gt; everything there once?" in page
    assert page.count('<tr><td><a href="cells/') == N_CELLS
    assert (results.path / "plots" / "size_by_target.svg").read_text().count("<svg") == 1
    assert "No row holds what this plot shows" in page
    assert not (results.path / "plots" / "frontier.svg").exists()


def test_a_plot_that_the_study_names_no_more_goes(tmp_path, here):
    """It would show the table of an earlier run."""
    out = tmp_path / "out"
    run_study(tiny_study(tmp_path), out)
    assert [path.name for path in (out / "plots").iterdir()] == ["size_by_target.svg"]
    run_study(tiny_study(tmp_path, TEXT.replace("_target", "_rung")), out, resume=True)
    assert [path.name for path in (out / "plots").iterdir()] == ["size_by_rung.svg"]


def test_a_dry_run_lists_cells_and_runs_none(tmp_path):
    """With a time for each, and for all with so many workers."""
    ran = cli("study", tiny_study(tmp_path), "--dry-run", "--workers", 2)
    assert ran.code == 0
    assert len(ran.out.splitlines()) == N_CELLS + 1
    assert f"{N_CELLS} cells; a guess" in ran.out
    as_json = cli("study", "frontier", "--dry-run", "--workers", 2, "--json").json
    assert len(as_json["cells"]) == 9 + 9 * 20
    assert as_json["core_seconds"] > as_json["seconds"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trust"], "Missing option '--out'"),
        (["trsut", "--out", "x"], "Did you mean trust"),
        (["trust", "--out", "x", "--address", "h:1"], "names a Ray cluster, but the engine"),
        (["trust", "--out", "x", "--device", "gpu"], "gpu"),
        (["trust", "--out", "x", "--resume", "--dry-run"], "leave --resume out"),
    ],
)
def test_a_wrong_command_is_one_message(tmp_path, monkeypatch, words, message):
    """Exit code 2, and no folder."""
    monkeypatch.chdir(tmp_path)
    ran = cli("study", *words)
    assert ran.code == 2
    assert message in ran.err
    assert list(tmp_path.iterdir()) == []


PLANTED = """
format = "circuitkit.study/1"
name = "planted"
question = "Which circuit does it?"
checkpoints = ["model"]
tasks = ["model/task.jsonl", "if_equals"]
methods = ["attribution"]
rungs = ["smallest"]
validate = "none"
extract = { restarts = 1, n_train = 64, n_select = 32, n_test = 32, reference_tokens = 2048 }
plots = ["size_by_method"]
"""


def planted_checkpoint(folder):
    """A planted model and its task, without the brute force that proves its circuit."""
    planted = plant("neuron_chain")
    save_checkpoint(
        folder, planted.model, name="chain", tokenizer=planted.tokenizer,
        reference=planted.reference,
    )  # fmt: skip
    (folder / "task.jsonl").write_text(planted.task_lines)


@pytest.mark.slow
def test_a_real_cell_leaves_its_circuit_and_its_row(tmp_path):
    """In a process of its own; a task that the checkpoint cannot do is a row that says so."""
    planted_checkpoint(tmp_path / "model")
    (tmp_path / "planted.toml").write_text(PLANTED)
    ran = cli("study", tmp_path / "planted.toml", "--out", tmp_path / "out", "--workers", 1, "-q")
    assert ran.code == 0, ran.err
    assert "1 target_met, 1 task_not_done" in ran.out
    found, refused = load_results(tmp_path / "out").frame.to_dict("records")
    folder = CircuitFolder.open(tmp_path / "out" / "cells" / found["cell"])
    assert (found["n_edges"], found["circuit_sha256"]) == (
        folder.circuit.n_edges, folder.circuit.sha256,
    )  # fmt: skip
    assert found["n_threads"] == 1
    assert 0 < found["peak_memory_bytes"] < 8 * 2**30
    assert found["checkpoint_sha256"] == ck.load_checkpoint(tmp_path / "model").sha256
    assert "is not read as it is written" in refused["error"]
    assert not (tmp_path / "out" / "work").exists()


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="only glibc gives it back"
)
def test_the_memory_of_a_cell_is_not_that_of_the_one_before():
    """Freed blocks between held ones stay with the process until they are given back."""
    blocks = [bytearray(b"x" * 2**16) for _ in range(4000)]
    held = blocks[::50]
    del blocks
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    start_counting()
    assert held
    assert peak_bytes() < before - 150 * 2**20


TRAINS = """
format = "circuitkit.study/1"
name = "trains"
question = "Is the model there?"
tasks = ["if_equals"]
rungs = ["smallest"]
validate = "none"

[[train]]
config = "mine.toml"
set = { "run.n_tokens" = 640 }

[[train.axis]]
values = [{ "sparsity.l0_fraction" = 0.5 }]
"""


@pytest.fixture
def in_process(monkeypatch):
    """Real cells, one after the other, here."""

    def engine(function, items, done):
        for work in items:
            done(work, function(work))

    monkeypatch.setattr(run_study_module, "engine_of", lambda *_: engine)


@pytest.mark.slow
def test_a_study_trains_its_models_first(tmp_path, in_process):
    """It is a checkpoint in its cell's folder; the task is then asked of it."""
    (tmp_path / "mine.toml").write_text(TRAINING)
    (tmp_path / "trains.toml").write_text(TRAINS)
    frame = run_study(tmp_path / "trains.toml", tmp_path / "out").frame
    trained, asked = frame.to_dict("records")
    assert (trained["outcome"], asked["outcome"]) == ("trained", "task_not_done")
    checkpoint = ck.load_checkpoint(tmp_path / "out" / "cells" / trained["cell"])
    assert trained["checkpoint_sha256"] == asked["checkpoint_sha256"] == checkpoint.sha256
    assert trained["validation_loss_nats"] == checkpoint.training["validation_loss_nats"]
    assert trained["checkpoint"] == checkpoint.name == "mine-l0_fraction-0.5"
    assert 0 < trained["n_nonzero"] < trained["n_parameters"]


def test_a_model_that_cannot_be_trained_is_rows(tmp_path, in_process):
    """Its own, with why, and those of its circuits, which refer to it; --resume tries again."""
    (tmp_path / "mine.toml").write_text(TRAINING)
    (tmp_path / "trains.toml").write_text(
        TRAINS.replace('"run.n_tokens" = 640', '"corpus.source" = "/nowhere"')
    )
    for resume in (False, True):
        results = run_study(tmp_path / "trains.toml", tmp_path / "out", resume=resume)
        assert list(results.frame["outcome"]) == ["error"] * 2
        assert "/nowhere" in results.frame["error"][0]
        assert "could not be trained" in results.frame["error"][1]


def test_a_fault_in_a_cell_is_a_row(tmp_path, monkeypatch):
    """Whatever it is: its kind and its message."""
    work = Work(
        cell=cells_of(load_study(tiny_study(tmp_path)))[0], checkpoint="tinypython-nano",
        folder=tmp_path / "work",
    )  # fmt: skip

    def fault(*_, **__):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("circuitkit.studies.run_cell.load_checkpoint", fault)
    (row,) = run_cell(work).rows
    assert (row["outcome"], row["error"]) == ("error", "ZeroDivisionError: by zero")


def test_every_method_takes_the_settings_of_a_study(tmp_path):
    """Those that it has no use for are left out: gradient points where masks are learned."""
    text = TEXT + 'methods = ["pruning", "attribution", "random", "paper"]\n'
    path = tiny_study(tmp_path, f"{text}[extract]\nn_gradient_points = 5\n")
    cells = cells_of(load_study(path))
    found = {c.settings["method"]: config_of(c.settings).n_gradient_points for c in cells}
    assert found == {"pruning": 1, "attribution": 5, "random": 5, "paper": 1}


@pytest.mark.parametrize(
    ("n_clusters", "grade", "weakest"), [(40, "B", None), (6, "C", "competent")]
)
def test_a_row_names_the_claim_that_keeps_the_grade_down(n_clusters, grade, weakest):
    """Also one that passes, on few templates; none where the default suite passes."""
    found = [f for f in findings(n_clusters=n_clusters) if f.claim in DEFAULT_CLAIMS]
    validation = ck.Validation(
        grade=grade_of(found), weakest=weakest_of(found), circuit_sha256="0" * 64,
        findings=tuple(sorted(found, key=lambda each: suite_order(each.claim))),
    )  # fmt: skip
    row = _of_validation(validation)
    assert (row["grade"], row["weakest"]) == (grade, weakest)


@pytest.mark.parametrize("outcome", ["target_missed", "collapsed"])
def test_a_rung_that_was_not_tried_says_what_came_of_the_smallest_circuit(outcome):
    """The search climbs from a circuit that meets its target alone."""
    extraction: Any = SimpleNamespace(ladder=(), circuit=SimpleNamespace(outcome=outcome))
    assert f"the smallest circuit missed its target ({outcome})" in _why("trusted", extraction)


def test_the_study_of_the_page_is_read(tmp_path):
    """And so is its table of models to train."""
    page = (ROOT / "docs" / "studies.md").read_text()
    (text,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (train,) = re.findall(r"^```\n(\[\[train.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.toml").write_text(f"{text}\n{train}")
    assert load_study(tmp_path / "mine.toml").n_cells(20) == 2 + 3 * 2 * 2 * 3
    for name in shipped_studies():
        n_cells = load_study(name).n_cells(20)
        is_kept = (ROOT / "reports" / "studies" / name).exists()
        shown = rf"\[`{name}`\]\(study-{name}\.md\)" if is_kept else f"`{name}`"
        assert re.search(rf"^\| {shown} \|.*\| {n_cells} \|$", page, re.MULTILINE), name


def test_columns_and_outcomes_are_documented():
    """Every one of them stands in the docs; a row has no other."""
    page = (ROOT / "docs" / "studies.md").read_text()
    assert [c.name for c in COLUMNS if f"| `{c.name}` | {c.unit} | {c.about} |" not in page] == []
    assert [name for name, about in OUTCOMES.items() if f"| `{name}` | {about} |" not in page] == []
    with pytest.raises(AssertionError, match="colour"):
        row_of(colour="red")


def test_the_command_says_what_failed(tmp_path, here, monkeypatch):
    """Once a message, with how often; exit code 1."""
    fails_at(monkeypatch, 3)
    ran = cli("study", tiny_study(tmp_path), "--out", tmp_path / "out")
    assert ran.code == 1
    assert f"{N_CELLS} rows (1 error, {N_CELLS - 1} target_met)" in ran.out
    assert "failed (1): no luck" in ran.out
    again = cli("study", tiny_study(tmp_path), "--out", tmp_path / "out", "--resume", "--json")
    assert again.json["outcomes"] == {"target_met": N_CELLS - 1, "error": 1}
