#!/usr/bin/env bash
# A transcoder with a skip connection loses it as soon as SAELens puts it into the model.
#
# One would expect: a SkipTranscoder or JumpReLUSkipTranscoder, which adds a linear map of its
# input to what its features write, computes inside HookedSAETransformer what it computes when
# it is called on the same activations.
# What happens: attached with run_with_saes, add_sae or saes(), it is encoded and decoded, and
# the linear path from input to output is left out. No warning, no error. With
# use_error_term=True the logits are the model's own, because the error term takes over the
# skip as well: the same number then reads as "what the transcoder could not explain", and no
# gradient passes through it.
# Why it matters: how much of an MLP a transcoder replaces, the loss of the model with it, and
# ablations of its features are measured in another function than the one that was trained. The
# same transcoder, called alone, reproduces the MLP well.
# Seen: of the MLP's output the skip transcoder explains 0.87 of the variance when it is called
# and 0.45 inside the model, as much as its features alone; the logits equal those without its
# skip, and the error term has the size 4.5 in place of 2.2.
# Versions: sae-lens 6.54.12, transformer-lens 3.9.0, transformers 5.24.0, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 sae-lens==6.54.12 \
  transformer-lens==3.9.0 transformers==5.24.0 tokenizers==0.23.3 numpy==2.4.6
cat >"$folder/show.py" <<'PY'
from importlib.metadata import version

import torch
from sae_lens import (
    HookedSAETransformer,
    JumpReLUSkipTranscoder,
    JumpReLUSkipTranscoderConfig,
    SkipTranscoder,
    SkipTranscoderConfig,
    Transcoder,
    TranscoderConfig,
)
from sae_lens.saes.sae import SAEMetadata
from transformer_lens import HookedTransformerConfig

print("sae-lens", version("sae-lens"), "torch", torch.__version__)
torch.set_grad_enabled(False)
WIDTH, FEATURES = 16, 8
INTO, OUT = "blocks.0.ln2.hook_normalized", "blocks.0.hook_mlp_out"
model = HookedSAETransformer(
    HookedTransformerConfig(
        n_layers=2, d_model=WIDTH, n_ctx=16, d_head=4, n_heads=4, d_mlp=64, d_vocab=50,
        act_fn="gelu", seed=0,
    )
)
noise = torch.Generator().manual_seed(0)
for parameter in model.parameters():
    parameter.copy_(0.2 * torch.randn(parameter.shape, generator=noise))
tokens = torch.randint(0, 50, (32, 12), generator=noise)
clean, cache = model.run_with_cache(tokens)
reads, writes = cache[INTO], cache[OUT]


def build(kind, config):
    transcoder = kind(
        config(
            d_in=WIDTH, d_out=WIDTH, d_sae=FEATURES, apply_b_dec_to_input=False,
            metadata=SAEMetadata(hook_name=INTO, hook_name_out=OUT),
        )
    )
    noise = torch.Generator().manual_seed(1)
    for name, parameter in transcoder.named_parameters():
        size = 0.0 if name in ("threshold", "W_skip") else 0.3
        parameter.copy_(size * torch.randn(parameter.shape, generator=noise))
    features, wanted = transcoder.encode(reads).flatten(0, 1), writes.flatten(0, 1)
    columns = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    best = torch.linalg.lstsq(columns, wanted).solution  # the features first, then the skip
    transcoder.W_dec.copy_(best[:-1])
    transcoder.b_dec.copy_(best[-1])
    if hasattr(transcoder, "W_skip"):
        best = torch.linalg.lstsq(reads.flatten(0, 1), wanted - columns @ best).solution
        transcoder.W_skip.copy_(best.T)
    return transcoder


def replaced(by):
    return model.run_with_hooks(tokens, fwd_hooks=[(OUT, lambda activation, hook: by)])


def explained(by):
    return 1 - ((writes - by) ** 2).sum().item() / ((writes - writes.mean((0, 1))) ** 2).sum().item()


for kind, config in (
    (Transcoder, TranscoderConfig),
    (SkipTranscoder, SkipTranscoderConfig),
    (JumpReLUSkipTranscoder, JumpReLUSkipTranscoderConfig),
):
    transcoder = build(kind, config)
    called = transcoder(reads)
    bare = transcoder.decode(transcoder.encode(reads))
    inside = model.run_with_saes(tokens, saes=[transcoder])
    _, seen = model.run_with_cache_with_saes(tokens, saes=[transcoder])
    written = seen[OUT + ".hook_sae_output"]
    off = (inside - replaced(called)).abs().max().item()
    off_bare = (inside - replaced(bare)).abs().max().item()
    print(
        f"{kind.__name__}: explained when called {explained(called):.2f}, "
        f"inside the model {explained(written):.2f}; logits differ from the transcoder's by "
        f"{off:.4f}, from those without its skip by {off_bare:.6f}"
    )
    assert off_bare < 1e-5
    if kind is Transcoder:
        assert off < 1e-5
        continue
    assert off > 0.03 and explained(called) > 0.8 and explained(written) < 0.6
    _, seen = model.run_with_cache_with_saes(tokens, saes=[transcoder], use_error_term=True)
    error = seen[OUT + ".hook_sae_error"]
    print(
        f"  with the error term: size of the error {error.norm().item():.2f}, "
        f"of what the transcoder misses {(writes - called).norm().item():.2f}"
    )
    assert error.norm() > 1.5 * (writes - called).norm()
PY
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore "$folder/show.py"
