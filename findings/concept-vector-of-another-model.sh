#!/usr/bin/env bash
# captum's TCAV scores a model by the concept vectors of the model that was run before it.
#
# One would expect: TCAV(model, layers).interpret(...) learns the concept in the model that it is
# given. A second model, or the same one after an ablation, gets a vector of its own.
# What happens: the vectors are written to ./cav under the number of the concept and the name of
# the layer, and are taken from there when they exist. Nothing checks that the model, its
# weights or the examples of the concept are the same. Used as in the docstring's example, without
# a model_id, the second model gets the first one's vectors, in the next session too. No warning.
# interpret has no way to ask for new ones. A model_id or a folder for each model is right.
# Why it matters: before and after an ablation, or two checkpoints, are what one compares. In
# another model the old vector is a direction without meaning; its score looks as good as any.
# Seen, share of inputs that the concept speaks for: 1.00 in the first model; in the second one
# 0.00 when it is run after the first and 1.00 in a folder of its own.
# Versions: captum 0.9.0, scikit-learn 1.9.1, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 captum==0.9.0 \
  scikit-learn==1.9.1 numpy==2.4.6
cat >"$folder/show.py" <<'PY'
import os
import sys
from importlib.metadata import version

import torch
from captum.concept import TCAV, Concept
from torch import nn
from torch.utils.data import DataLoader

print("captum", version("captum"), "torch", torch.__version__)
INPUTS, WIDTH, FIRST, SECOND = 8, 16, 1, 2
noise = torch.Generator().manual_seed(0)
examples = torch.randn(2, 200, INPUTS, generator=noise)
examples[0, :, 0] += 3  # the concept: a large first entry
texts = torch.randn(100, INPUTS, generator=noise)
concept, other = (
    Concept(number, name, DataLoader(list(examples[number]), batch_size=50))
    for number, name in enumerate(("large", "other"))
)


def build(seed):
    """A small network, trained to say whether the first entry is large."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(INPUTS, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        batch = 2 * torch.randn(200, INPUTS)
        loss = nn.functional.cross_entropy(model(batch), (batch[:, 0] > 1.5).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def concept_score(seed, folder):
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    method = TCAV(build(seed), layers=["1"])
    found = method.interpret(texts, [[concept, other]], target=1)["0-1"]["1"]
    return found["sign_count"][0].item(), method.cavs["0-1"]["1"].stats["weights"][0]


shared, own = sys.argv[1] + "/shared", sys.argv[1] + "/own"
first, first_vector = concept_score(FIRST, shared)
second, second_vector = concept_score(SECOND, shared)
alone, alone_vector = concept_score(SECOND, own)
likeness = torch.cosine_similarity(first_vector, alone_vector, dim=0).item()
print(f"first model: {first:.2f}")
print(f"second model, run after the first: {second:.2f}")
print(f"second model, in a folder of its own: {alone:.2f}")
print("the second model was given the first one's vector:", torch.equal(first_vector, second_vector))
print(f"cosine of that vector and the second model's own: {likeness:.2f}")
assert torch.equal(first_vector, second_vector) and likeness < 0.7
assert first > 0.9 and alone > 0.9 and second < 0.8
PY
"$folder/env/bin/python" "$folder/show.py" "$folder" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
