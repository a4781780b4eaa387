#!/usr/bin/env bash
# A hook that patches output[0] of a block changes the first prompt alone.
#
# One would expect: a block of GPT-2 returns a tuple whose first entry is the
# residual stream of the whole batch, as it did up to transformers 4, so that a
# hook which writes to output[0] patches every prompt.
# What happens: the block returns the tensor itself, so output[0] is the residual
# stream of the first prompt. Both have a position axis that the usual index
# [..., position, :] finds, so nothing fails. The attention module of the same
# block still returns a tuple.
# Why it matters: an ablation or patch over a batch acts on one prompt of many;
# the mean effect comes out about 1/batch of the true one, and a single test
# prompt shows nothing wrong.
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
    bos_token_id=0, eos_token_id=0,
)
model = GPT2LMHeadModel(config).eval()
tokens = torch.randint(0, 50, (4, 6))
whole = model(tokens).logits
kinds = {}


def ablate_last_position(name):
    def hook(module, inputs, output):
        kinds[name] = type(output)
        output[0][..., -1, :] = 0

    return hook


def effect_by_prompt(module, name):
    handle = module.register_forward_hook(ablate_last_position(name))
    ablated = model(tokens).logits
    handle.remove()
    return (ablated - whole)[:, -1].abs().amax(-1)


block = model.transformer.h[0]
of_block = effect_by_prompt(block, "block")
of_attention = effect_by_prompt(block.attn, "attention")
print("returned by:", {name: kind.__name__ for name, kind in kinds.items()})
print("effect on each of 4 prompts, block:", of_block.tolist())
print("effect on each of 4 prompts, attention:", of_attention.tolist())
assert kinds["block"] is torch.Tensor and kinds["attention"] is tuple
assert of_block[0] > 0.1 and (of_block[1:] == 0).all()
assert (of_attention > 0.01).all()
PY
