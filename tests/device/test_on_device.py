"""Laws of the device in ``CIRCUITKIT_DEVICE``, the CPU unless it is set: ``check.sh`` sets a GPU.

A device gives the same bytes again, finds on planted models the nodes that were wired, and grades
the bundled circuits as their folders say. On the CPU these are laws as well, through the same code.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import torch
from tiny_run import tiny_config

from circuitkit.checkpoints import load_checkpoint
from circuitkit.circuit import CircuitFolder
from circuitkit.errors import UsageError
from circuitkit.extraction import ExtractConfig, PruningConfig, run_extraction
from circuitkit.model import Architecture, Transformer
from circuitkit.model.device import device_named, repeatable
from circuitkit.planted import plant
from circuitkit.task import load_task
from circuitkit.training import load_config, train
from circuitkit.validation import validate_folder

DEVICE = os.environ.get("CIRCUITKIT_DEVICE", "cpu")
ON_GPU = DEVICE != "cpu"
GALLERY = Path(__file__).parents[2] / "reports/gallery"
NEEDS_GPU = pytest.mark.skipif(not ON_GPU, reason="needs a GPU: set CIRCUITKIT_DEVICE=cuda")
PLANTED = ("nesting_depth",)
if ON_GPU:
    PLANTED += (
        "both_features",
        "neuron_chain",
        "closing_quote",
        "variable_binding",
        "selected_slot",
        "decoys",
    )
VERDICTS = (
    "tinypython-nano/with_open", "tinypython-nano/if_equals", "tinypython-sparse/class_init",
    "tinypython-sparse/with_as",
)  # fmt: skip
QUICK = ExtractConfig(
    rung="smallest", restarts=1, n_train=16, n_select=16, n_test=16,
    pruning=PruningConfig(n_steps=100 if ON_GPU else 10),
)  # fmt: skip
NATS = 1e-3


@pytest.fixture(scope="module")
def device():
    """A name that cannot be used is an error and no skip: ``check.sh`` would pass without a GPU."""
    return device_named(DEVICE)


def planted(name, folder):
    plant(name).save(folder)
    truth = json.loads((folder / "truth.json").read_text())
    return load_checkpoint(folder), load_task(folder / "task.jsonl"), truth


@pytest.mark.parametrize("name", PLANTED)
def test_what_was_wired_is_found(device, tmp_path, name):
    """On every device, so on every device the same."""
    *at, truth = planted(name, tmp_path)
    found = run_extraction(*at, QUICK, device=device).circuit
    assert found.outcome == "target_met"
    assert sorted(map(str, found.nodes)) in [sorted(c["nodes"]) for c in truth["circuits"]]


@pytest.mark.slow
def test_a_search_gives_the_same_bytes_again(device, tmp_path):
    """Means, scores, circuit: with activation top-k and a sink, where a rounding would show."""
    config = replace(QUICK, rung="trusted" if ON_GPU else "smallest")
    plant("nesting_depth", topk=0.5, sink=True, noise=0.1).save(tmp_path / "at")
    for out in ("one", "two"):
        run_extraction(
            tmp_path / "at", tmp_path / "at/task.jsonl", config, out=tmp_path / out, device=device
        )
    for file in ("means.safetensors", "pruning.json", "circuit.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@NEEDS_GPU
@pytest.mark.parametrize("name", VERDICTS)
def test_bundled_circuits_are_graded_as_on_the_cpu(device, tmp_path, name):
    """Their folders hold what a CPU found: the same outcomes, losses within 1e-3 nats."""
    copytree(GALLERY / name, tmp_path / "circuit")
    was = CircuitFolder.open(GALLERY / name).validation
    found = validate_folder(tmp_path / "circuit", device=device)
    before = {finding.claim: finding for finding in was.findings}
    assert found.findings
    for finding in found.findings:
        expected = before[finding.claim]
        if finding.claim == "beats_controls":  # the gallery has other circuits beside
            continue
        assert (finding.claim, finding.outcome) == (finding.claim, expected.outcome)
        if "nats" in finding.unit:
            assert finding.effect == pytest.approx(expected.effect, abs=NATS)


def test_a_training_gives_the_same_bytes_again_and_the_cpus_curve(device, tmp_path):
    """Of the same seed. Against the CPU to the rounding of float32."""
    path = tiny_config(tmp_path)
    for out, name in (("cpu", "cpu"), ("one", DEVICE), ("two", DEVICE)):
        train(load_config(path, [f"run.device={name}"]), tmp_path / out)
    one, two = ((tmp_path / out / "model.safetensors").read_bytes() for out in ("one", "two"))
    assert one == two
    curves = [
        [json.loads(line)["validation_loss_nats"] for line in
         (tmp_path / out / "metrics.jsonl").read_text().splitlines()]
        for out in ("cpu", "one")
    ]  # fmt: skip
    assert curves[1] == pytest.approx(curves[0], abs=1e-3)


@pytest.mark.parametrize("matmul", ["bfloat16", pytest.param("tf32", marks=NEEDS_GPU)])
def test_rounded_products_train_along_the_same_curve(device, tmp_path, matmul):
    """Within noise: only products are rounded, activation top-k stays float32."""
    path = tiny_config(tmp_path)
    exact = train(load_config(path, [f"run.device={DEVICE}"]), tmp_path / "exact")
    words = [f"run.device={DEVICE}", f"run.matmul={matmul}"]
    rounded = train(load_config(path, words), tmp_path / "rounded")
    losses = [(each.training or {})["validation_loss_nats"] for each in (exact, rounded)]
    assert losses[1] == pytest.approx(losses[0], abs=0.02)


@NEEDS_GPU
def test_a_gpu_of_a_number_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match=r"device = 'cuda:99' cannot be used"):
        device_named("cuda:99")


@NEEDS_GPU
def test_memory_of_a_large_batch_is_bounded(device):
    """Attention with a sink does not hold every score: those of this batch are 4 GB a copy."""
    arch = Architecture(
        vocab_size=64, n_ctx=1024, n_layer=1, d_model=2048, n_head=128, d_head=16, d_mlp=8192,
        attention_sink=True,
    )  # fmt: skip
    model = Transformer(arch).to(device).requires_grad_(requires_grad=False)
    torch.cuda.reset_peak_memory_stats(device)
    with torch.no_grad(), repeatable(device):
        model.stream(torch.zeros(8, 1024, dtype=torch.long), None)
    assert torch.cuda.max_memory_allocated(device) < 3 * 2**30
