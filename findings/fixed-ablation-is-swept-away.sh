#!/usr/bin/env bash
# pyvene takes every hook off the model, so an ablation that was set before is gone when it runs.
#
# One would expect: an ablation by a forward hook of one's own stays while pyvene patches
# something else, so that the effect of the patch is measured in the ablated model.
# What happens: the first call of the wrapped model removes all forward hooks of all modules,
# its own and anyone's, before it runs. The patch is measured in the whole model, and the model
# that was handed in stays without its hooks afterwards. With them go the hooks by which
# transformers 5 collects hidden states: the model then returns an empty tuple for them, also
# when it is called directly. No warning.
# Why it matters: ablate a head and patch another one to see whether it takes over is an
# everyday experiment. Here the first half of it silently does not take place, and the next
# cell of the notebook runs the model without its ablation too.
# Seen, in a GPT-2: effect of the ablation 3.3 before pyvene runs and 0.0 after; the patched
# logits are off by 3.1 from the patch in the ablated model and equal the patch in the whole
# model; 4 hidden states before, 0 after.
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
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

print("pyvene", version("pyvene"), "transformers", transformers.__version__)
transformers.logging.set_verbosity_error()
torch.set_grad_enabled(False)
POSITION = 3
noise = torch.Generator().manual_seed(1)
base, source = torch.randint(3, 50, (2, 2, 6), generator=noise)


def build(kind):
    torch.manual_seed(0)
    if kind == "GPT-2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=50, n_positions=16, n_embd=32, n_layer=3, n_head=4,
                initializer_range=0.2, bos_token_id=0, eos_token_id=0,
            )
        ).eval()
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
            num_attention_heads=4, initializer_range=0.2,
        )
    ).eval()


def blocks(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def ablate(model):
    return blocks(model)[2].mlp.register_forward_hook(lambda module, args, out: 0 * out)


def patched_by_hand(model):
    taken = []
    block = blocks(model)[0]
    handle = block.register_forward_hook(lambda module, args, out: taken.append(out))
    model(source)
    handle.remove()

    def patch(module, args, out):
        out = out.clone()
        out[:, POSITION] = taken[0][:, POSITION]
        return out

    handle = block.register_forward_hook(patch)
    logits = model(base).logits
    handle.remove()
    return logits


for kind in ("GPT-2", "Llama"):
    model = build(kind)
    clean = model(base, output_hidden_states=True)
    whole = patched_by_hand(model)
    ablate(model)
    ablated = model(base).logits
    wanted = patched_by_hand(model)
    wrapped = pyvene.IntervenableModel(
        pyvene.IntervenableConfig(
            [{
                "layer": 0, "component": "block_output",
                "intervention_type": pyvene.VanillaIntervention,
            }]
        ),
        model=model,
    )
    before = (model(base).logits - clean.logits).abs().max().item()
    places = [[[POSITION]] * len(base)]
    _, out = wrapped(
        {"input_ids": base}, [{"input_ids": source}],
        unit_locations={"sources->base": (places, places)},
    )
    after = model(base, output_hidden_states=True)
    off = (out.logits - wanted).abs().max().item()
    print(
        f"{kind}: effect of the ablation before the call {before:.2f}, after it "
        f"{(after.logits - clean.logits).abs().max().item():.2f}"
    )
    print(
        f"  effect of the patch in the ablated model {(wanted - ablated).abs().max().item():.2f}; "
        f"pyvene's logits are off by {off:.2f}, and from the patch in the whole model by "
        f"{(out.logits - whole).abs().max().item():.6f}"
    )
    print(
        f"  hidden states returned before {len(clean.hidden_states)}, "
        f"after {len(after.hidden_states)}"
    )
    assert before > 0.5 and torch.equal(after.logits, clean.logits)
    assert off > 0.5 and (out.logits - whole).abs().max() < 1e-4
    assert len(clean.hidden_states) == 4 and len(after.hidden_states) == 0
PY
HF_HUB_OFFLINE=1 "$folder/env/bin/python" -W ignore "$folder/show.py" 2>"$folder/log" || { cat "$folder/log"; exit 1; }
