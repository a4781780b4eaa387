#!/usr/bin/env bash
# After a switch for path patching, hooks on the norm before attention run and change nothing.
#
# One would expect: set_use_split_qkv_input(True), which gives queries, keys and values an
# input of their own for each head, leaves the other hooks as they are, or refuses those
# that the switch takes out of the path, as the library does for hooks that need a switch.
# What happens: the bridge goes on to compute the shared norm, runs the hooks on it
# (ln1.hook_in, hook_normalized, hook_out, attn.hook_in), and drops what they return: the
# attention reads the split inputs, each with a norm of its own. The function is called
# once and the logits do not move. Before the switch they do. No warning, no error.
# Why it matters: the switch is needed to patch single edges, and stays on. An ablation of
# what a whole layer's attention reads, in the same session, then finds that it reads
# nothing.
# Versions: transformer-lens 4.3.0, transformers 5.24.0, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 transformer-lens==4.3.0 \
  transformers==5.24.0 tokenizers==0.23.3 numpy==2.4.6
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore - "$folder/model" <<'PY' 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
import sys
from importlib.metadata import version

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformer_lens import TransformerBridge
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

print("transformer-lens", version("transformer-lens"), "torch", torch.__version__)
torch.manual_seed(0)
torch.set_grad_enabled(False)
vocabulary = ["<start>", "<pad>"] + [f"w{i}" for i in range(2, 50)]
words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="w2"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
PreTrainedTokenizerFast(
    tokenizer_object=words, bos_token="<start>", eos_token="<start>", pad_token="<pad>"
).save_pretrained(sys.argv[1])
config = GPT2Config(
    vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2,
    bos_token_id=0, eos_token_id=0,
)
GPT2LMHeadModel(config).save_pretrained(sys.argv[1])
bridge = TransformerBridge.boot_transformers(sys.argv[1], device="cpu")
tokens = torch.randint(2, 50, (3, 7))
whole = bridge(tokens)
NORM = [f"blocks.1.{name}" for name in ("ln1.hook_in", "ln1.hook_normalized", "ln1.hook_out",
                                        "attn.hook_in")]
SPLIT = [f"blocks.1.attn.hook_{place}_input" for place in "qkv"]


def ablate(names):
    calls = []

    def zero(activation, hook):
        calls.append(hook.name)
        return activation * 0

    logits = bridge.run_with_hooks(tokens, fwd_hooks=[(name, zero) for name in names])
    return len(calls), (logits - whole).abs().max().item()


before = {name: ablate([name]) for name in NORM}
bridge.set_use_split_qkv_input(True)
switched = (bridge(tokens) - whole).abs().max().item()
after = {name: ablate([name]) for name in NORM}
split = ablate(SPLIT)
print("the switch alone: logits move by", switched)
for name in NORM:
    print(f"{name}: calls and movement before {before[name]}, after {after[name]}")
print("the three split inputs, after:", split)
assert switched < 1e-4
assert all(calls == 1 and moved > 0.1 for calls, moved in before.values())
assert all(calls == 1 and moved < 1e-4 for calls, moved in after.values())
assert split[0] == 3 and split[1] > 0.1
PY
