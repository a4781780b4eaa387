#!/usr/bin/env bash
# Inside one autocast block an ablated weight keeps acting.
#
# One would expect: setting a layer's weights to zero in place changes the next
# forward pass.
# What happens: autocast casts each trainable weight once and keeps the cast copy
# until the block ends. A change in place after the first forward pass reads back as
# done, and the layer goes on with the copy: its output is equal to the bit. This is
# so under no_grad too. cache_enabled=False stops it.
# Why it matters: a loop inside the block that ablates one weight after another and
# runs the model each time finds that no weight matters.
# Versions: torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch
from torch import nn

print("torch", torch.__version__)


def outputs(**options):
    torch.manual_seed(0)
    layer = nn.Linear(64, 64)
    inputs = torch.randn(4, 64)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, **options):
        before = layer(inputs)
        layer.weight.zero_()
        layer.bias.zero_()
        inside = layer(inputs)
        assert not layer.weight.any() and not layer.bias.any()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, **options):
        next_block = layer(inputs)
    return before, inside, next_block


before, inside, next_block = outputs()
print("largest output before", before.abs().max().item())
print("weights all zero, same block", inside.abs().max().item())
print("weights all zero, next block", next_block.abs().max().item())
assert torch.equal(before, inside) and before.abs().max() > 0.5
assert not next_block.any()

_, inside, _ = outputs(cache_enabled=False)
print("weights all zero, same block, cache_enabled=False", inside.abs().max().item())
assert not inside.any()
PY
