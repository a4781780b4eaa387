#!/usr/bin/env bash
# A sparse autoencoder of SAELens decodes with the mean and scale of whatever it encoded last.
#
# One would expect: decode(features) depends on the features. Encoding a second prompt in
# between changes nothing.
# What happens: with normalize_activations="layer_norm" or "constant_norm_rescale", encode
# keeps the mean and scale of its input in the autoencoder, and the next decode multiplies
# them back in. The usual order of an interchange (encode the base, encode the source, swap
# features, decode) puts the source's mean and scale on the base. Both have one shape, so
# nothing fails. With "none" the result does not depend on the order.
# Why it matters: published autoencoders for GPT-2 small are set to "layer_norm". A patch of
# one feature then moves the whole activation, most of it by something that is no feature at
# all. Even a swap that changes nothing has an effect, and the effects of single features drown
# in it or are credited with it.
# Seen ("layer_norm"): with the base encoded last, a swap of no feature moves the reconstruction
# by 0.00 of its size and a swap of one by 0.13; with the source encoded last, both by 1.18.
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
from sae_lens import StandardSAE, StandardSAEConfig

print("sae-lens", version("sae-lens"), "torch", torch.__version__)
torch.set_grad_enabled(False)
WIDTH, FEATURES = 32, 128
noise = torch.Generator().manual_seed(0)
base = torch.randn(4, 7, WIDTH, generator=noise)
source = 2 * torch.randn(4, 7, WIDTH, generator=noise) + 1


def build(normalisation):
    autoencoder = StandardSAE(
        StandardSAEConfig(d_in=WIDTH, d_sae=FEATURES, normalize_activations=normalisation)
    )
    noise = torch.Generator().manual_seed(1)
    for parameter in autoencoder.parameters():
        parameter.copy_(0.2 * torch.randn(parameter.shape, generator=noise))
    return autoencoder


def swapped(autoencoder, features, base_last):
    """The base with these features of the source, in either order of encoding."""
    if base_last:
        taken = autoencoder.encode(source)
        codes = autoencoder.encode(base)
    else:
        codes = autoencoder.encode(base)
        taken = autoencoder.encode(source)
    codes = codes.clone()
    codes[..., features] = taken[..., features]
    return autoencoder.decode(codes)


for normalisation in ("none", "layer_norm", "constant_norm_rescale"):
    autoencoder = build(normalisation)
    plain = autoencoder(base)
    size = plain.norm()
    codes = autoencoder.encode(base)
    autoencoder.decode(codes)
    feature = [int(codes.mean((0, 1)).argmax())]
    off = {}
    for base_last in (True, False):
        nothing = swapped(autoencoder, [], base_last)
        one = swapped(autoencoder, feature, base_last)
        off[base_last] = ((nothing - plain).norm() / size).item()
        effect = ((one - plain).norm() / size).item()
        print(
            f"{normalisation}, {'base' if base_last else 'source'} encoded last: "
            f"swap of no feature moves the reconstruction by {off[base_last]:.2f} of its size, "
            f"swap of one feature by {effect:.2f}"
        )
    assert off[True] < 1e-6
    assert off[False] < 1e-6 if normalisation == "none" else off[False] > 0.5
PY
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore "$folder/show.py"
