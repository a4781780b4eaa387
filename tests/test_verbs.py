"""Laws of the verbs: names or objects, clear errors, the same folders as the command line."""

import json
import os
import re
import shutil
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from test_cli import cli

import circuitkit as ck
from circuitkit import progress as progress_module
from circuitkit.arguments import checked_call
from circuitkit.errors import UsageError
from circuitkit.extraction import ExtractConfig, means, run_extraction
from circuitkit.extraction.extraction_inputs import read_inputs
from circuitkit.planted import plant
from circuitkit.progress import shown, silent
from circuitkit.validation import validate_folder

GALLERY = Path(__file__).parents[1] / "reports" / "gallery" / "tinypython-nano"
NANO, TASK = "tinypython-nano", "for_while"
QUICK = {"restarts": 1, "target_loss_nats": 0.15, "rung": "smallest"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A wired model and its task, on disk."""
    folder = tmp_path_factory.mktemp("planted")
    plant("neuron_chain").save(folder)
    return folder, folder / "task.jsonl"


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory):
    """The folders that the verbs and the command line leave."""
    checkpoint, task = inputs
    by_api, by_cli = (tmp_path_factory.mktemp(name) / "x" for name in ("api", "cli"))
    ck.extract(checkpoint, task, out=by_api, progress=silent, **QUICK)
    options = ("--restarts", 1, "--target-loss", 0.15, "--rung", "smallest", "-q")
    assert cli("extract", checkpoint, "--task", task, "--out", by_cli, *options).code == 0
    validate_folder(by_api, progress=silent)
    assert cli("validate", by_cli, "-q").code in (0, 1)
    ck.write_report(by_api)
    assert cli("report", by_cli, "-q").code == 0
    return by_api, by_cli


def content(folder):
    """The bytes of each file, but for the seconds that a finding took."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("findings.csv", "report.pdf"):
        del files[name]
    validation = json.loads(files.pop("validation.json"))
    for finding in validation["findings"]:
        del finding["seconds"]
    return files, validation


@pytest.mark.slow
def test_verbs_and_commands_leave_the_same_folder(made):
    """The same files, of the same bytes."""
    by_api, by_cli = made
    assert {p.name for p in by_api.iterdir()} == {p.name for p in by_cli.iterdir()}
    assert content(by_api) == content(by_cli)


@pytest.mark.slow
def test_each_accepts_what_the_other_left(made, inputs, tmp_path):
    """A folder of the API for commands, one of the command line for verbs."""
    by_api, by_cli = made
    assert cli("compare", by_api, by_cli, "--json").code == 0
    assert ck.compare(by_api, by_cli).jaccard_edges == 1
    assert ck.CircuitFolder.open(by_cli).circuit == ck.CircuitFolder.open(by_api).circuit
    pdf = ck.write_report(tmp_path / "a.pdf", ck.Circuit.load(by_cli), ck.Validation.load(by_cli))
    assert pdf.read_bytes().startswith(b"%PDF")
    done = run_extraction(*inputs, ExtractConfig(**QUICK), out=by_cli, resume=True, progress=silent)
    assert done.circuit == ck.Circuit.load(by_cli)


@pytest.mark.slow
def test_names_and_objects_are_the_same(inputs):
    """A checkpoint or its folder, a task or its file."""
    checkpoint, task = ck.load_checkpoint(inputs[0]), ck.load_task(inputs[1])
    by_name = ck.extract(*inputs, progress=silent, **QUICK)
    assert ck.extract(checkpoint, task, progress=silent, **QUICK) == by_name
    assert ck.load_checkpoint(checkpoint) is checkpoint
    assert ck.load_task(task) is task


@pytest.mark.slow
def test_a_verdict_that_cannot_be_written_is_not_worked_out(made, monkeypatch):
    """A read-only folder is refused first; what it holds stays."""
    folder, _ = made
    before = content(folder)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match=r"it is read-only\. The verdict .*copy the folder"):
        validate_folder(folder, progress=silent)
    assert content(folder) == before


@pytest.mark.slow
def test_means_are_measured_once(inputs, monkeypatch):
    """What ``extract`` measured, ``validate`` need not measure again; of other text it does."""
    checkpoint, measured, real = ck.load_checkpoint(inputs[0]), [], means.measure_means
    monkeypatch.setattr(means, "_last", {})
    monkeypatch.setattr(means, "measure_means", lambda *a, **k: measured.append(1) or real(*a, **k))
    circuit = ck.extract(*inputs, progress=silent, **QUICK)
    ck.validate(*inputs, circuit, progress=silent)
    assert len(measured) == 1
    less = checkpoint.load_reference()[:4]
    ck.extract(*inputs, reference=less, progress=silent, **QUICK)
    assert len(measured) == 2


def test_extract_has_every_setting_with_its_default():
    """The keywords of ``extract`` are those of ``ExtractConfig``, and what goes around them."""
    parameters = signature(ck.extract).parameters
    config = ExtractConfig()
    for name in ExtractConfig.__dataclass_fields__:
        assert parameters[name].default == getattr(config, name), name


MISTAKES = {
    "misspelt": (lambda: ck.extract(NANO, TASK, sede=1), "did you mean 'seed'"),
    "unlike anything": (lambda: ck.extract(NANO, TASK, qqq=1), "expected checkpoint, task"),
    "missing": (lambda: ck.extract(NANO), "missing a required argument: 'task'"),
    "number as text": (lambda: ck.extract(NANO, TASK, seed="0"), "seed: got '0' .str., expected"),
    "seed too large": (lambda: ck.extract(NANO, TASK, seed=2**64), "expected a whole number from"),
    "no such choice": (lambda: ck.extract(NANO, TASK, ablation="men"), "'mean' or 'zero'"),
    "no checkpoint": (lambda: ck.extract(7, TASK), "checkpoint: got 7 .int., expected Checkpoint"),
    "no task": (lambda: ck.extract(NANO, None), "task: got None"),
    "path as circuit": (lambda: ck.validate(NANO, TASK, "no/such"), "expected Circuit"),
    "circuit as number": (lambda: ck.compare(1, 2), "compare: a: got 1"),
    "no folder": (lambda: ck.compare("no/such", "no/such"), "no such file"),
    "report of nothing": (lambda: ck.write_report("no/such"), "no such file"),
    "reports of numbers": (lambda: ck.write_reports("a.pdf", [1]), "got 1 .int."),
    "validation as text": (
        lambda: ck.write_report("a.pdf", ck.Circuit.load(GALLERY / TASK), "good"),
        "validation: got 'good'",
    ),
    "folder as number": (lambda: validate_folder(3), "folder: got 3"),
    "load nothing": (lambda: ck.load_checkpoint(None), "expected str or Path or Checkpoint"),
    "load a number": (lambda: ck.load_task(3), "expected str or Path or Task"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_error(mistake, tmp_path, monkeypatch):
    """Never a bare TypeError or AttributeError, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    call, message = MISTAKES[mistake]
    with pytest.raises(ck.CircuitkitError, match=message):
        call()
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_are_numbers():
    """Whole ones for integers, any for a loss; the types of sequences are the verb's business."""

    @checked_call
    def verb(n: int, x: float, names: list[str] | None = None, *, quiet: bool = False) -> float:
        return n + x

    assert verb(np.int64(1), np.float32(0.5)) == verb(1, 0.5, ["a"]) == 1.5
    with pytest.raises(UsageError, match=r"verb: n: got 1.5 \(float\), expected int"):
        verb(1.5, 1)
    with pytest.raises(UsageError, match="expected bool"):
        verb(1, 1, quiet="no")


def test_every_noun_has_a_repr_of_one_line():
    """So that a notebook cell shows what it is, not what it holds."""
    checkpoint, task = ck.load_checkpoint(NANO), ck.load_task(TASK)
    folder = ck.CircuitFolder.open(GALLERY / TASK)
    circuit, validation, model = folder.circuit, folder.validation, checkpoint.load_model()
    values = ck.Means.load(folder.path, checkpoint.architecture.widths)
    nouns = [
        *(checkpoint, task, model, values, folder, circuit, validation, checkpoint.architecture),
        *(validation["sufficient"], circuit.nodes, circuit.edges[0], circuit.surroundings),
        *(task.pairs("test", 1)[0], checkpoint.ask(task, "test", 8), ck.compare(circuit, circuit)),
        ck.compile(model, circuit, values),
    ]
    for noun in nouns:
        assert "\n" not in repr(noun)
        assert len(repr(noun)) <= 200, type(noun)
    assert "35 nodes, 31 edges" in repr(circuit)


class Terminal:
    """A stderr that is a terminal, or is not."""

    def __init__(self, is_terminal):
        self.is_terminal, self.text = is_terminal, ""

    def isatty(self):
        return self.is_terminal

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass


@pytest.mark.parametrize(("is_terminal", "kernel"), [(True, False), (False, True), (False, False)])
def test_progress_is_shown_where_someone_looks(monkeypatch, is_terminal, kernel):
    """A bar in a terminal and in a notebook by default; in a script nothing."""
    stderr = Terminal(is_terminal)
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setattr(progress_module, "_in_notebook", lambda: kernel)
    with shown(None) as report:
        report("masks", 1, 2)
        assert (report is silent) == (not is_terminal and not kernel)
    with shown(silent) as report:
        assert report is silent


@pytest.mark.slow
def test_the_python_of_the_page_on_commands_runs(tmp_path, monkeypatch):
    """Line by line, where the extraction is done already."""
    page = (GALLERY.parents[2] / "docs" / "commands.md").read_text()
    block = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    out = Path(shutil.copytree(GALLERY / TASK, tmp_path / "out" / TASK))
    inputs = read_inputs(
        ck.load_checkpoint(NANO), ck.load_task(TASK), ExtractConfig(), None, None, None
    )
    (out / "sources.json").write_text(json.dumps(inputs.sources))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block[1], names)
    assert names["circuit"] == ck.Circuit.load(GALLERY / TASK)
    assert names["validation"].grade == "B"
    assert names["report"].exists()
    assert names["same"] == 1
    assert names["folder"].path == Path("out/for_while")
