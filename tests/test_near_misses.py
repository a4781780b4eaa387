"""Laws of folders that are nearly a checkpoint: the message says what was found and what to do."""

import json

import pytest
import torch
from foreign_folders import (
    GPT2,
    gpt2_tensors,
    released_tensors,
    write_gpt2,
    write_release,
    write_shards,
)
from safetensors.torch import save_file
from tiny import tiny_checkpoint

from circuitkit.checkpoints import load_checkpoint
from circuitkit.errors import CheckpointError


def a_level_too_high(folder):
    write_gpt2(folder / "checkpoint-500")


def a_level_above_ours(folder):
    tiny_checkpoint(folder / "best")


def weights_alone(folder):
    save_file(gpt2_tensors(GPT2), folder / "model.safetensors")


def a_bin_alone(folder):
    torch.save(gpt2_tensors(GPT2), folder / "pytorch_model.bin")


def unknown_weights(folder):
    save_file({"model.layers.0.mlp.up_proj.weight": torch.ones(2)}, folder / "model.safetensors")


def llama(folder):
    config = {"model_type": "llama", "hidden_size": 64}
    (folder / "config.json").write_text(json.dumps(config))


def no_model_type(folder):
    (folder / "config.json").write_text(json.dumps({"n_embd": 8, "n_layer": 2}))


def missing_weights(folder):
    (folder / "config.json").write_text(json.dumps(GPT2))


def missing_release(folder):
    write_release(folder)
    (folder / "final_model.pt").unlink()


def missing_shard(folder):
    write_shards(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def another_size(folder):
    write_gpt2(folder, GPT2 | {"n_layer": 3}, gpt2_tensors(GPT2))


def transformer_lens(folder):
    torch.save({"embed.W_E": torch.ones(3, 2), "blocks.0.attn.W_Q": torch.ones(2)}, folder / "m.pt")


def adapter(folder):
    (folder / "adapter_config.json").write_text("{}")
    save_file({"base_model.h.0.lora_A": torch.ones(2)}, folder / "adapter_model.safetensors")


def adapter_beside(folder):
    adapter(write_gpt2(folder))


def adapter_weights_beside(folder):
    adapter(write_gpt2(folder))
    (folder / "adapter_config.json").unlink()


def adapter_weights(folder):
    save_file({"base_model.h.0.lora_A": torch.ones(2)}, folder / "model.safetensors")


def gguf(folder):
    (folder / "model.gguf").write_bytes(b"GGUF")


def pointer(folder):
    write_gpt2(folder)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid 1\n")


def torch_pointer(folder):
    write_release(folder)
    (folder / "final_model.pt").write_text("version https://git-lfs.github.com/spec/v1\noid 1\n")


def before_1_6(folder):
    write_release(folder)
    held = released_tensors(json.loads((folder / "beeg_config.json").read_text()))
    torch.save(held, folder / "final_model.pt", _use_new_zipfile_serialization=False)


def training_state(folder):
    write_release(folder)
    held = {"model": gpt2_tensors(GPT2), "step": 3}
    torch.save(held, folder / "final_model.pt")


def whole_module(folder):
    write_release(folder)
    torch.save(torch.nn.Linear(2, 2), folder / "final_model.pt")


def released_circuit(folder):
    (folder / "viz_data.pt").write_bytes(b"PK")


def only_text(folder):
    (folder / "notes.txt").write_text("hello")


MISSES = {
    a_level_too_high: r"a checkpoint one level down: .*checkpoint-500\. Give that folder",
    a_level_above_ours: r"a checkpoint one level down: .*best\. Give that folder",
    weights_alone: r"model\.safetensors holds weights alone, named as in GPT-2 .*Put its config",
    a_bin_alone: r"pytorch_model\.bin holds weights alone, named as in GPT-2 .*Put its config",
    unknown_weights: r"holds weights alone \(model\.layers\.0\.mlp.*Put the config of the model",
    llama: r"recognised as a llama model .*not run\. Formats that are read: circuitkit's own",
    no_model_type: r"neither a model_type nor a format; its keys are n_embd, n_layer\..*\"gpt2\"",
    missing_weights: r"recognised as a GPT-2 .*; its weights are missing: model\.s.*Put",
    missing_release: r"recognised as a Gao et al\..*weights are missing: final_model\.pt\. Put",
    missing_shard: r"names 2 files; missing: model-00002.*Download or copy them",
    another_size: r"(?s)lacks 12 tensors.*says n_layer = 3, .*holds 2 layers of width 8\. Is it an",
    transformer_lens: r"tensors of a TransformerLens model, .*Save the model that it was made from",
    adapter: r"adapter \(adapter_config\.json\) without the model .*merge_and_unload",
    adapter_beside: r"adapter_config\.json is of an adapter, .* not run\. Merge the two .*move",
    adapter_weights_beside: r"adapter_model\.safetensors is of an adapter",
    adapter_weights: r"model\.safetensors holds an adapter alone\. Merge it into its model",
    gguf: r"model\.gguf is a model for another program \(GGUF, .*save_pretrained",
    pointer: r"model\.safetensors is a Git LFS pointer, not the file itself\. Run git lfs pull",
    torch_pointer: r"final_model\.pt is a Git LFS pointer",
    before_1_6: r"in the format of torch before 1\.6, .*torch\.save\(torch\.load\(FILE, weights",
    training_state: r"holds model \(dict\), step \(int\); expected tensors by name\. Save the mod",
    whole_module: r"holds a torch\.nn\.\S*Linear, which is not read: .*save model\.state_dict",
    released_circuit: r"a released circuit, not a .*circuitkit convert \S*viz_data\.pt --ch",
    only_text: r"expected a checkpoint folder\. It holds notes\.txt\. Formats that are read: .*GPT",
}


@pytest.mark.parametrize("make", MISSES, ids=lambda make: make.__name__)
def test_a_near_miss_is_said(tmp_path, make):
    """What was recognised, and the nearest fix."""
    folder = tmp_path / "model"
    folder.mkdir()
    make(folder)
    with pytest.raises(CheckpointError, match=MISSES[make]):
        load_checkpoint(folder)


def test_a_file_is_answered_with_its_folder(tmp_path):
    """A checkpoint is the folder."""
    folder = write_gpt2(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"is a file; give its folder, .*/model\.$"):
        load_checkpoint(folder / "model.safetensors")


def test_a_released_circuit_is_no_checkpoint(tmp_path):
    """The file itself, too: the command that makes a circuit folder of it."""
    released_circuit(tmp_path)
    with pytest.raises(CheckpointError, match=r"viz_data\.pt is a released circuit, .*--task TASK"):
        load_checkpoint(tmp_path / "viz_data.pt")


def test_weights_in_an_old_format_beside_others_are_passed_over(tmp_path):
    """Inspect says that they were not compared."""
    from circuitkit.checkpoints.inspection import inspect_checkpoint

    folder = write_gpt2(tmp_path / "model")
    old = folder / "pytorch_model.bin"
    torch.save(gpt2_tensors(GPT2), old, _use_new_zipfile_serialization=False)
    warnings = inspect_checkpoint(load_checkpoint(folder))["warnings"]
    assert any("pytorch_model.bin is in the format of torch before 1.6" in w for w in warnings)
