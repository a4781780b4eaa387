#!/usr/bin/env bash
# In bfloat16 the gradient of an embedding stops growing at 256.
#
# One would expect: sums over many positions are accumulated in float32, as
# torch.sum and the bias of a linear layer do, so that 4,096 equal contributions of
# 1 make a gradient of 4,096.
# What happens (CPU): the gradient of an embedding table, and of table[ids], adds up
# in bfloat16. At 256 a further 1 is rounded away. The bias of a layer norm loses in
# the same way, and the amount depends on the number of threads.
# Why it matters: an attribution by gradient to a token that occurs often (a space,
# a newline, the padding) is too small by any factor, so frequent tokens drop out of
# a ranking. The loss and the gradients of linear layers look right.
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
torch.manual_seed(0)
positions = 4096
ids = torch.zeros(positions, dtype=torch.long)
inputs = torch.randn(positions, 4)


def embedding(dtype):
    layer = nn.Embedding(2, 1, dtype=dtype)
    layer(ids).sum().backward()
    return layer.weight.grad[0, 0].item()


def indexing(dtype):
    table = torch.zeros(2, 1, dtype=dtype, requires_grad=True)
    table[ids].sum().backward()
    return table.grad[0, 0].item()


def linear_bias(dtype):
    layer = nn.Linear(4, 4, dtype=dtype)
    layer(inputs.to(dtype)).sum().backward()
    return layer.bias.grad[0].item()


def norm_bias(dtype):
    layer = nn.LayerNorm(4, dtype=dtype)
    layer(inputs.to(dtype)).sum().backward()
    return layer.bias.grad[0].item()


seen = {}
for threads in (1, 2):
    torch.set_num_threads(threads)
    for measure in (embedding, indexing, linear_bias, norm_bias):
        exact, half = measure(torch.float32), measure(torch.bfloat16)
        seen[measure.__name__, threads] = half
        print(f"{threads} thread(s), {measure.__name__}: float32 {exact:.0f}, bfloat16 {half:.0f}")
        assert exact == positions
for threads in (1, 2):
    assert seen["embedding", threads] == 256 and seen["indexing", threads] == 256
    assert seen["linear_bias", threads] == positions
    assert seen["norm_bias", threads] < positions / 2
assert seen["norm_bias", 1] != seen["norm_bias", 2]
PY
