"""Laws of the second device: every verb runs with the model there and its inputs here.

``second_device`` holds values, and refuses what CUDA refuses: whatever is left on the wrong
device raises, in a whole search, validation or training.
"""

import re
from dataclasses import replace

import pytest
import torch
from second_device import OnCard, second_device
from test_cli import cli
from tiny import (
    encoded_pairs,
    random_nodes,
    random_tokens,
    random_values,
    tiny_architecture,
    tiny_model,
)
from tiny_run import tiny_config

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.compiled import compile_circuit
from circuitkit.errors import UsageError
from circuitkit.extraction import (
    Criterion,
    ExtractConfig,
    PruningConfig,
    attribute,
    cut_model,
    edges_between,
    four_differences,
    learn_masks,
    measure_means,
    run_extraction,
)
from circuitkit.extraction.ask_maker import AskMaker
from circuitkit.extraction.asks import ASKS
from circuitkit.extraction.masked_model import (
    gate_gradients,
    pairs_a_batch,
    tapped_differences,
)
from circuitkit.extraction.means import means_of
from circuitkit.extraction.restarts import single_threaded
from circuitkit.model import Transformer
from circuitkit.model.activation_statistics import measure_activity
from circuitkit.nodes import NodeSet
from circuitkit.planted import plant
from circuitkit.progress import silent
from circuitkit.task import load_task
from circuitkit.training import load_config, train
from circuitkit.validation import Thorough, validate
from circuitkit.validation.claims import beats_controls
from circuitkit.validation.controls import null_problems

ARCHITECTURES = ("the paper's", "GPT-2's", "everything")
QUICK = ExtractConfig(
    rung="smallest", restarts=1, n_train=16, n_select=16, n_test=16,
    pruning=PruningConfig(n_steps=8),
)  # fmt: skip


@pytest.fixture
def card(monkeypatch):
    with second_device(monkeypatch) as device:
        yield device


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A planted checkpoint with its task."""
    folder = tmp_path_factory.mktemp("planted")
    plant("nesting_depth").save(folder)
    return load_checkpoint(folder), load_task(folder / "task.jsonl")


@pytest.fixture(scope="module")
def extraction(planted):
    return run_extraction(*planted, QUICK)


def everything(model, pairs, values, sample):
    """What the verbs of extraction give, by name, as plain numbers or tensors."""
    arch = model.arch
    nodes, whole = random_nodes(arch, 0.5), NodeSet.full(arch.widths)
    means = measure_means(model, sample)
    found = {f"mean {site}": value for site, value in means.values.items()}
    found |= {f"slope {s}": g for s, g in gate_gradients(model, pairs, nodes, values).items()}
    found |= {f"rank {s}": r for s, r in attribute(model, pairs, values).ranks.items()}
    four = four_differences(model, pairs, nodes, values)
    found |= {name: getattr(four, name) for name in ("model", "circuit", "complement", "empty")}
    found["compiled"] = compile_circuit(model, nodes, values).differences(pairs)
    edges = edges_between(model, nodes)
    cut = cut_model(model, nodes, edges[::2], values)
    found["cut"] = tapped_differences(cut, pairs, None)
    maker = AskMaker(
        model=model, values=values, sample=sample, pairs=pairs, target_loss_nats=0.5, seed=0
    )
    for ask in maker.criteria(ASKS):
        found |= {f"{ask.name} {i}": v for i, v in enumerate(ask.values(nodes))}
        found[f"{ask.name} losses"] = ask.losses(nodes)
        found |= {f"{ask.name} {s}": g for s, g in ask.gradients(nodes, whole).items()}
    config = PruningConfig(n_steps=2)
    terms = maker.terms(("restore",), pairs, whole, 0)
    learned = learn_masks(
        model, pairs, values, target_loss_nats=0.5, config=config, within=whole, terms=terms
    )
    found |= {f"learned {site}": rank for site, rank in learned.ranks.items()}
    criterion = Criterion(model=model, values=values, pairs=pairs, target_loss_nats=0.5)
    found["bound"] = torch.tensor(criterion.bound(nodes))
    found["silent"] = torch.tensor(measure_activity(model, sample).n_silent)
    return found


def assert_alike(key, one, other):
    """To the rounding of float32, next to the largest."""
    apart = float((one.double() - other.double()).abs().max())
    assert (key, apart) < (key, 1e-4 * max(1.0, float(other.abs().max())))


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_on_one_device_takes_inputs_on_another(card, name):
    """Every verb of extraction gives on both the same, and gives it on the CPU."""
    model = tiny_model(name)
    arch = model.arch
    inputs = encoded_pairs(arch, 3), random_values(arch), random_tokens(arch, 5, 6)
    here = everything(model, *inputs)
    there = everything(tiny_model(name).to(card), *inputs)
    assert not any(isinstance(x, OnCard) for x in there.values())
    for key, value in here.items():
        assert_alike(key, there[key], value)


def test_inputs_may_be_on_the_device_and_the_model_here(card):
    """The other way round: they are brought to where the model is."""
    model = tiny_model("the paper's")
    arch = model.arch
    pairs, nodes = encoded_pairs(arch), random_nodes(arch, 0.5)
    values = {site: value.to(card) for site, value in random_values(arch).items()}
    tokens = random_tokens(arch, 5, 6)
    differences = four_differences(model, pairs, nodes, random_values(arch))
    moved = four_differences(model, pairs.to(card), nodes, values)
    assert torch.equal(moved.circuit, differences.circuit)
    assert torch.equal(moved.empty, differences.empty)
    assert torch.equal(model(tokens.to(card)), model(tokens))
    assert measure_means(model, tokens.to(card)).sha256 == measure_means(model, tokens).sha256


def test_a_checkpoint_is_saved_from_the_device(card, tmp_path):
    """The files are those of a model that was on the CPU."""
    model = tiny_model("the paper's")
    tokens = random_tokens(model.arch, 4, 6)
    save_checkpoint(tmp_path / "here", model, name="x", reference=tokens)
    save_checkpoint(tmp_path / "there", model.to(card), name="x", reference=tokens.to(card))
    for file in ("model.safetensors", "reference.safetensors"):
        here, there = (tmp_path / folder / file for folder in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()


@pytest.mark.slow
def test_a_search_on_the_device_finds_the_same_nodes(card, planted, extraction, tmp_path):
    """The same seed asks the same, whatever computes; files hold no trace of the device."""
    found = run_extraction(*planted, QUICK, out=tmp_path / "out", device=card)
    assert found.circuit.nodes == extraction.circuit.nodes
    assert found.means.sha256 == extraction.means.sha256
    assert found.circuit.loss_nats.circuit == pytest.approx(extraction.circuit.loss_nats.circuit)
    done = run_extraction(*planted, QUICK, out=tmp_path / "out", resume=True)
    assert done.circuit == found.circuit


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"ablation": "zero", "granularity": "edge"}, {"rung": "trusted"}]
)
def test_other_searches_run_on_the_device_too(card, planted, changes):
    config = replace(QUICK, **changes)
    here, there = run_extraction(*planted, config), run_extraction(*planted, config, device=card)
    assert there.circuit.nodes == here.circuit.nodes
    assert there.circuit.edges == here.circuit.edges
    assert len(there.ladder) == len(here.ladder)


@pytest.mark.slow
def test_a_search_begun_on_one_device_ends_on_another(card, planted, extraction, tmp_path):
    """What is saved of a search is of no device."""

    def until_masks_are_learned(stage, done, total):
        if stage.startswith("eliminate"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_extraction(*planted, QUICK, out=tmp_path, progress=until_masks_are_learned)
    rest = run_extraction(*planted, QUICK, out=tmp_path, resume=True, device=card)
    assert rest.circuit.nodes == extraction.circuit.nodes


def verdict(validation):
    return {f.claim: (f.outcome, f.effect, f.note) for f in validation.findings}


@pytest.mark.slow
def test_a_validation_on_the_device_gives_the_same_verdict(card, planted, extraction, monkeypatch):
    """Every claim of both suites; random backgrounds and controls are those of the CPU."""
    monkeypatch.setattr(beats_controls, "N_DRAWS", 5)
    monkeypatch.setattr("circuitkit.validation.claims.search_null.N_DRAWS", 1)
    monkeypatch.setattr("circuitkit.validation.claims.stable.N_SEARCHES", 2)
    monkeypatch.setattr("circuitkit.validation.claims.worst_case.N_PAIRS", 32)
    monkeypatch.setattr("circuitkit.validation.claims.roles.MOST_NODES", 2)
    monkeypatch.setattr(null_problems, "KINDS", null_problems.KINDS[3:])
    monkeypatch.setattr("circuitkit.validation.claims.complete.N_SUBSETS", 2)

    def judged(device):
        return validate(
            *planted, extraction.circuit, means=extraction.means, device=device,
            thorough=Thorough(search=QUICK),
        )  # fmt: skip

    here, there = verdict(judged("cpu")), verdict(judged(card))
    for claim, (outcome, effect, _) in here.items():
        assert (claim, there[claim][0]) == (claim, outcome)
        assert there[claim][1] == pytest.approx(effect, abs=1e-3)


@pytest.mark.slow
def test_what_is_wrong_with_a_circuit_is_found_on_the_device(card, tmp_path, monkeypatch):
    """The backup, what outweighs, what is redundant inside: what only failures run."""
    monkeypatch.setattr(beats_controls, "N_DRAWS", 3)
    plant("cancellation_trap").save(tmp_path)
    at = load_checkpoint(tmp_path), load_task(tmp_path / "task.jsonl")
    found = run_extraction(*at, QUICK)
    here = validate(*at, found.circuit, means=found.means)
    there = validate(*at, found.circuit, means=found.means, device=card)
    assert {f.claim: f.outcome for f in there.findings} == {
        f.claim: f.outcome for f in here.findings
    }
    assert here.grade != "B"


def test_a_training_on_the_device_is_the_same_training(card, tmp_path):
    """To rounding; it can be stopped and resumed, and its files are read without the device."""
    path = tiny_config(tmp_path)
    here = train(load_config(path), tmp_path / "here")
    there = train(load_config(path, ["run.device=card"]), tmp_path / "there")
    for a, b in zip(here.load_model().parameters(), there.load_model().parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert (tmp_path / "there/state.safetensors").exists()
    with pytest.raises(UsageError, match="is another configuration than the one given"):
        train(load_config(path), tmp_path / "there", resume=True)


@pytest.mark.parametrize(("length", "n_pairs"), [(8, 512), (512, 8), (2**13, 1)])
def test_a_batch_there_is_as_large_as_memory_is_bounded(length, n_pairs):
    """A quarter of a gigabyte of the widest site's activations, but a pair at least."""
    with torch.device("meta"):
        model = Transformer(tiny_architecture(d_mlp=8192))
    pairs = encoded_pairs(model.arch, 1)
    pairs = replace(pairs, tokens=torch.zeros(2, length, dtype=torch.long))
    assert pairs_a_batch(model, pairs) == n_pairs
    assert pairs_a_batch(tiny_model(), pairs) == 16


def test_means_of_another_device_are_measured_again(card, planted):
    """They differ in the last digit, and a GPU's bytes may not depend on what ran before."""
    checkpoint, _ = planted
    sample = checkpoint.load_reference()
    here = means_of(checkpoint, checkpoint.load_model(), sample, silent)
    there = means_of(checkpoint, checkpoint.load_model(card), sample, silent)
    assert there is not here
    assert means_of(checkpoint, checkpoint.load_model(card), sample, silent) is there


def test_a_device_runs_one_restart_at_a_time(card):
    """It takes the operations of all one after the other."""
    with single_threaded(card) as n_workers:
        assert n_workers == 1


# The command line


@pytest.mark.parametrize(
    "words",
    [
        ["extract", "{checkpoint}", "--task", "{task}", "--out", "{out}"],
        ["train", "tinypython-nano", "--out", "{out}"],
    ],
)
def test_a_command_says_in_one_line_that_cuda_is_missing(planted, tmp_path, monkeypatch, words):
    monkeypatch.setattr("torch.version.cuda", None)
    checkpoint = planted[0].path
    at = {"checkpoint": checkpoint, "task": checkpoint / "task.jsonl", "out": tmp_path / "out"}
    done = cli(*(word.format(**at) for word in words), "--device", "cuda")
    assert done.code == 2
    assert re.fullmatch(
        r"circuitkit: (run\.)?device = 'cuda' cannot be used \(this torch, \S+, is built without "
        r"CUDA: install one with it\); expected cpu, or cuda .*\n",
        done.err,
    )
    assert not (tmp_path / "out").exists()
