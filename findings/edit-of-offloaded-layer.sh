#!/usr/bin/env bash
# Setting the weights of a layer to zero does nothing when accelerate has put the layer on disk.
#
# One would expect: in a model that was loaded with a device_map, an edit of a weight (in place,
# or by a new parameter) changes the next forward pass, or is refused, in every layer.
# What happens: an offloaded layer keeps an empty weight on the "meta" device and takes a fresh copy
# of the stored one in each forward pass. The edit goes to the empty weight and is lost: the
# output is equal to the bit. Layers that stayed in memory obey. No warning and no error from the
# edit; loading says that some parameters are offloaded. A forward hook acts in all layers.
# Why it matters: device_map="auto" offloads the last layers of a model that does not fit. An
# ablation of weights, layer by layer, then finds that exactly these layers do not matter, and
# another machine with more memory finds something else.
# Seen, effect of removing each MLP in turn: 5.7, 3.9, 3.5, 2.2 in memory; 5.7, 3.9, 0.0, 0.0 with
# the last two layers on disk.
# Versions: accelerate 1.15.0, transformers 5.24.0, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 accelerate==1.15.0 \
  transformers==5.24.0 tokenizers==0.23.3 numpy==2.4.6
cat >"$folder/show.py" <<'PY'
import sys
from importlib.metadata import version

import torch
import transformers
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

print("accelerate", version("accelerate"), "transformers", transformers.__version__)
transformers.logging.set_verbosity_error()
torch.manual_seed(0)
torch.set_grad_enabled(False)
FOLDER, LAYERS = sys.argv[1], 4
LlamaForCausalLM(
    LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=LAYERS,
        num_attention_heads=4, max_position_embeddings=32, initializer_range=0.2,
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
    )
).save_pretrained(FOLDER)
tokens = torch.randint(0, 50, (4, 10))
IN_MEMORY = {"": "cpu"}
LAST_ON_DISK = {
    name: "cpu" for name in ("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head")
} | {f"model.layers.{layer}": "cpu" if layer < 2 else "disk" for layer in range(LAYERS)}


def in_place(linear):
    linear.weight.zero_()


def new_parameter(linear):
    linear.weight = nn.Parameter(torch.zeros(32, 64))


def by_hook(linear):
    linear.register_forward_hook(lambda module, args, out: torch.zeros_like(out))


def effects(removal, places):
    """For each layer: load the model, remove the layer's MLP, and see how far the logits move."""
    found = []
    for layer in range(LAYERS):
        model = AutoModelForCausalLM.from_pretrained(
            FOLDER, device_map=places, offload_folder=FOLDER + "/offloaded", dtype=torch.float32
        ).eval()
        before = model(tokens).logits
        assert (before - clean).abs().max() < 1e-5
        removal(model.model.layers[layer].mlp.down_proj)
        found.append((model(tokens).logits - before).abs().max().item())
    return found


clean = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()(tokens).logits
for removal in (in_place, new_parameter, by_hook):
    memory, disk = effects(removal, IN_MEMORY), effects(removal, LAST_ON_DISK)
    print(removal.__name__, "- effect of removing each MLP")
    print("  all layers in memory:   ", [round(value, 2) for value in memory])
    print("  last two layers on disk:", [round(value, 2) for value in disk])
    assert min(memory) > 1 and torch.allclose(torch.tensor(memory[:2]), torch.tensor(disk[:2]))
    if removal is by_hook:
        assert torch.allclose(torch.tensor(memory), torch.tensor(disk), atol=1e-4)
    else:
        assert disk[2:] == [0.0, 0.0]
PY
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore "$folder/show.py" "$folder/model" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
