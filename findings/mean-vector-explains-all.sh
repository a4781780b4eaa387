#!/usr/bin/env bash
# The R2 of overcomplete gives a dictionary that predicts nothing but the mean nearly full marks.
#
# One would expect: r2_score(x, x_hat) is 0 for a reconstruction that is as good as the mean, as
# its docstring says: the mean activation, one number for each dimension, as in the R2 of
# scikit-learn and the "variance explained" of other sparse-autoencoder libraries.
# What happens: the mean is taken over all samples and all dimensions at once, one single number.
# That the dimensions differ in their mean then counts as variance to be explained, and
# the mean activation alone explains it. On centred activations the score is right.
# Why it matters: activations of a transformer have a large mean, most of it in a few dimensions.
# The score, which train_sae prints as the progress of the training, starts near 1 as
# soon as the bias is learned. Good and empty dictionaries then differ in the third digit, and the
# same dictionary gets another score when the activations are centred first. interpreto ships a copy.
# Seen: the mean activation alone gets 0.990 in place of 0.000, features that explain half of the
# variance 0.995 in place of 0.498.
# Versions: overcomplete 0.3.0, torch 2.13.0 (CPU), numpy 2.4.6, scikit-learn 1.9.1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 scikit-learn==1.9.1 numpy==2.4.6
"$folder/env/bin/pip" install --quiet --no-compile --no-deps overcomplete==0.3.0
"$folder/env/bin/python" - <<'PY'
import importlib.util
from importlib.metadata import version
from pathlib import Path

import sklearn.metrics
import torch

print("overcomplete", version("overcomplete"), "torch", torch.__version__)
# The module is loaded by its file, since the package imports libraries for images as well.
package = Path(importlib.util.find_spec("overcomplete").origin).parent
found = importlib.util.spec_from_file_location("metrics", package / "metrics.py")
metrics = importlib.util.module_from_spec(found)
found.loader.exec_module(metrics)

SAMPLES, WIDTH = 4000, 64
noise = torch.Generator().manual_seed(0)
features = torch.randn(SAMPLES, WIDTH, generator=noise)
mean = torch.randn(WIDTH, generator=noise)
mean[:2] = torch.tensor([60.0, -50.0])  # two dimensions that are large for every token
activations = mean + features
average = activations.mean(0).expand_as(activations)
half = average.clone()
half[:, ::2] = activations[:, ::2]
cases = {"the mean activation": average, "half of the dimensions": half, "all": activations.clone()}


def scores(x, x_hat):
    by_dimension = sklearn.metrics.r2_score(
        x.numpy(), x_hat.numpy(), multioutput="variance_weighted"
    )
    return metrics.r2_score(x, x_hat).item(), by_dimension


for name, reconstruction in cases.items():
    raw = scores(activations, reconstruction)
    centred = scores(activations - average, reconstruction - average)
    print(f"{name}: overcomplete {raw[0]:.3f}, scikit-learn {raw[1]:.3f}; "
          f"on centred activations {centred[0]:.3f} and {centred[1]:.3f}")
    assert abs(centred[0] - centred[1]) < 0.01 and abs(raw[1] - centred[1]) < 0.01
    if name == "the mean activation":
        assert raw[0] > 0.98 and abs(raw[1]) < 0.01
    elif name == "half of the dimensions":
        assert raw[0] > 0.99 and abs(raw[1] - 0.5) < 0.05
PY
