"""Laws of a circuit's folder: parts of one circuit, over one reference, and no others."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from example_circuit import example_circuit, example_validation, tiny_circuit
from safetensors.torch import load_file, save_file
from test_cli import cli

import circuitkit as ck
from circuitkit.checkpoints.reference import describe_reference, load_reference, sample_sha256
from circuitkit.circuit import FILE, Circuit, CircuitFolder
from circuitkit.circuit.folder import MADE_FROM_CIRCUIT
from circuitkit.errors import MismatchError, UsageError
from circuitkit.extraction import Means
from circuitkit.planted import plant

ONE = ("--restarts", 1, "--rung", "smallest", "-q")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A wired model and its circuit, extracted over a part of a given reference."""
    folder = tmp_path_factory.mktemp("made")
    plant("neuron_chain").save(folder / "model")
    shutil.copy(folder / "model" / "reference.safetensors", folder / "sample.safetensors")
    sample = ("--reference", folder / "sample.safetensors", "--reference-tokens", 600)
    task = ("--task", folder / "model" / "task.jsonl", "--out", folder / "circuit")
    assert cli("extract", folder / "model", *task, *sample, *ONE).code == 0
    return folder


@pytest.fixture
def copy(made, tmp_path) -> Path:
    """The same to write into; its sources still name the first."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def change_sample(path: Path) -> None:
    tokens = load_file(path)["tokens"].to(torch.int64)
    tokens[0] = tokens[0].flip(0)
    save_file({"tokens": tokens}, path)


@pytest.mark.slow
def test_validation_reads_as_much_of_the_reference_as_extraction_did(made, monkeypatch):
    """The limit is applied again: the sample is the one that the circuit names."""
    seen = []
    module = sys.modules["circuitkit.validation.validate_folder"]
    monkeypatch.setattr(module, "validate", lambda *a, **k: seen.append(k) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("validate", made / "circuit", "-q")
    circuit = Circuit.load(made / "circuit")
    assert circuit.reference
    assert circuit.reference.n_tokens <= 600
    assert sample_sha256(seen[0]["reference"]) == circuit.reference.sha256


@pytest.mark.slow
def test_a_reference_that_was_replaced_is_refused(copy):
    """By its hash, with both named; so is that of the checkpoint, and a shorter one."""
    change_sample(copy / "sample.safetensors")
    ran = cli("validate", copy / "circuit", "--reference", copy / "sample.safetensors", "-q")
    assert ran.code == 2
    assert "was extracted over a reference of" in ran.err
    assert "--reference" in ran.err
    checkpoint, task = ck.load_checkpoint(copy / "model"), ck.load_task(copy / "circuit/task.jsonl")
    circuit = Circuit.load(copy / "circuit")
    means = Means.load(copy / "circuit", checkpoint.architecture.widths)
    with pytest.raises(MismatchError, match=r"a reference of \d+ tokens .* given has"):
        ck.validate(checkpoint, task, circuit, means=means)


@pytest.mark.slow
def test_zero_ablation_is_bound_to_its_reference_too(tmp_path, made):
    """Its claims resample from it."""
    model, out = shutil.copytree(made / "model", tmp_path / "model"), tmp_path / "circuit"
    options = ("--task", model / "task.jsonl", "--out", out, "--ablation", "zero", *ONE)
    assert cli("extract", model, *options).code in (0, 1)
    circuit = Circuit.load(out)
    assert circuit.reference
    assert circuit.reference.is_own
    change_sample(model / "reference.safetensors")
    ran = cli("validate", out, "-q")
    assert (ran.code, "was extracted over a reference" in ran.err) == (2, True)


@pytest.mark.slow
def test_an_earlier_circuit_is_held_to_its_number_of_tokens(made):
    """Its file has no hash of the reference, but its means say over how many they are."""
    checkpoint = ck.load_checkpoint(made / "model")
    circuit = Circuit.load(made / "circuit").model_copy(update={"reference": None})
    assert '"reference"' not in circuit.to_json()
    means = Means.load(made / "circuit", checkpoint.architecture.widths)
    task = ck.load_task(made / "circuit" / "task.jsonl")
    with pytest.raises(MismatchError, match="was extracted over a reference of"):
        ck.validate(checkpoint, task, circuit, means=means)


@pytest.mark.slow
def test_a_reference_that_is_gone_is_named(copy, made):
    """With the option that says where it is now."""
    circuit = copy / "circuit"
    sources = (circuit / "sources.json").read_text()
    (circuit / "sources.json").write_text(sources.replace(str(made), "/nowhere"))
    ran = cli("validate", circuit, "--checkpoint", copy / "model", "-q")
    assert ran.code == 2
    assert "over the reference /nowhere/sample.safetensors, which is not there" in ran.err
    assert "--reference" in ran.err


@pytest.mark.slow
def test_a_sample_is_its_ids_and_their_shape(made):
    """The type of integer does not matter, the length of the sequences does."""
    checkpoint = ck.load_checkpoint(made / "model")
    own = checkpoint.load_reference()
    assert sample_sha256(own) == sample_sha256(own.long())
    assert sample_sha256(own) != sample_sha256(own.view(-1, own.shape[1] // 2))
    assert describe_reference(checkpoint, own).is_own
    assert not describe_reference(checkpoint, load_reference(checkpoint, None, 100)).is_own


@pytest.mark.slow
def test_another_extraction_leaves_nothing_of_the_one_before(copy):
    """Neither a task, a verdict, a report nor a file of a name that is no longer written."""
    out = copy / "circuit"
    for name in MADE_FROM_CIRCUIT:
        if not (out / name).exists():
            (out / name).write_text("of the circuit before")
    built_in = ("--task", "for_while", "--reference-tokens", 1024, "--target-loss", 1e-9)
    cli("extract", "tinypython-nano", *built_in, "--method", "random", "--out", out, *ONE)
    left = {path.name for path in out.iterdir()}
    assert left == {
        *(FILE, "means.safetensors", "pruning.json", "sources.json", "nodes.csv", "edges.csv"),
        *("circuit.dot", "circuit.svg", "ladder.csv"),
    }
    assert Circuit.load(out).task.name == "for_while"


@pytest.mark.slow
def test_a_search_that_is_stopped_leaves_no_circuit_of_other_means(copy, monkeypatch):
    """Its own means stand there, so the circuit that was found under others is gone."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("circuitkit.extraction.restarts.follow", interrupted)
    task = ("--task", copy / "model" / "task.jsonl", "--out", copy / "circuit")
    assert cli("extract", copy / "model", *task, *ONE).code == 130
    left = {path.name for path in (copy / "circuit").iterdir()}
    assert left <= {"search.json", "means.safetensors"}


@pytest.mark.slow
def test_the_copy_of_a_task_can_be_extracted_into_its_own_folder(copy):
    """As the printed command does: the file is read before it is overwritten."""
    out = copy / "circuit"
    before = (out / "task.jsonl").read_bytes()
    assert (
        cli("extract", copy / "model", "--task", out / "task.jsonl", "--out", out, *ONE).code == 0
    )
    assert (out / "task.jsonl").read_bytes() == before


@pytest.mark.slow
def test_resume_draws_what_an_interrupted_run_did_not(copy):
    """A folder with its circuit but without its picture gets the picture, and nothing else."""
    out = copy / "circuit"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "circuit.svg").unlink()
    sample = ("--reference", copy / "sample.safetensors", "--reference-tokens", 600)
    task = ("--task", copy / "model" / "task.jsonl", "--out", out, "--resume")
    ran = cli("extract", copy / "model", *task, *sample, *ONE[:-1])
    assert ran.code == 0
    assert "masks" not in ran.err
    assert "diagram" not in ran.out
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.slow
def test_progress_says_that_a_diagram_is_drawn(copy):
    """A large one takes a minute."""
    task = ("--task", copy / "model" / "task.jsonl", "--out", copy / "new")
    assert "diagram: 0 of 1" in cli("extract", copy / "model", *task, *ONE[:-1]).err
    assert "reports: 0 of 1" in cli("report", copy / "new").err


def test_a_report_of_another_circuit_is_refused_with_nothing_lost(tmp_path):
    """Nothing of the circuit that is there goes; of the same one all stays; a PDF is no folder."""
    circuit = example_circuit()
    ck.write_report(tmp_path, circuit, example_validation(circuit))
    (tmp_path / "task.toml").write_text("of the same circuit")
    ck.write_report(tmp_path, circuit, example_validation(circuit))
    assert (tmp_path / "task.toml").exists()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match="holds another circuit, or a damaged one, and what was"):
        ck.write_report(tmp_path, tiny_circuit())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert ck.write_report(tmp_path / "tiny.pdf", tiny_circuit()).exists()


def test_a_circuit_that_cannot_be_read_is_another(tmp_path):
    """What a damaged file was is not known."""
    (tmp_path / FILE).write_text("{")
    (tmp_path / "validation.json").write_text("{}")
    CircuitFolder(tmp_path).forget_other(tiny_circuit())
    assert not list(tmp_path.iterdir())
    CircuitFolder(tmp_path).forget_other(tiny_circuit())
