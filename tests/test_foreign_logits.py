"""Laws of other people's checkpoints: whatever the folder looks like, the logits are its own.

Logits are compared with forward passes that use none of circuitkit's code.
"""

import pytest
import torch
from foreign_folders import (
    ADDED,
    CONCATENATED,
    GPT2,
    gpt2_tensors,
    released_tensors,
    write_gpt2,
    write_port,
    write_release,
    write_shards,
)
from plain_forward import gpt2_logits, released_logits

from circuitkit.checkpoints import load_checkpoint

RELEASED = {
    "positions added": ADDED,
    "positions concatenated, sink and top-k": CONCATENATED,
    "layer norm, tied, no biases": ADDED
    | {"rms_norm": False, "tied_unembed": True, "bias": False, "enable_bigram_table": False},
    "relu, and top-k where it is by default": CONCATENATED
    | {"activation_type": "relu", "afrac": 0.5, "afrac_loctypes": ADDED["afrac_loctypes"]},
}


def logits_of(folder, n=9, vocab=11):
    """Of one prompt as long as the context, and its tokens."""
    tokens = torch.randint(vocab, (n,), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return load_checkpoint(folder).load_model()(tokens[None])[0], tokens


def assert_equal(found, expected):
    assert found.shape == expected.shape
    assert expected.abs().max() > 1
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("write", [write_release, write_port])
@pytest.mark.parametrize("config", RELEASED.values(), ids=RELEASED)
def test_a_release_computes_what_its_description_says(tmp_path, write, config):
    """Both published styles in small, and every option that they could have had."""
    tensors = released_tensors(config)
    found, tokens = logits_of(write(tmp_path / "model", config, tensors))
    assert_equal(found, released_logits(config, tensors, tokens))


def test_an_old_release_has_no_bias_of_the_logits(tmp_path):
    """Then it is one of zeros."""
    tensors = released_tensors(ADDED)
    del tensors["final_logits_bias"]
    found, tokens = logits_of(write_release(tmp_path / "model", ADDED, tensors))
    assert_equal(found, released_logits(ADDED, tensors, tokens))


GPT2S = {
    "GPT-2": GPT2,
    "erf": GPT2 | {"activation_function": "gelu"},
    "relu, another epsilon": GPT2 | {"activation_function": "relu", "layer_norm_epsilon": 0.1},
    "untied": GPT2 | {"tie_word_embeddings": False},
    "narrow neurons": GPT2 | {"n_inner": 12},
}


@pytest.mark.parametrize("config", GPT2S.values(), ids=GPT2S)
def test_gpt2_computes_what_its_config_says(tmp_path, config):
    """Each switch that is run is run exactly."""
    tensors = gpt2_tensors(config)
    found, tokens = logits_of(write_gpt2(tmp_path / "model", config, tensors))
    assert_equal(found, gpt2_logits(config, tensors, tokens))


def bare(tensors):
    return {name.removeprefix("transformer."): t for name, t in tensors.items()}


def head_alone(tensors):
    named = {("lm_head.weight" if "wte" in name else name): t for name, t in tensors.items()}
    assert "transformer.wte.weight" not in named
    return named


def both_names(tensors):
    return tensors | {"lm_head.weight": tensors["transformer.wte.weight"].clone()}


def buffers(tensors):
    mask = torch.ones(9, 9, dtype=torch.bool).tril()[None, None]
    masks = {f"transformer.h.{i}.attn.bias": mask.clone() for i in range(2)}
    return tensors | masks | {"transformer.h.0.attn.masked_bias": torch.tensor(-1e4)}


LAYOUTS = {
    "no prefix": bare,
    "the tied pair under the head's name": head_alone,
    "the tied pair under both names": both_names,
    "left-over masks": buffers,
    "masks without prefix": lambda tensors: bare(buffers(tensors)),
}
FILES = {
    "safetensors": write_gpt2,
    "bin": lambda *a: write_gpt2(*a, weights="pytorch_model.bin"),
    "shards": write_shards,
    "shards of torch": lambda *a: write_shards(*a, kind="bin"),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("write", FILES.values(), ids=FILES)
def test_the_layout_of_the_files_changes_nothing(tmp_path, write, layout):
    """One file or two, one name or the other, a prefix or none, masks beside the weights."""
    tensors = gpt2_tensors(GPT2)
    found, tokens = logits_of(write(tmp_path / "model", GPT2, layout(tensors)))
    assert_equal(found, gpt2_logits(GPT2, tensors, tokens))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_run_in_float32(tmp_path, dtype):
    """The numbers are those of the file."""
    tensors = {name: t.to(dtype) for name, t in gpt2_tensors(GPT2).items()}
    found, tokens = logits_of(write_gpt2(tmp_path / "model", GPT2, tensors))
    read = {name: t.float() for name, t in tensors.items()}
    assert_equal(found, gpt2_logits(GPT2, read, tokens))


def test_a_strided_tensor_is_read_as_it_was_meant(tmp_path):
    """torch keeps a transposed view as one."""
    tensors = {n: t.T.contiguous().T if t.ndim == 2 else t for n, t in gpt2_tensors(GPT2).items()}
    folder = write_gpt2(tmp_path / "model", GPT2, tensors, "pytorch_model.bin")
    found, tokens = logits_of(folder)
    assert_equal(found, gpt2_logits(GPT2, tensors, tokens))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("activation", ["gelu_new", "gelu", "gelu_pytorch_tanh", "gelu_fast"])
def test_gpt2_computes_what_transformers_does(tmp_path, tied, activation):
    """Written and run by the library itself."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=11, n_positions=9, n_embd=8, n_layer=2, n_head=2, activation_function=activation,
        tie_word_embeddings=tied, bos_token_id=10, eos_token_id=10, initializer_range=0.5,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(tmp_path / "model")
    found, tokens = logits_of(tmp_path / "model")
    with torch.no_grad():
        assert_equal(found, model(tokens[None]).logits[0])
