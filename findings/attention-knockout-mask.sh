#!/usr/bin/env bash
# A boolean attention mask that cuts one edge works in one attention
# implementation and opens every edge in the other.
#
# One would expect: a model of transformers that is given a four-dimensional
# boolean mask (True: may attend) obeys it the same way under "sdpa" and "eager".
# What happens: "sdpa" obeys it. "eager" adds it to the scores as the numbers 1
# and 0. The cut edge keeps its weight, and, since the caller's mask replaces the
# causal one, early positions attend to later tokens. No warning, no error.
# Why it matters: cutting attention edges with a mask is an everyday ablation, and
# one turns to "eager" to look at the attention weights. The ablation then cuts
# nothing, and the model reads the answer from the future. A mask of floats, with
# minus infinity where an edge is cut, works in both.
# Versions: transformers 5.24.0, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 transformers==5.24.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__, "torch", torch.__version__)
torch.manual_seed(0)
torch.set_grad_enabled(False)
config = LlamaConfig(
    vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
    num_attention_heads=4, max_position_embeddings=16, initializer_range=0.2,
)
model = LlamaForCausalLM(config).eval()
tokens = torch.randint(0, 50, (1, 6))
other_end = tokens.clone()
other_end[0, 5] = (tokens[0, 5] + 1) % 50

allowed = torch.ones(6, 6, dtype=torch.bool).tril()
allowed[5, 2] = False  # the edge to cut: the last position may not read position 2
boolean = allowed[None, None]
floats = torch.zeros(1, 1, 6, 6).masked_fill(~boolean, float("-inf"))


def look(implementation, mask):
    model.set_attn_implementation(implementation)
    here = model(tokens, attention_mask=mask).logits
    there = model(other_end, attention_mask=mask).logits
    return here, (here - there)[0, :5].abs().max().item()


model.set_attn_implementation("eager")
weights = model(tokens, attention_mask=boolean, output_attentions=True).attentions
cut_edge = weights[0][0, :, 5, 2]
print("eager, boolean mask: weight left on the cut edge, by head:", cut_edge.tolist())

leaks = {}
logits = {}
for implementation in ("sdpa", "eager"):
    for name, mask in (("boolean", boolean), ("float", floats)):
        logits[implementation, name], leaks[implementation, name] = look(implementation, mask)
        print(
            f"{implementation}, {name} mask: another last token moves the logits before it by "
            f"{leaks[implementation, name]:.4f}"
        )
print(
    "sdpa against eager, last position, boolean mask:",
    (logits["sdpa", "boolean"] - logits["eager", "boolean"])[0, 5].abs().max().item(),
)

assert (cut_edge > 0).all() and cut_edge.max() > 0.01
assert leaks["eager", "boolean"] > 1e-3
assert leaks["sdpa", "boolean"] < 1e-5 and leaks["sdpa", "float"] < 1e-5
assert leaks["eager", "float"] < 1e-5
assert torch.allclose(logits["sdpa", "boolean"], logits["eager", "float"], atol=1e-4)
PY
