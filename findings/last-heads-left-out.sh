#!/usr/bin/env bash
# On models shaped like Gemma 7B or Gemma 2 9B pyvene's patch of all heads leaves some out.
#
# One would expect: "attention_value_output" (what the heads hand to the output projection)
# and "query_output" are patched, zeroed or collected over their whole width.
# What happens: pyvene takes the width to be hidden_size, and changes that many entries from
# the front. In these models number of heads times head_dim is larger. The rest, the last
# heads, keeps its own values: 2 of 16 heads in the shape of Gemma 2 9B, 4 of 16 in that of
# Gemma 7B. The collected activations lack them too. No warning, no error.
# Why it matters: "all heads patched at this position" does not restore what it should, or
# "all heads removed" still works, and the last heads of the layer never matter in any sweep
# over this component. In models where the two widths agree (Llama, Gemma 2B) it is right.
# Seen: with all heads set to zero the logits are off by 4.3 (shape of Gemma 2 9B) and 7.8
# (Gemma 7B), and equal those of a patch by hand of the first 14 and 12 heads.
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
from transformers import (
    Gemma2Config, Gemma2ForCausalLM, GemmaConfig, GemmaForCausalLM, LlamaConfig,
    LlamaForCausalLM,
)

print("pyvene", version("pyvene"), "transformers", transformers.__version__)
transformers.logging.set_verbosity_error()
torch.set_grad_enabled(False)
HEADS, SIZE = 16, 8  # the released models have 16 heads too; the size of each is cut down
noise = torch.Generator().manual_seed(1)
base, source = torch.randint(3, 50, (2, 2, 6), generator=noise)
EVERYWHERE = [[list(range(base.shape[1]))] * len(base)]


def build(kind, config, hidden, **more):
    torch.manual_seed(0)
    return kind(
        config(
            vocab_size=50, hidden_size=hidden, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=HEADS, initializer_range=0.2, **more,
        )
    ).eval()


def by_pyvene(model, component, kind):
    patched = pyvene.IntervenableModel(
        pyvene.IntervenableConfig(
            [{"layer": 0, "component": component, "intervention_type": kind}]
        ),
        model=model,
    )
    swap = kind is pyvene.VanillaIntervention
    collect = kind is pyvene.CollectIntervention
    places = [[[0]] * len(base)] if collect else EVERYWHERE
    out = patched(
        {"input_ids": base},
        [{"input_ids": source}] if swap else None,
        unit_locations={"sources->base": (places, places)} if swap else {"base": places},
    )
    return out[0][1][0] if collect else out[1].logits


def by_hand(model, component, heads, swap):
    """Zero or swap the first `heads` heads at every position."""
    attention = model.model.layers[0].self_attn
    inputs = component == "attention_value_output"
    place = attention.o_proj if inputs else attention.q_proj
    taken = []

    def put(hook):
        if inputs:
            return place.register_forward_pre_hook(lambda module, args: hook(args[0]))
        return place.register_forward_hook(lambda module, args, out: hook(out))

    def patch(value):
        value = value.clone()
        value[..., : heads * SIZE] = taken[0][..., : heads * SIZE] if swap else 0
        return value

    handle = put(lambda value: taken.append(value.clone()))
    model(source)
    handle.remove()
    handle = put(patch)
    logits = model(base).logits
    handle.remove()
    return logits


for shape, kind, config, hidden, reached, more in (
    ("Gemma 2 9B", Gemma2ForCausalLM, Gemma2Config, 112, 14,
     {"num_key_value_heads": 8, "head_dim": SIZE}),
    ("Gemma 7B", GemmaForCausalLM, GemmaConfig, 96, 12,
     {"num_key_value_heads": 16, "head_dim": SIZE}),
    ("Llama", LlamaForCausalLM, LlamaConfig, 128, 16, {}),
):
    model = build(kind, config, hidden, **more)
    clean = model(base).logits
    for component in ("attention_value_output", "query_output"):
        collected = by_pyvene(model, component, pyvene.CollectIntervention)
        print(
            f"{shape}, {component}: width {HEADS * SIZE}, collected {collected.shape[-1]}"
        )
        assert collected.shape[-1] == reached * SIZE
        for name, intervention in (
            ("zeroed", pyvene.ZeroIntervention), ("swapped", pyvene.VanillaIntervention),
        ):
            found = by_pyvene(model, component, intervention)
            swap = name == "swapped"
            whole = by_hand(model, component, HEADS, swap)
            part = by_hand(model, component, reached, swap)
            off = (found - whole).abs().max().item()
            off_part = (found - part).abs().max().item()
            effect = (whole - clean).abs().max().item()
            print(
                f"  all heads {name}: effect by hand {effect:.2f}, pyvene off by {off:.3f}; "
                f"off from the first {reached} heads by {off_part:.6f}"
            )
            assert off_part < 1e-4
            assert off < 1e-4 if reached == HEADS else off > 0.1
PY
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore "$folder/show.py" 2>"$folder/log" || { cat "$folder/log"; exit 1; }
