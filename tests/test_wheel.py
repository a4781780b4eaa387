"""The wheel holds all that the main job needs, and works away from the repository."""

import email
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.wheel


def python(*arguments, **options):
    """Run this interpreter; what it printed, or a failure that shows why."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=False, capture_output=True, text=True, **options,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.glob("sparse_circuitkit-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel alone, unpacked by pip into a folder of its own."""
    target = tmp_path_factory.mktemp("installed")
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    python("-m", "pip", "install", *options, "--target", target, wheel)
    return target


@pytest.fixture
def run(installed, tmp_path):
    """``circuitkit`` as installed, in an empty folder."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}

    def circuitkit(*arguments):
        code = "from circuitkit.cli import main; main()"
        return python("-c", code, *arguments, cwd=tmp_path, env=environment)

    circuitkit.python = lambda code: python("-c", code, cwd=tmp_path, env=environment)
    return circuitkit


def test_the_wheel_holds_every_file_that_is_read_at_run_time(wheel):
    """Tasks, frames, the template, bundled checkpoints and training configurations."""
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"circuitkit/shipped/tasks/{p.name}" for p in (ROOT / "tasks").glob("*.toml")}
    wanted |= {"circuitkit/shipped/templates/report.typ", "circuitkit/py.typed"}
    left_out = ("tinypython-bridged", "tinypython-nano-dense")
    for pattern in ("checkpoints/bundled/*/*", "training/configs/*.toml", "**/*.py"):
        found = [p for p in (ROOT / "circuitkit").glob(pattern) if p.is_file()]
        assert found
        wanted |= {p.relative_to(ROOT).as_posix() for p in found if p.parent.name not in left_out}
    assert wanted - held == set()
    assert not [name for name in held if f"/{left_out[0]}/" in name or f"/{left_out[1]}/" in name]


def test_the_wheel_holds_nothing_else(wheel):
    """No tests, no caches, no gallery."""
    held = zipfile.ZipFile(wheel).namelist()
    assert all(name.startswith(("circuitkit/", "sparse_circuitkit-")) for name in held)
    assert not [name for name in held if "__pycache__" in name or name.endswith(".pyc")]


def test_the_wheel_is_at_most_12_megabytes(wheel):
    """Most of it are the checkpoints; ``make release-check`` asks the same."""
    limit = int(re.search(r"MAX_WHEEL := (\d+)", (ROOT / "Makefile").read_text())[1])
    assert wheel.stat().st_size <= limit == 12_000_000


def test_the_wheel_names_its_authors_and_addresses(wheel):
    """What a package index shows beside the README."""
    held = zipfile.ZipFile(wheel)
    (name,) = [n for n in held.namelist() if n.endswith(".dist-info/METADATA")]
    about = email.message_from_bytes(held.read(name))
    assert about["Author"] == "The circuitkit developers"
    shown = [url.partition(", ")[0] for url in about.get_all("Project-URL", [])]
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog", "Gallery"} == set(shown)
    assert "Typing :: Typed" in about.get_all("Classifier", [])
    assert {"docs", "notebook", "torch", "train", "tune", "ray", "dev"} == set(
        about.get_all("Provides-Extra", [])
    )


def test_the_installed_package_is_the_one_that_runs(run, installed):
    """Not the checkout beside it."""
    found = run.python("import circuitkit; print(circuitkit.__file__)").strip()
    assert Path(found) == installed / "circuitkit" / "__init__.py"


@pytest.mark.slow
def test_installed_tasks_and_checkpoints_are_found(run):
    """Listed and inspected without the repository."""
    tasks = json.loads(run("tasks", "list", "--json"))
    names = sorted(p.stem for p in (ROOT / "tasks").glob("*.toml") if p.stem != "frames")
    assert [task["name"] for task in tasks] == names
    assert json.loads(run("inspect", "tinypython-nano", "--json"))["name"] == "tinypython-nano"
    assert "--resume" in run("train", "--help")


@pytest.mark.slow
def test_the_main_job_runs_installed(run, tmp_path):
    """A circuit is found, validated, and typeset from the template in the wheel."""
    code = """
import circuitkit as ck
checkpoint, task = ck.load_checkpoint("tinypython-nano"), ck.load_task("if_equals")
config = ck.ExtractConfig(
    target_loss_nats=0.3, ablation="zero", restarts=1, n_train=32, n_select=16, n_test=16,
    rung="smallest",
    pruning=ck.PruningConfig(n_steps=2),
)
extraction = ck.run_extraction(checkpoint, task, config)
extraction.save("out")
print(ck.write_report("out", extraction.circuit))
"""
    assert run.python(code).strip() == "out/report.pdf"
    assert (tmp_path / "out" / "report.pdf").read_bytes().startswith(b"%PDF")
