"""Laws of the Ray engine: the same rows as here, though a machine is lost; clear refusals."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_study import here, same
from tiny_study import N_CELLS, made_up, tiny_study

from circuitkit.errors import UsageError
from circuitkit.studies import shipped_work
from circuitkit.studies.cell_rows import error_rows
from circuitkit.studies.cells import cells_of
from circuitkit.studies.ray_engine import Needs, _joined, run_ray
from circuitkit.studies.results import load_results
from circuitkit.studies.run_cell import CellResult, Work
from circuitkit.studies.run_study import run_study
from circuitkit.studies.shipped_work import (
    checkpoint_files,
    largest_checkpoint_bytes,
    run_shipped,
    ship,
)
from circuitkit.studies.study_toml import load_study

with_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed")
TESTS = Path(__file__).parent
SCRIPT = """
from circuitkit.errors import UsageError
from circuitkit.studies.ray_engine import Needs, run_ray

def fault(item, value):
    raise UsageError(f"a fault at {item}")

def run(**options):
    try:
        run_ray(fault, [1], print, shared=lambda item: ("", dict), **options)
    except UsageError as error:
        print(error)

run(address="127.0.0.1:1")
run(workers=1, needs=Needs(memory_bytes=2**60))
run(workers=1)
"""


def in_a_process(*words):
    """Ray starts threads and warns: it has a process of its own."""
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": path}, timeout=300,
    )  # fmt: skip


@with_ray
def test_a_lost_machine_changes_nothing(tmp_path, here):
    """Two nodes, one killed half-way: the table of the local engine, no cell lost or doubled."""
    ran = in_a_process(TESTS / "ray_two_nodes.py", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr[-3000:]
    straight = run_study(tiny_study(tmp_path), tmp_path / "straight")
    found = load_results(tmp_path / "out")
    assert same(found, straight)
    assert len({*found.frame["cell"]}) == len(list((tmp_path / "out" / "cells").iterdir()))
    nodes = (tmp_path / "out.ran").read_text().split()
    assert len(set(nodes)) >= 2
    assert len(nodes) > N_CELLS, "the killed node was at a cell, which ran again"


@with_ray
def test_a_cluster_that_cannot_serve_is_one_message(tmp_path):
    """One that does not answer, one without the memory that a cell asks for, a fault in a task."""
    (tmp_path / "script.py").write_text(SCRIPT)
    ran = in_a_process(tmp_path / "script.py")
    unreachable, small, fault = ran.stdout.strip().splitlines()
    assert unreachable.startswith("no Ray cluster answers at 127.0.0.1:1")
    assert "ray start --head" in unreachable
    assert small.startswith("no machine of the Ray cluster has what a cell asks for: 1 core")
    assert fault == "a fault at 1"


def test_without_ray_it_says_what_to_install(monkeypatch):
    """And that the other engine does not need it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'sparse-circuitkit\[ray\]'.*'local'"):
        run_ray(print, [1], print, shared=lambda item: ("", dict))


def test_what_a_task_needs_is_on_one_machine():
    """Two machines with half of it each do not serve."""
    needs = Needs(memory_bytes=100, gpus=1)
    assert needs.fit({"CPU": 1, "GPU": 1, "memory": 100})
    assert not any(needs.fit(r) for r in ({"CPU": 8, "memory": 999}, {"CPU": 8, "GPU": 1}))


def first_work(tmp_path):
    cell = cells_of(load_study(tiny_study(tmp_path)))[0]
    return Work(cell=cell, checkpoint=str(tmp_path / "model"), folder=tmp_path / "work")


def test_a_cell_travels_with_its_files(tmp_path, monkeypatch):
    """Where it runs, the checkpoint lies in a folder of its own; its record names the driver's."""
    work, seen = first_work(tmp_path), []

    def run(there):
        seen.append(there)
        for file in (tmp_path / "model").iterdir():
            assert (Path(there.checkpoint) / file.name).read_bytes() == file.read_bytes()
        sources = json.dumps({"checkpoint": there.checkpoint, "search": "x"}).encode()
        return CellResult(rows=made_up(there).rows, files={"sources.json": sources})

    monkeypatch.setattr(shipped_work, "run_cell", run)
    name, make = checkpoint_files(ship(work))
    result = run_shipped(ship(work), make())
    assert name == work.checkpoint
    assert seen[0].checkpoint != work.checkpoint
    assert Path(seen[0].checkpoint).name == Path(work.checkpoint).name
    assert not Path(seen[0].checkpoint).exists()
    assert json.loads(result.files["sources.json"]) == {"checkpoint": name, "search": "x"}
    assert result.rows[0]["cell"] == work.cell.sha256


def test_a_machine_without_room_is_a_row(tmp_path, monkeypatch):
    """The study goes on, and --resume runs the cell again."""
    shipped, write = ship(first_work(tmp_path)), Path.write_bytes

    def full(path, data):
        if tmp_path not in path.parents:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    files = checkpoint_files(shipped)[1]()
    monkeypatch.setattr(Path, "write_bytes", full)
    (row,) = run_shipped(shipped, files).rows
    assert row["outcome"] == "error"
    assert row["error"].endswith("No space left on device")


def test_an_error_names_the_file_that_is_here(tmp_path, monkeypatch):
    """Not the copy on the machine that ran it, which has gone: of a task, and of a checkpoint."""
    work = first_work(tmp_path)
    mine = tmp_path / "mine.jsonl"
    mine.write_text("{}")
    work = replace(work, cell=replace(work.cell, task=str(mine)))

    def run(there):
        assert Path(there.cell.task).read_text() == "{}"
        error = f"{there.cell.task} and {there.checkpoint} are wrong"
        return CellResult(rows=error_rows(there.cell, error), files={})

    monkeypatch.setattr(shipped_work, "run_cell", run)
    shipped = ship(work)
    (row,) = run_shipped(shipped, checkpoint_files(shipped)[1]()).rows
    assert row["error"] == f"{mine} and {work.checkpoint} are wrong"


def test_a_gpu_of_a_number_is_refused(tmp_path):
    """Ray chooses it."""
    with pytest.raises(UsageError, match=r"device 'cuda:1'.*Use device 'cuda'"):
        run_study(tiny_study(tmp_path), tmp_path / "out", engine="ray", device="cuda:1")


def test_an_address_is_not_passed_over():
    """Where the process has joined a cluster already."""
    joined = SimpleNamespace(is_initialized=lambda: True)
    with (
        pytest.raises(UsageError, match="has joined a Ray cluster already"),
        _joined(joined, "10.0.0.1:6379", None),
    ):
        pass


def test_a_bundled_checkpoint_does_not_travel(tmp_path):
    """It is on every machine that has circuitkit."""
    work = Work(cell=first_work(tmp_path).cell, checkpoint="tinypython-nano", folder=tmp_path)
    name, make = checkpoint_files(ship(work))
    assert (name, make()) == ("", {})
    assert largest_checkpoint_bytes([ship(work)]) == 0


def test_a_cell_asks_for_the_memory_of_the_largest_checkpoint_it_brings(tmp_path):
    """Beside what every cell asks for."""
    work = first_work(tmp_path)
    sizes = [file.stat().st_size for file in (tmp_path / "model").iterdir()]
    works = [ship(work), ship(replace(work, checkpoint=None))]
    assert largest_checkpoint_bytes(works) == sum(sizes) > 0


def test_a_machine_with_other_versions_is_a_row_that_says_so(tmp_path, monkeypatch):
    """Rows of two versions are not mixed."""
    shipped = ship(first_work(tmp_path))
    assert shipped.work.cell.sha256
    monkeypatch.setattr("circuitkit.studies.cells.installed_version", lambda: "0.0.1")
    (row,) = run_shipped(shipped, {}).rows
    assert row["outcome"] == "error"
    assert "Install the same everywhere" in row["error"]


__all__ = ["here"]
