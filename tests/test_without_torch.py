"""Laws of an install without PyTorch: circuits are read, compared and reported on all the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).parents[1] / "reports" / "gallery" / "tinypython-nano"

READS = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import circuitkit as ck
from circuitkit.views.page import write_page

folder, other = sys.argv[1:]
opened = ck.CircuitFolder.open(folder)
circuit = opened.circuit
assert len(circuit.nodes_frame()) == circuit.n_nodes
assert len(opened.validation.to_frame()) > 5
assert 0 < ck.compare(folder, other).jaccard_nodes < 1
assert circuit._repr_svg_()
write_page(folder)
ck.write_report(folder)
try:
    ck.extract
except ModuleNotFoundError as error:
    print(error)
"""


def without_torch(code, *arguments):
    """Run code in a process that cannot import torch."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        check=False, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(GALLERY / "if_equals", tmp_path / "if_equals")


def test_circuits_are_read_compared_and_reported_on(folder):
    """What runs a model says how it is installed."""
    ran = without_torch(READS, folder, GALLERY / "for_while")
    assert ran.returncode == 0, ran.stderr
    assert "circuitkit.extract: this needs PyTorch" in ran.stdout
    assert "pip install 'sparse-circuitkit[torch]'" in ran.stdout
    assert (folder / "report.pdf").stat().st_size > 0
    assert "if_equals" in (folder / "report.html").read_text()


def test_a_command_that_runs_a_model_says_what_to_install(tmp_path):
    """In one line, with exit code 2."""
    code = "import sys; sys.modules['torch'] = None; from circuitkit.cli import main; main()"
    asked = ("extract", "tinypython-nano", "--task", "for_while", "--out", tmp_path / "out")
    ran = without_torch(code, *asked)
    assert ran.returncode == 2
    assert ran.stderr.startswith("circuitkit: this needs PyTorch, which is not installed")
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
