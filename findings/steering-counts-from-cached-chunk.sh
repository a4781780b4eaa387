#!/usr/bin/env bash
# steering-vectors counts token positions anew in every step of a generation that uses
# the cache, so a vector for "from token 6 on" is never added to a generated token.
#
# One would expect: min_token_index=6, or token_indices=slice(0, 1), names positions of
# the text, and generate() gives the same tokens with and without the cache, as it does
# without a vector and with a vector for all positions.
# What happens: the hook counts from the start of what the layer is given. With the cache
# (the default of generate) that is the prompt once and then one token at a time, always
# number 0. A vector from the end of the prompt on does nothing at all; one for the first
# token alone is added to every generated token too.
# Why it matters: "steering the answer, not the prompt, has no effect" is what one reads,
# without a warning, and a control that steers the first token alone steers the answer.
# Versions: steering-vectors 0.12.2, transformers 4.57.6, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 steering-vectors==0.12.2 \
  transformers==4.57.6 scikit-learn==1.9.1 numpy==2.4.6
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore - <<'PY' 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
from importlib.metadata import version

import torch
from steering_vectors import SteeringVector
from transformers import LlamaConfig, LlamaForCausalLM

print("steering-vectors", version("steering-vectors"), "torch", torch.__version__)
torch.manual_seed(0)
model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=64, initializer_range=0.2,
        bos_token_id=1, eos_token_id=None, pad_token_id=0,
    )
).eval()
prompt = torch.randint(2, 50, (1, 6))
vector = SteeringVector({0: 8 * torch.randn(32)})


def generated(use_cache, **positions):
    handle = vector.patch_activations(model, **positions) if positions else None
    found = model.generate(prompt, max_new_tokens=10, do_sample=False, use_cache=use_cache)
    if handle:
        handle.remove()
    return found[0, 6:].tolist()


plain = generated(True)
cases = {
    "no vector": {},
    "all positions": {"min_token_index": 0},
    "from token 6 on": {"min_token_index": 6},
    "the first token": {"token_indices": slice(0, 1)},
}
equal = {}
for name, positions in cases.items():
    cached, whole = generated(True, **positions), generated(False, **positions)
    equal[name] = cached == whole, cached == plain, whole == plain
    print(f"{name}: cached {cached}, without the cache {whole}")
assert equal["no vector"] == (True, True, True)
assert equal["all positions"] == (True, False, False)
assert equal["from token 6 on"] == (False, True, False)
assert not equal["the first token"][0]

# What the cache makes of "the first token": it and every generated token.
text = prompt
for _ in range(10):
    handle = vector.patch_activations(model, token_indices=[0, *range(6, text.shape[1])])
    text = torch.cat([text, model(text).logits[:, -1:].argmax(-1)], dim=1)
    handle.remove()
as_steered = text[0, 6:].tolist() == generated(True, token_indices=slice(0, 1))
print("the first token, cached, is the first and all generated ones:", as_steered)
assert as_steered
PY
