#!/usr/bin/env bash
# In pyvene a swap of other neurons for each prompt swaps the neurons of all prompts in each.
#
# One would expect: `subspaces` has one list for each prompt of the batch, as its docstring
# shows, so that with [[0, 1], [2, 3]] the first prompt gets entries 0 and 1 of its source and
# the second one entries 2 and 3, as in two runs of one prompt each.
# What happens: with VanillaIntervention (and the addition, subtraction and zero interventions)
# at one position, every prompt gets the entries of all lists. No warning, no error. One list
# for all prompts, and one prompt at a time, are right.
# Why it matters: comparing neurons by giving each row of a batch another neuron, or a batch
# of prompts with a neuron of their own, is the fast way to score neurons one by one. Here
# all rows get the same patch, so that neurons which do nothing score like the one that does,
# and the score of a neuron depends on what else is in the batch.
# Seen: of eight neurons, swapped one at a time, the effects are 0.02 to 0.25; in one batch of
# eight rows each gets 0.29, the effect of all eight together.
# Versions: pyvene 0.1.8, transformers 5.24.0, torch 2.13.0 (CPU).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.13.0 pyvene==0.1.8 \
  transformers==5.24.0 tokenizers==0.23.3 numpy==2.4.6
cat >"$folder/show.py" <<'PY'
from importlib.metadata import version

import pyvene
import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel

print("pyvene", version("pyvene"), "transformers", transformers.__version__)
transformers.logging.set_verbosity_error()
torch.manual_seed(0)
torch.set_grad_enabled(False)
POSITION, NEURONS = 3, list(range(8))
model = GPT2LMHeadModel(
    GPT2Config(
        vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2,
        bos_token_id=0, eos_token_id=0,
    )
).eval()
noise = torch.Generator().manual_seed(1)
base, source = torch.randint(2, 50, (2, 1, 6), generator=noise)
clean = model(base).logits


def by_pyvene(kind, subspaces):
    """Patch one position of the MLP's activations; one list of neurons for each row."""
    rows = len(subspaces)
    patched = pyvene.IntervenableModel(
        pyvene.IntervenableConfig(
            [{"layer": 0, "component": "mlp_activation", "intervention_type": kind}]
        ),
        model=model,
    )
    places = [[[POSITION]] * rows]
    constant = kind is pyvene.ZeroIntervention
    _, out = patched(
        {"input_ids": base.expand(rows, -1)},
        None if constant else [{"input_ids": source.expand(rows, -1)}],
        unit_locations={"base": places} if constant else {"sources->base": (places, places)},
        subspaces=[subspaces],
    )
    return out.logits


def by_hand(kind, neurons):
    place = model.transformer.h[0].mlp.act
    taken = []
    handle = place.register_forward_hook(lambda module, args, out: taken.append(out.clone()))
    model(source)
    handle.remove()

    def patch(module, args, out):
        out = out.clone()
        value = taken[0][:, POSITION, neurons]
        if kind is pyvene.ZeroIntervention:
            out[:, POSITION, neurons] = 0
        elif kind is pyvene.AdditionIntervention:
            out[:, POSITION, neurons] += value
        else:
            out[:, POSITION, neurons] = value
        return out

    handle = place.register_forward_hook(patch)
    logits = model(base).logits
    handle.remove()
    return logits


def effect(logits):
    return (logits - clean).abs().amax((1, 2))


for kind in (
    pyvene.VanillaIntervention, pyvene.AdditionIntervention, pyvene.ZeroIntervention,
):
    alone = torch.cat([by_pyvene(kind, [[neuron]]) for neuron in NEURONS])
    hand = torch.cat([by_hand(kind, [neuron]) for neuron in NEURONS])
    together = by_pyvene(kind, [[neuron] for neuron in NEURONS])
    union = by_hand(kind, NEURONS)
    print(f"{kind.__name__}, effect of eight neurons")
    for name, logits in (("by hand", hand), ("one by one", alone), ("in one batch", together)):
        print(f"  {name}:", [round(value, 2) for value in effect(logits).tolist()])
    print("  all eight swapped at once, by hand:", round(effect(union).item(), 2))
    same = by_pyvene(kind, [NEURONS] * 3)
    assert (alone - hand).abs().max() < 1e-4 and (same - union).abs().max() < 1e-4
    assert (together - union).abs().max() < 1e-4
    assert (together - hand).abs().amax((1, 2)).min() > 0.05
PY
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore "$folder/show.py" 2>"$folder/log" || { cat "$folder/log"; exit 1; }
