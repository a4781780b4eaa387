#!/usr/bin/env bash
# TransformerLens lists a hook for the joint query, key and value projection, takes
# an ablation there, and never runs it.
#
# One would expect: a name in hook_dict either runs during a forward pass or is
# refused, as the library does for the hooks that must be switched on first.
# What happens: for GPT-2, blocks.N.attn.qkv.hook_in and hook_out are in hook_dict and
# are accepted by run_with_hooks, add_hook and the names_filter of run_with_cache. The
# function is not called, the logits are those of the whole model, and the cache comes
# back empty.
# Why it matters: an ablation of all queries, keys and values "has no effect", so the
# attention looks useless for the task. The separate hooks (attn.q, attn.k, attn.v)
# do run.
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


def ablate(names):
    calls = []

    def zero(activation, hook):
        calls.append(hook.name)
        return activation * 0

    logits = bridge.run_with_hooks(tokens, fwd_hooks=[(name, zero) for name in names])
    return len(calls), (logits - whole).abs().max().item()


joint = [f"blocks.{layer}.attn.qkv.hook_out" for layer in (0, 1)]
apart = [f"blocks.{layer}.attn.{part}.hook_out" for layer in (0, 1) for part in "qkv"]
print("listed in hook_dict:", [name in bridge.hook_dict for name in joint])
for name, hooks in (("joint", joint), ("separate", apart)):
    calls, effect = ablate(hooks)
    print(f"{name} hooks set to zero: called {calls} times, logits move by {effect}")
    if name == "joint":
        assert calls == 0 and effect == 0
    else:
        assert calls == 6 and effect > 0.1
_, cache = bridge.run_with_cache(tokens, names_filter=joint)
print("entries in a cache of the joint hooks:", len(cache))
assert all(name in bridge.hook_dict for name in joint) and len(cache) == 0

try:
    ablate(["blocks.0.attn.hook_result"])
except Exception as refusal:
    print("a hook that is switched off is refused:", type(refusal).__name__)
else:
    raise AssertionError("a hook that is switched off was accepted")
PY
