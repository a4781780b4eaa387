"""Laws of reading: what is not a regular file, or too large, is refused before it is opened."""

import ast
import os
import shutil
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree

import pytest
from example_circuit import example_circuit
from test_rooms import FILES, PACKAGE, module
from tiny_run import stopping_after, tiny_config

from circuitkit import files
from circuitkit.checkpoints import bundled_checkpoints, load_checkpoint
from circuitkit.checkpoints.competence_json import Competence
from circuitkit.checkpoints.native import read_weights, stored_types
from circuitkit.checkpoints.reference import load_reference
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.corpora.text_files import read_folder
from circuitkit.errors import CircuitError, CircuitkitError
from circuitkit.extraction import Means
from circuitkit.extraction.resume import SavedSearch
from circuitkit.files import read_bounded, regular_file
from circuitkit.findings import Validation
from circuitkit.task import load_task
from circuitkit.training import load_config, train
from circuitkit.training.run_state import last_save
from circuitkit.validation.saved_findings import SavedFindings

NANO = "tinypython-nano"
HANGS_SECONDS = 5


def fifo(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as made, tempfile.TemporaryDirectory() as short:
        made.bind(f"{short}/s")  # a long path is refused
        shutil.move(f"{short}/s", path)


KINDS = {
    fifo: "a named pipe",
    endless: "a device",
    unix_socket: "a socket",
    Path.mkdir: "a directory",
}


@contextmanager
def not_hanging(path):
    """Fails, instead of hanging for ever, if something waits for the other end of a pipe."""
    hung = threading.Event()

    def let_go():
        hung.set()
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    timer = threading.Timer(HANGS_SECONDS, let_go)
    if path.is_fifo():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
    assert not hung.is_set(), f"{path.name} was opened"


def replaced(path, kind):
    """Something of this kind where a file is, or would be."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.unlink(missing_ok=True)
    kind(path)
    return path


def test_the_guard_against_hanging_would_notice(tmp_path):
    """A planted failure: a pipe is read."""
    fifo(tmp_path / "pipe")
    with pytest.raises((AssertionError, FileNotFoundError)), not_hanging(tmp_path / "pipe"):
        (tmp_path / "pipe").read_bytes()


@pytest.mark.parametrize("kind", KINDS, ids=KINDS.values())
def test_what_is_not_a_regular_file_is_refused_unopened(tmp_path, monkeypatch, kind):
    """By every way to read: the message says what it is, and what was expected."""
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    path = Path("x")
    kind(path)
    match = f"cannot read x: it is {KINDS[kind]}; expected a circuit"
    for read in (read_bounded, regular_file, files.read_text):
        with not_hanging(path), pytest.raises(CircuitError, match=match):
            read(path, CircuitError, "a circuit")


def test_a_link_to_a_regular_file_is_read(tmp_path):
    """What counts is where it leads."""
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_bounded(tmp_path / "link", CircuitError, "a circuit") == b"text"


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="no such system file here")
def test_what_is_larger_than_it_said_is_not_read_on(tmp_path):
    """Some files of the system say that they are empty, and never end."""
    with pytest.raises(CircuitError, match=r"version holds more than the 0 bytes it says"):
        read_bounded(Path("/proc/version"), CircuitError, "a circuit")


def test_too_large_a_file_is_refused_unopened(tmp_path):
    """Without a look at what is in it: here there is nothing."""
    with (tmp_path / "file").open("wb") as file:
        file.truncate(files.MAX_TENSORS_BYTES + 1)
    with pytest.raises(CircuitError, match=r"is 68,719,476,737 bytes; at most 68,719,476,736 are"):
        regular_file(tmp_path / "file", CircuitError, "weights")


# Every file that something reads


def of_checkpoint(path):
    found = load_checkpoint(path.parent)
    found.load_model()
    found.load_reference()
    Competence.load(path.parent)


def of_weights(path):
    read_weights(path, load_checkpoint(NANO).architecture)


def of_circuit(path):
    example_circuit().save(path.parent) if path.name != "circuit.json" else None
    folder = CircuitFolder.open(path.parent)
    _ = folder.validation, folder.pruning, folder.sources, folder.task
    SavedSearch(folder=folder).begin("key")
    Means.load(path.parent, {})


def text_reference(path):
    load_reference(load_checkpoint(NANO), path)


READERS = {
    **dict.fromkeys(
        ("config.json", "tokenizer.json", "model.safetensors", "training.json",
         "reference.safetensors", "competence.json"), of_checkpoint,
    ),
    "weights.safetensors": of_weights,
    "typed.safetensors": stored_types,
    **dict.fromkeys(
        ("circuit.json", "means.safetensors", "validation.json", "pruning.json", "sources.json",
         "task.toml", "task.jsonl", "search.json"), of_circuit,
    ),
    "mine.toml": load_task,
    "mine.jsonl": load_task,
    "training.toml": load_config,
    "text.txt": text_reference,
    "tokens.safetensors": text_reference,
}  # fmt: skip


@pytest.mark.parametrize("kind", [fifo, endless])
@pytest.mark.parametrize("name", READERS)
def test_no_reader_opens_what_is_not_a_file(tmp_path, name, kind):
    """Whatever stands in its place, there is one message that names it."""
    folder = tmp_path / "folder"
    if READERS[name] is of_checkpoint:
        copytree(bundled_checkpoints()[NANO], folder)
    path = replaced(folder / name, kind)
    with not_hanging(path), pytest.raises(CircuitkitError, match=f"{name}: it is {KINDS[kind]}"):
        READERS[name](path)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A training run stopped in the middle: every file that resuming reads."""
    folder = tmp_path_factory.mktemp("stopped")
    config = load_config(tiny_config(folder))
    with pytest.raises(Exception, match=r"^$"):
        train(config, folder / "run", report=stopping_after(4))
    return config, folder / "run"


@pytest.mark.parametrize("kind", [fifo, endless])
@pytest.mark.parametrize(
    "name",
    ["run.json", "tokenizer.json", "metrics.jsonl", "state.safetensors", "shards/train.bin",
     "shards/validation.bin"],
)  # fmt: skip
@pytest.mark.parametrize("matmul", ["float32", "auto"])
def test_no_run_opens_what_is_not_a_file(stopped, tmp_path, name, kind, matmul):
    """A run that goes on refuses it; with ``auto`` it looks into run.json first."""
    config, folder = stopped
    copytree(folder, tmp_path / "run")
    path = replaced(tmp_path / "run" / name, kind)
    if matmul == "auto":
        if name != "run.json":
            pytest.skip("nothing else is read for it")
        config = config.model_copy(update={"run": config.run.model_copy(update={"matmul": matmul})})
    with not_hanging(path), pytest.raises(CircuitkitError, match=f"it is {KINDS[kind]}"):
        train(config, tmp_path / "run", resume=True)


def test_what_only_saves_time_is_passed_over(tmp_path):
    """Findings of an earlier run and the last save are looked for, and need not be there."""
    fifo(tmp_path / "thorough.json")
    fifo(tmp_path / "state.safetensors")
    with not_hanging(tmp_path / "thorough.json"):
        assert SavedFindings(tmp_path / "thorough.json", "hash").findings == {}
    with not_hanging(tmp_path / "state.safetensors"):
        assert last_save(tmp_path) == "none"


def test_a_folder_of_text_is_read_past_what_is_not_a_file(tmp_path):
    """As it is past a file that is not text."""
    fifo(tmp_path / "a")
    (tmp_path / "b").write_text("text\n")
    endless(tmp_path / "c")
    with not_hanging(tmp_path / "a"):
        assert list(read_folder(tmp_path, held_out=False)) == ["text\n"]


# No other way to read

READING = ("read_bytes", "read_text", "from_file", "safe_open", "memmap", "load_file")


def reads(path):
    """Every call that reads a file of its own choice, not one that was looked at before."""
    for found in ast.walk(ast.parse(path.read_text())):
        if not isinstance(found, ast.Call):
            continue
        name = ast.unparse(found.func).rpartition(".")[2]
        checked = bool(found.args) and ast.unparse(found.args[0]).startswith("regular_file(")
        by_files = isinstance(found.func, ast.Name) and name == "read_text"
        if name in READING and not checked and not by_files:
            yield f"{name} in line {found.lineno}"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_every_file_is_looked_at_before_it_is_read(path):
    """What reads asks ``files`` first."""
    if path != PACKAGE / "files.py":
        assert list(reads(path)) == []


def test_the_check_for_reading_would_notice(tmp_path):
    """A planted failure: four ways to read unasked."""
    (tmp_path / "bad.py").write_text(
        "Path('x').read_text()\nsafe_open(path)\nnp.memmap(path)\nTokenizer.from_file(str(path))\n"
    )
    assert len(list(reads(tmp_path / "bad.py"))) == 4


def test_validation_is_read_by_files(tmp_path):
    """The reader of ``validation.json`` by itself."""
    path = replaced(tmp_path / "validation.json", fifo)
    with not_hanging(path), pytest.raises(CircuitError, match="it is a named pipe"):
        Validation.load(tmp_path)
    path = replaced(tmp_path / "circuit.json", fifo)
    with not_hanging(path), pytest.raises(CircuitError, match="it is a named pipe"):
        Circuit.load(tmp_path)
