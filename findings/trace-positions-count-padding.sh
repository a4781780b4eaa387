#!/usr/bin/env bash
# In nnsight a position means another token once a longer prompt joins the trace.
#
# One would expect: in a trace with one invoke for each prompt, an invoke sees its own
# prompt, as its batch axis shows, so that position 2 is the prompt's third token.
# What happens: the prompts are padded on the left to one length, and an invoke sees its
# prompt with the padding. Position 2 of a short prompt is then a padding token. A patch
# there is accepted and changes nothing that the prompt's own tokens predict. Positions
# counted from the end are right, and so is each prompt in a trace of its own.
# Why it matters: patching one position in pairs of prompts of unequal length moves
# activations of padding, and the effect of 0 reads as "this position does not matter".
# Versions: nnsight 0.8.1, transformers 5.24.0, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 nnsight==0.8.1 transformers==5.24.0 \
  tokenizers==0.23.3 numpy==2.4.6
cat >"$folder/show.py" <<'PY'
from importlib.metadata import version

import torch
from nnsight import TransformersModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

print("nnsight", version("nnsight"), "torch", torch.__version__)
torch.manual_seed(0)
torch.set_grad_enabled(False)
vocabulary = ["<start>", "<pad>"] + [f"w{i}" for i in range(2, 50)]
words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="w2"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words, bos_token="<start>", eos_token="<start>", pad_token="<pad>"
)
config = GPT2Config(
    vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2,
    bos_token_id=0, eos_token_id=0, pad_token_id=1,
)
model = TransformersModel(
    GPT2LMHeadModel(config).eval(), tokenizer=tokenizer, task="text-generation"
)
block = model.transformer.h[0]
long, short = "w5 w6 w7 w8 w9 w10", "w11 w12 w13"

with model.trace(short):
    alone = block.output.clone().save()
    logits_alone = model.lm_head.output.clone().save()
with model.trace() as tracer:
    with tracer.invoke(long):
        unused = block.output.clone().save()
    with tracer.invoke(short):
        beside = block.output.clone().save()
        logits_beside = model.lm_head.output.clone().save()


def ablated(position, prompts):
    with model.trace() as tracer:
        for prompt in prompts[:-1]:
            with tracer.invoke(prompt):
                pass
        with tracer.invoke(prompts[-1]):
            block.output[:, position] = 0
            logits = model.lm_head.output.clone().save()
    return logits


effect_alone = (ablated(2, [short]) - logits_alone)[:, -1].abs().max().item()
effect_beside = (ablated(2, [long, short]) - logits_beside)[:, -1].abs().max().item()
print("shape of the short prompt's activations, alone and beside:", alone.shape, beside.shape)
print("position 2 differs by", (alone[:, 2] - beside[:, 2]).abs().max().item())
print("position -1 differs by", (alone[:, -1] - beside[:, -1]).abs().max().item())
print("ablating position 2 moves the last logits, alone:", effect_alone, "beside:", effect_beside)
assert beside.shape[0] == 1 and beside.shape[1] == 6 and alone.shape[1] == 3
assert (alone[:, 2] - beside[:, 2]).abs().max() > 0.1
assert torch.allclose(alone[:, -1], beside[:, -1], atol=1e-4)
assert effect_alone > 0.1 and effect_beside < 1e-4
PY
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore "$folder/show.py"
