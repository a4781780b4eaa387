#!/usr/bin/env bash
# The loss of the same two prompts in TransformerLens depends on the side of padding.
#
# One would expect: return_type="loss" on a list of prompts of unequal length leaves the
# padding out, on whichever side it stands. The library pads the prompts itself.
# What happens: padded on the left, the padding is left out. Padded on the right, the
# usual default, the loss also averages over the guesses of padding tokens, and
# loss_per_token has numbers for them. An explicit attention mask gives the true loss.
# Why it matters: mean loss of a task over prompts of unequal length, and thresholds and
# damage measured by it, count guesses of padding; short prompts weigh the more.
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
    bos_token_id=0, eos_token_id=0, pad_token_id=1,
)
GPT2LMHeadModel(config).save_pretrained(sys.argv[1])
bridge = TransformerBridge.boot_transformers(sys.argv[1], device="cpu")
prompts = ["w5 w6 w7 w8 w9 w10 w14 w15", "w11 w12"]

alone = [bridge(p, return_type="loss", loss_per_token=True).flatten() for p in prompts]
true_loss = torch.cat(alone).mean().item()
loss = {
    side: bridge(prompts, return_type="loss", padding_side=side).item()
    for side in ("left", "right")
}
default = bridge(prompts, return_type="loss").item()
tokens = bridge.to_tokens(prompts, padding_side="right")
mask = (tokens != 1).long()
masked = bridge(tokens, attention_mask=mask, return_type="loss").item()
per_token = bridge(prompts, return_type="loss", loss_per_token=True)[1]

print("mean over the real tokens, each prompt alone:", true_loss)
print("one list, padded on the left:", loss["left"])
print("one list, padded on the right:", loss["right"], "and by default:", default)
print("padded on the right, with a mask:", masked)
print("losses of the short prompt, alone and in the list:", alone[1].tolist(), per_token.tolist())
assert abs(loss["left"] - true_loss) < 1e-4 and abs(masked - true_loss) < 1e-4
assert abs(loss["right"] - true_loss) > 0.01 and loss["right"] == default
assert (per_token[alone[1].numel():] > 0).all()
PY
