"""Laws of the public docstrings: each name has an example, and every example runs as it stands.

The examples use folders that a command makes: ``out/for_while`` is that of the front page, the
others are named beside them. Two make what others read, so they run first.
"""

import contextlib
import doctest
import inspect
import io
import json
import shutil
from functools import cache
from pathlib import Path

import pytest
from test_released_circuits import viz_data, written
from tiny_bridged import write_bridges
from tiny_run import tiny_config

import circuitkit as ck
from circuitkit.bridges.bridge_maps import identity_bridges
from circuitkit.checkpoints import bundled_checkpoints
from circuitkit.planted import plant

GALLERY = Path(__file__).parents[1] / "reports" / "gallery" / "tinypython-nano" / "for_while"
TYPES_ALONE = {"Split"}
"""Public names that are a Literal and have no docstring; ``Task`` shows one in use."""

NAMES = [name for name in ck.__all__ if name not in TYPES_ALONE]
FIRST = ("extract", "run_study")
STUDY = """
format = "circuitkit.study/1"
name = "one"
question = "Is the circuit found?"
checkpoints = ["planted"]
tasks = ["planted/task.jsonl"]
rungs = ["smallest"]
validate = "none"
[extract]
restarts = 1
n_train = 32
n_select = 64
n_test = 64
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the examples begin from."""
    folder = tmp_path_factory.mktemp("examples")
    out = folder / "out"
    shutil.copytree(GALLERY, out / "for_while")
    shutil.copytree(bundled_checkpoints()["tinypython-nano"], out / "bridged")
    nano = ck.load_checkpoint("tinypython-nano")
    model = nano.load_model()
    write_bridges(out / "bridged", model, nano, model, identity_bridges(2, model.arch.d_model))
    plant("either_feature").save(out / "planted")
    plant("two_mechanisms").save(out / "forms")
    tiny_config(out)
    (out / "study.toml").write_text(STUDY)
    truth = json.loads((out / "planted" / "truth.json").read_text())["circuits"][0]
    checkpoint = ck.load_checkpoint(out / "planted")
    written(out / "release", viz_data(checkpoint, truth["nodes"], truth["edges"]))
    return folder


@cache
def failures(name, folder):
    """What the examples of a docstring print that they should not."""
    docstring = inspect.getdoc(getattr(ck, name)) or ""
    example = doctest.DocTestParser().get_doctest(docstring, {}, name, None, 0)
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stderr(io.StringIO()):
        doctest.DocTestRunner(verbose=False).run(example, out=said.write)
    return said.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example(name):
    """That begins with the import, as a reader would, and leaves nothing out."""
    lines = (getattr(ck, name).__doc__ or "").splitlines()
    shown = [line.strip() for line in lines if line.strip().startswith(">>>")]
    assert shown[0] == ">>> import circuitkit as ck"
    assert any(f"ck.{name}" in line for line in lines) or name in MADE_BY
    assert "SKIP" not in "".join(shown)


MADE_BY = {"Architecture", "Checkpoint", "Finding", "Pair", "Study", "StudyResults", "Task",
           "Transformer", "Means"}  # fmt: skip
"""Names of what other names return: their example shows how one comes by them."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_example_runs(folder, name):
    """And prints what is shown."""
    for first in FIRST:
        assert failures(first, folder) == ""
    assert failures(name, folder) == ""


def test_a_wrong_example_is_found(folder, monkeypatch):
    """A planted failure."""
    monkeypatch.setattr(ck, "wrong", type("Wrong", (), {"__doc__": ">>> 1 + 1\n3"}), raising=False)
    assert "Expected:\n    3\nGot:\n    2" in failures("wrong", folder)
