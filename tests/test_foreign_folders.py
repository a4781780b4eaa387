"""Laws of folders in the formats of others: run exactly, or refused by the name of what is not."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
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
from safetensors.torch import load_file, save_file
from tiny import random_tokens

from circuitkit.checkpoints import convert_checkpoint, foreign, load_checkpoint
from circuitkit.checkpoints.foreign import foreign_formats
from circuitkit.checkpoints.inspection import inspect_checkpoint
from circuitkit.cli import circuitkit
from circuitkit.errors import CheckpointError, UsageError

EACH = {
    "GPT-2": write_gpt2,
    "shards": write_shards,
    "bin": lambda folder: write_gpt2(folder, weights="pytorch_model.bin"),
    "release": write_release,
    "release with top-k": lambda folder: write_release(folder, CONCATENATED),
    "port": write_port,
}
each = pytest.mark.parametrize("write", EACH.values(), ids=EACH)


def logits_of(checkpoint):
    tokens = random_tokens(checkpoint.architecture, 3, 9)
    return checkpoint.load_model()(tokens)


def edit(folder, name="config.json", **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


# What is the same


@each
def test_a_converted_checkpoint_computes_the_same(tmp_path, write):
    """Bit by bit; and converting again writes the same bytes."""
    foreign = load_checkpoint(write(tmp_path / "model"))
    native = convert_checkpoint(foreign, tmp_path / "ours")
    assert native.layout is None
    assert native.architecture == foreign.architecture
    assert torch.equal(logits_of(native), logits_of(foreign))
    again = convert_checkpoint(tmp_path / "ours", tmp_path / "again")
    assert again.sha256 == native.sha256


def test_a_converted_checkpoint_has_the_sample_that_was_given(tmp_path):
    """Token ids, or by default the one beside the weights."""
    write_gpt2(tmp_path / "model")
    tokens = random_tokens(load_checkpoint(tmp_path / "model").architecture, 4, 9).int()
    save_file({"tokens": tokens}, tmp_path / "sample.safetensors")
    given = convert_checkpoint(
        tmp_path / "model", tmp_path / "a", reference=tmp_path / "sample.safetensors"
    )
    assert torch.equal(given.load_reference(), tokens)
    save_file({"tokens": tokens}, tmp_path / "model" / "reference.safetensors")
    assert torch.equal(load_checkpoint(tmp_path / "model").load_reference(), tokens)
    beside = convert_checkpoint(tmp_path / "model", tmp_path / "b")
    assert torch.equal(beside.load_reference(), tokens)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_command_converts(tmp_path, options):
    """It prints the folder, or also the hash of what it wrote."""
    folder, out = write_release(tmp_path / "model"), tmp_path / "ours"
    done = CliRunner().invoke(circuitkit, ["convert", str(folder), "--out", str(out), *options])
    assert done.exit_code == 0
    told = json.loads(done.stdout) if options else {"path": done.stdout.strip()}
    assert told["path"] == str(out)
    written = load_checkpoint(out)
    assert told.get("sha256", written.sha256) == written.sha256
    assert written.name == "model"


def test_conversion_replaces_no_folder_of_others(tmp_path):
    """Not the checkpoint itself, not another format, not other files."""
    write_gpt2(tmp_path / "model")
    write_gpt2(tmp_path / "other")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("mine")
    for out, match in (
        ("model", "is the checkpoint itself"),
        ("other", "holds a checkpoint of another format, which is not replaced"),
        ("text", r"holds something else \(notes\.txt\)"),
    ):
        before = {path: path.read_bytes() for path in (tmp_path / out).iterdir()}
        with pytest.raises(UsageError, match=match):
            convert_checkpoint(tmp_path / "model", tmp_path / out)
        assert {path: path.read_bytes() for path in (tmp_path / out).iterdir()} == before


@each
def test_the_hash_covers_all_that_decides_the_function(tmp_path, write):
    """Config and every file of weights, and nothing beside them."""
    folder = write(tmp_path / "model")
    first = load_checkpoint(folder).sha256
    (folder / "README.md").write_text("about")
    assert load_checkpoint(folder).sha256 == first
    seen = {first}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            save_file({n: t + 0.5 for n, t in load_file(path).items()}, path)
        elif path.suffix in (".bin", ".pt"):
            held = torch.load(path, weights_only=True)
            torch.save({n: t + 0.5 for n, t in held.items()}, path)
        elif path.suffix == ".json":
            path.write_text(path.read_text() + " ")
        else:
            continue
        seen.add(load_checkpoint(folder).sha256)
    n_files = sum(1 for path in folder.iterdir() if path.suffix != ".md")
    assert len(seen) == 1 + n_files >= 3


@each
def test_inspect_lists_what_was_renamed_and_dropped(tmp_path, write):
    """By every name and reason; in words and as JSON."""
    folder = write(tmp_path / "model")
    done = CliRunner().invoke(circuitkit, ["inspect", str(folder), "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found == json.loads(json.dumps(inspect_checkpoint(load_checkpoint(folder))))
    config = next(path for path in folder.glob("*config.json"))
    dropped = {item["name"].split(" ")[0] for item in found["dropped"]}
    kept = set(json.loads(config.read_text())) - dropped - {old["from"] for old in found["renamed"]}
    known = {"n_embd", "n_head", "d_model", "block_size", "afrac", "rms_norm", "n_positions"}
    assert kept & known
    assert not kept & {"attn_pdrop", "dropout", "use_cache", "auto_map", "hidden_size"}
    in_words = CliRunner().invoke(circuitkit, ["inspect", str(folder)]).stdout
    assert all(item["why"] in in_words for item in found["dropped"])


def test_inspect_says_what_was_cast_renamed_and_added(tmp_path):
    """Of a file without prefix, in bfloat16, with masks."""
    tensors = {n.removeprefix("transformer."): t.bfloat16() for n, t in gpt2_tensors(GPT2).items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 9, 9, dtype=torch.bool)
    found = inspect_checkpoint(load_checkpoint(write_gpt2(tmp_path / "model", GPT2, tensors)))
    assert found["format"] == "GPT-2, config.json: model_type gpt2"
    assert {"from": "h.0.ln_1.bias", "to": "transformer.h.0.ln_1.bias"} in found["renamed"]
    assert {
        "name": "h.0.attn.bias",
        "why": "a causal mask, which the engine makes itself",
    } in found["dropped"]
    assert "28 of 28 tensors are stored as bfloat16, read as float32: exact" in found["warnings"]


def test_a_tensor_that_is_zeros_for_want_of_one_is_not_counted(tmp_path):
    """GPT-2 has no bias of the logits; a release has one, so it is said that the file lacks it."""
    said = "final_logits_bias is not in the file: zeros"
    gpt2 = inspect_checkpoint(load_checkpoint(write_gpt2(tmp_path / "gpt2")))
    assert gpt2["n_parameters"] == sum(t.numel() for t in gpt2_tensors(GPT2).values())
    assert said not in gpt2["warnings"]
    tensors = released_tensors(ADDED)
    whole = inspect_checkpoint(load_checkpoint(write_release(tmp_path / "whole", ADDED, tensors)))
    del tensors["final_logits_bias"]
    old = inspect_checkpoint(load_checkpoint(write_release(tmp_path / "old", ADDED, tensors)))
    assert whole["n_parameters"] - old["n_parameters"] == ADDED["vocab_size"]
    assert said in old["warnings"]
    assert said not in whole["warnings"]


def test_a_format_is_one_file():
    """Every file of the folder is one, and each has its own name."""
    files = [*Path(foreign.__file__).parent.glob("[!_]*.py")]
    assert len({f.name for f in foreign_formats()}) == len(files) == 3


# What is refused: the config

REFUSED_GPT2 = {
    "activation_function": ("silu", r"activation_function 'silu' is not one of gelu_new, .*relu"),
    "scale_attn_weights": (False, r"scale_attn_weights False: attention without its scale"),
    "scale_attn_by_inverse_layer_idx": (
        True,
        r"scale_attn_by_inverse_layer_idx True: .*by the layer",
    ),
    "add_cross_attention": (True, r"add_cross_attention True: an encoder"),
    "is_encoder_decoder": (True, r"is_encoder_decoder True: an encoder"),
    "quantization_config": ({"bits": 4}, r"quantization_config \{'bits': 4\}: quantised"),
    "pruned_heads": ({"0": [1]}, r"pruned_heads .*heads taken out"),
    "auto_map": ({"AutoModel": "x.Y"}, r"auto_map .*code beside the weights"),
    "rotary": (True, r"rotary True: not known, and may change what the model computes"),
    "n_ctx": (5, r"n_ctx is 5 and n_positions 9"),
    "n_head": (3, r"n_embd 8 is no multiple of n_head 3"),
    "n_embd": (-8, r"n_embd -8; expected a whole number from 1"),
    "n_layer": (True, r"n_layer True; expected a whole number"),
    "n_inner": (2**40, r"n_inner 1099511627776; expected a whole number from 1 to 1,048,576"),
    "layer_norm_epsilon": ("1e-5", r"layer_norm_epsilon '1e-5'; expected a number"),
    "tie_word_embeddings": ("yes", r"tie_word_embeddings 'yes'; expected true or false"),
}


def test_a_whole_number_is_a_number(tmp_path):
    """As a fraction of 1 is written by a program that drops the point; one too large is refused."""
    release = edit(write_release(tmp_path / "release"), "beeg_config.json", afrac=1)
    assert set(load_checkpoint(release).architecture.activation_topk.values()) == {1.0}
    with pytest.raises(CheckpointError, match=r"afrac 1000.*; expected a number"):
        load_checkpoint(edit(release, "beeg_config.json", afrac=10**400))
    gpt2 = edit(write_gpt2(tmp_path / "model"), layer_norm_epsilon=1)
    with pytest.raises(CheckpointError, match=r"norm_eps: Input should be less than 1; got 1.0"):
        load_checkpoint(gpt2)
    with pytest.raises(CheckpointError, match=r"layer_norm_epsilon 1000.*; expected a number"):
        load_checkpoint(edit(gpt2, layer_norm_epsilon=10**400))


@pytest.mark.parametrize(
    "key", ["scale_attn_weights", "n_head", "layer_norm_epsilon", "tie_word_embeddings"]
)
def test_null_is_no_default_where_it_would_mean_another_model(tmp_path, key):
    """It is refused as any other value; of ``n_inner`` it is the default."""
    folder = edit(write_gpt2(tmp_path / "model"), n_inner=None, **{key: None})
    with pytest.raises(CheckpointError, match=rf"refused: {key} None"):
        load_checkpoint(folder)


@pytest.mark.parametrize("key", REFUSED_GPT2)
def test_a_switch_of_gpt2_that_is_not_run_is_refused(tmp_path, key):
    """By key and value, whatever the weights are."""
    value, match = REFUSED_GPT2[key]
    folder = edit(write_gpt2(tmp_path / "model"), **{key: value})
    with pytest.raises(CheckpointError, match=rf"recognised as a GPT-2 .*refused: {match}"):
        load_checkpoint(folder)


REFUSED_RELEASE = {
    "residual_activation_type": ("relu", r"residual_activation_type 'relu': a nonlinearity"),
    "use_tied_aux_matrix": (True, r"use_tied_aux_matrix True: a second matrix"),
    "bigram_table_rank": (8, r"bigram_table_rank 8: a bigram table of low rank"),
    "rtopk": (True, r"rtopk True: another top-k"),
    "afrac_approx": (True, r"afrac_approx True: another top-k"),
    "afrac_loctypes": ("attn_in,resid_post_mlp", r"afrac_loctypes 'resid_post_mlp': top-k there"),
    "afrac": (1.5, r"activation_topk"),
    "ln_bias": (False, r"ln_bias False: LayerNorm without a bias"),
    "activation_type": ("swish", r"activation_type 'swish' is not one of gelu, relu"),
    "n_mlp": (7, r"n_mlp is 7 and d_mlp 32"),
    "colour": ("red", r"colour 'red': not known"),
}


@pytest.mark.parametrize("key", REFUSED_RELEASE)
def test_a_key_of_the_release_that_is_not_run_is_refused(tmp_path, key):
    """Also one that is dropped when it says nothing."""
    value, match = REFUSED_RELEASE[key]
    config = CONCATENATED | ({"rms_norm": False} if key == "ln_bias" else {})
    folder = edit(write_release(tmp_path / "model", config), "beeg_config.json", **{key: value})
    with pytest.raises(
        CheckpointError, match=rf"recognised as a Gao et al\. 2025 .*refused: {match}"
    ):
        load_checkpoint(folder)


REFUSED_PORT = {
    "unembed_rank": (4, "unembed_rank 4: an unembedding of low rank"),
    "enable_fp8_linear": (True, "enable_fp8_linear True: 8-bit products"),
    "scale_invariance": (True, "scale_invariance True: another norm"),
    "mup": (True, "mup True: scaled outputs"),
    "hidden_size": (9, "hidden_size is 9 and d_model 8"),
}


@pytest.mark.parametrize("key", REFUSED_PORT)
def test_a_key_of_the_port_that_is_not_run_is_refused(tmp_path, key):
    """As of the release itself."""
    value, match = REFUSED_PORT[key]
    folder = edit(write_port(tmp_path / "model"), **{key: value})
    with pytest.raises(CheckpointError, match=rf"Hugging Face port.*refused: {match}"):
        load_checkpoint(folder)


def test_the_old_name_of_a_width_is_read(tmp_path):
    """``n_mlp`` is ``d_mlp``, and inspect says so."""
    config = {key: value for key, value in ADDED.items() if key != "d_mlp"} | {"n_mlp": 32}
    folder = write_release(tmp_path / "model", ADDED)
    (folder / "beeg_config.json").write_text(json.dumps(config))
    found = inspect_checkpoint(load_checkpoint(folder))
    assert found["architecture"]["d_mlp"] == 32
    assert {"from": "n_mlp", "to": "d_mlp"} in found["renamed"]


# What is refused: the weights


def without(*names):
    return lambda t: {n: v for n, v in t.items() if n not in names}


C_PROJ = "transformer.h.1.attn.c_proj.weight"
WTE = "transformer.wte.weight"
WRONG_WEIGHTS = {
    "missing": (
        without(C_PROJ),
        rf"lacks 1 tensor that config\.json calls for:\n  {C_PROJ} \(8, 8\)",
    ),
    "no embedding": (without(WTE), r"lacks 2 tensors .*"),
    "unexpected": (
        lambda t: t | {"score.weight": torch.ones(2, 8)},
        r"holds 1 tensor .* not know:\n  score\.weight",
    ),
    "misshapen": (
        lambda t: t | {"transformer.h.1.mlp.c_fc.weight": torch.ones(32, 8)},
        r"transformer\.h\.1\.mlp\.c_fc\.weight is \(32, 8\), expected \(8, 32\)",
    ),
    "quantised": (
        lambda t: t | {C_PROJ: torch.ones(8, 8, dtype=torch.int8)},
        r"cannot be weights.*is int8",
    ),
    "two names": (
        lambda t: t | {"wpe.weight": torch.ones(9, 8)},
        r"wpe\.weight .*are the same tensor",
    ),
    "a wrapper": (
        lambda t: {f"module.{n}": v for n, v in t.items()},
        r"Every name begins with 'module'",
    ),
    "TransformerLens": (
        lambda t: {"blocks.0.attn.W_Q": torch.ones(2, 8, 4)},
        r"names are those of TransformerLens",
    ),
    "a layer less": (
        lambda t: {n: v for n, v in t.items() if ".h.1." not in n},
        r"config says n_layer = 2, d_model = 8\. The file holds 1 layers of width 8",
    ),
}


@pytest.mark.parametrize("fault", WRONG_WEIGHTS)
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_wrong_tensors_are_refused_by_name(tmp_path, fault, file):
    """Before a number is read."""
    change, match = WRONG_WEIGHTS[fault]
    folder = write_gpt2(tmp_path / "model", GPT2, change(gpt2_tensors(GPT2)), file)
    with pytest.raises(CheckpointError, match=rf"(?s)recognised as a GPT-2.*refused:\n.*{match}"):
        load_checkpoint(folder)


def test_a_wrong_number_is_refused_by_name(tmp_path):
    """When it is read."""
    tensors = gpt2_tensors(GPT2)
    tensors[C_PROJ][0, 0] = float("nan")
    checkpoint = load_checkpoint(write_gpt2(tmp_path / "model", GPT2, tensors))
    with pytest.raises(CheckpointError, match=rf"{C_PROJ} holds NaN or infinite values"):
        checkpoint.load_model()


def test_a_tied_pair_that_differs_is_refused(tmp_path):
    """Which of them is the model is not guessed."""
    tensors = gpt2_tensors(GPT2) | {"lm_head.weight": torch.ones(11, 8)}
    checkpoint = load_checkpoint(write_gpt2(tmp_path / "model", GPT2, tensors))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight differs from .*the config ties it"):
        checkpoint.load_model()


def test_an_untied_model_without_a_head_is_refused(tmp_path):
    """It is not filled in."""
    folder = write_gpt2(
        tmp_path / "model", GPT2 | {"tie_word_embeddings": False}, gpt2_tensors(GPT2)
    )
    with pytest.raises(CheckpointError, match=r"lacks 1 tensor .*:\n  lm_head\.weight \(11, 8\)"):
        load_checkpoint(folder)


def test_two_sets_of_weights_must_be_one(tmp_path):
    """The same in two files is one model; otherwise both are named."""
    folder = write_gpt2(tmp_path / "model")
    write_gpt2(folder, weights="pytorch_model.bin")
    load_checkpoint(folder).load_model()
    write_gpt2(folder, GPT2, gpt2_tensors(GPT2, seed=1), "pytorch_model.bin")
    checkpoint = load_checkpoint(folder)
    with pytest.raises(
        CheckpointError,
        match=r"model\.safetensors and pytorch_model\.bin, which differ in transformer\.",
    ):
        checkpoint.load_model()


def test_a_folder_of_two_formats_is_refused(tmp_path):
    """Neither is preferred."""
    folder = write_release(write_gpt2(tmp_path / "model"))
    with pytest.raises(
        CheckpointError, match=r"is a Gao et al\. 2025 checkpoint .* and a GPT-2 .*expected one"
    ):
        load_checkpoint(folder)


def edit_index(folder, change):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index["weight_map"])
    path.write_text(json.dumps(index))


INDICES = {
    "a name too many": (
        lambda m: m.update({"x": m[WTE]}),
        r"differ in 1 tensors: x is in model-0000\d\S* by the index, in None",
    ),
    "a name too few": (lambda m: m.pop(WTE), rf"{WTE} is in None by the index"),
    "the other file": (
        lambda m: m.update({WTE: m["transformer.wpe.weight"]}),
        r"differ in 1 tensors",
    ),
    "a missing shard": (
        lambda m: m.update({WTE: "model-3.safetensors"}),
        r"names 3 files; missing: model-3",
    ),
    "a path outside": (
        lambda m: m.update({WTE: "../other/model.safetensors"}),
        r"names the file '\.\./other/model\.safetensors', expected names of files in",
    ),
    "an absolute path": (lambda m: m.update({WTE: "/etc/passwd"}), r"names the file '/etc/passwd'"),
    "no text": (lambda m: m.update({WTE: 3}), r"expected a weight_map from names"),
    "nothing": (lambda m: m.clear(), r"expected a weight_map from names"),
}


@pytest.mark.parametrize("fault", INDICES)
def test_an_index_and_its_files_agree_exactly(tmp_path, fault):
    """And it names nothing outside its folder."""
    change, match = INDICES[fault]
    folder = write_shards(tmp_path / "model")
    edit_index(folder, change)
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(folder)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    """Even if both hold the same."""
    folder = write_shards(tmp_path / "model")
    first, second = sorted(folder.glob("*.safetensors"))
    save_file(load_file(first) | load_file(second), second)
    with pytest.raises(
        CheckpointError, match=r"expected it once\. Are the files of two saves mixed"
    ):
        load_checkpoint(folder)


def test_a_tensor_of_the_engine_that_the_format_has_not_is_refused(tmp_path):
    """``final_logits_bias`` in a GPT-2 folder: by its name, when the folder is opened."""
    tensors = gpt2_tensors(GPT2) | {"final_logits_bias": torch.zeros(11)}
    folder = write_gpt2(tmp_path / "model", tensors=tensors)
    with pytest.raises(CheckpointError, match="final_logits_bias"):
        load_checkpoint(folder)
