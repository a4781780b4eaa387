"""Laws of the command in a report: who follows it gets the same circuit."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from example_circuit import example_circuit, example_validation, finding
from test_cli import cli

import circuitkit as ck
from circuitkit.circuit import Circuit, CircuitFolder, Reference, SearchSettings
from circuitkit.extraction import PAPER, extract_config
from circuitkit.findings import Claim, Finding, Validation
from circuitkit.planted import plant
from circuitkit.views.report_data import page, summary_row
from circuitkit.views.reported import Reported
from circuitkit.views.rerun_command import Origin, commands
from circuitkit.views.safe_text import prose, shell_word


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    """A small wired model and its task, in a folder whose name has a blank and a quote."""
    folder = tmp_path_factory.mktemp("planted") / "it's mine"
    plant("neuron_chain").save(folder)
    return folder


def followed(folder: Path) -> Circuit:
    """What the command that the report prints makes; DIR is a copy of the folder."""
    printed = page(Reported.of(CircuitFolder(folder)))["commands"]
    (line,) = (line for line in printed if line.startswith("circuitkit extract"))
    again = Path(shutil.copytree(folder, folder.parent / "again"))
    words = [word.replace("DIR", str(again)) for word in shlex.split(line)[1:]]
    ran = cli(*words, "-q")
    assert ran.code in (0, 1), ran.err
    return Circuit.load(again)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--method", "random", "--calibrate", "--restarts", 1, "--seed", 3),
        ("--method", "attribution", "--gradient-points", 3, "--reference-tokens", 200),
        ("--granularity", "edge", "--restarts", 2, "--target-loss", 0.2123456789),
        ("--schedule", "paper", "--no-refine", "--restarts", 1),
        ("--ablation", "zero", "--target-loss", 0.6, "--restarts", 1, "--rung", "smallest"),
    ],
    ids=["default", "random", "attribution", "edges", "paper", "zero"],
)
def test_the_printed_command_makes_the_same_circuit(planted, tmp_path, options, monkeypatch):
    """The same nodes, edges, reference and settings, whatever was asked for."""
    monkeypatch.setattr(extract_config, "PAPER", replace(PAPER, n_steps=60))
    task, out = planted / "task.jsonl", tmp_path / "out"
    ran = cli("extract", planted, "--task", task, "--out", out, *options, "-q")
    assert ran.code in (0, 1), ran.err
    first, second = Circuit.load(out), followed(out)
    for name in ("nodes", "edges", "method", "search", "reference", "means_sha256", "loss_nats",
                 "target_loss_nats", "requested_target_loss_nats", "calibration"):  # fmt: skip
        assert getattr(first, name) == getattr(second, name), name
    assert first.reference
    assert first.reference.is_own == ("--reference-tokens" not in options)
    # What nobody asked for is not in the file.
    assert ('"search"' in (out / "circuit.json").read_text()) == bool(options)


@pytest.mark.slow
def test_a_reference_of_ones_own_is_in_the_command(planted, tmp_path):
    """By its path, with how much of it was read."""
    sample = tmp_path / "a sample.safetensors"
    shutil.copy(planted / "reference.safetensors", sample)
    options = ("--reference", sample, "--reference-tokens", 300, "--restarts", 1,
               "--rung", "smallest", "-q")  # fmt: skip
    out = tmp_path / "out"
    cli("extract", planted, "--task", planted / "task.jsonl", "--out", out, *options)
    first, second = Circuit.load(out), followed(out)
    assert first.reference == second.reference
    assert first.reference
    assert not first.reference.is_own
    assert first.nodes == second.nodes


@pytest.mark.slow
def test_what_only_python_can_ask_for_is_a_line_of_python(planted, tmp_path):
    """No command claims to make it; the lines do."""
    checkpoint, task = ck.load_checkpoint(planted), ck.load_task(planted / "task.jsonl")
    asked = ck.ExtractConfig(
        n_train=40,
        restarts=1,
        rung="smallest",
        seed=2,
        pruning=ck.PruningConfig(n_steps=30, tied=True),
    )
    first = ck.run_extraction(checkpoint, task, asked).circuit
    assert first.search == SearchSettings(
        restarts=1, n_train=40, rung="smallest", pruning={"n_steps": 30, "tied": True}
    )
    origin = Origin(checkpoint=str(planted), task=str(planted / "task.jsonl"))
    *lines, last = commands(first, None, origin)
    assert last == "circuitkit report DIR"
    assert not [line for line in lines if line.startswith("circuitkit extract")]
    assert "no option for n_train, pruning" in lines[0]
    exec("\n".join(lines).replace("DIR", str(tmp_path / "again")), {})
    second = Circuit.load(tmp_path / "again")
    assert (first.nodes, first.edges, first.search) == (second.nodes, second.edges, second.search)


def test_a_search_among_some_nodes_says_so(planted):
    """A circuit that could not choose from all nodes is not one that the command finds."""
    checkpoint, task = ck.load_checkpoint(planted), ck.load_task(planted / "task.jsonl")
    widths = checkpoint.architecture.widths
    asked = ck.ExtractConfig(restarts=1, rung="smallest")
    circuit = ck.run_extraction(checkpoint, task, asked, within=ck.NodeSet.full(widths)).circuit
    assert circuit.search == SearchSettings(
        restarts=1, rung="smallest", n_within=sum(widths.values())
    )
    lines = "\n".join(commands(circuit, None))
    assert "within=NODES" in lines
    assert "circuitkit extract" not in lines


def test_names_alone_are_said_to_be_names():
    """Without a folder nobody knows where things are; a given sample has no path."""
    sample = Reference(sha256="ab" * 32, n_tokens=400, is_own=False)
    lines = commands(example_circuit(reference=sample), None)
    assert lines[0].startswith("# checkpoint and task are given by name")
    assert "# REFERENCE is the sample that was given" in lines
    assert "--reference REFERENCE --reference-tokens 400" in lines[-2]
    assert "earlier version" in commands(example_circuit(), None)[0]


@pytest.mark.parametrize(
    ("path", "words", "arguments"),
    [
        (None, " --reference-tokens 400 --out", ", reference_tokens=400)"),
        ("a b.txt", " --reference 'a b.txt' --reference-tokens 400 --out",
         ", reference='a b.txt', reference_tokens=400)"),
    ],
)  # fmt: skip
def test_the_sample_is_asked_for_as_it_was(path, words, arguments):
    """With its path and its length, in both languages; a part of the checkpoint's own has none."""
    sample = Reference(sha256="ab" * 32, n_tokens=400, is_own=False)
    origin = Origin(checkpoint="c", task="t", reference=path)
    circuit = example_circuit(reference=sample)
    assert words in commands(circuit, None, origin)[-2]
    pruned = SearchSettings(restarts=1, pruning={"n_steps": 30})
    in_python = circuit.model_copy(update={"search": pruned})
    run = commands(in_python, None, origin)[-2]
    assert f"(checkpoint, task, config{arguments[:-1]}, out='DIR')" in run
    by_family = commands(in_python, None, origin, by="kind")[-2]
    assert f"(checkpoint, task, config{arguments[:-1]}, by='kind'," in by_family


def test_a_verdict_that_ended_early_is_asked_for_on_as_many_pairs():
    """A model that does not do the task has no later finding to tell how many they were."""
    circuit = example_circuit()
    one = finding(Claim.COMPETENT, ("fail", 0.5, 0.4, 0.6, "accuracy", "≥ 0.90"))
    two = Finding(claim=Claim.SUFFICIENT, outcome="not_run", note="the model does not do this task")
    found = Validation(
        grade="F", weakest=Claim.COMPETENT, circuit_sha256=circuit.sha256,
        findings=(one.model_copy(update={"n_pairs": 32}), two),
    )  # fmt: skip
    assert commands(circuit, found)[-2] == "circuitkit validate DIR --pairs 32"


def test_the_verdict_is_asked_for_as_it_was():
    """Other pairs and the long suite have their options."""
    circuit = example_circuit()
    plain, thorough = (example_validation(circuit, thorough=long) for long in (False, True))
    assert commands(circuit, plain)[-2] == "circuitkit validate DIR"
    assert commands(circuit, thorough)[-2] == "circuitkit validate DIR --thorough"
    fewer = circuit.model_copy(update={"n_pairs": 96})
    assert commands(fewer, plain)[-2] == "circuitkit validate DIR --pairs 512"


@pytest.mark.parametrize(("method", "word"), [("random", "at random"), ("paper", "the paper")])
def test_another_method_is_said_on_the_first_page_and_the_last(method, word):
    """A random ranking is not shown as if masks had been learned."""
    circuit = example_circuit(method=method)
    shown = page(Reported(circuit=circuit))
    assert word in shown["method"]
    assert word in dict(shown["made"])["method"]
    assert word in summary_row(circuit, None)[0]
    assert page(Reported(circuit=example_circuit()))["method"] == ""


@pytest.mark.parametrize(
    "word",
    ["a b", "it's", "two  blanks", "中文/🙂", "back\\slash", "a\x07b", "x" * 400, "$HOME", "",
     "é'中", os.fsdecode(b"\xff\xfe")],
)  # fmt: skip
def test_a_word_of_a_command_stays_one_word(word):
    """A shell reads back exactly what was meant, however long, from what the fonts can set."""
    typed = shell_word(word)
    told = subprocess.run(
        ["bash", "-c", f"printf %s {typed}"], env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True, check=True,
    )  # fmt: skip
    assert os.fsdecode(told.stdout) == word
    assert all(prose(letter) == letter for letter in typed if letter != " ")
