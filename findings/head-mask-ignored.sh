#!/usr/bin/env bash
# An argument that used to remove attention heads is taken and does nothing.
#
# One would expect: head_mask, which removed heads in GPT-2 under "eager" attention
# up to transformers 4, either still removes them or is refused as unknown.
# What happens: the forward call accepts it, as it accepts any name at all, and
# returns the logits of the whole model, with no error. A mistyped attention_mask
# goes the same way.
# Why it matters: old code for head ablation runs and finds that no head matters;
# "all heads removed" scores exactly like the model. A mistyped mask leaves the
# padding visible.
# Versions: transformers 5.24.0, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 transformers==5.24.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel

print("transformers", transformers.__version__, "torch", torch.__version__)
torch.manual_seed(0)
torch.set_grad_enabled(False)
config = GPT2Config(
    vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2,
    bos_token_id=0, eos_token_id=0, attn_implementation="eager",
)
model = GPT2LMHeadModel(config).eval()
tokens = torch.randint(0, 50, (2, 6))
whole = model(tokens).logits

by_argument = model(tokens, head_mask=torch.zeros(2, 4)).logits

hooks = [
    block.attn.c_proj.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0,))
    for block in model.transformer.h
]
by_hook = model(tokens).logits
for hook in hooks:
    hook.remove()

padding = torch.tensor([[0, 0, 1, 1, 1, 1]] * 2)
masked = model(tokens, attention_mask=padding).logits
mistyped = model(tokens, attn_mask=padding).logits

print("all heads removed by hooks: logits move by", (by_hook - whole).abs().max().item())
print("all heads removed by head_mask: logits move by", (by_argument - whole).abs().max().item())
print("attention_mask: last logits move by", (masked - whole)[:, -1].abs().max().item())
print("attn_mask (mistyped): last logits move by", (mistyped - whole)[:, -1].abs().max().item())
assert (by_hook - whole).abs().max() > 0.1
assert torch.allclose(by_argument, whole, atol=1e-5)
assert (masked - whole)[:, -1].abs().max() > 0.1
assert torch.allclose(mistyped, whole, atol=1e-5)
PY
