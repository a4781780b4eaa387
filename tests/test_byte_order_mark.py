"""Laws of text: the byte order mark that some editors put before a file changes nothing."""

import codecs
import json
from shutil import copytree

import pytest
from example_circuit import example_circuit, example_validation
from tiny_run import contents, stopping_after, tiny_config

from circuitkit.checkpoints import bundled_checkpoints, load_checkpoint
from circuitkit.checkpoints.competence_json import Competence
from circuitkit.checkpoints.reference import load_reference
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.corpora.text_files import read_folder
from circuitkit.errors import CircuitkitError
from circuitkit.extraction.resume import SavedSearch
from circuitkit.files import shipped_folder
from circuitkit.findings import Validation
from circuitkit.task import load_task
from circuitkit.training import load_config, train
from circuitkit.validation.saved_findings import SavedFindings

NANO = "tinypython-nano"
PAIR = {
    "a": {"prompt": "x", "answer": "y"}, "b": {"prompt": "y", "answer": "x"},
    "template": "t", "split": "test",
}  # fmt: skip


def mark(path):
    """Put the mark before a file, once."""
    data = path.read_bytes()
    assert not data.startswith(codecs.BOM_UTF8)
    path.write_bytes(codecs.BOM_UTF8 + data)


def checkpoint(folder):
    found = load_checkpoint(folder)
    ids = found.tokenizer.encode("if x == 1:\n").ids
    return found.architecture, found.training, ids, Competence.load(folder)


def circuit(folder):
    opened = CircuitFolder(folder)
    search, findings = SavedSearch(folder=opened), SavedFindings(folder / "thorough.json", "hash")
    search.begin("key")
    return (
        *(Circuit.load(folder), Validation.load(folder), opened.sources, opened.pruning),
        *(search.parts, findings.findings, opened.task.pairs("test", 1)),
    )


def toml_task(folder):
    return load_task(folder / "mine.toml").pairs("test", 3)


def configuration(folder):
    return load_config(folder / "run.toml")


def reference(folder):
    return load_reference(load_checkpoint(NANO), folder / "text.txt").tolist()


def corpus(folder):
    return list(read_folder(folder, held_out=False))


READERS = {
    **dict.fromkeys(
        ("config.json", "tokenizer.json", "training.json", "competence.json"), checkpoint
    ),
    **dict.fromkeys(
        ("circuit.json", "validation.json", "sources.json", "pruning.json", "search.json",
         "thorough.json", "task.jsonl"), circuit,
    ),
    "mine.toml": toml_task,
    "run.toml": configuration,
    "text.txt": reference,
    "corpus.py": corpus,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """One of everything that is read as text."""
    folder = copytree(bundled_checkpoints()[NANO], tmp_path / "folder")
    made = example_circuit()
    validation = example_validation(made)
    made.save(folder)
    validation.save(folder)
    findings = SavedFindings(folder / "thorough.json", "hash")
    findings.add(validation.findings[0])
    search = SavedSearch(folder=CircuitFolder(folder))
    search.begin("key")
    search._keep("means", "0" * 64)
    (folder / "sources.json").write_text('{"checkpoint": "somewhere"}')
    (folder / "pruning.json").write_text('{"config": {}}')
    (folder / "task.jsonl").write_text(json.dumps(PAIR) + "\n")
    builtin = (shipped_folder("tasks") / "if_equals.toml").read_text()
    (folder / "mine.toml").write_text(builtin)
    (folder / "run.toml").write_text(tiny_config(tmp_path).read_text())
    (folder / "text.txt").write_text("if x == 1:\n    y = 2\n" * 200)
    (folder / "corpus.py").write_text("x = 'ü'\n")
    return folder


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_changes_nothing_that_is_read(folder, name):
    """Whatever the file."""
    before = READERS[name](folder)
    mark(folder / name)
    assert READERS[name](folder) == before


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "tokenizer.json"])
def test_a_run_goes_on_past_a_byte_order_mark(tmp_path, name):
    """To the same weights and metrics."""
    config = load_config(tiny_config(tmp_path))
    train(config, tmp_path / "straight")
    with pytest.raises(Exception, match=r"^$"):
        train(config, tmp_path / "run", report=stopping_after(4))
    mark(tmp_path / "run" / name)
    train(config, tmp_path / "run", resume=True)
    kept = ("model.safetensors", "metrics.jsonl", "tokenizer.json", "reference.safetensors")
    ran, straight = contents(tmp_path / "run"), contents(tmp_path / "straight")
    assert {n: ran[n] for n in kept} == {n: straight[n] for n in kept}


PASSED_OVER = {"corpus.py", "thorough.json", "search.json"}


@pytest.mark.parametrize("name", [name for name in READERS if name not in PASSED_OVER])
def test_another_encoding_is_refused(folder, name):
    """With the name of the file; a corpus passes over it, and what only saves time is made anew."""
    (folder / name).write_bytes(b"\xff\xfe{\0}\0\xdc")
    with pytest.raises(CircuitkitError, match=rf"{name}.*(not UTF-8 at byte 0|not TOML|not JSON)"):
        READERS[name](folder)
