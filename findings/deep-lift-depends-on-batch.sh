#!/usr/bin/env bash
# DeepLift through a softmax scores a prompt by what else is in the batch.
#
# One would expect: the attribution of one example is the same alone and in a batch,
# and DeepLift's attributions add up to the difference between the outputs at the
# input and at the baseline.
# What happens: with a torch.nn.Softmax in the model, the attributions of the first
# example change with the number of examples beside it, and their sum is wrong at
# every batch size. The same model with a ReLU in that place is exact, and so is
# integrated gradients with the softmax.
# Why it matters: node scores come out different for another batch size, and the last,
# smaller batch of a set is scored by another measure than the rest. The softmax is
# in every attention layer.
# Versions: captum 0.9.0, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 captum==0.9.0 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PY'
import captum
import torch
from captum.attr import DeepLift, IntegratedGradients
from torch import nn

print("captum", captum.__version__, "torch", torch.__version__)
SIZES = (1, 2, 4, 8)


def model(middle):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), middle, nn.Linear(5, 3)).eval()


def first_example(method, network):
    torch.manual_seed(1)
    inputs, baseline = torch.randn(8, 4), torch.zeros(8, 4)
    with torch.no_grad():
        wanted = (network(inputs) - network(baseline))[0, 1].item()
    rows = [
        method(network).attribute(inputs[:n], baseline[:n], target=1)[0].detach() for n in SIZES
    ]
    return rows, wanted


def spread(rows):
    return max((row - rows[0]).abs().max().item() for row in rows)


cases = {
    "DeepLift, softmax": (DeepLift, model(nn.Softmax(-1))),
    "DeepLift, ReLU": (DeepLift, model(nn.ReLU())),
    "integrated gradients, softmax": (IntegratedGradients, model(nn.Softmax(-1))),
}
for name, (method, network) in cases.items():
    rows, wanted = first_example(method, network)
    sums = [round(row.sum().item(), 4) for row in rows]
    print(f"{name}: sum for the first example at batch sizes {SIZES}: {sums}, exact {wanted:.4f}")
    errors = [abs(row.sum().item() - wanted) for row in rows]
    if name == "DeepLift, softmax":
        assert spread(rows) > 1e-3 and min(errors) > 1e-4
    else:
        assert spread(rows) < 1e-5 and max(errors) < 1e-4
PY
