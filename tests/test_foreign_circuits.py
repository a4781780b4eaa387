"""Laws of circuits in other people's folders: extract, validate and report run on them as they are.

A planted model, whose circuit is known, is written in each format. They all have a norm, which it
was wired without: constant channels that nothing reads make its denominator a constant.
"""

import pytest
import torch
from foreign_folders import (
    ADDED,
    CONCATENATED,
    GPT2,
    gpt2_tensors,
    released_tensors,
    write_port,
    write_release,
    write_shards,
)
from safetensors.torch import save_file
from test_cli import cli

from circuitkit.checkpoints import load_checkpoint
from circuitkit.circuit import Circuit
from circuitkit.findings import Validation
from circuitkit.planted import plant
from circuitkit.validation.claims import beats_controls

C = 1000.0
"""The constant: so large that the norm sees nothing else."""


@pytest.fixture(scope="module")
def planted():
    return plant("neuron_chain")


def sizes(arch):
    """Of a model as wide as it takes, in the words of the release."""
    return {
        "vocab_size": arch.vocab_size, "block_size": arch.n_ctx, "d_model": arch.d_model + 2,
        "n_head": arch.n_head, "d_head": arch.d_head, "d_mlp": arch.d_mlp,
        "n_layer": arch.n_layer, "activation_type": "relu", "afrac": None,
        "enable_bigram_table": False,
    }  # fmt: skip


def released(planted, config):
    """The tensors of the release: the planted ones in the corner, one channel of constants."""
    config = config | sizes(planted.model.arch)
    blank = {name: torch.zeros_like(t) for name, t in released_tensors(config).items()}
    _lay(planted, blank)
    constant = planted.model.arch.d_model
    blank["transformer.wte.weight"][:, constant] = C
    for name, tensor in blank.items():
        if ".ln_" in name and name.endswith("weight"):
            tensor.fill_(C / config["d_model"] ** 0.5)
        elif name.endswith("sink_logit"):
            tensor.fill_(-30.0)
    return config, blank


def gpt2(planted):
    """The tensors of GPT-2, whose norm centres: every channel has its negative beside it."""
    arch = planted.model.arch
    width = 4 * arch.d_model  # heads of the same size fill it
    config = GPT2 | {
        "n_embd": width, "n_head": width // arch.d_head, "n_inner": arch.d_mlp,
        "n_layer": arch.n_layer, "n_positions": arch.n_ctx, "n_ctx": arch.n_ctx,
        "vocab_size": arch.vocab_size, "activation_function": "relu", "tie_word_embeddings": False,
    }  # fmt: skip
    blank = {name: torch.zeros_like(t) for name, t in gpt2_tensors(config).items()}
    turned = {n: t.T if ".c_" in n and n.endswith("weight") else t for n, t in blank.items()}
    _lay(planted, turned)
    d = arch.d_model
    for name, tensor in turned.items():
        if name.endswith(("c_proj.weight", "c_proj.bias")):
            tensor[d : 2 * d] = -tensor[:d]
        elif name == "transformer.wte.weight":
            tensor[:, d : 2 * d] = -tensor[:, :d]
            tensor[:, 2 * d], tensor[:, 2 * d + 1] = C, -C
        elif ".ln_" in name and name.endswith("weight"):
            tensor.fill_((2 * C**2 / width) ** 0.5)
    blank["lm_head.weight"][:, 2 * d] = planted.model.final_logits_bias / C
    return config, blank


def _lay(planted, tensors):
    """Copy every tensor into the corner of the larger one; q, k and v each into their third."""
    for name, value in planted.model.state_dict().items():
        if ".ln_" in name or name not in tensors:
            continue
        target = tensors[name]
        thirds = 3 if "c_attn" in name else 1
        parts = zip(target.chunk(thirds), value.chunk(thirds), strict=True)
        for wide, narrow in parts:
            wide[tuple(slice(n) for n in narrow.shape)] = narrow


FORMATS = {
    "GPT-2 in shards of torch": lambda folder, p: write_shards(folder, *gpt2(p), kind="bin"),
    "release": lambda folder, p: write_release(folder, *released(p, ADDED)),
    "port": lambda folder, p: write_port(folder, *released(p, CONCATENATED)),
}


def write(tmp_path, planted, kind):
    """The model in a format, with its tokenizer; its task and its sample beside the folder."""
    folder = FORMATS[kind](tmp_path / "model", planted)
    planted.tokenizer.save(str(folder / "tokenizer.json"))
    (tmp_path / "task.jsonl").write_text(planted.task_lines)
    save_file({"tokens": planted.reference.int()}, tmp_path / "sample.safetensors")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_extract_validate_and_report_run_on_the_folder(tmp_path, planted, kind, monkeypatch):
    """The circuit is the planted one; every file names this folder and its hash."""
    monkeypatch.setattr(beats_controls, "N_DRAWS", 19)
    folder, out = write(tmp_path, planted, kind), tmp_path / "circuit"
    tokens = planted.reference[:4].long()
    found = load_checkpoint(folder).load_model()(tokens)
    assert torch.allclose(found, planted.model(tokens), atol=1e-2)
    task = ("--task", tmp_path / "task.jsonl", "--reference", tmp_path / "sample.safetensors")
    quick = ("--method", "attribution", "--restarts", 1, "--rung", "smallest", "-q")
    ran = cli("extract", folder, *task, "--out", out, *quick)
    assert ran.code == 0, ran.err
    circuit = Circuit.load(out)
    assert circuit.checkpoint.sha256 == load_checkpoint(folder).sha256
    assert set(circuit.nodes) in [set(nodes) for nodes in planted.wired]
    asked = ("--reference", tmp_path / "sample.safetensors", "--pairs", 500)
    ran = cli("validate", out, *asked, "-q")
    assert ran.code in (0, 1), ran.err
    assert "grade" in ran.out
    n_pairs = Validation.load(out)["competent"].n_pairs
    assert n_pairs < 500
    assert f"--pairs 500: the test split holds {n_pairs} distinct pairs" in ran.err
    ran = cli("report", out, "--format", "html", "-q")
    assert ran.code == 0, ran.err
    assert str(folder) in (out / "report.html").read_text()


def test_extraction_without_a_sample_says_what_to_give(tmp_path, planted):
    """One message, before any work."""
    folder = write(tmp_path, planted, "release")
    ran = cli("extract", folder, "--task", tmp_path / "task.jsonl", "--out", tmp_path / "out", "-q")
    assert ran.code == 2
    assert "no reference sample of text" in ran.err
    assert "--reference" in ran.err
    assert not (tmp_path / "out" / "circuit.json").exists()
